// What the project's scripts share: where the project is, and how to run one of its commands under its own Node. Plain
// JavaScript without dependencies, since it runs under the machine's Node before anything is installed.

import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

export const ROOT = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "..");

/** The environment in which the project's own Node, installed by npm, comes first. */
export const projectEnvironment = () => ({
  ...process.env,
  PATH: [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter),
});

/** Runs a command in the project with its output on ours; resolves with the exit code. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env: projectEnvironment(), stdio: "inherit", ...options });
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(signal === null ? code : 1));
  });
}

/** Milliseconds as a person reads them: `0.4 s`, `1 min 12 s`. */
export function elapsed(milliseconds) {
  const seconds = milliseconds / 1000;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
