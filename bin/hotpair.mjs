#!/usr/bin/env node
// Entry of the `hotpair` command. Plain JavaScript without imports from the project, so that it also starts under an old
// Node: then it starts again under the Node that the project brings, and says how to get that when it is not there.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(fileURLToPath(import.meta.url), "..", "..");
const needed = 24;
const own = join(root, "node_modules", ".bin", "node");

if (Number(process.versions.node.split(".")[0]) >= needed) {
  if (!existsSync(join(root, "node_modules", "commander"))) fail("its npm dependencies are not installed");
  await import("../infra/cli/main.ts");
} else if (existsSync(own)) {
  const again = spawnSync(own, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  if (again.error) fail(`${own} cannot be started (${again.error.message})`);
  // A command that was ended by a signal reports what a shell would: 128 and the signal's number.
  const signals = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
  process.exit(again.status ?? 128 + (signals[again.signal] ?? 0));
} else {
  fail(`it needs Node ${needed} or newer and was started with ${process.version}`);
}

function fail(why) {
  console.error(`hotpair cannot start: ${why}. In ${root} run: npm ci`);
  process.exit(2);
}
