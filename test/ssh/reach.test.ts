// Where a key file of the stack lies on this machine.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { privateKeyOf } from "../../infra/ssh/reach.ts";
import { labPair } from "../model/pairs.ts";

const [node] = labPair.nodes;
const withKey = (file: string) => ({ ...node, ssh: { ...node.ssh, auth: { kind: "keyFile", file } as const } });
const none = (): string => "";

afterEach(() => vi.unstubAllEnvs());

test("the lab's key is found where hotpair's cache has been moved to", () => {
  const cache = mkdtempSync(join(tmpdir(), "hotpair-cache-"));
  try {
    writeFileSync(join(cache, "id_lab"), "the key\n");
    vi.stubEnv("HOTPAIR_CACHE", cache);
    expect(privateKeyOf(withKey("~/.cache/hotpair/id_lab"), none)).toBe("the key\n");
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
});

test("a key that is not there is named with its place in the stack file, its path and what to do", () => {
  vi.stubEnv("HOTPAIR_CACHE", "");
  vi.stubEnv("XDG_CACHE_HOME", "");
  vi.stubEnv("HOME", "/home/nobody-here");
  expect(() => privateKeyOf(withKey("~/.ssh/id_none"), none)).toThrow(
    "hotpair:pair.nodes[0].ssh.keyFile: /home/nobody-here/.ssh/id_none, the key for node-a, does not exist",
  );
});
