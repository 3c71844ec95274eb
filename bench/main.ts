// `npm run bench -- NAME [OPTIONS]`: runs one measurement and keeps its figures in bench/results/NAME.json, with the
// machine they were taken on. docs/measurements.md quotes them. Without a name: what there is.

import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { UserError } from "../infra/model/errors.ts";

export interface Benchmark {
  /** Measures, prints plain lines while it runs, answers what is to be kept. */
  run(args: readonly string[]): Promise<unknown>;
}

const BENCHMARKS: Readonly<Record<string, { what: string; load: () => Promise<Benchmark> }>> = {
  failover: { what: "recovery times over many power cuts and planned switches", load: () => import("./failover.ts") },
  "failover-data": {
    what: "the same for writes to the pair that keeps data",
    load: () => import("./failover-data.ts"),
  },
  campaign: {
    what: "random faults, one or two at a time, on the pair that keeps data",
    load: () => import("./campaign.ts"),
  },
  truth: {
    what: "estimates against drills, over pairs whose timers differ",
    load: () => import("./truth.ts"),
  },
  "cost-data": {
    what: "commits to the pair that keeps data against a single server",
    load: () => import("./cost-data.ts"),
  },
  drbd: { what: "a disk under DRBD, connected and not, against the same disk bare", load: () => import("./drbd.ts") },
  apply: { what: "first and no-op apply against an Ansible playbook", load: () => import("./apply.ts") },
  throughput: {
    what: "HAProxy through the pair's VIP against the same HAProxy bare",
    load: () => import("./throughput.ts"),
  },
  reload: { what: "requests lost while HAProxy reloads every second", load: () => import("./reload.ts") },
  quiet: { what: "false failovers under CPU and disk load", load: () => import("./quiet.ts") },
  plan: { what: "plan and render of 1 to 1,000 pairs", load: () => import("./plan.ts") },
};

const [name, ...args] = process.argv.slice(2);
const benchmark = name === undefined ? undefined : BENCHMARKS[name];
if (name === undefined || benchmark === undefined) {
  if (name !== undefined) console.error(`There is no benchmark "${name}".`);
  console.log(`npm run bench -- NAME, where NAME is one of:`);
  for (const [known, { what }] of Object.entries(BENCHMARKS)) console.log(`  ${known.padEnd(15)}${what}`);
  process.exit(name === undefined ? 0 : 2);
}

try {
  const { run } = await benchmark.load();
  const measured = await run(args);
  const machine = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
  };
  const directory = join(import.meta.dirname, "results");
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${name}.json`);
  writeFileSync(
    file,
    `${JSON.stringify({ benchmark: name, measuredAt: new Date().toISOString(), machine, measured }, null, 2)}\n`,
  );
  console.log(`kept in bench/results/${name}.json`);
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error([error.message, ...error.details.map((detail) => `  - ${detail}`)].join("\n"));
  process.exitCode = 2;
}
