// What a client's history says: recovery time, failures, percentiles. Pure functions over recorded requests; the
// definition of the RTO stands here and nowhere else. Nothing here knows scenarios, nodes or targets.

import type { ClientResult, Sample } from "../evidence/schema.ts";
import { percentile } from "../evidence/summary.ts";
import { endOf, type Request } from "./request.ts";

/** How long service must hold before it counts as back (the definition of RTO in docs/drills.md). */
export const QUIET_MS = 10_000;

export type Recovery =
  /** No request failed, and the observation reached far enough to say so. */
  | { readonly kind: "unharmed" }
  | { readonly kind: "recovered"; readonly firstFailed: Request; readonly firstGood: Request; readonly rtoMs: number }
  /** Requests failed and none was followed by a quiet period; `firstFailed` says since when. */
  | { readonly kind: "down"; readonly firstFailed: Request }
  /** So far nothing contradicts recovery, but the observation ends before the quiet period does. */
  | { readonly kind: "undecided"; readonly firstFailed: Request | undefined };

/**
 * From the scheduled start of the first failed request to the completion of the first success that `quietMs` without
 * failure follow. "Follow" is in the order of the schedule: a request that started before that success and timed out
 * after it belongs to the outage that the success ended, and so does one that was late and succeeded (a lost SYN is sent
 * again after a second, RFC 6298 §2). `from` is the fault in Unix milliseconds: requests that were
 * over before it are not its victims. `requests` in the order of their schedule.
 */
export function recovery(requests: readonly Request[], from: number, quietMs: number = QUIET_MS): Recovery {
  const affected = requests.filter((request) => endOf(request) >= from);
  const last = affected.at(-1);
  const firstFailedAt = affected.findIndex((request) => !request.ok);
  const firstFailed = affected[firstFailedAt];
  if (firstFailed === undefined)
    return last !== undefined && last.at >= from + quietMs ? { kind: "unharmed" } : { kind: "undecided", firstFailed };
  let candidate: Request | undefined;
  for (const request of affected.slice(firstFailedAt)) {
    if (candidate !== undefined && request.at > endOf(candidate) + quietMs) break;
    if (!request.ok) candidate = undefined;
    else candidate ??= request;
  }
  if (candidate === undefined || last === undefined) return { kind: "down", firstFailed };
  if (last.at < endOf(candidate) + quietMs) return { kind: "undecided", firstFailed };
  const { at } = candidate;
  const firstGood = affected
    .filter((request) => request.ok && request.at >= at)
    .reduce((first, request) => (endOf(request) < endOf(first) ? request : first), candidate);
  return { kind: "recovered", firstFailed, firstGood, rtoMs: endOf(firstGood) - firstFailed.at };
}

/** Requests that failed although the service counted as recovered (or as unharmed): what healing broke. */
export function failedLater(requests: readonly Request[], outcome: Recovery): readonly Request[] {
  const good = outcome.kind === "recovered" ? outcome.firstGood.at : undefined;
  return good === undefined ? [] : requests.filter((request) => !request.ok && request.at > good);
}

const rank = (values: readonly number[], share: number): number => percentile(values, share) ?? 0;
const ascending = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const round = (value: number): number => Math.round(value * 100) / 100;

export interface SummaryOptions {
  /** Unix milliseconds of the fault. */
  readonly faultAt: number;
  readonly quietMs: number;
  /** Connections made anew by a persistent client. */
  readonly reconnects?: number;
}

/** Everything the evidence keeps of one client. `requests` in any order. */
export function summarise(requests: readonly Request[], options: SummaryOptions): ClientResult {
  const { faultAt } = options;
  const ordered = requests.toSorted((a, b) => a.at - b.at);
  const outcome = recovery(ordered, faultAt, options.quietMs);
  const good = ordered.filter((request) => request.ok);
  const took = ascending(good.map((request) => request.took));
  const before = ascending(good.filter((request) => endOf(request) < faultAt).map((request) => request.took));
  // Without a baseline nothing can be called slow.
  const slowAbove = before.length > 0 ? 10 * rank(before, 0.5) : Number.POSITIVE_INFINITY;
  const late = ascending(ordered.map((request) => Math.max(0, request.late)));
  return {
    requests: ordered.length,
    failed: ordered.length - good.length,
    slow: good.filter((request) => request.took > slowAbove).length,
    rtoMs: outcome.kind === "unharmed" ? 0 : outcome.kind === "recovered" ? round(outcome.rtoMs) : null,
    rtoFromFaultMs:
      outcome.kind === "unharmed" ? 0 : outcome.kind === "recovered" ? round(endOf(outcome.firstGood) - faultAt) : null,
    samples: thin(ordered, outcome, faultAt, slowAbove),
    p50Ms: round(rank(took, 0.5)),
    p99Ms: round(rank(took, 0.99)),
    failedTwice: ordered.filter((request) => !request.ok && !repeated(request, ordered)).length,
    reconnects: options.reconnects ?? 0,
    lateP99Ms: round(rank(late, 0.99)),
    lateMaxMs: round(late.at(-1) ?? 0),
  };
}

/** Whether a client that repeats this failed request once gets its answer: the first request after the failure got one. */
const repeated = (failed: Request, ordered: readonly Request[]): boolean =>
  ordered.find((request) => request.at >= endOf(failed))?.ok ?? false;

/** Everything from one second before the fault to one second after recovery, every failed or slow request, and one in ten of the rest. */
function thin(ordered: readonly Request[], outcome: Recovery, faultAt: number, slowAbove: number): Sample[] {
  const until = Math.max(faultAt, outcome.kind === "recovered" ? endOf(outcome.firstGood) : faultAt) + 1_000;
  return ordered
    .filter((r, index) => (r.at >= faultAt - 1_000 && r.at <= until) || !r.ok || r.took > slowAbove || index % 10 === 0)
    .map((r) => [round(r.at - faultAt), round(r.late + r.took), r.ok ? 1 : 0, r.balancedBy || r.servedBy]);
}
