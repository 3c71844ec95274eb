// Watches who holds the VIPs: starts the observer program on each server, reads what it sees, and brings its times to the
// drill's clock. Independent of hotpair's own daemons. The arithmetic over what was seen is ownership.ts; who could write
// is watched beside it, writers.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NODE_IDS, type NodeId } from "../model/pair.ts";
import { lookMs, type Place, sharesClock } from "./host.ts";
import { type Heard, type NodeClock, nodeClock, type Reading, roundTrip } from "./node-clock.ts";
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

export interface OwnersWatch {
  /** Resolves when both observers have said what is there now; rejects when one cannot run within the time. */
  ready(timeoutMs: number): Promise<void>;
  /** Everything seen so far, in Unix milliseconds of this machine's clock. */
  sightings(): Sighting[];
  /** Milliseconds by which a node's clock is ahead of this machine's now. */
  offset(node: NodeId): number;
  /** When a node's boot saw something, in Unix milliseconds of this machine's clock. */
  ours(node: NodeId, boot: string, heard: Heard): number;
  /** How exactly the worst of the two is known; 0 for the lab's containers. */
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
    offset: (id) => of(id)?.now().offset ?? 0,
    ours: (id, boot, heard) => of(id)?.ours(boot, heard) ?? heard.heardAt,
    clockErrorMs: () => Math.max(...watchers.map((watcher) => watcher.now().error)),
    lateMs: () => Math.max(...watchers.map((watcher) => watcher.lateMs())),
    settle: async () => void (await Promise.all(watchers.map((watcher) => watcher.settle()))),
    stop: async () => void (await Promise.all(watchers.map((watcher) => watcher.stop()))),
  };
}

/** A clock that is this machine's own. */
const OURS: Reading = { offset: 0, error: 0 };

function watchNode(place: Place, node: NodeId, lifetimeMs: number) {
  const vipOf = new Map(place.pair.vips.map((vip) => [vip.address.split("/")[0] ?? "", vip.name]));
  const shared = sharesClock(place);
  type Seen = Heard & { readonly vip: string; readonly held: boolean; readonly boot: string };
  const seen: Seen[] = [];
  /** What was concluded from a broken connection, until the same boot is heard again. */
  let concluded: { readonly boot: string; readonly sightings: readonly Sighting[] }[] = [];
  /** One per boot: a server's clock is set when it boots. */
  const clocks = new Map<string, NodeClock>();
  const known = new Set<string>();
  let boot = "";
  let late = 0;
  let pings = 0;
  const sent = new Map<number, number>();
  const clockOf = (of: string): NodeClock => {
    const clock = clocks.get(of) ?? nodeClock(shared ? OURS : undefined);
    clocks.set(of, clock);
    return clock;
  };

  const line = (text: string, now: number): boolean => {
    const read = readObserverLine(text);
    if (read === undefined) return false;
    if (read.kind === "hello") {
      boot = read.boot;
      clockOf(boot);
      // Only the connection was lost: what the node held meanwhile, it now says itself.
      concluded = concluded.filter((one) => one.boot !== boot);
    } else if (read.kind === "sighting") {
      const vip = vipOf.get(read.address);
      if (vip === undefined) return true;
      known.add(vip);
      seen.push({ vip, held: read.held, boot, at: toMs(read.at), heardAt: now });
    } else if (read.kind === "alive") late = Math.max(late, Number(read.lateNs) / 1e6);
    else if (read.kind === "pong") {
      const sentAt = sent.get(read.n);
      sent.delete(read.n);
      if (sentAt === undefined || shared) return true;
      // Date.now() has whole milliseconds at either end.
      clockOf(boot).hear(roundTrip(sentAt, toMs(read.at), now + 1));
    }
    return true;
  };
  const words = [String(Math.ceil(lifetimeMs / 1000)), String(lookMs(place)), ...vipOf.keys()];
  const observer = observe(place, node, PROGRAM, words, {
    line,
    connected() {
      for (let i = 0; !shared && i < 5; i++) setTimeout(ping, 50 * (i + 1)).unref();
    },
    lost() {
      // What it held it may have held until it fell silent, and we cannot have known later than now. A node whose power
      // was cut is cut off earlier, by whoever cut it.
      const at = Date.now();
      concluded.push({ boot, sightings: [...known].map((vip) => ({ node, vip, held: false, at })) });
    },
  });
  function ping() {
    if (observer.say(`ping ${pings + 1}`)) sent.set(++pings, Date.now());
  }
  const timer = setInterval(ping, 1_000);
  timer.unref();
  const now = (): Reading => clocks.get(boot)?.now() ?? nodeClock(shared ? OURS : undefined).now();

  return {
    ready: () => known.size === vipOf.size && Number.isFinite(now().error),
    sightings: (): Sighting[] =>
      [
        ...seen.map(({ vip, held, boot: of, ...heard }) => ({
          node,
          vip,
          held,
          at: clockOf(of).ours(heard),
          boot: of,
        })),
        ...concluded.flatMap(({ sightings }) => sightings),
      ].toSorted((one, other) => one.at - other.at),
    ours: (of: string, heard: Heard) => clockOf(of).ours(heard),
    now,
    lateMs: () => late,
    settle: () => observer.settle(),
    async stop() {
      clearInterval(timer);
      await observer.stop();
    },
  };
}
