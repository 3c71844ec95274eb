// Recovery times as distributions: the active node loses power, or the operator switches, many times over, in a lab of the
// benchmark's own. Options: --runs N (default 300), --advert INTERVAL (default 100ms), --kind power-cut|switch (default
// both), --keep (the lab stays up). With --data (failover-data.ts) it is the pair that keeps data, under write load: how
// long writes are out, and what the ledger proves. Every run is kept at once in bench/results/failover-KIND-ADVERT.jsonl;
// the same command goes on where an interrupted one ended.
//
// The quiet time that RTO asks for is one second here instead of ten: an outage that returns later than that would be
// another run's failed baseline, and 300 runs fit into an hour.

import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dataPairUp, pairUp } from "../infra/cli/lab-pair.ts";
import { type DrillSettings, drill } from "../infra/drill/runner.ts";
import type { Scenario } from "../infra/drill/scenario.ts";
import { scenarioNamed } from "../infra/drill/scenarios.ts";
import type { Evidence, Run } from "../infra/evidence/schema.ts";
import { percentile } from "../infra/evidence/summary.ts";
import { labDown } from "../infra/lab/lab.ts";
import { type Duration, parseDuration } from "../infra/model/duration.ts";
import { UserError } from "../infra/model/errors.ts";
import { masterDownInterval, skewTime } from "../infra/model/vrrp.ts";
import { keptRuns } from "./kept.ts";

const LAB = "bench-failover";
const RESULTS = join(import.meta.dirname, "results");
const QUIET_MS = 1_000;
/** When power comes back: after the takeover. */
export const BACK_MS = 1_000;
export const DATA_BACK_MS = 2_500;
/** A client that was this late measured itself as well. */
const DISTURBED_MS = 20;
const ATTEMPTS = 5;
const KINDS = { "power-cut": "node-power-cut", switch: "planned-switch" } as const;
type Kind = keyof typeof KINDS;

/** One run as it is kept: a line of JSON. Times in milliseconds. */
interface Measured {
  readonly at: string;
  readonly rtoMs: number | null;
  readonly fromFaultMs: number | null;
  readonly failed: number;
  readonly failedTwice: number;
  readonly noOwnerMs: number;
  readonly twoOwnersMs: number;
  readonly lateMaxMs: number;
  readonly reasons: readonly string[];
  /** Of a pair that keeps data. */
  readonly data?: {
    readonly acknowledged: number;
    readonly lost: number;
    readonly twoWritersMs: number;
    readonly redundantAfterMs: number | null;
    /** From the last moment at which the old primary could write to the first at which the new one could. */
    readonly writePauseMs: number | null;
  };
}

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: "string", default: "300" },
      advert: { type: "string", default: "100ms" },
      kind: { type: "string" },
      keep: { type: "boolean", default: false },
      data: { type: "boolean", default: false },
    },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new UserError(`--runs ${values.runs}: expected a whole number`);
  const advert = parseDuration(values.advert);
  if (advert === undefined) throw new UserError(`--advert ${values.advert}: expected a time, e.g. 50ms`);
  const kinds = Object.keys(KINDS).filter((kind) => values.kind === undefined || kind === values.kind) as Kind[];
  if (kinds.length === 0) throw new UserError(`--kind ${values.kind}: expected ${Object.keys(KINDS).join(" or ")}`);

  const summary: Record<string, unknown> = {};
  let settings: DrillSettings | undefined;
  try {
    for (const kind of kinds) {
      const of = values.data ? "data" : values.advert;
      const file = join(RESULTS, `failover-${kind}-${of}.jsonl`);
      const kept = keptRuns<Measured>(file);
      if (kept.length > 0) console.log(`${kind}: ${kept.length} runs are there already`);
      if (kept.length < runs) {
        settings ??= {
          ...(values.data
            ? await dataPairUp(LAB)
            : await pairUp(LAB, (text) =>
                text.replace("    vips:", `    vrrp:\n      advertInterval: ${values.advert}\n    vips:`),
              )),
          quietMs: QUIET_MS,
          onProgress: () => undefined,
        };
        const scenario = withPowerBack(scenarioCalled(KINDS[kind]), values.data ? DATA_BACK_MS : BACK_MS);
        await measure(scenario, kind, runs - kept.length, kept.length, file, settings);
      }
      const all = keptRuns<Measured>(file).slice(0, runs);
      summary[values.data ? `${kind} with data` : `${kind} at ${values.advert}`] = values.data
        ? summariseData(kind, all)
        : summarise(kind, all, advert);
    }
  } finally {
    if (!values.keep) await labDown(LAB);
  }
  return summary;
}

/**
 * The fault as the drill has it; only its undo comes sooner, since a run need not show a long one. Not while the survivor
 * takes over, though: the machine's cores are everybody's, and a node that boots would slow it down.
 */
export function withPowerBack(scenario: Scenario, backAfterMs: number): Scenario {
  const actions = scenario.actions.map((action) => (action.kind === "power-cut" ? { ...action, backAfterMs } : action));
  return { ...scenario, actions, holdMs: Math.min(scenario.holdMs, backAfterMs) };
}

export function scenarioCalled(name: string): Scenario {
  const scenario = scenarioNamed(name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  return scenario;
}

async function measure(
  scenario: Scenario,
  kind: Kind,
  runs: number,
  before: number,
  file: string,
  settings: DrillSettings,
): Promise<void> {
  mkdirSync(RESULTS, { recursive: true });
  const started = Date.now();
  for (let number = 1; number <= runs; number++) {
    const [one] = (await measuredOnce(scenario, settings)).runs;
    const direct = one?.clients.direct;
    if (one === undefined || direct === undefined) throw new Error("nothing was measured");
    const measured: Measured = {
      at: new Date(one.faultAt).toISOString(),
      rtoMs: direct.rtoMs,
      fromFaultMs: direct.rtoFromFaultMs,
      failed: direct.failed,
      failedTwice: direct.failedTwice ?? 0,
      noOwnerMs: Math.max(...Object.values(one.ownership.noOwnerMs)),
      twoOwnersMs: Math.max(...Object.values(one.ownership.twoOwnersMs)),
      lateMaxMs: direct.lateMaxMs ?? 0,
      reasons: one.reasons,
      ...(one.ledger && one.writers ? { data: dataOf(one.ledger, one.writers) } : {}),
    };
    appendFileSync(file, `${JSON.stringify(measured)}\n`);
    const left = ((Date.now() - started) / number) * (runs - number);
    console.log(
      `${kind} ${before + number}: out for ${measured.rtoMs} ms, no owner ${measured.noOwnerMs} ms, ${one.verdict}; ${Math.ceil(left / 60_000)} min left`,
    );
  }
}

/** On a busy machine a drill may measure nothing: then it is made again. */
export async function measuredOnce(scenario: Scenario, settings: DrillSettings): Promise<Evidence> {
  for (let attempt = 1; ; attempt++)
    try {
      return await drill(scenario, 1, settings);
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof Error)) throw error;
      console.log(error.message);
    }
}

function dataOf(
  { primary }: NonNullable<Run["ledger"]>,
  writers: NonNullable<Run["writers"]>,
): NonNullable<Measured["data"]> {
  const before = writers.spans.findLast(({ fromMs }) => fromMs <= 0);
  const after = writers.spans.find(({ fromMs }) => fromMs > 0);
  return {
    acknowledged: primary.acknowledged,
    lost: primary.missing.count,
    twoWritersMs: writers.twoWritersMs,
    redundantAfterMs: writers.redundantAfterMs,
    writePauseMs:
      typeof before?.untilMs === "number" && after !== undefined ? round(after.fromMs - before.untilMs) : null,
  };
}

function summarise(kind: Kind, all: readonly Measured[], advert: Duration): unknown {
  // The pair's default priority, infra/config.
  const priority = 253;
  const interval = 10;
  const boundMs = (kind === "switch" ? skewTime(advert, priority) : masterDownInterval(advert, priority)) + interval;
  const rto = distribution(all.map((one) => one.rtoMs));
  const gap = distribution(all.map((one) => one.noOwnerMs));
  const undisturbed = distribution(all.filter((one) => one.lateMaxMs <= DISTURBED_MS).map((one) => one.rtoMs));
  const figures = {
    runs: all.length,
    boundMs: round(boundMs),
    rtoMs: rto,
    rtoUndisturbedMs: undisturbed,
    vipGapMs: gap,
    worstTwoOwnersMs: Math.max(0, ...all.map((one) => one.twoOwnersMs)),
    requestsFailed: sum(all.map((one) => one.failed)),
    requestsFailedTwice: sum(all.map((one) => one.failedTwice)),
    notAsPromised: all.filter((one) => one.reasons.length > 0).length,
  };
  const share = rto.p99 === null ? "" : ` (p99 is ${round(rto.p99 / boundMs)} of the bound)`;
  console.log(
    `${kind}, ${all.length} runs: out for p50 ${rto.p50}, p99 ${rto.p99}, max ${rto.max} ms; bound ${figures.boundMs} ms${share}; ` +
      `${undisturbed.runs} runs without a late client: p99 ${undisturbed.p99} ms; VIP gap p99 ${gap.p99} ms; ` +
      `two owners at most ${figures.worstTwoOwnersMs} ms; ${figures.requestsFailedTwice} requests that a repetition would not have mended`,
  );
  if (all.length < 100) console.log("fewer than 100 runs: this p99 is the maximum");
  return figures;
}

/** There is no bound to compare with but the estimate's own, which every run was judged by. */
function summariseData(kind: Kind, all: readonly Measured[]): unknown {
  const data = all.flatMap((one) => (one.data === undefined ? [] : [one.data]));
  const figures = {
    runs: all.length,
    outForMs: distribution(all.map((one) => one.rtoMs)),
    writePauseMs: distribution(data.map((one) => one.writePauseMs)),
    redundantAfterMs: distribution(data.map((one) => one.redundantAfterMs)),
    worstTwoOwnersMs: Math.max(0, ...all.map((one) => one.twoOwnersMs)),
    worstTwoWritersMs: Math.max(0, ...data.map((one) => one.twoWritersMs)),
    acknowledged: sum(data.map((one) => one.acknowledged)),
    lost: sum(data.map((one) => one.lost)),
    notAsPromised: all.filter((one) => one.reasons.length > 0).length,
  };
  console.log(
    `${kind} with data, ${all.length} runs: out for p50 ${figures.outForMs.p50}, p99 ${figures.outForMs.p99}, max ${figures.outForMs.max} ms; ` +
      `nobody could write for p50 ${figures.writePauseMs.p50}, p99 ${figures.writePauseMs.p99} ms; ` +
      `${figures.acknowledged} writes acknowledged, ${figures.lost} lost; two writers at most ${figures.worstTwoWritersMs} ms`,
  );
  if (all.length < 100) console.log("fewer than 100 runs: this p99 is the maximum");
  return figures;
}

/** null among the values (service did not come back) counts as worse than everything. */
function distribution(values: readonly (number | null)[]): {
  runs: number;
  p50: number | null;
  p99: number | null;
  max: number | null;
} {
  const ascending = values.map((value) => value ?? Number.POSITIVE_INFINITY).sort((one, other) => one - other);
  const at = (share: number) => {
    const value = percentile(ascending, share);
    return value === null || !Number.isFinite(value) ? null : round(value);
  };
  return { runs: values.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const round = (value: number): number => Math.round(value * 100) / 100;
