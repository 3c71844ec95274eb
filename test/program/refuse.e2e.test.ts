// What the program refuses, by whatever way it is started: a plain `pulumi preview` without hotpair's command and without
// the policy pack. No server is needed, none is asked.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stackPath } from "../../infra/cli/stack.ts";
import { projectRoot } from "../../infra/toolchain/places.ts";
import { writeStack } from "./lab-stack.ts";

const STACK = "e2e-refuse";
const GOOD = readFileSync(stackPath("lab"), "utf8");
let directory: string;
let removeStack = (): void => {};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-e2e-"));
});

afterAll(() => {
  removeStack();
  rmSync(directory, { recursive: true, force: true });
});

function pulumi(...args: string[]): { code: number; text: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(projectRoot, "bin/hotpair.mjs"), "pulumi", "-s", STACK, "--", ...args, "--non-interactive"],
    {
      env: {
        ...process.env,
        PULUMI_BACKEND_URL: pathToFileURL(directory).href,
        PULUMI_CONFIG_PASSPHRASE: "hotpair-lab",
      },
      encoding: "utf8",
    },
  );
  return { code: status ?? 1, text: `${stdout}${stderr}` };
}

/** Previews the lab's stack as `edit` leaves it. */
function preview(edit: (text: string) => string): { code: number; text: string } {
  const text = edit(GOOD);
  expect(text).not.toBe(GOOD);
  removeStack = writeStack(STACK, text);
  pulumi("stack", "init", STACK);
  return pulumi("preview");
}

it("refuses every mandatory finding at once, in words, before a resource of the pair is registered", () => {
  const { code, text } = preview((stack) =>
    stack
      .replace("    vips:", "    vrrp:\n      advertInterval: 10ms\n    vips:")
      .replace("tier: standard", "tier: critical"),
  );
  expect(code).not.toBe(0);
  expect(text).toMatch(/is not applied: \d+ findings of its configuration must be put right first/);
  expect(text).toMatch(/hotpair:pair\.vrrp\.advertInterval: .* To fix: /);
  expect(text).not.toMatch(/^\s+at /m);
  expect(text).not.toMatch(/hotpair:index|remote:Command/);
});

it("refuses a secret in plain text, naming file and line and not the secret", () => {
  const plain = "ab".repeat(32);
  const { code, text } = preview((stack) => stack.replace(/beaconKey:\n +secure: .*/, `beaconKey: ${plain}`));
  expect(code).not.toBe(0);
  expect(text).toMatch(/beaconKey: .*plain text.*stacks\/Pulumi\.e2e-refuse\.yaml:\d+:\d+/);
  expect(text).not.toContain(plain);
});

it("leaves a stack file as it is when the stack is made", () => {
  removeStack = writeStack(STACK, GOOD);
  pulumi("stack", "rm", "--yes", "--force", STACK, "--preserve-config");
  pulumi("stack", "init", STACK);
  expect(readFileSync(stackPath(STACK), "utf8")).toBe(GOOD);
});
