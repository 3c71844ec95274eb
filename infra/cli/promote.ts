// `hotpair promote`: an operator's word in the place of a quorum. It shows first what is known and what could be lost, does
// nothing without consent, and then has the node itself do it (hotpair-lease force, docs/lease.md "Forced promotion").

import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { UserError } from "../model/errors.ts";
import { holdsState, type NodeId, type Pair, peerOf, storeOf } from "../model/pair.ts";
import type { FencingShot, FencingStatus, NodeStatus } from "../model/status.ts";
import { FENCE_PROGRAM } from "../services/fencing.ts";
import { disconnectAll, type RunResult, run, SshError, type SshTarget } from "../ssh/run.ts";
import { patience } from "./patience.ts";
import { keyPathsOf, nameOf, nodeNamed, openSecrets, type Targets, targetOf, targetsOf } from "./servers.ts";
import { loadStack, stackOption } from "./stack.ts";
import { announce, paint } from "./terminal.ts";

const LIBRARY = "/usr/lib/hotpair";
const CONSENT = "--i-know-the-peer-is-down";
/** A look at a node that has no quorum waits 1 s for each member. */
const LOOK_DEADLINE_MS = 10_000;
/** A stop and a start of the etcd member, and T. */
const FORCE_DEADLINE_MS = 120_000;
const POLL_MS = 500;

export function register(program: Command): void {
  program
    .command("promote")
    .description("make a node active by your word that the other one is down: where no quorum is left to decide it")
    .requiredOption("--node <node>", "the node that is to go on with the data that it has")
    .option(CONSENT, "it is off and stays off until it is taken in again; without this: only what is known", false)
    .option(
      "--wait <seconds>",
      "give up waiting for the node to be active after this long",
      patience("seconds", 3_600),
      120,
    )
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(promote);
}

interface Options {
  readonly node: string;
  readonly iKnowThePeerIsDown: boolean;
  readonly wait: number;
  readonly stack?: string;
  readonly json: boolean;
}

/** `hotpair-lease status --json`, as far as this command looks. */
export interface LeaseStatus {
  readonly holding: boolean;
  readonly verdict: string;
  readonly why: string;
  readonly quorum: boolean;
  readonly holder: NodeId | null;
  readonly insync: Readonly<Partial<Record<NodeId, string>>> | null;
  readonly epoch: { readonly here: number | null; readonly etcd: number | null };
  readonly incarnation: string | null;
}

/** What the hosts say before anything is done; undefined: no answer. */
export interface Known {
  readonly lease: LeaseStatus | undefined;
  readonly status: NodeStatus | undefined;
  /** Position of the node's data, in the database's own words. */
  readonly position: string | undefined;
  readonly peer: { readonly answers: boolean; readonly holding: boolean };
  readonly witnessAnswers: boolean;
}

async function promote(options: Options): Promise<void> {
  const stack = loadStack(options.stack);
  const { pair } = stack;
  const id = nodeNamed(pair, options.node);
  if (pair.authority === undefined)
    throw new UserError(`the pair ${pair.name} keeps no data: whoever is alive takes over by itself`, [
      `to move the active role: hotpair switch --to ${nameOf(pair, id)}`,
    ]);
  const targets = targetsOf(pair, await openSecrets(stack, keyPathsOf(pair)));
  const began = performance.now();
  const steps: { elapsedMs: number; text: string }[] = [];
  const say = (text: string): void => {
    const elapsedMs = Math.round(performance.now() - began);
    steps.push({ elapsedMs, text });
    announce(`${(elapsedMs / 1_000).toFixed(1).padStart(6)} s  ${text}`);
  };
  try {
    const known = await ask(pair, id, targets);
    if (!options.json) console.log(describeKnown(pair, id, known).join("\n"));
    const refusal = refuse(pair, id, known, options.iKnowThePeerIsDown);
    const outcome = refusal ?? (await carryOut(pair, id, targets, known, options.wait, say));
    const done = outcome === undefined;
    const text = outcome ?? `${nameOf(pair, id)} is active`;
    if (options.json) console.log(JSON.stringify({ done, text, node: nameOf(pair, id), known, steps }, undefined, 2));
    else if (done) say(text);
    else announce(`hotpair: ${text}`);
    if (!done) process.exitCode = 1;
    else announceWayHome(pair, id, options.stack);
  } finally {
    disconnectAll();
  }
}

// ---- what is known

async function ask(pair: Pair, id: NodeId, targets: Targets): Promise<Known> {
  const here = targetOf(targets, id);
  const there = targetOf(targets, peerOf(id));
  const [lease, status, database, peer, witness] = await Promise.all([
    asked<LeaseStatus>(here, "hotpair-lease status --json"),
    asked<NodeStatus>(here, "hotpair-arbiter status --json"),
    pair.mariadb === undefined
      ? undefined
      : asked<{ readonly server: { readonly position: string } | null }>(here, "hotpair-mariadb status --json"),
    asked<LeaseStatus>(there, "hotpair-lease status --json"),
    targets.witness === undefined ? undefined : reached(targets.witness),
  ]);
  return {
    lease,
    status,
    position: database?.server?.position,
    peer: { answers: peer !== undefined || (await reached(there)), holding: peer?.holding === true },
    witnessAnswers: witness === true,
  };
}

/** A server program's JSON; undefined when there is no answer that is one. */
async function asked<T>(target: SshTarget, words: string): Promise<T | undefined> {
  try {
    const { stdout } = await run(target, `${LIBRARY}/${words}`, { timeoutMs: LOOK_DEADLINE_MS, becomeRoot: true });
    return JSON.parse(stdout) as T;
  } catch (error) {
    if (error instanceof SshError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function reached(target: SshTarget): Promise<boolean> {
  try {
    return (await run(target, ":", { timeoutMs: LOOK_DEADLINE_MS })).code === 0;
  } catch (error) {
    if (error instanceof SshError) return false;
    throw error;
  }
}

/** For the person who has to decide: who held the lease and when, what this node has, who answers, what could be lost. */
export function describeKnown(
  pair: Pair,
  id: NodeId,
  { lease, status, position, peer, witnessAnswers }: Known,
): string[] {
  const name = nameOf(pair, id);
  const other = nameOf(pair, peerOf(id));
  const lines = [paint("bold", `what is known, before ${name} is made active by force`)];
  if (lease === undefined) return [...lines, `  ${name} does not answer: nothing can be done there`];
  const seen = status?.authority?.renewedMsAgo;
  const heard = Object.values(status?.peer?.heardMsAgo ?? {}).filter((age) => typeof age === "number");
  const named = (holder: NodeId | null) => (holder === null ? "nobody" : nameOf(pair, holder));
  const listed = lease.insync === null ? "not known" : Object.keys(lease.insync).map((one) => named(one as NodeId));
  lines.push(
    `  the lease:     ${named(lease.holder)} held it last${typeof seen === "number" ? `, renewed ${ago(seen)}` : ""}; ${lease.why}`,
    `  in sync:       ${Array.isArray(listed) ? listed.join(" and ") || "nobody" : listed}, in epoch ${lease.epoch.etcd ?? "not known"}`,
    `  ${`${name}:`.padEnd(14)} data ${lease.incarnation ?? "none"}${position === undefined ? "" : `, at ${position || "no position"}`}`,
    `  ${`${other}:`.padEnd(14)} ${peer.answers ? "ANSWERS" : "does not answer"}${peer.holding ? " and HOLDS THE LEASE" : ""}` +
      `${heard.length > 0 ? `, its arbiter was heard ${ago(Math.min(...heard))}` : ""}`,
    `  witness:       ${witnessAnswers ? "answers" : "does not answer"}; ${lease.quorum ? "there is a quorum" : "there is no quorum"}`,
    `  fencing:       ${pair.fencing === undefined ? "none: nothing but your word says that it is off" : shotText(status?.fencing, other)}`,
    `  could be lost: ${lossOf(pair, id, lease)}`,
  );
  return lines;
}

function shotText(fencing: FencingStatus | null | undefined, other: string): string {
  const last = fencing?.last;
  if (last === undefined || last === null) return `${other} was not shot yet; it is, before the promotion`;
  return `${other}: ${last.outcome}, ${new Date(last.at).toISOString()}${last.detail === "" ? "" : ` (${last.detail})`}`;
}

/** What a client was told is stored, and would be gone. */
export function lossOf(pair: Pair, id: NodeId, { insync, incarnation }: LeaseStatus): string {
  const other = nameOf(pair, peerOf(id));
  if (incarnation === null) return `everything: ${nameOf(pair, id)} has no data`;
  if (insync === null) return `whatever ${other} acknowledged that is not here: no member tells who was in sync`;
  if (insync[id] === incarnation) return "nothing that was acknowledged until then, as far as this node knows";
  if (insync[id] !== undefined)
    return "acknowledged writes: this node's data was restarted or replaced since it was in sync";
  return `what ${other} acknowledged since it goes on alone: this node was NOT in sync`;
}

function ago(milliseconds: number): string {
  if (milliseconds < 1_000) return `${milliseconds} ms ago`;
  const seconds = Math.round(milliseconds / 1_000);
  return seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}

// ---- whether

/** Why not; undefined: go on. */
export function refuse(pair: Pair, id: NodeId, { lease, status, peer }: Known, consent: boolean): string | undefined {
  const name = nameOf(pair, id);
  const other = nameOf(pair, peerOf(id));
  if (lease === undefined)
    return `${name} cannot be asked: it must be reached over SSH, and hotpair must be installed there`;
  if (lease.incarnation === null) return `${name} has no data to go on with`;
  if (lease.holding) return undefined;
  if (peer.holding) return `${other} answers and holds the lease: to move it in order: hotpair switch --to ${name}`;
  const renewed = status?.authority?.renewedMsAgo;
  if (lease.holder === peerOf(id) && typeof renewed === "number" && renewed < (pair.authority?.lease.takeover ?? 0))
    return `${other} renewed the lease ${ago(renewed)}: it is not down. To move it in order: hotpair switch --to ${name}`;
  if (lease.verdict === "free" || (lease.verdict === "standby" && lease.quorum))
    return `nothing needs to be forced: ${lease.why}, and ${name} takes over by itself`;
  if (!consent)
    return `nothing was done. If ${other} is off and stays off until it is taken in again: hotpair promote --node ${name} ${CONSENT}`;
  return undefined;
}

// ---- the act

/** undefined when the node is active; otherwise why it is not. */
async function carryOut(
  pair: Pair,
  id: NodeId,
  targets: Targets,
  { lease, status }: Known,
  waitSeconds: number,
  say: (text: string) => void,
): Promise<string | undefined> {
  const name = nameOf(pair, id);
  const here = targetOf(targets, id);
  if (lease?.holding === true) {
    // It holds the lease: an earlier attempt was interrupted, or the promotion waits for fencing.
    const last = status?.fencing?.last?.outcome;
    if (pair.fencing?.required === true && (last === "running" || last === "unconfirmed")) {
      const said = await run(here, `${FENCE_PROGRAM} acknowledge ${CONSENT}`, {
        timeoutMs: LOOK_DEADLINE_MS,
        becomeRoot: true,
      });
      if (said.code !== 0) return `${name}: ${lastLine(said)}`;
      say(lastLine(said));
    } else say(`${name} holds the lease already`);
  } else {
    if (pair.fencing !== undefined) await shoot(pair, id, here, say);
    say(`${name} starts a new epoch with its own data`);
    const forced = await run(here, `${LIBRARY}/hotpair-lease force ${CONSENT}`, {
      timeoutMs: FORCE_DEADLINE_MS,
      becomeRoot: true,
    });
    if (forced.code !== 0) return `${name} refuses: ${lastLine(forced)}`;
    say(lastLine(forced));
  }
  return waitUntilActive(pair, id, here, waitSeconds, say);
}

/** The operator says that it is down; its power controller makes sure of it. What it says is shown, and nothing depends on it. */
async function shoot(pair: Pair, id: NodeId, here: SshTarget, say: (text: string) => void): Promise<void> {
  const other = nameOf(pair, peerOf(id));
  say(`${nameOf(pair, id)} switches ${other} off by ${pair.fencing?.agents[peerOf(id)].agent}`);
  const said = await run(here, `${FENCE_PROGRAM} peer ${CONSENT} --json`, {
    timeoutMs: (pair.fencing?.timeout ?? 0) + LOOK_DEADLINE_MS,
    becomeRoot: true,
  });
  try {
    const { outcome, elapsedMs, detail } = JSON.parse(said.stdout) as FencingShot;
    say(
      outcome === "confirmed"
        ? `${other} is confirmed off after ${elapsedMs} ms`
        : `${other} is NOT confirmed off (${detail}): it counts by your word alone`,
    );
  } catch {
    say(`fencing said nothing (${lastLine(said)}): ${other} counts as off by your word alone`);
  }
}

async function waitUntilActive(
  pair: Pair,
  id: NodeId,
  here: SshTarget,
  waitSeconds: number,
  say: (text: string) => void,
): Promise<string | undefined> {
  const until = performance.now() + waitSeconds * 1_000;
  let before = "";
  for (;;) {
    const missing = missingOf(pair, await asked<NodeStatus>(here, "hotpair-arbiter status --json"));
    if (missing.length === 0) return undefined;
    const text = `${nameOf(pair, id)} is not active yet: ${missing.join("; ")}`;
    if (text !== before) say(text);
    before = text;
    if (performance.now() > until)
      return `${text} after ${waitSeconds} s; look at it: hotpair status. The new epoch stays: the same command again goes on waiting`;
    await sleep(POLL_MS);
  }
}

/** What a node still lacks to be the active one. */
export function missingOf(pair: Pair, status: NodeStatus | undefined): readonly string[] {
  if (status === undefined) return ["it does not answer"];
  const missing = pair.vips
    .filter(({ name }) => !status.vips.some((vip) => vip.name === name && vip.held))
    .map(({ name }) => `it does not have VIP ${name}`);
  if (status.authority?.holding !== true) missing.push("it does not hold the lease");
  if (holdsState(pair) && status.database?.state !== "primary")
    missing.push(`its ${storeOf(pair)} is ${status.database?.state ?? "silent"}`);
  return missing;
}

function announceWayHome(pair: Pair, id: NodeId, stack: string | undefined): void {
  const at = stack === undefined ? "" : ` -s ${stack}`;
  const witness = pair.witness?.name ?? "witness";
  announce(
    `then: hotpair authority restore ${witness}${at}, and when it is back: hotpair authority restore ${nameOf(pair, peerOf(id))}${at}`,
  );
}

const lastLine = ({ stdout, stderr }: RunResult): string =>
  (stderr.trim() || stdout.trim())
    .split("\n")
    .at(-1)
    ?.replace(/^hotpair-(lease|fence): /, "") ?? "";
