// `hotpair tune`: shows the timers that the solver proposes for a stack, and on request writes them into its file. Thin: what
// timers demand of each other and how a set is found is in infra/model.

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { setValue } from "../config/edit.ts";
import { parsePath, readStack, valueAt } from "../config/index.ts";
import { type Duration, formatDuration, ms, parseDuration } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import { type Estimate, showBound } from "../model/estimate.ts";
import type { Limits, Pair } from "../model/pair.ts";
import { countsOnly, followingAdverts, shownTimer, timerAt, timersOf } from "../model/timers.ts";
import type { Tuning } from "../model/tuning.ts";
import { estimate } from "../services/estimate.ts";
import { tuningOf } from "../services/tuning.ts";
import { type LoadedStack, loadStack, shownPath, stackOption } from "./stack.ts";
import { columns } from "./terminal.ts";

interface TuneOptions extends Partial<Record<keyof Limits, string>> {
  readonly stack?: string;
  readonly write: boolean;
  readonly json: boolean;
}

export function register(program: Command): void {
  program
    .command("tune")
    .description(
      "propose timers that agree with each other, with the limits and with the targets; exit 3: none keep them",
    )
    .addOption(stackOption())
    .option("--round-trip <time>", "longest round trip between the hosts, in place of limits.roundTrip")
    .option("--jitter <time>", "how much longer a packet takes now and then, in place of limits.jitter")
    .option("--pause <time>", "longest time for which a server does not run, in place of limits.pause")
    .option("--restore <time>", "until a HAProxy that died serves again, in place of limits.restore")
    .option("--answer <time>", "longest time that a client's request takes, in place of limits.answer")
    .option("--write", "write what is proposed, and the limits that were given, into the stack file", false)
    .option("--json", "print as JSON", false)
    .action(tune);
}

function tune(options: TuneOptions): void {
  const loaded = loadStack(options.stack);
  const limits = { ...loaded.pair.limits, ...givenLimits(options) };
  const pair: Pair = { ...loaded.pair, limits };
  const tuning = tuningOf(
    pair,
    FOLLOWING.filter((path) => valueAt(loaded.stackFile.pairInput, parsePath(path)) === undefined),
  );
  const [before, after] = [estimate(pair), estimate(tuning.pair)];
  const written = options.write ? write(loaded, tuning.pair) : false;
  if (options.json) console.log(JSON.stringify(facts(loaded.stack, tuning, before, after, written), null, 2));
  else console.log(proposal(loaded, tuning, before, after, written));
  process.exitCode = tuning.unmet.length > 0 ? 3 : 0;
}

const LIMITS = ["roundTrip", "jitter", "pause", "restore", "answer"] as const;

function givenLimits(options: TuneOptions): Partial<Limits> {
  const given = LIMITS.flatMap((name) => {
    const text = options[name];
    if (text === undefined) return [];
    const value = parseDuration(text);
    if (value !== undefined && Number.isInteger(value)) return [[name, value] as const];
    throw new UserError(`--${name.replace("T", "-t")} ${text} is not a time in whole milliseconds`, [
      "write e.g. 50ms or 1s",
    ]);
  });
  return Object.fromEntries(given);
}

/** What the values are worth, per class of which they change something or miss the target. */
const compared = (before: readonly Estimate[], after: readonly Estimate[]) =>
  after.flatMap(({ failure, rto }, index) => {
    const was = before[index]?.rto;
    if (was === undefined || (was.upper === rto.upper && rto.verdict !== "missed")) return [];
    return [{ failure, before: was.upper, after: rto.upper, target: rto.target?.value, verdict: rto.verdict }];
  });

const facts = (
  stack: string,
  { pair, changes, timers, kept, unmet }: Tuning,
  before: readonly Estimate[],
  after: readonly Estimate[],
  written: boolean,
) => ({
  stack,
  limits: pair.limits,
  changes: changes.map((change) => ({ ...change, path: `hotpair:pair.${change.path}`, unit: unitOf(change.path) })),
  timers: timers.map((timer) => ({ ...timer, path: `hotpair:pair.${timer.path}`, unit: unitOf(timer.path) })),
  bounds: compared(before, after),
  kept,
  unmet,
  written,
});

const unitOf = (path: string): string => (countsOnly(path) ? "count" : "ms");

function proposal(
  { stack, file, pair: { limits: stated } }: LoadedStack,
  { pair, changes, timers, unmet }: Tuning,
  before: readonly Estimate[],
  after: readonly Estimate[],
  written: boolean,
): string {
  const { limits } = pair;
  const rows = timers.map(({ path, from, to, tolerance }) => [
    path,
    shownTimer(path, from),
    from === to ? "" : `→ ${shownTimer(path, to)}`,
    tolerance === undefined
      ? ""
      : `${formatDuration(whole(tolerance.upTo))} ${tolerance.of}${timesOrdinary(tolerance)}`,
  ]);
  const reasons = changes.map(({ path, from, to, reason }) => [
    path,
    `${shownTimer(path, from)} → ${shownTimer(path, to)}`,
    reason,
  ]);
  const bounds = compared(before, after).map(({ failure, before, after, target, verdict }) => [
    failure,
    showBound(before),
    before === after ? "" : `→ ${showBound(after)}`,
    target === undefined ? "-" : formatDuration(target),
    verdict,
  ]);
  const missed = unmet.flatMap(({ failure, target, shortest, formula, irreducible }) => [
    `  ${failure}: target ${formatDuration(target)}, with every timer as short as it may be ${showBound(shortest)}`,
    `    ${formula}`,
    `    cannot be shorter: ${irreducible.name} (${irreducible.formula}): ${irreducible.why}`,
  ]);
  const fresh = LIMITS.some((name) => stated[name] !== limits[name]);
  return [
    `${stack} (${shownPath(file)}), with a round trip of ${formatDuration(limits.roundTrip)}, jitter of ${formatDuration(limits.jitter)}, ` +
      `pauses of ${formatDuration(limits.pause)}, HAProxy back within ${formatDuration(limits.restore)}, ` +
      `answers within ${formatDuration(limits.answer)}`,
    "",
    ...columns([["timer", "now", "proposed", "bears, before it acts for nothing"], ...rows]).map((line) => `  ${line}`),
    "",
    ...(changes.length === 0
      ? ["Nothing to change: the timers agree, and no other set keeps more of the targets."]
      : ["Why:", ...columns(reasons).map((line) => `  ${line}`)]),
    ...(bounds.length === 0
      ? []
      : [
          "",
          "What a client will see:",
          ...columns([["failure", "RTO", "", "target", ""], ...bounds]).map((line) => `  ${line}`),
        ]),
    ...(missed.length === 0 ? [] : ["", "No set of timers keeps:", ...missed]),
    "",
    written
      ? `wrote ${shownPath(file)}; next: hotpair check -s ${stack}`
      : changes.length > 0 || fresh
        ? `to write it into ${shownPath(file)}: the same with --write`
        : "nothing to write",
  ].join("\n");
}

const whole = (value: Duration): Duration => ms(Math.floor(value));

const timesOrdinary = ({
  upTo,
  ordinary,
}: {
  readonly upTo: Duration;
  readonly ordinary: Duration | undefined;
}): string =>
  ordinary === undefined || ordinary === 0
    ? ""
    : ` (${Math.floor((10 * upTo) / ordinary) / 10} × the ordinary ${formatDuration(ordinary)})`;

/** Fields that a stack file may leave to its adverts. */
const FOLLOWING = Object.keys(followingAdverts(ms(0)));

/** Writes what differs and nothing else, comments kept; the file is read back before it is replaced. */
function write({ stack, file, text, stackFile, pair: present }: LoadedStack, proposed: Pair): boolean {
  const set = (edited: string, path: string): string => {
    const value = timerAt(proposed, path);
    return setValue(edited, parsePath(path), countsOnly(path) ? value : formatDuration(ms(value)));
  };
  let edited = text;
  for (const path of timersOf(proposed)) {
    const leaves = FOLLOWING.includes(path) && valueAt(stackFile.pairInput, parsePath(path)) === undefined;
    if (!leaves && timerAt(present, path) !== timerAt(proposed, path)) edited = set(edited, path);
  }
  for (const name of LIMITS)
    if (present.limits[name] !== proposed.limits[name])
      edited = setValue(edited, ["limits", name], formatDuration(proposed.limits[name]));
  const derived = readStack(edited, shownPath(file), stack).pair;
  for (const path of FOLLOWING) if (timerAt(derived, path) !== timerAt(proposed, path)) edited = set(edited, path);
  const { pair } = readStack(edited, shownPath(file), stack);
  const wrong = timersOf(proposed).filter((path) => timerAt(pair, path) !== timerAt(proposed, path));
  if (wrong.length > 0) throw new Error(`${shownPath(file)} would not say what was proposed for ${wrong.join(", ")}`);
  if (edited === text) return false;
  writeFileSync(file, edited);
  return true;
}
