// `npm run demo`: makes the machine ready, starts two real hosts, turns them into a pair, breaks the pair in every way
// there is and writes the report. `--stateful`: a pair that keeps data, with a witness, and a short campaign of random faults
// after the drills. `--keep` leaves the hosts running; other arguments go to `hotpair drill`.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { elapsed, ROOT, run } from "./project.mjs";
import { setup } from "./setup.mjs";

const REPORT = join(ROOT, "report.html");
const started = performance.now();
const keep = process.argv.includes("--keep");
const stateful = process.argv.includes("--stateful");
const stack = stateful ? "lab-stateful" : "lab";
const drillArguments = process.argv.slice(2).filter((argument) => !["--keep", "--stateful"].includes(argument));
/** Enough to see what a campaign does; its faults are the same every time. */
const CAMPAIGN = ["--campaign", "10", "--seed", "demo"];
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
    stateful
      ? ["Two bare hosts and a witness in the lab", () => hotpair("lab", "up", "--image", "bare", "--witness")]
      : ["Two bare hosts in the lab", () => hotpair("lab", "up", "--image", "bare")],
    ["pulumi up turns them into a hot pair", () => hotpair("up", "-s", stack, "--yes")],
    // The standby's database is a copy that is still being made when everything runs.
    ["Who is active", () => hotpair("status", "-s", stack, "--wait", "120")],
    ["Break the pair, measure as a client", () => hotpair("drill", "-s", stack, ...drillArguments)],
    ...(stateful ? [["Break it at random", () => hotpair("drill", "-s", stack, ...CAMPAIGN)]] : []),
  ]);
  console.log(`\n== Report (${elapsed(performance.now() - started)} since the start)`);
  const reported = await hotpair("report", "-s", stack, "--out", REPORT, "--open");
  exitCode ||= reported;
} finally {
  if (keep)
    console.log(
      `\nThe hosts stay up: \`npx hotpair status -s ${stack}\`, \`npx hotpair lab ssh node-a\`; \`npx hotpair lab down\` ends them.`,
    );
  else await hotpair("lab", "down");
}
if (existsSync(REPORT)) console.log(`\nReport: ${REPORT}`);
console.log(`Done in ${elapsed(performance.now() - started)}.`);
process.exit(exitCode);
