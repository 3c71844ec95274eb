// Watches who holds the VIPs: starts the observer program on each server, reads what it sees, and brings its times to the
// drill's clock. Independent of hotpair's own daemons. The arithmetic over what was seen is ownership.ts; who could write
// is watched beside it, writers.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NODE_IDS, type NodeId } from "../model/pair.ts";
import type { Place } from "./host.ts";
import { observe } from "./observe.ts";
import type { Sighting } from "./ownership.ts";

const PROGRAM = readFileSync(join(import.meta.dirname, "observer.py"), "utf8");

/** What the observer writes; times in nanoseconds of its own clock. */
export type ObserverLine =
  | { readonly kind: "hello"; readonly at: bigint; readonly boot: string }
  | { readonly kind: "sighting"; readonly address: string; readonly held: boolean; readonly at: bigint }
  | { readonly kind: "alive"; readonly at: bigint; readonly lateNs: bigint }
  | { readonly kind: "pong"; readonly n: number; readonly at: bigint };

/** Reads one line; undefined for anything else (a login banner on a server's console, half a line of a dead server). */
export function readObserverLine(line: string): ObserverLine | undefined {
  // Nanoseconds since 1970 do not fit into a double: taken from the text.
  const number = (key: string): bigint | undefined => {
    const match = new RegExp(`"${key}":(-?\\d+)`).exec(line);
    return match?.[1] === undefined ? undefined : BigInt(match[1]);
  };
  const text = (key: string): string | undefined => new RegExp(`"${key}":"([^"]*)"`).exec(line)?.[1];
  if (!line.startsWith("{") || !line.endsWith("}")) return undefined;
  const at = number("at");
  const hello = number("hello");
  if (hello !== undefined) return { kind: "hello", at: hello, boot: text("boot") ?? "" };
  const alive = number("alive");
  if (alive !== undefined) return { kind: "alive", at: alive, lateNs: number("late") ?? 0n };
  if (at === undefined) return undefined;
  const pong = number("pong");
  if (pong !== undefined) return { kind: "pong", n: Number(pong), at };
  const has = text("has");
  if (has !== undefined) return { kind: "sighting", address: has, held: true, at };
  const gone = text("gone");
  return gone === undefined ? undefined : { kind: "sighting", address: gone, held: false, at };
}

/** Nanoseconds to milliseconds without losing the fraction: whole seconds apart first. */
export const toMs = (at: bigint): number => Number(at / 1_000_000n) + Number(at % 1_000_000n) / 1e6;

/**
 * A round trip bounds how far a server's clock is from ours: its answer was written somewhere between our two readings.
 * All in milliseconds; `offset` is what its clock is ahead of ours.
 */
export function clockOffset(sentAt: number, answeredAt: number, receivedAt: number): { offset: number; error: number } {
  return { offset: answeredAt - (sentAt + receivedAt) / 2, error: (receivedAt - sentAt) / 2 };
}

export interface OwnersWatch {
  /** Resolves when both observers have said what is there now; rejects when one cannot run within the time. */
  ready(timeoutMs: number): Promise<void>;
  /** Everything seen so far, in Unix milliseconds of this machine's clock. */
  sightings(): Sighting[];
  /** Milliseconds by which a node's clock is ahead of this machine's. */
  offset(node: NodeId): number;
  /** How exactly the worst of the two is known; 0 in the lab. */
  clockErrorMs(): number;
  /** Longest delay of an observer's look, in milliseconds: what a busy machine adds. */
  lateMs(): number;
  /** Seconds at most until everything that happened before the call has been read, on a network that works. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** `lifetimeMs` bounds how long an observer lives when this process dies and the connection does not. */
export function watchOwners(place: Place, lifetimeMs: number): OwnersWatch {
  const watchers = NODE_IDS.map((id) => watchNode(place, id, lifetimeMs));
  const of = (id: NodeId) => watchers[NODE_IDS.indexOf(id)];
  return {
    async ready(timeoutMs) {
      const deadline = Date.now() + timeoutMs;
      for (const [index, watcher] of watchers.entries()) {
        while (!watcher.ready()) {
          if (Date.now() > deadline)
            throw new Error(
              `the observer on ${place.pair.nodes[index]?.name} did not start within ${timeoutMs / 1000} s (python3 is needed there)`,
            );
          await sleep(20);
        }
      }
    },
    sightings: () => watchers.flatMap((watcher) => watcher.sightings()),
    offset: (id) => of(id)?.clock().offset ?? 0,
    clockErrorMs: () => Math.max(...watchers.map((watcher) => watcher.clock().error)),
    lateMs: () => Math.max(...watchers.map((watcher) => watcher.lateMs())),
    settle: async () => void (await Promise.all(watchers.map((watcher) => watcher.settle()))),
    stop: async () => void (await Promise.all(watchers.map((watcher) => watcher.stop()))),
  };
}

function watchNode(place: Place, node: NodeId, lifetimeMs: number) {
  const vipOf = new Map(place.pair.vips.map((vip) => [vip.address.split("/")[0] ?? "", vip.name]));
  let sightings: Sighting[] = [];
  /** What was concluded from a broken connection, until the same boot is heard again. */
  let concluded: Sighting[] = [];
  let boot = "";
  const known = new Set<string>();
  let clock = place.lab === undefined ? { offset: 0, error: Number.POSITIVE_INFINITY } : { offset: 0, error: 0 };
  let late = 0;
  let pings = 0;
  const sent = new Map<number, number>();

  const line = (text: string, now: number): boolean => {
    const read = readObserverLine(text);
    if (read === undefined) return false;
    const at = "at" in read ? toMs(read.at) - clock.offset : 0;
    if (read.kind === "hello") {
      // Only the connection was lost: what the node held meanwhile, it now says itself.
      if (read.boot === boot) sightings = sightings.filter((one) => !concluded.includes(one));
      boot = read.boot;
      concluded = [];
    } else if (read.kind === "sighting") {
      const vip = vipOf.get(read.address);
      if (vip === undefined) return true;
      known.add(vip);
      sightings.push({ node, vip, held: read.held, at, boot });
    } else if (read.kind === "alive") late = Math.max(late, Number(read.lateNs) / 1e6);
    else if (read.kind === "pong") {
      const sentAt = sent.get(read.n);
      sent.delete(read.n);
      if (sentAt === undefined || place.lab !== undefined) return true;
      // Date.now() has whole milliseconds at either end.
      const measured = clockOffset(sentAt, toMs(read.at), now + 1);
      if (measured.error < clock.error) clock = measured;
    }
    return true;
  };
  const observer = observe(place, node, PROGRAM, [String(Math.ceil(lifetimeMs / 1000)), ...vipOf.keys()], {
    line,
    connected() {
      for (let i = 0; place.lab === undefined && i < 5; i++) setTimeout(ping, 50 * (i + 1)).unref();
    },
    lost() {
      // What it held it may have held until it fell silent, and we cannot have known later than now. A node whose power
      // was cut is cut off earlier, by whoever cut it.
      concluded = [...known].map((vip) => ({ node, vip, held: false, at: Date.now() }));
      sightings.push(...concluded);
    },
  });
  function ping() {
    if (observer.say(`ping ${pings + 1}`)) sent.set(++pings, Date.now());
  }
  const timer = setInterval(ping, 1_000);
  timer.unref();

  return {
    ready: () => known.size === vipOf.size && Number.isFinite(clock.error),
    sightings: () => sightings,
    clock: () => clock,
    lateMs: () => late,
    settle: () => observer.settle(),
    async stop() {
      clearInterval(timer);
      await observer.stop();
    },
  };
}
