// `npm run demo`: makes the machine ready, starts two real hosts, turns them into a pair, breaks the pair in every way
// there is and writes the report. `--keep` leaves the hosts running; other arguments go to `hotpair drill`.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { elapsed, ROOT, run } from "./project.mjs";
import { setup } from "./setup.mjs";

const REPORT = join(ROOT, "report.html");
const started = performance.now();
const keep = process.argv.includes("--keep");
const drillArguments = process.argv.slice(2).filter((argument) => argument !== "--keep");
const hotpair = (...args) => run("node", ["bin/hotpair.mjs", ...args]);

/** Runs the steps in order until one fails; answers its exit code. */
async function inOrder(steps) {
  for (const [title, step] of steps) {
    console.log(`\n== ${title} (${elapsed(performance.now() - started)} since the start)`);
    const exitCode = await step();
    if (exitCode !== 0) return exitCode;
  }
  return 0;
}

await setup();
let exitCode = 1;
try {
  exitCode = await inOrder([
    ["Two bare hosts in the lab", () => hotpair("lab", "up", "--image", "bare")],
    ["pulumi up turns them into a hot pair", () => hotpair("up", "-s", "lab", "--yes")],
    ["Who is active", () => hotpair("status", "-s", "lab")],
    ["Break the pair, measure as a client", () => hotpair("drill", "-s", "lab", ...drillArguments)],
  ]);
  console.log(`\n== Report (${elapsed(performance.now() - started)} since the start)`);
  const reported = await hotpair("report", "-s", "lab", "--out", REPORT, "--open");
  exitCode ||= reported;
} finally {
  if (keep)
    console.log(
      "\nThe hosts stay up: `npx hotpair status -s lab`, `npx hotpair lab ssh node-a`; `npx hotpair lab down` ends them.",
    );
  else await hotpair("lab", "down");
}
if (existsSync(REPORT)) console.log(`\nReport: ${REPORT}`);
console.log(`Done in ${elapsed(performance.now() - started)}.`);
process.exit(exitCode);
