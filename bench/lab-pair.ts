// The pair that measurements use: the `default` lab under the committed stack `lab`, brought up through the same commands
// that a user types. Refuses to take over a lab that somebody is using.

import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { findLab, type Lab, labDown } from "../infra/lab/lab.ts";
import { UserError } from "../infra/model/errors.ts";

export const ROOT = join(import.meta.dirname, "..");
export const VIP = "198.18.0.100";

export interface Timed {
  readonly milliseconds: number;
  readonly output: string;
}

/** Runs `hotpair ARGS`; throws with its output when it fails. */
export function hotpair(...args: readonly string[]): Timed {
  return timed(process.execPath, [join(ROOT, "bin/hotpair.mjs"), ...args]);
}

export function timed(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Timed {
  const started = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: ROOT,
    env,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  const milliseconds = performance.now() - started;
  const output = `${stdout}${stderr}`;
  if (status !== 0)
    throw new Error(`${command} ${args.join(" ")} ended with ${error ?? status}:\n${output.slice(-4_000)}`);
  return { milliseconds, output };
}

/** Runs `work` with two fresh hosts, packages present; takes them down whatever happens. */
export async function withLab<T>(work: (lab: Lab) => Promise<T>): Promise<T> {
  if (findLab("default") !== undefined)
    throw new UserError("the default lab is in use", ["end it with: npx hotpair lab down"]);
  try {
    hotpair("lab", "up", "--image", "ready");
    const lab = findLab("default");
    if (lab === undefined) throw new Error("the lab came up and is not there");
    return await work(lab);
  } finally {
    forgetStack();
    await labDown("default");
  }
}

/** The hosts of the next round are new ones; a stack that no round made yet is fine. */
function forgetStack(): void {
  const remove = ["pulumi", "--", "stack", "rm", "lab", "--yes", "--force", "--preserve-config"];
  spawnSync(process.execPath, [join(ROOT, "bin/hotpair.mjs"), ...remove], { cwd: ROOT, stdio: "ignore" });
}

/** The same with the pair applied and healthy. */
export const withPair = <T>(work: (lab: Lab) => Promise<T>): Promise<T> =>
  withLab((lab) => {
    hotpair("up", "-s", "lab", "--yes");
    return work(lab);
  });

/** A program from Debian's packages; says which package brings it. */
export function requireProgram(name: string, debianPackage: string): void {
  if (!(process.env.PATH ?? "").split(":").some((directory) => existsSync(join(directory, name))))
    throw new UserError(`${name} is not installed`, [`install it with: apt-get install ${debianPackage}`]);
}

/** Starts a long-running command on a host of the lab; ends with its standard input, so it cannot outlive us. */
export function background(lab: Lab, host: "node-a" | "node-b", script: string): { stop: () => void } {
  const child = spawn(
    process.execPath,
    [join(ROOT, "bin/hotpair.mjs"), "lab", "exec", host, "--name", lab.name, "--", "sh", "-c", script],
    {
      stdio: ["pipe", "ignore", "inherit"],
    },
  );
  return { stop: () => child.stdin.end() };
}

export const median = (values: readonly number[]): number => {
  const ascending = [...values].sort((one, other) => one - other);
  return ascending[Math.floor(ascending.length / 2)] ?? Number.NaN;
};
