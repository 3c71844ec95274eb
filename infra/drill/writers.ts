// Watches which node's database or replicated disk could acknowledge a write, which one holds the lease and who is in sync:
// starts the program writers.py on each server of a pair with state and reads what it sees. What it adds up to is at the
// end, pure.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Writers } from "../evidence/schema.ts";
import { NODE_IDS, type NodeId, type Pair, peerOf } from "../model/pair.ts";
import { lookMs, type Place } from "./host.ts";
import type { Heard } from "./node-clock.ts";
import { observe } from "./observe.ts";
import type { OwnersWatch } from "./owners.ts";
import { heldSpans, type PowerCut, type Sighting, type Span, timeWithOwners, type Window } from "./ownership.ts";

const PROGRAM = readFileSync(join(import.meta.dirname, "writers.py"), "utf8");

/** The two rights that at most one node may have, as ownership.ts counts owners of anything. */
const WRITE = "write";
const LEASE = "lease";

export interface InsyncChange {
  /** Revision of the key in the authority: the same one is seen by both nodes' observers. */
  readonly revision: number;
  readonly at: number;
  readonly nodes: readonly NodeId[];
}

/** What a node could do by itself. */
export interface Rights {
  readonly lease: boolean;
  /** Its store could acknowledge a write, if the other node's has its part in it. */
  readonly writes: boolean;
  /** It believes that the other one has: no acknowledgement without the other node's answer. */
  readonly joined: boolean;
  /** Its store answers the other node's. */
  readonly answers: boolean;
}

/** What the program says; times in Unix milliseconds of the server's clock. */
export type WritersLine =
  | { readonly kind: "hello"; readonly boot: string }
  | ({ readonly kind: "state"; readonly at: number } & Rights)
  | { readonly kind: "insync"; readonly at: number; readonly revision: number; readonly nodes: readonly NodeId[] }
  | { readonly kind: "alive"; readonly lateMs: number };

/** Reads one line; undefined for anything else (a login banner on a server's console, half a line of a dead server). */
export function readWritersLine(text: string): WritersLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const record = value as Record<string, unknown>;
  const time = (field: unknown) => Number(BigInt(String(field)) / 1_000n) / 1_000;
  if ("hello" in record) return { kind: "hello", boot: String(record.boot) };
  if ("alive" in record) return { kind: "alive", lateMs: Number(record.late) / 1e6 };
  if ("insync" in record) {
    const listed = Array.isArray(record.nodes) ? record.nodes : [];
    const nodes = NODE_IDS.filter((id) => listed.includes(id));
    return { kind: "insync", at: time(record.insync), revision: Number(record.revision), nodes };
  }
  if (!("state" in record)) return undefined;
  const { run, listen, ro, semi, stopped, primary } = record;
  const lease = record.lease === true;
  const at = time(record.state);
  if (primary !== undefined)
    return {
      ...{ kind: "state", at, lease, writes: primary === true },
      ...{ joined: record.joined === true, answers: record.heard === true },
    };
  // A database that is stopped cannot answer, and one whose word was never heard has not been made writable yet. One without
  // the lease whose commits wait for the other server gets no acknowledgement from a server that was promoted, since that
  // has ended its receiving before it was: a frozen primary that wakes up is in this state until it is killed.
  const writes = run === true && listen === true && ro === false && stopped !== true && (lease || semi !== true);
  return { kind: "state", at, lease, writes, joined: false, answers: false };
}

/** What the observers look at on each node; undefined: the pair keeps no data. */
export function storeWords(pair: Pair): readonly string[] | undefined {
  if (pair.mariadb !== undefined) return ["database", String(pair.mariadb.port)];
  if (pair.drbd !== undefined) return ["disk", ...pair.drbd.resources.map(({ minor }) => String(minor))];
  return undefined;
}

export interface WritersWatch {
  /** Resolves when both observers have said what is there now; rejects when one cannot run within the time. */
  ready(timeoutMs: number): Promise<void>;
  /** Who could write and who held the lease, `vip` being one of the two rights. Unix milliseconds of this machine's clock. */
  sightings(): Sighting[];
  insync(): InsyncChange[];
  /** Longest delay of a look, in milliseconds. */
  lateMs(): number;
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** `words`: of `storeWords`. `owners` knows the nodes' clocks. */
export function watchWriters(
  place: Place,
  words: readonly string[],
  owners: Pick<OwnersWatch, "ours">,
  lifetimeMs: number,
): WritersWatch {
  const watchers = NODE_IDS.map((id) => watchNode(place, id, words, owners, lifetimeMs));
  return {
    async ready(timeoutMs) {
      const deadline = Date.now() + timeoutMs;
      for (const [index, watcher] of watchers.entries())
        while (!watcher.ready()) {
          if (Date.now() > deadline) {
            const name = place.pair.nodes[index === 0 ? 0 : 1].name;
            throw new Error(
              `the observer of the ${words[0]} on ${name} says nothing; it needs python3${words[0] === "database" ? " and mariadb-client" : ""}`,
            );
          }
          await sleep(20);
        }
    },
    // Only protocol C acknowledges nothing without the other node's disk.
    sightings: () =>
      sightingsOf(
        watchers.flatMap((watcher) => watcher.changes()),
        place.pair.drbd?.protocol === "C",
      ),
    insync: () => watchers.flatMap((watcher) => watcher.insync()),
    lateMs: () => Math.max(...watchers.map((watcher) => watcher.lateMs())),
    settle: async () => void (await Promise.all(watchers.map((watcher) => watcher.settle()))),
    stop: async () => void (await Promise.all(watchers.map((watcher) => watcher.stop()))),
  };
}

/** What a node could do from then on, on this machine's clock; without a boot it was concluded from its silence. */
export interface Change extends Rights {
  readonly node: NodeId;
  readonly at: number;
  readonly boot?: string;
}

const NOTHING: Rights = { lease: false, writes: false, joined: false, answers: false };

/**
 * Who could write and who held the lease. `together`: a node that believes itself joined acknowledges nothing that the other
 * one does not answer for, so it could write only while the other one, by its own word, answers.
 */
export function sightingsOf(changes: readonly Change[], together: boolean): Sighting[] {
  const now: Record<NodeId, Change | undefined> = { a: undefined, b: undefined };
  const could = (node: NodeId): boolean => {
    const { writes, joined } = now[node] ?? NOTHING;
    return writes && (!together || !joined || (now[peerOf(node)] ?? NOTHING).answers);
  };
  return changes
    .toSorted((one, other) => one.at - other.at)
    .flatMap((change) => {
      now[change.node] = change;
      const { at, node, boot, lease } = change;
      const said = { node, at, ...(boot === undefined ? {} : { boot }) };
      const peer = peerOf(node);
      const other = now[peer];
      // What one node says may change what the other one could.
      const word = other && { node: peer, at, ...(other.boot === undefined ? {} : { boot: other.boot }) };
      return [
        { ...said, vip: WRITE, held: could(node) },
        { ...said, vip: LEASE, held: lease },
        ...(word && together ? [{ ...word, vip: WRITE, held: could(peer) }] : []),
      ];
    });
}

function watchNode(
  place: Place,
  node: NodeId,
  words: readonly string[],
  owners: Pick<OwnersWatch, "ours">,
  lifetimeMs: number,
) {
  const raw: (Heard & Rights & { readonly boot: string })[] = [];
  const changed: (Heard & Omit<InsyncChange, "at"> & { readonly boot: string })[] = [];
  let concluded: { readonly at: number; readonly boot: string }[] = [];
  let boot = "";
  let late = 0;
  const argv = [String(Math.ceil(lifetimeMs / 1000)), String(lookMs(place)), ...words];
  const observer = observe(place, node, PROGRAM, argv, {
    line(text, heardAt) {
      const read = readWritersLine(text);
      if (read === undefined) return false;
      if (read.kind === "hello") {
        boot = read.boot;
        // Only the connection was lost: what the node could do meanwhile, it now says itself.
        concluded = concluded.filter((one) => one.boot !== boot);
      } else if (read.kind === "state") raw.push({ ...read, boot, heardAt });
      else if (read.kind === "insync") changed.push({ ...read, boot, heardAt });
      else late = Math.max(late, read.lateMs);
      return true;
    },
    lost() {
      concluded.push({ at: Date.now(), boot });
    },
  });
  return {
    ready: () => raw.length > 0,
    changes: (): Change[] => [
      ...raw.map(({ lease, writes, joined, answers, boot: of, ...heard }) => ({
        ...{ node, lease, writes, joined, answers, boot: of },
        at: owners.ours(node, of, heard),
      })),
      ...concluded.map(({ at }) => ({ ...NOTHING, node, at })),
    ],
    insync: (): InsyncChange[] =>
      changed.map(({ revision, nodes, boot: of, ...heard }) => ({ revision, nodes, at: owners.ours(node, of, heard) })),
    lateMs: () => late,
    settle: () => observer.settle(),
    stop: () => observer.stop(),
  };
}

/** What the evidence keeps; `faultAt` is the origin of its times, `lateMs` and `lookMs` what the observers' own delay may hide. */
export function summariseWriters(
  sightings: readonly Sighting[],
  changes: readonly InsyncChange[],
  cuts: readonly PowerCut[],
  window: Window,
  faultAt: number,
  { lateMs, lookMs }: { readonly lateMs: number; readonly lookMs: number },
): Writers {
  const spans = heldSpans(sightings, cuts);
  const insync = insyncChanges(changes);
  return {
    spans: spansOf(spans, WRITE, window, faultAt),
    leases: spansOf(spans, LEASE, window, faultAt),
    twoWritersMs: round(timeWithOwners(spans, WRITE, 2, window)),
    twoLeasesMs: round(timeWithOwners(spans, LEASE, 2, window)),
    insync: insync.map(({ at, nodes }) => ({ atMs: round(at - faultAt), nodes })),
    redundantAfterMs: redundantAfter(insync, faultAt),
    resolutionMs: round(lateMs + lookMs),
  };
}

/** Writers at an instant: which nodes could acknowledge a write. */
export const writersDuring = (sightings: readonly Sighting[], cuts: readonly PowerCut[], window: Window): NodeId[] => {
  const within = heldSpans(sightings, cuts).filter(
    (span) => span.vip === WRITE && span.from < window.until && (span.until ?? window.until) > window.from,
  );
  return NODE_IDS.filter((id) => within.some((span) => span.node === id));
};

/** Each revision once, when it was first seen, in the authority's own order. */
function insyncChanges(changes: readonly InsyncChange[]): InsyncChange[] {
  const first = new Map<number, InsyncChange>();
  for (const change of changes) {
    const known = first.get(change.revision);
    if (known === undefined || change.at < known.at) first.set(change.revision, change);
  }
  return [...first.values()].toSorted((one, other) => one.revision - other.revision);
}

/** Milliseconds from the fault until both were in sync again for good. */
function redundantAfter(changes: readonly InsyncChange[], faultAt: number): number | null {
  const last = changes.at(-1);
  if (last === undefined || last.nodes.length < 2) return null;
  const after = changes.filter((change) => change.at > faultAt);
  const lastLoss = after.findLastIndex((change) => change.nodes.length < 2);
  const before = changes[changes.length - after.length - 1];
  const back = lastLoss >= 0 ? after[lastLoss + 1] : before?.nodes.length === 2 ? undefined : after[0];
  return back === undefined ? 0 : round(back.at - faultAt);
}

const spansOf = (spans: readonly Span[], right: string, window: Window, faultAt: number) =>
  spans
    .filter((span) => span.vip === right && span.from < window.until && (span.until ?? window.until) > window.from)
    .map((span) => ({
      node: span.node,
      fromMs: round(Math.max(span.from, window.from) - faultAt),
      untilMs: span.until === undefined || span.until >= window.until ? null : round(span.until - faultAt),
    }));

const round = (value: number): number => Math.round(value * 100) / 100;
