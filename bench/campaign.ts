// A campaign of random faults on the pair that keeps data, in a lab of the benchmark's own, so that several can run beside
// each other. Options: --seed TEXT (default 1), --steps N (default 250). Every step is kept at once in
// bench/results/lab-stateful/campaigns/SEED.jsonl; the same command goes on where an interrupted one ended. What is printed
// and kept at the end is the sum of all journals that lie there.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { campaignTable } from "../infra/cli/drill.ts";
import { dataPairUp } from "../infra/cli/lab-pair.ts";
import { campaign } from "../infra/drill/campaign-run.ts";
import { summarizeCampaign } from "../infra/evidence/campaign.ts";
import { campaignPath, parseCampaign } from "../infra/evidence/store.ts";
import { labDown } from "../infra/lab/lab.ts";
import { UserError } from "../infra/model/errors.ts";

const RESULTS = join(import.meta.dirname, "results");

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({
    args: [...args],
    options: { seed: { type: "string", default: "1" }, steps: { type: "string", default: "250" } },
  });
  const { seed } = values;
  const steps = Number(values.steps);
  if (!Number.isInteger(steps) || steps < 0) throw new UserError(`--steps ${values.steps}: expected a whole number`);
  const breakOff = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => breakOff.abort(new UserError("the campaign was broken off; its journal stays")));
  const lab = `bench-campaign-${seed}`;
  try {
    const settings = await dataPairUp(lab);
    const started = Date.now();
    const onProgress = (text: string) => console.log(`${Math.round((Date.now() - started) / 1_000)} s  ${text}`);
    await campaign({ ...settings, onProgress, signal: breakOff.signal }, { seed, steps, directory: RESULTS });
  } finally {
    await labDown(lab);
  }
  const journals = dirname(campaignPath(RESULTS, "lab-stateful", seed));
  const all = readdirSync(journals)
    .filter((file) => file.endsWith(".jsonl"))
    .map((file) => parseCampaign(readFileSync(join(journals, file), "utf8"), join(journals, file)));
  const seeds = all.map(({ header, steps: done }) => ({ seed: header.seed, steps: done.length }));
  const [first] = all;
  if (first === undefined) throw new Error("there is no journal");
  const sum = summarizeCampaign({ header: first.header, steps: all.flatMap((one) => one.steps) });
  console.log(campaignTable(seeds.map((one) => one.seed).join(", "), sum));
  return { seeds, ...sum };
}
