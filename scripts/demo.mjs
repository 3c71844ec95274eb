// `npm run demo`: makes the machine ready, starts two real hosts, turns them into a pair, breaks the pair in every way
// there is and writes the report. `--stateful`: a pair that keeps data, with a witness, and a short campaign of random faults
// after the drills. `--drbd`: a pair of virtual machines with a replicated disk, under the drills that are special to it.
// `--keep` leaves the hosts running; other arguments go to `hotpair drill`.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { elapsed, ROOT, run } from "./project.mjs";
import { setup } from "./setup.mjs";

const REPORT = join(ROOT, "report.html");
const started = performance.now();
const keep = process.argv.includes("--keep");
const stateful = process.argv.includes("--stateful");
const drbd = process.argv.includes("--drbd");
const stack = drbd ? "lab-drbd" : stateful ? "lab-stateful" : "lab";
const own = ["--keep", "--stateful", "--drbd"];
const given = process.argv.slice(2).filter((argument) => !own.includes(argument));
/** Two minutes each on emulated processors, so not all there are; and no denser client than they can answer. */
const DISK_DRILLS = [
  ...["node-power-cut", "standby-power-cut", "planned-switch", "storage-link-down", "freeze-primary", "kernel-panic"],
  ...["clock-jump", "replicated-disk-failure", "isolated-primary", "witness-down-then-power-cut", "both-power-cut"],
  ...["database-kill", "unmount-hang"],
];
const drillArguments =
  drbd && !given.includes("--scenario") ? ["--rate", "500ms", ...given, "--scenario", ...DISK_DRILLS] : given;
const labArguments = drbd
  ? ["--image", "ready", "--witness", "--machines"]
  : ["--image", "bare", ...(stateful ? ["--witness"] : [])];
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

/** Both disks are new; node-a's is the one whose data would count. */
const setUpDisk = () => {
  const onNode = (node, ...words) => hotpair("lab", "exec", node, "--", "/usr/lib/hotpair/hotpair-drbd", ...words);
  return inOrder([
    ["node-a: prepare", () => onNode("node-a", "prepare", "--read-all")],
    ["node-b: prepare", () => onNode("node-b", "prepare", "--read-all")],
    ["node-a: begin", () => onNode("node-a", "begin")],
  ]);
};

await setup();
let exitCode = 1;
try {
  exitCode = await inOrder([
    [
      drbd
        ? "Two virtual machines and a witness in the lab"
        : stateful
          ? "Two bare hosts and a witness in the lab"
          : "Two bare hosts in the lab",
      () => hotpair("lab", "up", ...labArguments),
    ],
    ["pulumi up turns them into a hot pair", () => hotpair("up", "-s", stack, "--yes")],
    ...(drbd ? [["The replicated disk is set up, as docs/drbd.md says", () => setUpDisk()]] : []),
    // The standby's database is a copy that is still being made when everything runs.
    ["Who is active", () => hotpair("status", "-s", stack, "--wait", drbd ? "300" : "120")],
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
