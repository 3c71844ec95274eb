// Who held which VIP when: pure arithmetic over what the observers on the servers saw. How they are reached is owners.ts.

import type { Ownership } from "../evidence/schema.ts";
import { NODE_IDS, type NodeId } from "../model/pair.ts";

/** A VIP is (or is no longer) on a node's interfaces, in Unix milliseconds of the drill's clock. */
export interface Sighting {
  readonly node: NodeId;
  readonly vip: string;
  readonly held: boolean;
  readonly at: number;
  /** Which boot of the node said so; undefined: it was concluded from its silence. */
  readonly boot?: string;
}

/**
 * From here on the node holds nothing: its power was cut. With `until` it was frozen so long: it did nothing meanwhile, and
 * then went on where it had been. Unix milliseconds of the drill's clock.
 */
export interface PowerCut {
  readonly node: NodeId;
  readonly at: number;
  readonly until?: number;
}

export interface Span {
  readonly vip: string;
  readonly node: NodeId;
  readonly from: number;
  /** undefined: to the end of the observation. */
  readonly until: number | undefined;
}

/** Held spans per VIP and node, in order of their begin. A repeated sighting changes nothing. */
export function heldSpans(sightings: readonly Sighting[], cuts: readonly PowerCut[]): Span[] {
  const spans: Span[] = [];
  const vips = [...new Set(sightings.map((sighting) => sighting.vip))];
  for (const node of NODE_IDS) {
    for (const vip of vips) {
      const all = sightings.filter((sighting) => sighting.node === node && sighting.vip === vip);
      // A machine takes a moment to be killed after it was cut off: what that boot still said counts no more.
      const gone = cuts.flatMap(({ node: of, at, until }) => {
        if (of !== node || until !== undefined) return [];
        const boot = all.filter((sighting) => sighting.at <= at && sighting.boot !== undefined).at(-1)?.boot;
        return boot === undefined ? [] : [{ boot, at }];
      });
      const seen = all.filter((sighting) => !gone.some(({ boot, at }) => sighting.boot === boot && sighting.at > at));
      // Seen from outside, a frozen machine still holds what it held; it does nothing with it.
      const frozen = cuts.filter((cut) => cut.node === node && cut.until !== undefined);
      const awake = seen.filter(
        (sighting) => !frozen.some(({ at, until = at }) => sighting.at > at && sighting.at < until),
      );
      const heldAt = (at: number) => seen.filter((sighting) => sighting.at <= at).at(-1)?.held ?? false;
      const changes = [
        ...awake,
        ...cuts
          .filter((cut) => cut.node === node)
          .flatMap(({ at, until }) => [
            { held: false, at },
            ...(until === undefined ? [] : [{ held: heldAt(until), at: until }]),
          ]),
      ].toSorted((a, b) => a.at - b.at);
      let from: number | undefined;
      for (const { held, at } of changes) {
        if (held) from ??= at;
        else if (from !== undefined) {
          if (at > from) spans.push({ vip, node, from, until: at });
          from = undefined;
        }
      }
      if (from !== undefined) spans.push({ vip, node, from, until: undefined });
    }
  }
  return spans.toSorted((a, b) => a.from - b.from);
}

export interface Window {
  readonly from: number;
  readonly until: number;
}

/** Milliseconds of the window during which exactly `count` nodes held the VIP. */
export function timeWithOwners(spans: readonly Span[], vip: string, count: number, window: Window): number {
  const edges = spans
    .filter((span) => span.vip === vip)
    .flatMap((span) => {
      const from = Math.max(span.from, window.from);
      const until = Math.min(span.until ?? window.until, window.until);
      return until > from ? [[from, 1] as const, [until, -1] as const] : [];
    })
    // At the same instant the leaver goes first: nothing overlaps.
    .toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
  let owners = 0;
  let before = window.from;
  let total = 0;
  for (const [at, step] of edges) {
    if (owners === count) total += at - before;
    owners += step;
    before = at;
  }
  return owners === count ? total + window.until - before : total;
}

/** The nodes that hold the VIP at an instant. */
export const holdersAt = (spans: readonly Span[], vip: string, at: number): NodeId[] =>
  spans.filter((s) => s.vip === vip && s.from <= at && (s.until ?? Number.POSITIVE_INFINITY) > at).map((s) => s.node);

const round = (value: number): number => Math.round(value * 100) / 100;

/** What the evidence keeps; `faultAt` is the origin of its times. */
export function summariseOwnership(
  spans: readonly Span[],
  vips: readonly string[],
  window: Window,
  faultAt: number,
  clockErrorMs: number,
): Ownership {
  const perVip = (count: number) =>
    Object.fromEntries(vips.map((vip) => [vip, round(timeWithOwners(spans, vip, count, window))]));
  return {
    spans: spans
      .filter((span) => span.from < window.until && (span.until ?? window.until) > window.from)
      .map((span) => ({
        vip: span.vip,
        node: span.node,
        fromMs: round(Math.max(span.from, window.from) - faultAt),
        untilMs: span.until === undefined || span.until >= window.until ? null : round(span.until - faultAt),
      })),
    twoOwnersMs: perVip(2),
    noOwnerMs: perVip(0),
    clockErrorMs: round(clockErrorMs),
  };
}
