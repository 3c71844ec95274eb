#!/usr/bin/env node
// Entry of the `hotpair` command. Plain JavaScript without imports from the project, so that it also starts under an old
// Node: then it starts again under the Node that the project brings, and says how to get that when it is not there.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(fileURLToPath(import.meta.url), "..", "..");
const needed = 24;
const own = join(root, "node_modules", ".bin", "node");

if (Number(process.versions.node.split(".")[0]) >= needed) {
  if (!existsSync(join(root, "node_modules", "commander"))) fail("its npm dependencies are not installed");
  // What V8 compiled is kept: a command then starts in half the time.
  const { enableCompileCache } = await import("node:module");
  const caches = process.env.XDG_CACHE_HOME?.startsWith("/") ? process.env.XDG_CACHE_HOME : join(homedir(), ".cache");
  enableCompileCache(join(process.env.HOTPAIR_CACHE ?? join(caches, "hotpair"), "compiled"));
  await import("../infra/cli/main.ts");
} else if (existsSync(own)) {
  const child = spawn(own, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // Ctrl-C reaches both by itself; this process stays to hand on the exit code.
  process.on("SIGINT", () => undefined);
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`${own} cannot be started (${error.message})`));
  // A command that was ended by a signal reports what a shell would: 128 and the signal's number.
  child.on("close", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
} else {
  fail(`it needs Node ${needed} or newer and was started with ${process.version}`);
}

function fail(why) {
  console.error(`hotpair cannot start: ${why}. In ${root} run: npm ci`);
  process.exit(2);
}
