// Are the estimates true? Pairs whose timers differ, the failure classes whose length depends on timers, each drilled again
// and again in a lab of the configuration's own: the lower bound is to be at most the median, the upper bound at least the
// longest and at most twice as long. Options: --runs N (default 10), --configuration NAME (default all), --draw (measure
// nothing). Every run is kept at once in bench/results/truth/NAME.jsonl; the same command goes on where an interrupted one
// ended. What was measured is compared with the estimates of today, and drawn into docs/truth.md.
//
// As in failover.ts, service counts as back after one second without a failure.

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dataPairUp, pairUp } from "../infra/cli/lab-pair.ts";
import { setValue } from "../infra/config/edit.ts";
import { readStack } from "../infra/config/index.ts";
import type { DrillSettings } from "../infra/drill/runner.ts";
import type { Scenario } from "../infra/drill/scenario.ts";
import { percentile } from "../infra/evidence/summary.ts";
import { labDown } from "../infra/lab/lab.ts";
import { UNBOUNDED } from "../infra/model/duration.ts";
import { UserError } from "../infra/model/errors.ts";
import type { Estimate } from "../infra/model/estimate.ts";
import type { FailureClassId } from "../infra/model/failure.ts";
import { estimate } from "../infra/services/estimate.ts";
import { BACK_MS, DATA_BACK_MS, measuredOnce, scenarioCalled, withPowerBack } from "./failover.ts";
import { keptRuns } from "./kept.ts";
import { ROOT } from "./lab-pair.ts";
import { type Compared, page } from "./truth-page.ts";

const RESULTS = join(import.meta.dirname, "results", "truth");
const PAGE = join(ROOT, "docs", "truth.md");
const PICTURE = join(ROOT, "docs", "images", "truth.svg");
const QUIET_MS = 1_000;

interface Configuration {
  readonly name: string;
  /** In words, for the page. */
  readonly what: string;
  readonly data: boolean;
  /** Of the committed stack file. */
  readonly change: (text: string) => string;
  /** Scenarios beside those of every configuration of its kind. */
  readonly also?: readonly string[];
}

const set =
  (path: string, value: string | number) =>
  (text: string): string =>
    setValue(text, path.split("."), value);

/** What is ordinary in this lab while nothing else runs: a HAProxy started by itself, pages of a few bytes. The defaults allow for more. */
const QUIET_LIMITS = [set("limits.restore", "250ms"), set("limits.answer", "5ms")];

const changed = (change: Configuration["change"]) => (text: string) =>
  QUIET_LIMITS.reduce((now, limit) => limit(now), change(text));

const advert = (interval: string): Configuration => ({
  name: `advert-${interval}`,
  what: `adverts every ${interval}`,
  data: false,
  change: set("vrrp.advertInterval", interval),
});

const preferring = (text: string): string => text.replace(/( {8}routerId: 51\n)/, "$1        preferred: node-a\n");

/** Each at home on its own node. */
const twoVips = (text: string): string =>
  preferring(text).replace(
    /( {6}- name: )web(\n {8}address: \S+)\.100(\/24\n {8}routerId: )51(\n {8}preferred: node-)a\n/,
    "$&$1api$2.110$353$4b\n",
  );

const CONFIGURATIONS: readonly Configuration[] = [
  advert("20ms"),
  advert("50ms"),
  advert("100ms"),
  advert("200ms"),
  advert("500ms"),
  advert("1s"),
  { name: "priority", what: "priority 128: a skew of half an advert", data: false, change: set("vrrp.priority", 128) },
  {
    name: "slow-connect",
    what: "HAProxy gives a connection up after 200ms",
    data: false,
    change: set("haproxy.timeouts.connect", "200ms"),
  },
  { name: "preferred", what: "the VIP goes home", data: false, change: preferring, also: ["haproxy-hang"] },
  {
    name: "two-vips",
    what: "two VIPs, each at home on its own node",
    data: false,
    change: twoVips,
    also: ["haproxy-hang"],
  },
  { name: "data", what: "with data, takeover after 1.5s", data: true, change: (text) => text },
  {
    name: "data-slow",
    what: "with data, takeover after 2.5s",
    data: true,
    change: set("authority.lease.takeover", "2.5s"),
  },
  {
    name: "service-dead",
    what: "HAProxy counts as dead after 1.2s",
    data: false,
    change: set("arbiter.serviceDead", "1.2s"),
    also: ["haproxy-hang"],
  },
  {
    name: "data-advert-200ms",
    what: "with data, adverts every 200ms",
    data: true,
    change: set("vrrp.advertInterval", "200ms"),
  },
];

/** Of the classes that have an upper bound and an interruption, those whose bounds differ in their terms. */
const SCENARIOS = {
  plain: ["node-power-cut", "public-link-down", "keepalived-kill", "keepalived-hang", "haproxy-kill", "planned-switch"],
  data: ["node-power-cut", "public-link-down", "keepalived-kill", "lease-kill", "database-kill", "planned-switch"],
} as const;

/** A fault lasts this much longer than its interruption may, and at least that long: what comes after it is not measured here. */
const HOLD_BEYOND_MS = 500;
const HOLD_MS = 1_000;

/** One run as it is kept: a line of JSON. Times in milliseconds. */
interface Measured {
  readonly at: string;
  readonly scenario: string;
  readonly failure: FailureClassId;
  readonly rtoMs: number | null;
  /** How late the client itself was. */
  readonly lateMaxMs: number;
  readonly reasons: readonly string[];
}

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: "string", default: "10" },
      configuration: { type: "string" },
      draw: { type: "boolean", default: false },
    },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new UserError(`--runs ${values.runs}: expected a whole number`);
  const chosen = CONFIGURATIONS.filter(
    ({ name }) => values.configuration === undefined || name === values.configuration,
  );
  if (chosen.length === 0)
    throw new UserError(`--configuration ${values.configuration}: expected one of these`, [
      CONFIGURATIONS.map(({ name }) => name).join(", "),
    ]);
  if (!values.draw) for (const configuration of chosen) await measureAll(configuration, runs);

  const compared = CONFIGURATIONS.flatMap(compare);
  const { text, picture } = page(compared);
  writeFileSync(PICTURE, picture);
  const before = readFileSync(PAGE, "utf8");
  const generated = /(<!-- truth: begin[^\n]*-->\n)[\s\S]*(<!-- truth: end -->)/;
  if (!generated.test(before)) throw new Error(`${PAGE} has no place for the table`);
  writeFileSync(
    PAGE,
    before.replace(generated, (_, begin, end) => `${begin}${text}\n${end}`),
  );
  console.log(text);
  return compared;
}

async function measureAll(configuration: Configuration, runs: number): Promise<void> {
  const { name, data, change } = configuration;
  const file = join(RESULTS, `${name}.jsonl`);
  const lab = `truth-${name}`;
  const { pair } = pairOf(configuration);
  const estimates = estimate(pair);
  const scenarios = scenariosOf(configuration)
    .map(scenarioCalled)
    .filter((scenario) => scenario.inapplicable?.(pair) === undefined);
  const kept = keptRuns<Measured>(file);
  const missing = scenarios.map((applicable) => {
    const scenario = shortened(applicable, estimates);
    const there = kept.filter((one) => one.scenario === scenario.name).length;
    return { scenario, there, left: Math.max(0, runs - there) };
  });
  if (missing.every(({ left }) => left === 0)) return;
  mkdirSync(RESULTS, { recursive: true });
  try {
    const settings: DrillSettings = {
      ...(await (data ? dataPairUp(lab, changed(change)) : pairUp(lab, changed(change)))),
      quietMs: QUIET_MS,
      onProgress: () => undefined,
    };
    for (const { scenario, there, left } of missing)
      for (let number = there + 1; number <= there + left; number++) {
        const measured = await measureOne(scenario, data, settings);
        appendFileSync(file, `${JSON.stringify(measured)}\n`);
        console.log(`${name}, ${scenario.name} ${number} of ${runs}: out for ${measured.rtoMs} ms`);
      }
  } finally {
    await labDown(lab);
  }
}

const scenariosOf = ({ data, also }: Configuration): readonly string[] => [
  ...SCENARIOS[data ? "data" : "plain"],
  ...(also ?? []),
];

function shortened(scenario: Scenario, estimates: readonly Estimate[]): Scenario {
  const { upper } = promisedFor(scenario.failure, estimates);
  const holdMs = Math.max(HOLD_MS, upper + HOLD_BEYOND_MS);
  return { ...scenario, holdMs: Math.min(scenario.holdMs, holdMs) };
}

async function measureOne(scenario: Scenario, data: boolean, settings: DrillSettings): Promise<Measured> {
  const back = data ? DATA_BACK_MS : BACK_MS;
  const quick = scenario.failure === "node-power-cut" ? withPowerBack(scenario, back) : scenario;
  const [one] = (await measuredOnce(quick, settings)).runs;
  const direct = one?.clients.direct;
  if (one === undefined || direct === undefined) throw new Error("nothing was measured");
  return {
    at: new Date(one.faultAt).toISOString(),
    scenario: scenario.name,
    failure: scenario.failure,
    rtoMs: direct.rtoMs,
    lateMaxMs: direct.lateMaxMs ?? 0,
    reasons: one.reasons,
  };
}

/** Addresses and keys of a lab change no estimate, so that the committed stack serves. */
function pairOf({ data, change }: Configuration): ReturnType<typeof readStack> {
  const stack = data ? "lab-stateful" : "lab";
  const file = join(ROOT, "stacks", `Pulumi.${stack}.yaml`);
  return readStack(changed(change)(readFileSync(file, "utf8")), file, stack);
}

function compare(configuration: Configuration): readonly Compared[] {
  const { name, what } = configuration;
  const all = keptRuns<Measured>(join(RESULTS, `${name}.jsonl`));
  if (all.length === 0) return [];
  const estimates = estimate(pairOf(configuration).pair);
  return [...Map.groupBy(all, ({ failure }) => failure)].map(([failure, measured]) => {
    const promised = promisedFor(failure, estimates);
    const known = measured.map(({ rtoMs }) => rtoMs ?? Number.POSITIVE_INFINITY).sort((one, other) => one - other);
    return {
      configuration: name,
      what,
      failure,
      runs: measured.length,
      lowerMs: promised.lower,
      upperMs: promised.upper,
      formula: promised.formula,
      p50Ms: percentile(known, 0.5) ?? 0,
      maxMs: known.at(-1) ?? 0,
      // Bounds are compared here, with the estimates of today.
      broken: measured.flatMap(({ reasons }) => reasons.filter((reason) => !reason.includes("the estimate says"))),
    };
  });
}

function promisedFor(failure: FailureClassId, estimates: readonly Estimate[]) {
  const rto = estimates.find((one) => one.failure === failure)?.rto;
  if (rto === undefined || rto.upper === UNBOUNDED) throw new Error(`${failure} has no upper bound`);
  return { lower: rto.lower, upper: rto.upper, formula: rto.formula };
}
