// Whether a run kept the promise: from what clients saw and from who held the addresses, never from what the system says
// of itself. Pure, so that synthetic histories can test it.

import { type Bound, formatDuration, ms, UNBOUNDED } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import { holdsState, type NodeId, type Pair, peerOf } from "../model/pair.ts";
import type { Recovery } from "./history.ts";
import { holdersAt, type Span, timeWithOwners, type Window } from "./ownership.ts";
import type { Request } from "./request.ts";

/**
 * What must become of the VIPs. `to-peer`: those of the active node move to the other one, once; `stays`: nothing moves;
 * `home`: each ends on its preferred node, and stays where it
 * is without one; `somewhere`: each ends on exactly one node, and so does `anywhere`, where no bounds of time are promised
 * either.
 */
export type Movement = "to-peer" | "stays" | "home" | "somewhere" | "anywhere";

export interface Expectation {
  readonly movement: Movement;
  readonly lowerMs: number;
  readonly upper: Bound;
  /** undefined: no target is stated for the class. */
  readonly targetMs: number | undefined;
  /** The class cannot be decided by this pair, and its estimate says so: two owners are reported and not judged. */
  readonly undecidable: boolean;
}

/**
 * Whether two nodes may both own the VIP in this class, by declaration of the estimate: without a witness nobody knows, and
 * without a lease a node that stood still knows nothing of it when it wakes up.
 */
export const undecidable = (pair: Pair, failure: FailureClassId): boolean =>
  (pair.witness === undefined && failure === "full-partition") ||
  (!holdsState(pair) && failure === "whole-node-freeze");

export interface Observation {
  readonly vips: readonly { readonly name: string; readonly preferred: NodeId | undefined }[];
  /** The node that the fault was aimed at. */
  readonly active: NodeId;
  readonly faultAt: number;
  readonly window: Window;
  readonly outcome: Recovery;
  /** Requests of the direct client that failed before the fault, and after service counted as back. */
  readonly failedBefore: number;
  readonly failedLater: readonly Request[];
  readonly spans: readonly Span[];
  readonly clockErrorMs: number;
  /** Lines that say what kept the pair from being whole again after the undo; empty: it is. */
  readonly notHealed: readonly string[];
  /** A pair in AWS: per VIP, the node to which its clients are sent at the end; null: none says so. */
  readonly address?: { readonly moves: readonly { readonly vip: string; readonly node: NodeId | null }[] } | undefined;
  /** A pair with state: what the ledger and the watch over its writers found; empty or undefined: nothing. */
  readonly state?: StateObservation | undefined;
}

export interface StateObservation {
  /** What the ledger could not prove, one line each. */
  readonly ledger: readonly string[];
  readonly twoWritersMs: number;
  readonly twoLeasesMs: number;
  /** Nodes other than the one that the fault was aimed at that took writes while nobody might. */
  readonly promoted: readonly NodeId[];
}

export interface Verdict {
  readonly verdict: "passed" | "failed";
  readonly reasons: readonly string[];
  readonly missedTarget: boolean;
}

/** As exactly as it was measured: tenths below 10 ms, whole milliseconds below 10 s. */
const text = (value: number): string =>
  formatDuration(
    ms(value < 10 ? Math.round(value * 10) / 10 : value < 10_000 ? Math.round(value) : Math.round(value / 100) * 100),
  );

export function judge(promise: Expectation, seen: Observation): Verdict {
  const reasons = [
    ...recoveryReasons(promise, seen),
    ...ownershipReasons(promise, seen),
    ...addressReasons(promise, seen),
    ...stateReasons(seen),
  ];
  const target = targetReason(promise, seen);
  if (seen.failedBefore > 0)
    reasons.push(`${seen.failedBefore} requests failed before the fault: the pair was not well to begin with`);
  const later = seen.failedLater[0];
  if (later !== undefined && !promise.undecidable && promise.movement !== "anywhere")
    reasons.push(
      `${seen.failedLater.length} requests failed again after service was back, the first ${text(later.at - seen.faultAt)} after the fault (${later.error})`,
    );
  reasons.push(...seen.notHealed.map((line) => `not whole again after the undo: ${line}`));
  if (target !== undefined) reasons.push(target);
  return { verdict: reasons.length === 0 ? "passed" : "failed", reasons, missedTarget: target !== undefined };
}

/** Milliseconds of outage as the definition has it; undefined when it did not end while somebody looked. */
const outage = (outcome: Recovery): number | undefined =>
  outcome.kind === "unharmed" ? 0 : outcome.kind === "recovered" ? outcome.rtoMs : undefined;

function recoveryReasons(promise: Expectation, seen: Observation): string[] {
  const { outcome } = seen;
  const rto = outage(outcome);
  if (rto === undefined) {
    if (promise.undecidable) return [];
    const since = outcome.kind === "unharmed" || outcome.kind === "recovered" ? undefined : outcome.firstFailed;
    if (since === undefined) return ["the observation ended too early to say that service held"];
    return [
      outcome.kind === "down"
        ? `service did not come back: requests fail since ${text(since.at - seen.faultAt)} after the fault`
        : "the observation ended before service had held long enough to count as back",
    ];
  }
  // The estimate counts the client's own share (one interval, its answers), so the bounds hold as they are.
  if (promise.upper !== UNBOUNDED && rto > promise.upper)
    return [`clients were out for ${text(rto)}; the estimate says at most ${text(promise.upper)}`];
  if (rto < promise.lowerMs)
    return [`clients were out for ${text(rto)}; the estimate says at least ${text(promise.lowerMs)}`];
  return [];
}

/** Never relaxed, whatever the class: two writers or a lost write are what a pair with state may never have. */
function stateReasons({ state, clockErrorMs }: Observation): string[] {
  if (state === undefined) return [];
  const reasons = [...state.ledger];
  if (state.twoWritersMs > clockErrorMs)
    reasons.push(`both nodes could acknowledge a write for ${text(state.twoWritersMs)}`);
  if (state.twoLeasesMs > clockErrorMs) reasons.push(`both nodes held the lease for ${text(state.twoLeasesMs)}`);
  for (const node of state.promoted)
    reasons.push(`node ${node} took writes although nothing proved that it has every acknowledged one`);
  return reasons;
}

function targetReason(promise: Expectation, seen: Observation): string | undefined {
  const rto = outage(seen.outcome);
  if (promise.targetMs === undefined || promise.undecidable) return undefined;
  if (rto === undefined) return `the target of ${text(promise.targetMs)} was missed: service did not come back`;
  return rto > promise.targetMs ? `the target of ${text(promise.targetMs)} was missed: ${text(rto)}` : undefined;
}

function ownershipReasons(promise: Expectation, seen: Observation): string[] {
  if (promise.undecidable) return [];
  const reasons: string[] = [];
  for (const vip of seen.vips) {
    const two = timeWithOwners(seen.spans, vip.name, 2, seen.window);
    // Two clocks that are known to a millisecond cannot tell an overlap of half of one.
    if (two > seen.clockErrorMs) reasons.push(`${vip.name} had two owners for ${text(two)}`);
    const moved = movementReason(promise.movement, seen, vip);
    if (moved !== undefined) reasons.push(`${vip.name} ${moved}`);
  }
  return reasons;
}

/** An address that is elsewhere than its VIP leads clients to nobody. */
function addressReasons(promise: Expectation, { address, spans, window }: Observation): string[] {
  if (address === undefined || promise.undecidable) return [];
  return address.moves.flatMap(({ vip, node }) => {
    const [owner, ...others] = holdersAt(spans, vip, window.until - 0.001);
    // That there is none, or that there are two, is said already.
    if (owner === undefined || others.length > 0 || owner === node) return [];
    const sent = node === null ? "no node says that AWS sends clients to it" : `AWS sends clients to node ${node}`;
    return [`${sent}, and ${vip} is on node ${owner}`];
  });
}

function movementReason(
  movement: Movement,
  seen: Observation,
  vip: { readonly name: string; readonly preferred: NodeId | undefined },
): string | undefined {
  const end = holdersAt(seen.spans, vip.name, seen.window.until - 0.001);
  const owner = end.length === 1 ? end[0] : undefined;
  if (owner === undefined) return end.length === 0 ? "has no owner at the end" : "has two owners at the end";
  // From the last one that had it before the fault on; taking it anew on the same node is no movement.
  const spans = seen.spans.filter((span) => span.vip === vip.name);
  const before = spans.filter((span) => span.from < seen.faultAt).at(-1);
  const owners = spans
    .slice(before === undefined ? 0 : spans.indexOf(before))
    .map((span) => span.node)
    .filter((node, index, all) => node !== all[index - 1]);
  const moves = Math.max(0, owners.length - 1);
  const wentHome = owner === vip.preferred;
  if (movement === "somewhere" || movement === "anywhere") return undefined;
  if (movement === "home" && vip.preferred !== undefined)
    return wentHome ? undefined : "did not go home to its preferred node";
  if (movement === "stays" || movement === "home" || before?.node !== seen.active)
    return moves === 0 ? undefined : `moved ${moves === 1 ? "once" : `${moves} times`}; it should have stayed`;
  if (!owners.includes(peerOf(seen.active))) return "did not move to the other node";
  // A VIP with a preferred node goes home once that node is well again; any other movement is one too many.
  return moves === 1 || (moves === 2 && wentHome) ? undefined : `moved ${moves} times; it should have moved once`;
}
