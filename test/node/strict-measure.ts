// Measures what docs/arbitration.md states of the strict gate: cuts of all networks between two nodes that both see the
// witness, again and again, as one line. Not a test: nothing is judged here.
//
//   node test/node/strict-measure.ts [--runs N] [--lab NAME]

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { clearDrops } from "../../infra/lab/faults.ts";
import { labDown } from "../../infra/lab/lab.ts";
import { Watcher } from "./arbiter-pair.ts";
import { StrictPair } from "./strict-pair.ts";

const { values } = parseArgs({
  options: { runs: { type: "string", default: "20" }, lab: { type: "string", default: "arms" } },
});
const pair = await StrictPair.up(values.lab);
try {
  const { active } = await pair.settledWithLease();
  const watcher = await Watcher.start(pair);
  const lengths: number[] = [];
  for (let run = 0; run < Number(values.runs); run++) {
    // At any phase between two renewals; some cuts shorter than a veto, most longer than everything.
    await sleep(1_000 + Math.random() * 100);
    lengths.push(Math.random() < 0.25 ? 100 + Math.random() * 900 : 2_000 + Math.random() * 2_000);
    await pair.cutBetween();
    await sleep(lengths.at(-1));
    await clearDrops(pair.lab);
  }
  await sleep(2_000);
  const { twoOwnersMs, noOwnerMs, gapMs, events } = await watcher.stop();
  const long = lengths.filter((length) => length >= 2_000).length;
  console.log(
    `${lengths.length} cuts of all networks between the nodes (${long} of them 2 to 4 s long), the witness seen by both: ` +
      `two owners ${twoOwnersMs.toFixed(1)} ms, no owner ${noOwnerMs.toFixed(1)} ms, movements ${events.length}, longest client gap ${gapMs.toFixed(0)} ms; ` +
      `owner before ${active}, after ${(await pair.owners()).join(" AND ") || "nobody"}`,
  );
  for (const [at, host, came] of events)
    console.log(`  ${new Date(at).toISOString()} ${host} ${came ? "came" : "gone"}`);
} finally {
  if (process.env.KEEP_LAB === undefined) await labDown(values.lab);
}
