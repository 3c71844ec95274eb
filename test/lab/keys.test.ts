// The lab's keys are written down in a committed stack file and in docs/decisions/lab.md: they must never change.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { clientKeyPair, hostKeyPair, powerKey } from "../../infra/lab/keys.ts";

test("the keys of lab index 0 are the documented ones", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/decisions/lab.md"), "utf8");
  expect(page).toContain(`| node-a | \`${hostKeyPair(0, "node-a").publicKey}\` |`);
  expect(page).toContain(`| node-b | \`${hostKeyPair(0, "node-b").publicKey}\` |`);
  expect(page).toContain(`| witness | \`${hostKeyPair(0, "witness").publicKey}\` |`);
  expect(page).toContain(`| client | \`${clientKeyPair(0).publicKey}\` |`);
  expect(page).toContain(`\`${powerKey(0)}\``);
});

test("every host of every lab has a key of its own", () => {
  const keys = [0, 1, 29].flatMap((index) => [
    hostKeyPair(index, "node-a").publicKey,
    hostKeyPair(index, "node-b").publicKey,
    hostKeyPair(index, "witness").publicKey,
    clientKeyPair(index).publicKey,
  ]);
  expect(new Set(keys).size).toBe(keys.length);
});

test("OpenSSH reads a private key and finds the same public key in it", () => {
  const directory = mkdtempSync(join(tmpdir(), "hotpair-test-"));
  try {
    // The comment's length moves the padding through all of its lengths.
    for (const index of [0, 1, 10]) {
      const file = join(directory, `key-${index}`);
      const key = hostKeyPair(index, "node-b");
      writeFileSync(file, key.privateKey, { mode: 0o600 });
      const read = execFileSync("ssh-keygen", ["-y", "-f", file], { encoding: "utf8" });
      expect(read.trim()).toBe(`${key.publicKey} hotpair lab ${index} host node-b`);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
