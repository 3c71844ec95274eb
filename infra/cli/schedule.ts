// `hotpair drill --schedule` and `--within`: regular drills in a maintenance window, by a systemd timer of the machine that
// it is typed on. What speaks against a drill is infra/drill/window.ts; how one runs, infra/drill/runner.ts.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { unwell } from "../drill/health.ts";
import type { Place } from "../drill/host.ts";
import { ask } from "../drill/runner.ts";
import type { Scenario } from "../drill/scenario.ts";
import { lagOf, neededMs, type Stop, stopOf, type Window, type WindowReport, windowReport } from "../drill/window.ts";
import { namesIn } from "../evidence/store.ts";
import { type Duration, formatDuration } from "../model/duration.ts";
import { FailedError, UserError } from "../model/errors.ts";
import { render } from "../services/template.ts";
import { announce, confirm } from "./terminal.ts";

const PROJECT = join(import.meta.dirname, "../..");
/** Alerts that a drill itself set off have this long to end before the next scenario. */
const ALERTS_END_MS = 300_000;
const ASK_ALERTS_MS = 5_000;

export interface ScheduleOptions {
  readonly schedule?: string;
  readonly within?: string;
  readonly window: Duration;
  readonly maxLag: Duration;
  readonly alerts?: string;
  readonly units?: string;
  readonly scenario?: readonly string[];
  readonly runs: number;
  readonly evidence: string;
  readonly sign?: string;
  readonly yes: boolean;
  readonly json: boolean;
}

// --- the window ------------------------------------------------------------------------------------------------------

/** More beginnings in the length of one window are one that never ends. */
const MOST_MOMENTS = 1_000;

/**
 * The window that is open now: it began with the calendar expression's last moment, less than `length` ago. undefined: none.
 * Throws UserError when systemd does not understand the expression.
 */
export function openWindow(when: string, length: Duration, now: number): Window | undefined {
  const from = moments(when, now - length, MOST_MOMENTS).findLast((moment) => moment <= now);
  return from === undefined ? undefined : { from, until: from + length };
}

/** The first moment of a calendar expression after another one; undefined: there is none any more. */
export const nextMoment = (when: string, after: number): number | undefined => moments(when, after, 1)[0];

/** The first moments of a calendar expression after another one (systemd.time(7), systemd-analyze(1)), ascending. */
function moments(when: string, after: number, count: number): readonly number[] {
  const words = ["calendar", `--base-time=@${Math.floor(after / 1_000)}`, `--iterations=${count}`, when];
  const { status, stdout, stderr, error } = spawnSync("systemd-analyze", words, {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C", SYSTEMD_COLORS: "0" },
  });
  if (error !== undefined) throw new UserError(`systemd-analyze cannot be started: ${error.message}`, [NO_SYSTEMD]);
  if (status !== 0)
    throw new UserError(`"${when}" is no calendar expression: ${stderr.trim().split("\n").at(-1)}`, [
      'expected e.g. "Sun 03:00" or "*-*-01 02:30" (systemd.time(7), Calendar Events)',
    ]);
  // Away from UTC each moment is told twice: in the zone of the expression, and in UTC.
  return [...stdout.matchAll(/: \w+ ([\d-]+) ([\d:]+) UTC$/gm)].map(([, day, time]) => Date.parse(`${day}T${time}Z`));
}

const NO_SYSTEMD = "schedule drills on a machine with systemd: the operator's host, not a laptop that sleeps at night";

/** Asks before each scenario whether it may begin. */
export type Guard = (scenario: Scenario, first: boolean) => Promise<Stop | undefined>;

export function guardOf(options: ScheduleOptions, when: string, place: Place, signal: AbortSignal): Guard {
  return async (scenario, first) => {
    const began = Date.now();
    for (;;) {
      const now = Date.now();
      const answers = await ask(place);
      const alerts = options.alerts === undefined ? undefined : await firing(options.alerts);
      const stop = stopOf({
        now,
        window: openWindow(when, options.window, now),
        needsMs: neededMs(scenario, options.runs),
        problems: unwell(place.pair, answers),
        lagMs: lagOf(answers),
        maxLagMs: options.maxLag,
        alerts,
      });
      const ours = !first && Array.isArray(alerts) && alerts.length > 0 && now - began < ALERTS_END_MS;
      if (stop === undefined || stop.regular || !ours || signal.aborted) return stop;
      await sleep(5_000, undefined, { signal }).catch(() => undefined);
    }
  };
}

/** Names of the alerts that fire and are neither silenced nor inhibited (Alertmanager's API v2); a text when it does not say. */
export async function firing(base: string): Promise<readonly string[] | string> {
  const url = new URL(base);
  url.pathname = join(url.pathname, "/api/v2/alerts");
  for (const [name, value] of Object.entries({ active: "true", silenced: "false", inhibited: "false" }))
    url.searchParams.set(name, value);
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ASK_ALERTS_MS) });
    if (!answer.ok) return `${url.origin} answers ${answer.status}`;
    const alerts = (await answer.json()) as readonly { readonly labels?: { readonly alertname?: string } }[];
    if (!Array.isArray(alerts)) return `${url.origin} answers, but not with alerts`;
    return [...new Set(alerts.map(({ labels }) => labels?.alertname ?? "an alert without a name"))].sort();
  } catch (error) {
    return `${url.origin} does not answer (${error instanceof Error ? error.message : error})`;
  }
}

// --- what a window came to -------------------------------------------------------------------------------------------

const reportsFolder = (directory: string, stack: string): string => join(directory, stack, "windows");

export function keepReport(directory: string, report: WindowReport): string {
  const file = join(
    reportsFolder(directory, report.stack),
    `${report.startedAt.replace(/\.\d+/, "").replace(/[-:]/g, "")}.json`,
  );
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`, { flush: true });
  return file;
}

/** Newest first. */
function reportsOf(directory: string, stack: string): readonly WindowReport[] {
  const folder = reportsFolder(directory, stack);
  return namesIn(folder, /\.json$/)
    .toReversed()
    .map((name) => {
      const read = windowReport.safeParse(JSON.parse(readFileSync(join(folder, name), "utf8")));
      if (!read.success) throw new UserError(`${join(folder, name)} is no report of a window`, ["move it away"]);
      return read.data;
    });
}

export function describeReport({ startedAt, drilled, left, stopped }: WindowReport): readonly string[] {
  const passed = drilled.filter(({ outcome }) => outcome === "passed").length;
  return [
    `${startedAt.slice(0, 16).replace("T", " ")}: ${passed} of ${drilled.length} drills passed${left.length === 0 ? "" : `, ${left.length} not begun: ${stopped ?? ""}`}`,
    ...drilled.flatMap(({ scenario, outcome, reasons }) =>
      outcome === "passed" ? [] : [`  ${scenario}: ${outcome}: ${reasons.join("; ")}`],
    ),
  ];
}

// --- the timer -------------------------------------------------------------------------------------------------------

export interface Units {
  /** Name without ending. */
  readonly name: string;
  readonly service: string;
  readonly timer: string;
}

/** The two units of a stack's drills, as systemd reads them. */
export function unitsOf(stack: string, when: string, options: ScheduleOptions, environment: string): Units {
  const words = [
    ...[process.execPath, join(PROJECT, "bin/hotpair.mjs"), "drill", "-s", stack, "--yes"],
    ...["--within", when, "--window", formatDuration(options.window), "--max-lag", formatDuration(options.maxLag)],
    ...["--runs", String(options.runs), "--evidence", resolve(options.evidence)],
    ...(options.alerts === undefined ? [] : ["--alerts", options.alerts]),
    ...(options.sign === undefined ? [] : ["--sign", resolve(options.sign)]),
    // Last: it takes all the words that follow.
    ...(options.scenario === undefined ? [] : ["--scenario", ...options.scenario]),
  ];
  const path = `PATH=${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
  const data = {
    stack,
    when,
    window: formatDuration(options.window),
    project: PROJECT.replaceAll("%", "%%"),
    path: quoted(path),
    environment: environment.replaceAll("%", "%%"),
    command: words.map(quoted).join(" "),
    // The last drill may begin just before the end, and is not cut off.
    limitSeconds: Math.ceil(options.window / 1_000) + 900,
  };
  return {
    name: `hotpair-drill-schedule-${stack}`,
    service: render("schedule/drill.service.hbs", data),
    timer: render("schedule/drill.timer.hbs", data),
  };
}

/** One word of a command line (systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS). */
function quoted(word: string): string {
  const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(plain) ? plain : `"${plain.replaceAll(/["\\]/g, "\\$&")}"`;
}

/** root's units are the system's; everybody else's are their own, and run while `loginctl enable-linger` says so. */
function placeOfUnits(options: ScheduleOptions): {
  directory: string;
  environment: string;
  manager: readonly string[];
} {
  const system = process.getuid?.() === 0;
  const configured = process.env.XDG_CONFIG_HOME || join(homedir(), ".config");
  return {
    directory: options.units ?? (system ? "/etc/systemd/system" : join(configured, "systemd/user")),
    environment: system ? "/etc/hotpair" : join(configured, "hotpair"),
    manager: system ? [] : ["--user"],
  };
}

/** Lets systemd judge the units before they are installed. Throws FailedError with its own words. */
export function verifyUnits({ name, service, timer }: Units): void {
  const directory = mkdtempSync(join(tmpdir(), "hotpair-units-"));
  try {
    const files = [
      [`${name}.service`, service],
      [`${name}.timer`, timer],
    ].map(([file = "", text = ""]) => {
      writeFileSync(join(directory, file), text);
      return join(directory, file);
    });
    const { status, stdout, stderr, error } = spawnSync("systemd-analyze", ["verify", "--man=no", ...files], {
      encoding: "utf8",
    });
    const about = `${stdout}${stderr}`.split("\n").filter((line) => line.includes(name));
    if (error !== undefined) throw new UserError(`systemd-analyze cannot be started: ${error.message}`, [NO_SYSTEMD]);
    if (status !== 0 || about.length > 0) throw new FailedError("systemd refuses the units of the schedule", about);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Installs the timer after asking, since what it starts breaks servers while nobody watches. */
export async function install(stack: string, when: string, options: ScheduleOptions, servers: string): Promise<void> {
  const { directory, environment, manager } = placeOfUnits(options);
  const next = nextMoment(when, Date.now());
  if (next === undefined) throw new UserError(`"${when}" never comes again`);
  const secrets = join(environment, `drill-${stack}.env`);
  const units = unitsOf(stack, when, options, secrets);
  verifyUnits(units);
  const question = `Drills will break ${servers} at every "${when}", for at most ${formatDuration(options.window)}, first on ${new Date(next).toISOString()}. Install the timer?`;
  if (!(await confirm(question, options.yes))) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${units.name}.service`), units.service);
  writeFileSync(join(directory, `${units.name}.timer`), units.timer);
  systemctl([...manager, "daemon-reload"]);
  systemctl([...manager, "enable", `${units.name}.timer`]);
  // One that is active already, and whose only moment is over, would not count to its new one.
  systemctl([...manager, "restart", `${units.name}.timer`]);
  if (options.json) console.log(JSON.stringify({ stack, when, next: new Date(next).toISOString(), directory }));
  else console.log(`${join(directory, units.name)}.timer: first on ${new Date(next).toISOString()}`);
  announce(
    `what the drills need in their environment (PULUMI_CONFIG_PASSPHRASE, SSH_AUTH_SOCK, HOTPAIR_SIGNING_KEY): ${secrets}`,
  );
  if (manager.length > 0) announce("so that it runs while you are not logged in: loginctl enable-linger");
}

export function remove(stack: string, options: ScheduleOptions): void {
  const { directory, manager } = placeOfUnits(options);
  const name = `hotpair-drill-schedule-${stack}`;
  const there = namesIn(directory, new RegExp(`^${name}\\.(service|timer)$`));
  if (there.length > 0) systemctl([...manager, "disable", "--now", `${name}.timer`]);
  for (const file of there) rmSync(join(directory, file));
  if (there.length > 0) systemctl([...manager, "daemon-reload"]);
  const text = there.length > 0 ? `${stack} is not drilled by a timer any more` : `${stack} has no timer here`;
  console.log(options.json ? JSON.stringify({ stack, removed: there }) : text);
}

function systemctl(args: readonly string[]): void {
  const { status, stderr, error } = spawnSync("systemctl", args, { encoding: "utf8" });
  if (error !== undefined) throw new UserError(`systemctl cannot be started: ${error.message}`, [NO_SYSTEMD]);
  if (status !== 0) throw new FailedError(`systemctl ${args.join(" ")} failed`, [stderr.trim()]);
}

/** The timers of this machine, of one stack or of all, with what their last windows came to. */
export function listSchedules(stack: string | undefined, options: ScheduleOptions): void {
  const { directory } = placeOfUnits(options);
  const schedules = namesIn(directory, /^hotpair-drill-schedule-.+\.timer$/).flatMap((file) => {
    const name = file.replace(/^hotpair-drill-schedule-(.+)\.timer$/, "$1");
    const when = /^OnCalendar=(.+)$/m.exec(readFileSync(join(directory, file), "utf8"))?.[1];
    if (when === undefined || (stack !== undefined && name !== stack)) return [];
    const next = nextMoment(when, Date.now());
    const windows = reportsOf(options.evidence, name).slice(0, 5);
    return [{ stack: name, when, next: next === undefined ? null : new Date(next).toISOString(), windows }];
  });
  // A window that was opened by hand, or by another machine's timer, has its report all the same.
  const others = stack === undefined || schedules.length > 0 ? [] : reportsOf(options.evidence, stack).slice(0, 5);
  if (options.json) {
    const unscheduled = others.length === 0 ? [] : [{ stack, when: null, next: null, windows: others }];
    console.log(JSON.stringify([...schedules, ...unscheduled], undefined, 2));
  } else if (schedules.length === 0) {
    console.log("no drills are scheduled on this machine");
    for (const line of others.flatMap(describeReport)) console.log(`  ${line}`);
  } else
    for (const { stack: name, when, next, windows } of schedules) {
      console.log(`${name}: ${when}, next on ${next ?? "no day any more"}`);
      for (const line of windows.flatMap(describeReport)) console.log(`  ${line}`);
    }
}
