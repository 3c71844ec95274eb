// `npm run model-check`: lets Spin look at every state of the lease's model (infra/node/lease/model/lease.pml): never two
// writers. Then it breaks one rule after the other on purpose, and Spin must find the two writers that the rule prevents.
// Installs nothing; says what is missing. Plain JavaScript, runs under any Node.
//
//   node scripts/model-check.mjs               everything
//   node scripts/model-check.mjs --only NAME   one of the rows that it prints

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MODEL = join(import.meta.dirname, "..", "infra", "node", "lease", "model", "lease.pml");

/** What is checked: the model's switches, and whether two writers must be found. */
const ROWS = [
  { name: "its own deadline", flags: [], broken: false },
  { name: "the watchdog, with pauses", flags: ["-DPAUSES"], broken: false },
  { name: "T as long as the rule's other side", flags: ["-DBAD_TAKEOVER"], broken: true },
  { name: "T as long as the rule's other side, with pauses", flags: ["-DPAUSES", "-DBAD_TAKEOVER"], broken: true },
  { name: "the deadline counted from the answer", flags: ["-DBAD_DEADLINE"], broken: true },
  // With a watchdog of one tick no answer can be late.
  { name: "the watchdog fed by late answers", flags: ["-DPAUSES", "-DBAD_FEED", "-DW=2"], broken: true },
  { name: "ready with a late answer", flags: ["-DPAUSES", "-DBAD_READY"], broken: true },
  { name: "taken over without a compare", flags: ["-DBAD_COMPARE"], broken: true },
  { name: "taken over by a node that is not in sync", flags: ["-DBAD_LIST"], broken: true },
  { name: "going on alone while the list may change", flags: ["-DBAD_SOLO"], broken: true },
  { name: "released before what writes has ended", flags: ["-DBAD_RELEASE"], broken: true },
  { name: "a start that cancels a pending stop", flags: ["-DBAD_START"], broken: true },
];

const missing = ["spin", "gcc"].filter((tool) => spawnSync(tool, ["-V"]).error !== undefined);
if (missing.length > 0) {
  console.error(
    `model-check: ${missing.join(" and ")} not found: apt-get install ${missing.join(" ")} (Debian, Ubuntu)`,
  );
  process.exit(2);
}

const only = process.argv.indexOf("--only");
const rows = only < 0 ? ROWS : ROWS.filter((row) => row.name === process.argv[only + 1]);
if (rows.length === 0) {
  console.error(`model-check: no such row; there are:\n${ROWS.map((row) => `  ${row.name}`).join("\n")}`);
  process.exit(2);
}
let fine = true;
for (const row of rows) fine = check(row) && fine;
process.exit(fine ? 0 : 1);

/** Runs Spin on one row and says what came of it; true when that is what must come. */
function check({ name, flags, broken }) {
  const started = performance.now();
  const work = mkdtempSync(join(tmpdir(), "hotpair-model-"));
  try {
    copyFileSync(MODEL, join(work, "lease.pml"));
    run(work, "spin", ["-a", ...flags, "lease.pml"]);
    // A mistake is looked for breadth first: the shortest way to two writers. That there is none takes every state, which
    // depth first needs 2 GB for, and paths of up to 3 million steps.
    const search = broken ? ["-DBFS"] : [];
    run(work, "gcc", ["-w", "-O2", "-DSAFETY", "-DCOLLAPSE", ...search, "-DVECTORSZ=512", "-o", "pan", "pan.c"]);
    const text = run(work, join(work, "pan"), broken ? ["-w24"] : ["-w26", "-m8000000"]);
    const found = /assertion violated/.test(text);
    const complete = !/not completed|aborted|out of memory|max search depth|interrupted/.test(text) || found;
    const states = text.match(/^\s*(\S+) states, stored/m)?.[1] ?? "?";
    const passed = broken ? found : complete && !found && /errors: 0/.test(text);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    const kind = broken ? "broken on purpose: " : "";
    const result = found ? "two writers" : complete ? "never two writers" : "not finished";
    console.log(`${passed ? "as it must" : "WRONG"}: ${kind}${name}: ${result} (${states} states, ${seconds} s)`);
    if (!passed) console.log(text);
    return passed;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(cwd, command, args) {
  const result = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  const text = `${result.stdout ?? ""}${result.stderr ?? ""}`;
  if (result.error !== undefined || (result.status !== 0 && !/assertion violated/.test(text))) {
    console.error(`model-check: ${command} ${args.join(" ")}: ${result.error?.message ?? text}`);
    process.exit(1);
  }
  return text;
}
