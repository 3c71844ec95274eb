// The npm package of the classes for AWS: fetched by the user's own npm, believed only with the digest that was tested, and
// there whole or not at all. A stand-in for npm hands out what a test wants.

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UserError } from "../../infra/model/errors.ts";
import { awsPackage, awsPackageIsThere, installAwsPackage } from "../../infra/toolchain/aws-package.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-package-"));
  mkdirSync(join(directory, "bin"));
  vi.stubEnv("HOTPAIR_CACHE", join(directory, "cache"));
  vi.stubEnv("PATH", [join(directory, "bin"), process.env.PATH].join(delimiter));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

/** `npm` as a script; `$5` is the directory that it packs into. */
function npm(script: string): void {
  const file = join(directory, "bin/npm");
  writeFileSync(file, `#!/bin/sh\necho "$@" >> "${directory}/asked"\n${script}\n`);
  chmodSync(file, 0o755);
}

async function refusal(): Promise<{ readonly message: string; readonly details: string }> {
  try {
    await installAwsPackage(() => {});
  } catch (error) {
    if (error instanceof UserError) return { message: error.message, details: error.details.join("\n") };
    throw error;
  }
  throw new Error("nothing was refused");
}

test("an archive with another digest is not used, and nothing is left of it", async () => {
  npm('cd "$5" && mkdir package && echo {} > package/package.json && tar -czf pulumi-aws.tgz package && rm -r package');
  const { message, details } = await refusal();
  expect(message).toContain("is not the one that hotpair was tested with");
  expect(details).toMatch(/it is sha512-.*, expected sha512-/);
  expect(awsPackageIsThere()).toBe(false);
  expect(readdirSync(join(directory, "cache"))).toEqual([]);
});

test("where no registry can be reached, it is said what npm said, and what to do", async () => {
  npm('echo "npm error code ENOTFOUND" >&2; exit 1');
  const { message, details } = await refusal();
  expect(message).toMatch(/^npm pack failed: @pulumi\/aws@7\.48\.0 is not here/);
  expect(details).toContain("npm error code ENOTFOUND");
  expect(details).toContain(`bring ${awsPackage()}`);
  expect(readdirSync(join(directory, "cache"))).toEqual([]);
});

test("what is there is not fetched again", async () => {
  npm("exit 1");
  mkdirSync(awsPackage(), { recursive: true });
  writeFileSync(join(awsPackage(), "package.json"), "{}");
  await installAwsPackage(() => {});
  expect(readdirSync(directory)).not.toContain("asked");
});
