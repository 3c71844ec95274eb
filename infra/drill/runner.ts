// One drill from beginning to end: is the pair whole, watch, arm the undo, break it, look on until clients have had their
// quiet time and the pair is whole again, judge, keep the evidence. The edge of this room: clock, processes, servers.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { recordDrill, requireHistory } from "../evidence/records.ts";
import { EVIDENCE_VERSION, type Evidence, type LogLine, type Run } from "../evidence/schema.ts";
import type { Sign } from "../evidence/signature.ts";
import { writeEvidence } from "../evidence/store.ts";
import { UNBOUNDED } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import type { Estimate } from "../model/estimate.ts";
import { hasDatabase, NODE_IDS, type NodeId } from "../model/pair.ts";
import type { NodeStatus } from "../model/status.ts";
import { reachedBy, whereMoved } from "./address.ts";
import { destinationOf, type RunningClient, startClient } from "./clients.ts";
import { arm, type Execution, neededPrograms, nodesToArm, operatorAtWork, perform, undoOutside } from "./executor.ts";
import { type Answer, unwell, waitingToGoHome } from "./health.ts";
import { failedLater, QUIET_MS, type Recovery, recovery, summarise } from "./history.ts";
import { groundOf, type Host, lookMs, onBoth, type Place, tryShell } from "./host.ts";
import { type OpenLedger, openLedger } from "./ledger-run.ts";
import { collectLog } from "./log.ts";
import { type OwnersWatch, watchOwners } from "./owners.ts";
import { heldSpans, summariseOwnership } from "./ownership.ts";
import { endOf, type Request } from "./request.ts";
import { type Scenario, type Stage, unfit } from "./scenario.ts";
import { armedCommand, undoNowCommand } from "./undo.ts";
import { type Expectation, judge, undecidable } from "./verdict.ts";
import { storeWords, summariseWriters, watchWriters, writersDuring } from "./writers.ts";

export interface DrillSettings {
  readonly stack: string;
  readonly place: Place;
  readonly estimates: readonly Estimate[];
  readonly configDigest: string;
  readonly versions: Readonly<Record<string, string>>;
  /** Where evidence goes; undefined: it is returned and not kept. */
  readonly directory: string | undefined;
  /** Signs what is recorded; undefined: it is not signed. */
  readonly sign?: Sign | undefined;
  /** The direct client: milliseconds between requests and until one has failed. The estimate must have been made for it. */
  readonly intervalMs: number;
  readonly deadlineMs: number;
  /** Part of the definition of RTO. Only quick tests shorten it, and the evidence says so. */
  readonly quietMs?: number;
  /** A pair with state: how its ledger writes. Default: open loop at `intervalMs`. */
  readonly load?: { readonly loop: "open" | "closed"; readonly intervalMs: number };
  /** One line per step, with the seconds since the drill began. */
  readonly onProgress: (text: string) => void;
  /** Aborted: the undo is done at once and the drill ends with an error. */
  readonly signal?: AbortSignal;
}

/** Requests before the fault: long enough for a median, short enough to be repeated 30 times. */
const BASELINE_MS = 1_500;
/** A client that shares the machine with the pair need not be as dense as the one that the RTO is measured with. */
const SIDE_INTERVAL_MS = 20;
const HEALTHY_BEFORE_MS = 30_000;
/** Until an observer has said its first word: a program that starts on an emulated processor takes seconds. */
const READY_MS = 60_000;
/**
 * Milliseconds between two questions how the pair is, and how long an answer may take: it costs a server a fifth of a second,
 * and an emulated processor three. Such a server is also given more time to be whole again.
 */
const paceOf = (place: Place) =>
  groundOf(place) === "machines"
    ? { everyMs: 5_000, answersMs: 30_000, healTimes: 3 }
    : { everyMs: 600, answersMs: 8_000, healTimes: 1 };
const PROJECT = join(import.meta.dirname, "../..");
const STATUS = "/usr/lib/hotpair/hotpair-arbiter status --json";
const healWithin = ({ healWithinMs }: Scenario, place: Place): number => paceOf(place).healTimes * healWithinMs;
/** What an armed undo on a server is given beyond the fault's duration: set-up and fault are started in between. */
const ARM_SLACK_MS = 4_000;

/** What both nodes say of themselves. Never rejects. */
export async function ask(place: Place, timeoutMs = paceOf(place).answersMs): Promise<Answer[]> {
  return onBoth(place, async (host): Promise<Answer> => {
    try {
      const { code, stdout, stderr } = await tryShell(host, STATUS, timeoutMs);
      if (code !== 0 && !stdout.startsWith("{"))
        return { error: `status failed: ${stderr.trim().split("\n").at(-1) ?? ""}` };
      return JSON.parse(stdout) as NodeStatus;
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  });
}

/** The same where something besides the servers sends clients to one of them; elsewhere nobody needs to be disturbed. */
const askInAws = async (place: Place): Promise<readonly Answer[]> =>
  place.pair.aws === undefined ? [] : await ask(place);

/** Waits until the pair is whole; returns what both nodes said, or what is still wrong after the time. */
export async function waitUntilWhole(
  place: Place,
  withinMs: number,
  signal?: AbortSignal,
): Promise<{ readonly answers: readonly Answer[]; readonly problems: readonly string[] }> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const answers = await ask(place);
    const problems = unwell(place.pair, answers);
    if (problems.length === 0 || Date.now() > deadline || signal?.aborted) return { answers, problems };
    await sleep(paceOf(place).everyMs);
  }
}

/** Who plays which part now. The active node is the one that holds the first VIP. */
function stageOf(place: Place, answers: readonly Answer[]): Stage {
  const { pair } = place;
  const holds = (index: number, vip: string): boolean => {
    const answer = answers[index];
    return answer !== undefined && !("error" in answer) && answer.vips.some((one) => one.name === vip && one.held);
  };
  const first = pair.vips[0]?.name ?? "";
  const activeIndex = holds(0, first) ? 0 : 1;
  const [a, b] = pair.nodes;
  return {
    pair,
    active: activeIndex === 0 ? a : b,
    standby: activeIndex === 0 ? b : a,
    vips: pair.vips.filter((vip) => holds(activeIndex, vip.name)),
  };
}

const armedOn = async (host: Host): Promise<{ readonly name: string; readonly ids: readonly string[] }> => ({
  name: host.node.name,
  ids: (await tryShell(host, armedCommand)).stdout.split("\n").filter(Boolean),
});

/**
 * Does now whatever undo is armed on the servers, also of a drill that broke off while one of them was down. Passes over a
 * server that does not answer: there the armed deadline counts.
 */
export async function undoArmed(place: Place): Promise<void> {
  await onBoth(place, async (host) => {
    const { ids } = await armedOn(host).catch(() => ({ ids: [] }));
    for (const id of ids) await tryShell(host, undoNowCommand(id)).catch(() => undefined);
  });
}

/** Refuses with UserError unless the pair is whole and nobody else's drill is under way. */
export async function preflight(place: Place, withinMs = HEALTHY_BEFORE_MS, signal?: AbortSignal): Promise<Stage> {
  const { answers, problems } = await waitUntilWhole(place, withinMs, signal);
  if (problems.length > 0)
    throw new UserError("the pair is not whole, so a drill would hurt and prove nothing", [
      ...problems,
      "see it with: hotpair status",
    ]);
  const others = (await onBoth(place, armedOn)).filter((one) => one.ids.length > 0);
  if (others.length > 0)
    throw new UserError("the undo of another drill is still armed", [
      ...others.flatMap(({ name, ids }) =>
        ids.map((id) => `${name}: ${id}; wait for it, or do it now with: systemctl start hotpair-drill-${id}.service`),
      ),
    ]);
  return stageOf(place, answers);
}

/** Runs one scenario `runs` times and keeps the evidence after each run. */
export async function drill(scenario: Scenario, runs: number, settings: DrillSettings): Promise<Evidence> {
  const { place } = settings;
  const why = unfit(scenario, place.pair, groundOf(place));
  if (why !== undefined) throw new UserError(`${scenario.name} does not apply: ${why}`);
  const estimate = settings.estimates.find((one) => one.failure === scenario.failure);
  if (estimate === undefined) throw new Error(`no estimate for ${scenario.failure}`);
  if (settings.directory !== undefined) requireHistory(settings.directory, settings.stack);
  const quietMs = settings.quietMs ?? QUIET_MS;
  const target = estimate.rto.verdict === "beyond" ? undefined : estimate.rto.target?.value;
  const expectation: Expectation = {
    movement: scenario.movement,
    lowerMs: estimate.rto.lower,
    upper: estimate.rto.upper,
    targetMs: target,
    undecidable: undecidable(place.pair, scenario.failure),
  };
  let evidence: Evidence = {
    version: EVIDENCE_VERSION,
    stack: settings.stack,
    scenario: scenario.name,
    failure: scenario.failure,
    fault: scenario.fault,
    expectation: scenario.expectation,
    undo: scenario.undo,
    startedAt: new Date().toISOString(),
    configDigest: settings.configDigest,
    versions: settings.versions,
    place: place.lab === undefined ? "servers" : "lab",
    estimate: {
      rtoLowerMs: estimate.rto.lower,
      rtoUpperMs: estimate.rto.upper === UNBOUNDED ? "unbounded" : estimate.rto.upper,
      rtoTarget: target ?? null,
      formula: estimate.rto.formula,
    },
    runs: [],
    ...(quietMs === QUIET_MS ? {} : { quietMs }),
    reproduce: `hotpair drill -s ${settings.stack} --scenario ${scenario.name}${runs > 1 ? ` --runs ${runs}` : ""}`,
  };
  try {
    for (let number = 1; number <= runs; number++) {
      const run = await drillOnce(scenario, number, expectation, quietMs, settings);
      evidence = { ...evidence, runs: [...evidence.runs, run] };
      if (settings.directory !== undefined) writeEvidence(settings.directory, evidence);
    }
  } finally {
    // Also what a drill measured before it was broken off: a failed run is not made unseen by ending the next one.
    if (settings.directory !== undefined && evidence.runs.length > 0)
      recordDrill(settings.directory, evidence, settings.sign);
  }
  return evidence;
}

/** One run of a scenario that promises nothing but what always holds; nothing is kept. `active`: whom it was aimed at. */
export async function measure(scenario: Scenario, settings: DrillSettings): Promise<{ run: Run; active: NodeId }> {
  const promise = { lowerMs: 0, upper: UNBOUNDED, targetMs: undefined, undecidable: false } as const;
  let active: NodeId = "a";
  const run = await drillOnce(
    scenario,
    1,
    { ...promise, movement: scenario.movement },
    settings.quietMs ?? QUIET_MS,
    settings,
    (stage) => {
      active = stage.active.id;
    },
  );
  return { run, active };
}

async function drillOnce(
  scenario: Scenario,
  number: number,
  expectation: Expectation,
  quietMs: number,
  settings: DrillSettings,
  onStage: (stage: Stage) => void = () => undefined,
): Promise<Run> {
  const { place, signal } = settings;
  const { pair } = place;
  const say = settings.onProgress;
  const stage = await preflight(place, HEALTHY_BEFORE_MS, signal);
  onStage(stage);
  const programs = neededPrograms(place, stage, scenario);
  await requirePrograms(place, stage, programs);
  const lifetimeMs = BASELINE_MS + scenario.holdMs + healWithin(scenario, place) + 4 * quietMs + 120_000;
  const owners = watchOwners(place, lifetimeMs);
  const store = storeWords(pair);
  const writers = store && watchWriters(place, store, owners, lifetimeMs);
  let ledger: OpenLedger | undefined;
  let clients: Clients;
  try {
    const reached = reachedBy(pair, stage.active, await askInAws(place));
    if (hasDatabase(pair))
      ledger = await openLedger(place, {
        reached,
        ...(settings.load ?? { loop: "open", intervalMs: settings.intervalMs }),
        deadlineMs: settings.deadlineMs,
        lifetimeMs,
      });
    clients = ledger === undefined ? startClients(settings, stage, reached, lifetimeMs) : alone(ledger.client);
  } catch (error) {
    await Promise.all([owners.stop(), writers?.stop()]);
    throw error;
  }
  const id = `${scenario.name}-${randomBytes(3).toString("hex")}`;
  const execution: Execution = {
    place,
    stack: settings.stack,
    stage,
    scenario,
    clockOffset: owners.offset,
    whole: async (withinMs) => (await waitUntilWhole(place, withinMs, signal)).problems,
  };
  const armed = nodesToArm(execution);
  let broken = false;
  try {
    await owners.ready(READY_MS);
    await writers?.ready(READY_MS);
    const watchedFrom = Date.now();
    // What is armed fires that long after the arming, so the set-up's own waits are added.
    const setUpMs = (scenario.setUp ?? []).reduce((sum, one) => sum + (one.kind === "wait" ? one.ms : 0), 0);
    broken = true;
    await arm(execution, id, scenario.holdMs + setUpMs + ARM_SLACK_MS);
    const setUpFrom = Date.now();
    const before = await perform(execution, scenario.setUp ?? []);
    const setUpUntil = Date.now();
    await sleep(Math.max(0, watchedFrom + BASELINE_MS - Date.now()));
    signal?.throwIfAborted();
    say(`${scenario.name} run ${number}: ${scenario.fault}`);
    const done = await perform(execution, scenario.actions);
    const { outcome, notHealed, seenUntil } = await lookOn(
      scenario,
      done.at,
      clients.main,
      armed,
      id,
      quietMs,
      settings,
    );
    broken = false;
    const address = whereMoved(pair, await askInAws(place), done.at, owners.offset);
    await Promise.all([owners.settle(), writers?.settle()]);
    const until = Date.now();
    await clients.stop();
    const cuts = [...before.cuts, ...done.cuts];
    const spans = heldSpans(owners.sightings(), cuts);
    const window = { from: watchedFrom, until };
    const direct = byStart(clients.main.direct.filter((request) => request.at <= seenUntil));
    const proof = await ledger?.prove(notHealed.length === 0);
    const wrote = writers?.sightings() ?? [];
    const written =
      writers &&
      summariseWriters(wrote, writers.insync(), cuts, window, done.at, {
        lateMs: writers.lateMs(),
        lookMs: lookMs(place),
      });
    // A watch that saw nothing proves nothing; and on a busy machine the role may have moved since the drill was aimed.
    if (written && !written.spans.some(({ node, fromMs }) => node === stage.active.id && fromMs < 0))
      throw new Error(
        `nothing was measured: ${stage.active.name} was not seen to take writes before the fault, at which the drill was aimed`,
      );
    // What is on its way at the fault still counts as the old primary's; from the undo on everything may happen again.
    const blocked = { from: done.at + scenario.holdMs * 0.2, until: done.at + scenario.holdMs };
    const verdict = judge(expectation, {
      vips: pair.vips,
      active: stage.active.id,
      faultAt: done.at,
      window,
      outcome,
      failedBefore: direct.filter(
        (request) =>
          !request.ok &&
          endOf(request) < done.at &&
          !(scenario.setUpMovesRole && endOf(request) >= setUpFrom && request.at <= setUpUntil),
      ).length,
      failedLater: failedLater(direct, outcome),
      spans,
      clockErrorMs: owners.clockErrorMs(),
      notHealed,
      address,
      state: written && {
        ledger: proof?.reasons ?? [],
        twoWritersMs: written.twoWritersMs,
        twoLeasesMs: written.twoLeasesMs,
        promoted: scenario.noPromotion ? writersDuring(wrote, cuts, blocked) : [],
      },
    });
    if (proof !== undefined && proof.reasons.length > 0 && settings.directory !== undefined)
      ledger?.keep(join(settings.directory, settings.stack, "ledgers", `${id}.jsonl`));
    const names = pair.vips.map((vip) => vip.name);
    const result: Run = {
      number,
      ...verdict,
      faultAt: done.at,
      clients: {
        direct: summarise(direct, { faultAt: done.at, quietMs }),
        persistent:
          clients.main.persistent.length === 0
            ? undefined
            : summarise(clients.main.persistent, {
                faultAt: done.at,
                quietMs,
                reconnects: clients.main.reconnects(),
              }),
        beyondRouter:
          clients.far === undefined ? undefined : summarise(clients.far.direct, { faultAt: done.at, quietMs }),
      },
      ownership: summariseOwnership(spans, names, window, done.at, owners.clockErrorMs()),
      ...(address ? { address } : {}),
      ...(proof?.ledger ? { ledger: proof.ledger } : {}),
      ...(written ? { writers: written } : {}),
      log: [...observerLines(owners, done.at, clients), ...(await collectLog(place, done.at, owners.offset, signal))],
    };
    say(progressOf(result, expectation));
    return result;
  } finally {
    if (broken) {
      say("the drill breaks off: undoing the fault now");
      await breakOff(place, armed, id);
    }
    await Promise.all([clients.stop(), owners.stop(), writers?.stop()]);
    await ledger?.close();
  }
}

/** A pair with a database is judged by those who write to it, and by nobody else. */
const alone = (main: RunningClient): Clients => ({ main, far: undefined, stop: () => main.stop() });

interface Clients {
  readonly main: RunningClient;
  readonly far: RunningClient | undefined;
  stop(): Promise<void>;
}

function startClients(settings: DrillSettings, stage: Stage, reached: string | undefined, lifetimeMs: number): Clients {
  const { place, intervalMs, deadlineMs } = settings;
  const vip = stage.vips[0];
  if (vip === undefined) throw new Error("the active node holds no VIP");
  const common = { ...destinationOf(place.pair, vip, reached), deadlineMs, lifetimeMs };
  const main = startClient(
    { ...common, intervalMs, persistentIntervalMs: SIDE_INTERVAL_MS },
    place.lab?.namespaces.client,
  );
  const far =
    place.lab === undefined
      ? undefined
      : startClient(
          { ...common, intervalMs: SIDE_INTERVAL_MS, persistentIntervalMs: null },
          place.lab.namespaces.remote,
        );
  let stopped: Promise<void> | undefined;
  return {
    main,
    far,
    stop() {
      stopped ??= Promise.all([main.stop(), far?.stop()]).then(() => undefined);
      return stopped;
    },
  };
}

const byStart = (requests: readonly Request[]): Request[] => requests.toSorted((a, b) => a.at - b.at);

/** Watches until clients have had their quiet time and the pair is whole again, or its deadline has passed. */
async function lookOn(
  scenario: Scenario,
  faultAt: number,
  client: RunningClient,
  armed: readonly NodeId[],
  id: string,
  quietMs: number,
  settings: DrillSettings,
): Promise<{ outcome: Recovery; notHealed: readonly string[]; seenUntil: number }> {
  const { place, signal, deadlineMs } = settings;
  const undoneBy = faultAt + scenario.holdMs;
  const giveUpAt = undoneBy + healWithin(scenario, place) + quietMs;
  let problems: readonly string[] = ["the undo is not due yet"];
  let wholeSince = Number.POSITIVE_INFINITY;
  let asking: Promise<void> | undefined;
  const look = async () => {
    const answers = await ask(place);
    const still = await stillArmed(place, armed, id);
    problems = [...unwell(place.pair, answers), ...still];
    if (problems.length === 0) wholeSince = Date.now();
    // Drills that follow each other look like a node that fails whenever its VIP is home: it would wait for minutes.
    if (still.length === 0)
      for (const { vip, node } of waitingToGoHome(place.pair, answers)) await bringHome(place, vip, node);
    // A look takes a fifth of a second of each server's time: one after the other would slow down what is looked at.
    await sleep(paceOf(place).everyMs);
  };
  for (;;) {
    signal?.throwIfAborted();
    const died = client.died();
    if (died !== undefined) throw new Error(`the client died, so nothing was measured: ${died}`);
    const now = Date.now();
    // A request that is under way may still fail: the verdict waits for its deadline.
    const seenUntil = now - deadlineMs - 100;
    const settled = byStart(client.direct.filter((request) => request.at <= seenUntil));
    const outcome = recovery(settled, faultAt, quietMs);
    const decided = outcome.kind === "unharmed" || outcome.kind === "recovered";
    if (now > undoneBy + 500 && problems.length > 0 && asking === undefined)
      asking = look().finally(() => {
        asking = undefined;
      });
    // What becoming whole again did to clients belongs to the drill.
    if (decided && wholeSince <= seenUntil) return { outcome, notHealed: [], seenUntil };
    if (now > giveUpAt) {
      await asking;
      return { outcome, notHealed: problems, seenUntil };
    }
    await sleep(100);
  }
}

/** As an operator would, by a planned switch. What fails is seen by the next look. */
async function bringHome({ hosts }: Place, vip: string, node: number): Promise<void> {
  const host = hosts[NODE_IDS[node] ?? "a"];
  await tryShell(host, `/usr/lib/hotpair/hotpair-arbiter switch --vip ${vip} --wait 10`, 15_000).catch(() => undefined);
}

async function stillArmed(place: Place, armed: readonly NodeId[], id: string): Promise<string[]> {
  const found = await Promise.all(
    armed.map(async (node) => {
      const { stdout } = await tryShell(place.hosts[node], armedCommand).catch(() => ({ stdout: id }));
      return stdout.split("\n").includes(id) ? `${place.hosts[node].node.name}: the undo ${id} has not run` : "";
    }),
  );
  // They may still restart a member when everything looks whole.
  if (operatorAtWork(place, id)) found.push("the operator's commands are still under way");
  return found.filter((line) => line !== "");
}

/** Everything is put back at once; what cannot be reached undoes itself at its armed deadline. */
async function breakOff(place: Place, armed: readonly NodeId[], id: string): Promise<void> {
  await undoOutside(place).catch(() => undefined);
  await Promise.all(armed.map((node) => tryShell(place.hosts[node], undoNowCommand(id)).catch(() => undefined)));
}

async function requirePrograms(place: Place, stage: Stage, needs: ReturnType<typeof neededPrograms>): Promise<void> {
  const missing: string[] = [];
  for (const role of ["active", "standby"] as const) {
    const node = stage[role];
    for (const program of needs[role]) {
      const { code } = await tryShell(place.hosts[node.id], `command -v ${program}`);
      if (code !== 0) missing.push(`${node.name}: ${program} is not installed`);
    }
  }
  if (missing.length > 0) throw new UserError("this drill needs programs that are missing on the servers", missing);
}

/** What the observers themselves may have added: said in the evidence, so that a slow machine is not taken for an outage. */
function observerLines(owners: OwnersWatch, faultAt: number, clients: Clients): LogLine[] {
  const lines: LogLine[] = [];
  const note = (text: string) => lines.push({ atMs: 0, node: "observer", source: "hotpair", text });
  const late = clients.main.direct
    .filter((request) => endOf(request) >= faultAt)
    .reduce((worst, request) => Math.max(worst, request.late), 0);
  if (late > 20) note(`the client was up to ${Math.round(late)} ms behind its own schedule: this machine was busy`);
  if (owners.lateMs() > 20) note(`an observer's look was up to ${Math.round(owners.lateMs())} ms late`);
  return lines;
}

function progressOf(run: Run, expectation: Expectation): string {
  const rto = run.clients.direct?.rtoMs;
  const words = [
    run.verdict,
    rto === null || rto === undefined ? "service did not come back" : `out for ${Math.round(rto)} ms`,
    expectation.upper === UNBOUNDED
      ? ""
      : `promised ${Math.round(expectation.lowerMs)} to ${Math.round(expectation.upper)} ms`,
    `two owners ${Math.max(0, ...Object.values(run.ownership.twoOwnersMs))} ms`,
    run.writers === undefined ? "" : `two writers ${run.writers.twoWritersMs} ms`,
    run.ledger === undefined
      ? ""
      : `${run.ledger.primary.acknowledged} writes acknowledged, ${run.ledger.primary.missing.count} lost`,
    ...run.reasons,
  ];
  return `  ${words.filter((word) => word !== "").join("; ")}`;
}

/** hotpair's and the daemons' versions, e.g. `keepalived@node-a`. What does not answer is left out. */
export async function versionsOf(place: Place): Promise<Record<string, string>> {
  const script = `keepalived --version 2>&1 | sed -n '1s/^Keepalived v\\([^ ]*\\).*/keepalived \\1/p'
haproxy -v 2>/dev/null | sed -n '1s/^HAProxy version \\([^ ]*\\).*/haproxy \\1/p'
nginx -v 2>&1 | sed -n '1s/^nginx version: nginx.//;1s/^\\([0-9][^ ]*\\).*/nginx \\1/p'
mariadbd --version 2>/dev/null | sed -n '1s/.* Ver \\([^ ]*\\).*/mariadb \\1/p'
etcd --version 2>/dev/null | sed -n '1s/^etcd Version: \\([^ ]*\\).*/etcd \\1/p'
uname -r | sed 's/^/linux /'`;
  const { version } = JSON.parse(readFileSync(join(PROJECT, "package.json"), "utf8")) as { readonly version: string };
  const versions: Record<string, string> = { hotpair: version };
  const said = await onBoth(place, async (host) => (await tryShell(host, script)).stdout);
  for (const [index, id] of NODE_IDS.entries())
    for (const line of (said[index] ?? "").split("\n")) {
      const [name, version] = line.split(" ");
      if (name && version) versions[`${name}@${place.hosts[id].node.name}`] = version;
    }
  return versions;
}
