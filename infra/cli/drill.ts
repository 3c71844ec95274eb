// `hotpair drill`: break the pair on purpose and measure what clients see. Thin: which scenarios there are, how one runs
// and what it proves is in infra/drill.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { type Command, InvalidArgumentError } from "commander";
import { campaign } from "../drill/campaign-run.ts";
import { groundOf, placeOf } from "../drill/host.ts";
import { proofOf } from "../drill/proof.ts";
import { type DrillSettings, drill, preflight, versionsOf, waitUntilWhole } from "../drill/runner.ts";
import { type Ground, type Scenario, unfit } from "../drill/scenario.ts";
import { SCENARIOS, scenarioNamed } from "../drill/scenarios.ts";
import { inOrderOfNeed, type Stop, type WindowReport } from "../drill/window.ts";
import { type CampaignSummary, type Distribution, summarizeCampaign } from "../evidence/campaign.ts";
import { configDigest } from "../evidence/digest.ts";
import { showRate } from "../evidence/rate.ts";
import type { Evidence } from "../evidence/schema.ts";
import { campaignPath, evidenceDirectory, evidencePath } from "../evidence/store.ts";
import { summarize } from "../evidence/summary.ts";
import { type Duration, formatDuration, ms, parseDuration } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import { clientOf, DEFAULT_CLIENT } from "../model/estimate.ts";
import type { Pair } from "../model/pair.ts";
import { estimate } from "../services/estimate.ts";
import { signerOf, signOption } from "./evidence.ts";
import { describeReport, guardOf, install, keepReport, listSchedules, remove } from "./schedule.ts";
import { keyPathsOf, openSecrets } from "./servers.ts";
import { type LoadedStack, loadStack, stackOption } from "./stack.ts";
import { announce, columns } from "./terminal.ts";

/** After a drill that was broken off, servers may have to boot. */
const HEAL_MS = 180_000;

interface Options {
  readonly stack?: string;
  readonly scenario?: string[];
  readonly list: boolean;
  readonly runs: number;
  readonly rate: Duration;
  readonly evidence: string;
  readonly sign?: string;
  readonly yes: boolean;
  readonly json: boolean;
  readonly schedule?: string;
  readonly within?: string;
  readonly window: Duration;
  readonly maxLag: Duration;
  readonly alerts?: string;
  readonly units?: string;
  readonly campaign?: number;
  readonly seed?: string;
  readonly step?: number;
}

export function register(program: Command): void {
  program
    .command("drill")
    .description("break the pair on purpose and measure what clients see")
    .addOption(stackOption())
    .option("--scenario <names...>", "only these; default: all that apply to the pair and its place")
    .option("--list", "show the scenarios and end", false)
    .option("--runs <n>", "how often each scenario is run", wholeNumber, 1)
    .option(
      "--rate <interval>",
      "time between two requests of the client, e.g. 10ms",
      interval,
      DEFAULT_CLIENT.interval,
    )
    .option("--evidence <directory>", "where the evidence is kept", evidenceDirectory())
    .addOption(signOption())
    .option("--yes", "do not ask before real servers are broken", false)
    .option("--json", "print what was measured as JSON", false)
    .option(
      "--campaign <n>",
      "n steps of random faults on a loaded pair instead of scenarios; goes on where it ended",
      wholeNumber,
    )
    .option("--seed <text>", "what the campaign's faults are drawn from; the same seed gives the same steps", seed)
    .option("--schedule <when|off|list>", 'drill regularly, by a systemd timer of this machine, e.g. "Sun 03:00"')
    .option("--within <when>", "drill only in the window that begins at this calendar time, and keep a report of it")
    .option("--window <length>", "how long a window is open", stretch, stretch("2h"))
    .option("--max-lag <time>", "in a window: no drill while the replica is further behind", stretch, stretch("5s"))
    .option("--alerts <url>", "in a window: no drill while an alert of this Alertmanager fires", address)
    .option("--units <directory>", "with --schedule: where systemd reads its units")
    .option("--step <k>", "with --seed: only this step of the campaign, again", wholeNumber)
    .action(run);
}

async function run(options: Options): Promise<void> {
  if (options.list && options.stack === undefined && process.env.PULUMI_STACK === undefined) return list(options);
  if (options.schedule === "list" && options.stack === undefined) return listSchedules(undefined, options);
  const loaded = loadStack(options.stack);
  const { stack, pair } = loaded;
  if (options.list) return list(options, pair);
  if (options.schedule !== undefined) return schedule(options.schedule, options, loaded);
  const sign = signerOf(options, pair);
  const place = await placeOf(pair, await openSecrets(loaded, keyPathsOf(pair)));
  const campaigning = options.campaign !== undefined || options.step !== undefined;
  if (campaigning && options.scenario !== undefined)
    throw new UserError("--campaign draws its own faults: leave --scenario out");
  if (options.seed !== undefined && !campaigning)
    throw new UserError("--seed is for a campaign", ["say how many steps with --campaign N"]);
  if (options.step !== undefined && options.seed === undefined)
    throw new UserError("--step repeats a step of a campaign", ["say which campaign with --seed TEXT"]);
  if (options.within !== undefined && campaigning)
    throw new UserError("--within is for scenarios: a campaign is for the lab, where nobody minds");
  const { chosen: asked, skipped } = campaigning
    ? { chosen: [], skipped: [] }
    : choose(options.scenario, pair, groundOf(place));
  const proof = proofOf(stack, pair, options.evidence);
  const chosen = options.within === undefined ? asked : inOrderOfNeed(asked, proof.drills, proof.configDigest);
  if (place.lab === undefined && !campaigning) await confirm(pair, chosen, options.yes);

  const started = Date.now();
  const say = (text: string) => console.error(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  const breakOff = new AbortController();
  const interrupted = () => breakOff.abort(new UserError("the drill was broken off, and its fault undone"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupted);

  const guard = options.within === undefined ? undefined : guardOf(options, options.within, place, breakOff.signal);
  const [first] = chosen;
  let stop = first && (await guard?.(first, true));
  if (stop !== undefined) return reportWindow(options, stack, started, { all: [], broken: [], chosen, stop });
  await preflight(place, undefined, breakOff.signal);
  const settings: DrillSettings = {
    stack,
    place,
    estimates: estimate(pair, { ...clientOf(pair), interval: options.rate }),
    configDigest: configDigest(pair),
    versions: await versionsOf(place),
    directory: options.evidence,
    sign,
    intervalMs: options.rate,
    deadlineMs: DEFAULT_CLIENT.deadline,
    onProgress: say,
    signal: breakOff.signal,
  };
  if (campaigning) {
    const { seed = randomBytes(4).toString("hex"), campaign: steps = 0, step } = options;
    const done = await campaign(settings, { seed, steps, only: step, directory: options.evidence });
    const sum = summarizeCampaign(done);
    console.log(options.json ? JSON.stringify({ seed, ...sum }, undefined, 2) : campaignTable(seed, sum));
    if (!options.json && step === undefined) console.log(`journal: ${campaignPath(options.evidence, stack, seed)}`);
    process.exitCode = sum.violations.length > 0 || sum.brokenOff === sum.steps ? 1 : 0;
    return;
  }
  const all: Evidence[] = [];
  const broken: { scenario: string; why: Error }[] = [];
  for (const scenario of chosen) {
    stop = await guard?.(scenario, scenario === first);
    if (stop !== undefined) break;
    try {
      all.push(await drill(scenario, options.runs, settings));
    } catch (error) {
      if (guard !== undefined && breakOff.signal.aborted)
        reportWindow(options, stack, started, { all, broken, chosen, stop: INTERRUPTED });
      breakOff.signal.throwIfAborted();
      if (!(error instanceof Error)) throw error;
      say(`${scenario.name}: ${error.message}`);
      broken.push({ scenario: scenario.name, why: error });
      // One drill that went wrong says nothing about the next; a pair that stays ill does.
      if ((await waitUntilWhole(place, HEAL_MS, breakOff.signal)).problems.length > 0) break;
    }
    // Nobody watches: what went wrong once is not tried again and again until morning.
    if (guard !== undefined && (broken.length > 0 || exitCode(all) === 1)) {
      stop = { why: "a drill did not go as promised, and somebody has to look first", regular: false };
      break;
    }
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupted);

  if (guard !== undefined) reportWindow(options, stack, started, { all, broken, chosen, stop });
  if (options.json) {
    const left = broken.map(({ scenario, why }) => ({ scenario, error: why.message }));
    console.log(JSON.stringify([...all.map((one) => brief(one, options.evidence)), ...left], undefined, 2));
  } else {
    console.log(table(all));
    for (const [why, group] of Map.groupBy(skipped, (one) => one.why))
      console.log(`not run, since ${why}: ${group.map(({ scenario }) => scenario.name).join(", ")}`);
    for (const { scenario, why } of broken)
      console.log([`broken off: ${scenario}: ${why.message}`, ...detailsOf(why)].join("\n  "));
    const never = chosen.length - all.length - broken.length;
    if (never > 0 && guard === undefined)
      console.log(`${never} scenarios were not begun: the pair did not become whole again`);
    console.log(`evidence: ${join(options.evidence, stack)}`);
  }
  process.exitCode = broken.length > 0 || stop?.regular === false ? 1 : exitCode(all);
}

/** `--schedule`: installs, removes or shows the timer; drills nothing itself. */
async function schedule(what: string, options: Options, { stack, pair }: LoadedStack): Promise<void> {
  if (what === "list") return listSchedules(stack, options);
  if (what === "off") return remove(stack, options);
  // A key that does not sign, and a scenario that there is not, are told now and not at night.
  signerOf(options, pair);
  choose(options.scenario, pair, "servers");
  await install(stack, what, options, pair.nodes.map((node) => `${node.name} (${node.ssh.host})`).join(" and "));
}

const INTERRUPTED: Stop = { why: "somebody stopped it", regular: false };

interface Windowed {
  readonly all: readonly Evidence[];
  readonly broken: readonly { readonly scenario: string; readonly why: Error }[];
  readonly chosen: readonly Scenario[];
  readonly stop: Stop | undefined;
}

/** Keeps and tells what a window came to. */
function reportWindow(options: Options, stack: string, started: number, { all, broken, chosen, stop }: Windowed): void {
  const begun = new Set([...all.map(({ scenario }) => scenario), ...broken.map(({ scenario }) => scenario)]);
  const report: WindowReport = {
    version: 1,
    stack,
    when: options.within ?? "",
    windowMs: options.window,
    startedAt: new Date(started).toISOString(),
    endedAt: new Date().toISOString(),
    drilled: [
      ...all.map((one) => ({
        scenario: one.scenario,
        outcome: summarize(one).passed ? ("passed" as const) : ("failed" as const),
        reasons: one.runs.flatMap(({ reasons }) => reasons),
      })),
      ...broken.map(({ scenario, why }) => ({ scenario, outcome: "broken off" as const, reasons: [why.message] })),
    ],
    left: chosen.map(({ name }) => name).filter((name) => !begun.has(name)),
    stopped: stop?.why ?? null,
  };
  const file = keepReport(options.evidence, report);
  for (const line of describeReport(report)) announce(line);
  announce(`report: ${file}`);
  if (stop?.regular === false) process.exitCode = 1;
}

const detailsOf = (error: Error): readonly string[] => (error instanceof UserError ? error.details : []);

/** 3 when nothing but a target was missed, 1 when a promise was broken, 0 otherwise. */
export function exitCode(all: readonly Evidence[]): number {
  const failed = all.flatMap((one) => one.runs.filter((each) => each.verdict === "failed"));
  if (failed.length === 0) return 0;
  return failed.every((each) => each.missedTarget === true && each.reasons.length === 1) ? 3 : 1;
}

/** The scenarios to run in the order asked for, and those of the whole list that say nothing here. */
function choose(
  names: readonly string[] | undefined,
  pair: Pair,
  ground: Ground,
): { chosen: readonly Scenario[]; skipped: readonly { scenario: Scenario; why: string }[] } {
  const why = (scenario: Scenario): string | undefined => unfit(scenario, pair, ground);
  if (names === undefined) {
    const skipped = SCENARIOS.flatMap((scenario) => {
      const reason = why(scenario);
      return reason === undefined ? [] : [{ scenario, why: reason }];
    });
    return { chosen: SCENARIOS.filter((scenario) => why(scenario) === undefined), skipped };
  }
  const unknown = names.filter((name) => scenarioNamed(name) === undefined);
  if (unknown.length > 0)
    throw new UserError(`there is no scenario ${unknown.join(", ")}`, [
      `scenarios: ${SCENARIOS.map((scenario) => scenario.name).join(", ")}`,
    ]);
  const chosen = names.flatMap((name) => scenarioNamed(name) ?? []);
  const impossible = chosen.flatMap((scenario) => {
    const reason = why(scenario);
    return reason === undefined ? [] : [`${scenario.name}: ${reason}`];
  });
  if (impossible.length > 0) throw new UserError("not every scenario can run here", impossible);
  return { chosen, skipped: [] };
}

async function confirm(pair: Pair, chosen: readonly Scenario[], yes: boolean): Promise<void> {
  if (yes) return;
  const what = `${chosen.length} drills will break ${pair.nodes.map((node) => `${node.name} (${node.ssh.host})`).join(" and ")}, which are no lab`;
  if (!process.stdin.isTTY)
    throw new UserError(what, ["run it at a terminal to be asked, or say that you mean it with --yes"]);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${what}:\n  ${chosen.map((one) => one.name).join(", ")}\nGo on? [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new UserError("nothing was done");
}

function list(options: Options, pair?: Pair): void {
  if (options.json) {
    const plain = SCENARIOS.map(({ name, failure, place, fault, expectation, undo, inapplicable }) => ({
      ...{ name, failure, place, fault, expectation, undo },
      // Why it says nothing about this pair; null: it applies, or no stack was named.
      inapplicable: (pair && inapplicable?.(pair)) ?? null,
    }));
    console.log(JSON.stringify(plain, undefined, 2));
    return;
  }
  const width = Math.max(...SCENARIOS.map((scenario) => scenario.name.length));
  for (const scenario of SCENARIOS) {
    const why = pair && scenario.inapplicable?.(pair);
    const note = why ?? (scenario.place === "lab" ? "lab only" : "");
    console.log(`${scenario.name.padEnd(width)}  ${scenario.fault}${note ? ` (${note})` : ""}`);
    console.log(`${" ".repeat(width)}  ${scenario.expectation}`);
  }
}

const brief = (one: Evidence, directory: string) => ({
  scenario: one.scenario,
  failure: one.failure,
  ...summarize(one),
  estimate: one.estimate,
  reasons: one.runs.flatMap((each) => each.reasons),
  file: evidencePath(directory, one),
});

function table(all: readonly Evidence[]): string {
  const rows = all.map((one) => {
    const sum = summarize(one);
    const upper = one.estimate.rtoUpperMs;
    return [
      one.scenario,
      sum.passed ? "passed" : "FAILED",
      sum.rtoMaxMs === null ? "not back" : time(sum.rtoMaxMs),
      upper === "unbounded" ? "unbounded" : `${time(one.estimate.rtoLowerMs)} to ${time(upper)}`,
      one.estimate.rtoTarget === null ? "none" : time(one.estimate.rtoTarget),
      time(sum.twoOwnersMs),
      `${sum.failedRequests}/${sum.requests}`,
    ];
  });
  const head = ["scenario", "verdict", "out for", "promised", "target", "two owners", "failed requests"];
  const reasons = all.flatMap((one) =>
    one.runs.flatMap((each) => each.reasons.map((reason) => `${one.scenario}, run ${each.number}: ${reason}`)),
  );
  return [...columns([head, ...rows]), ...reasons].join("\n");
}

const time = (value: number): string => (value === 0 ? "0" : formatDuration(ms(Math.round(value))));

export function campaignTable(seed: string, sum: CampaignSummary): string {
  const spread = ({ count, p50Ms, p99Ms, maxMs }: Distribution): string =>
    p50Ms === null || p99Ms === null || maxMs === null
      ? "none"
      : `p50 ${time(p50Ms)}, ${count >= 100 ? `p99 ${time(p99Ms)}, ` : ""}max ${time(maxMs)} (${count} steps)`;
  const faults = sum.perFault.map(({ fault, count, violations, rto }) => [
    fault,
    String(count),
    String(violations),
    spread(rto),
  ]);
  const rows = [["fault", "times", "violations", "alone, clients were out for"], ...faults];
  const table = columns(rows);
  const figures = [
    `campaign ${seed}: ${sum.faults} faults in ${sum.steps} steps${sum.brokenOff > 0 ? `, ${sum.brokenOff} steps measured nothing` : ""}`,
    `promises kept in steps: ${showRate(sum.kept)}`,
    `acknowledged writes ${sum.acknowledged}, lost ${sum.lost}, twice ${sum.duplicated}, out of order ${sum.disordered}, invented ${sum.phantom}; unknown ${sum.unknown}, of these survived ${sum.survived}`,
    `two writers at most ${time(sum.twoWritersMs)}, two owners of a VIP at most ${time(sum.twoOwnersMs)}`,
    `out for: ${spread(sum.rto)}${sum.notBack > 0 ? `; ${sum.notBack} steps in which service did not come back` : ""}`,
    `redundant again after: ${spread(sum.redundantAfter)}`,
  ];
  const violations = sum.violations.flatMap(({ step, faults: which, outcome, shrunk, reruns }) => [
    `step ${step}: ${which.map((one) => one.fault).join(" + ")}: ${outcome.kind === "measured" ? outcome.reasons.join("; ") : ""}`,
    shrunk === undefined
      ? `  did not come again in ${reruns ?? 0} runs; again: hotpair drill --seed ${seed} --step ${step}`
      : `  smallest set that showed it again: ${shrunk.faults.map((one) => one.fault).join(" + ")}`,
  ]);
  return [...table, "", ...figures, ...violations].join("\n");
}

function seed(text: string): string {
  if (!/^[A-Za-z0-9._-]{1,40}$/.test(text))
    throw new InvalidArgumentError("Expected 1 to 40 letters, digits, dots, dashes or underscores.");
  return text;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("Expected a whole number, 1 or more.");
  return value;
}

function stretch(text: string): Duration {
  const value = parseDuration(text);
  if (value === undefined || value < 1) throw new InvalidArgumentError("Expected a time, e.g. 90m.");
  return value;
}

function address(text: string): string {
  if (!URL.canParse(text)) throw new InvalidArgumentError("Expected a URL, e.g. http://alertmanager:9093.");
  return text;
}

function interval(text: string): Duration {
  const value = parseDuration(text);
  if (value === undefined || value < 1 || value > 1_000)
    throw new InvalidArgumentError("Expected a time from 1ms to 1s, e.g. 10ms.");
  return value;
}
