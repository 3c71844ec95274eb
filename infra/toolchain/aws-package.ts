// The npm package @pulumi/aws, which only a stack in AWS uses. It is kept in hotpair's cache and not among the project's
// dependencies: Pulumi's Node host asks the engine for the plugin of every such package that it finds below the program
// (docs/decisions/aws.md). How its classes are used is in infra/components/aws-classes.ts.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "../machine/cache.ts";
import { UserError } from "../model/errors.ts";
import { AWS_PLUGIN_VERSION } from "../model/resource.ts";

const NAME = `@pulumi/aws@${AWS_PLUGIN_VERSION}`;

/** Of that version, as the public registry states it (`npm view @pulumi/aws@VERSION dist.integrity`). */
const INTEGRITY = "sha512-roKXYZ2EyjvapKYacvRQNUeW2UBI8MKwzO2338XwdXtCf75TabY4DVy56zY2HbnEU0H1fbBXct8oAx9ynQeMrA==";

/** Where the package is, once it is installed. */
export const awsPackage = (): string => join(cacheDirectory(), `pulumi-aws-${AWS_PLUGIN_VERSION}`);

export const awsPackageIsThere = (): boolean => existsSync(join(awsPackage(), "package.json"));

/** Fetches the package from the npm registry that the user's npm has, unless it is there. Throws UserError. */
export async function installAwsPackage(onStep: (line: string) => void): Promise<void> {
  if (awsPackageIsThere()) return;
  onStep(`fetching ${NAME}, once`);
  mkdirSync(cacheDirectory(), { recursive: true });
  // Beside its place, so that it appears whole, by a rename.
  const directory = mkdtempSync(`${awsPackage()}.`);
  try {
    // npm itself goes by the user's registry, proxy and credentials.
    await ran("npm", ["pack", NAME, "--silent", "--pack-destination", directory]);
    const archive = readdirSync(directory).find((name) => name.endsWith(".tgz"));
    if (archive === undefined) throw new UserError(`npm pack ${NAME} left no archive`, [AGAIN]);
    const found = `sha512-${createHash("sha512")
      .update(readFileSync(join(directory, archive)))
      .digest("base64")}`;
    if (found !== INTEGRITY)
      throw new UserError(`the registry's ${NAME} is not the one that hotpair was tested with`, [
        `it is ${found}, expected ${INTEGRITY}`,
        "do not use that registry until you know why",
      ]);
    await ran("tar", ["-xzf", join(directory, archive), "-C", directory]);
    try {
      renameSync(join(directory, "package"), awsPackage());
    } catch (error) {
      // Somebody else was quicker.
      if (!awsPackageIsThere()) throw error;
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const AGAIN = "try again: hotpair cloud install";

function ran(command: string, args: readonly string[]): Promise<void> {
  const failed = (why: string) =>
    new UserError(`${command} ${args[0]} failed: ${NAME} is not here, and a stack in AWS needs it`, [
      why,
      `where a registry can be reached, try again: hotpair cloud install; or bring ${awsPackage()} from such a machine`,
    ]);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.on("data", (data) => {
      errors = `${errors}${data}`.slice(-4_000);
    });
    child.on("error", (error) => reject(failed(error.message)));
    child.on("close", (code) => (code === 0 ? resolve() : reject(failed(errors.trim() || `exit code ${code}`))));
  });
}
