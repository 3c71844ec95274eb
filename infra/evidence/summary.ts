// What a set of runs comes to: the figures that the table in the terminal, the report and the README quote. Pure.

import type { Evidence } from "./schema.ts";

export interface Summary {
  readonly runs: number;
  readonly passed: boolean;
  /** Milliseconds; null: service did not come back in one of the runs. */
  readonly rtoP50Ms: number | null;
  readonly rtoMaxMs: number | null;
  readonly requests: number;
  readonly failedRequests: number;
  readonly twoOwnersMs: number;
  readonly noOwnerMs: number;
  readonly targetMissed: boolean;
  /** Of a pair with state; undefined for any other. */
  readonly state: StateSummary | undefined;
}

export interface StateSummary {
  readonly acknowledged: number;
  /** Acknowledged and gone. */
  readonly lost: number;
  /** Everything else that the ledger may not find: doubled, out of order, invented. */
  readonly otherViolations: number;
  /** Unknown to their client, and there: allowed. */
  readonly survived: number;
  readonly twoWritersMs: number;
  /** Longest time from a fault until both nodes were in sync again; null: not while somebody looked. */
  readonly redundantAfterMs: number | null;
  /** Runs in which nothing could be proved. */
  readonly unproved: number;
}

export function summarize(evidence: Evidence): Summary {
  const { runs, estimate } = evidence;
  const recoveries = runs.map((run) => run.clients.direct?.rtoMs ?? null);
  const known = recoveries.filter((value) => value !== null).sort((left, right) => left - right);
  const lost = known.length < recoveries.length;
  const max = lost ? null : (known.at(-1) ?? null);
  return {
    runs: runs.length,
    passed: runs.length > 0 && runs.every((run) => run.verdict === "passed"),
    rtoP50Ms: lost ? null : percentile(known, 0.5),
    rtoMaxMs: max,
    requests: total(runs.map((run) => run.clients.direct?.requests ?? 0)),
    failedRequests: total(runs.map((run) => run.clients.direct?.failed ?? 0)),
    twoOwnersMs: Math.max(0, ...runs.flatMap((run) => Object.values(run.ownership.twoOwnersMs))),
    noOwnerMs: Math.max(0, ...runs.flatMap((run) => Object.values(run.ownership.noOwnerMs))),
    state: stateOf(evidence),
    targetMissed: estimate.rtoTarget !== null && (max === null || max > estimate.rtoTarget),
  };
}

function stateOf({ runs }: Evidence): StateSummary | undefined {
  const watched = runs.flatMap(({ writers }) => writers ?? []);
  if (watched.length === 0) return undefined;
  const ledgers = runs.flatMap(({ ledger }) => (ledger === undefined ? [] : [ledger.primary]));
  const again = watched.map(({ redundantAfterMs }) => redundantAfterMs);
  return {
    acknowledged: total(ledgers.map((one) => one.acknowledged)),
    lost: total(ledgers.map((one) => one.missing.count)),
    otherViolations: total(ledgers.map((one) => one.duplicated.count + one.disordered.count + one.phantom.count)),
    survived: total(ledgers.map((one) => one.survived)),
    twoWritersMs: Math.max(...watched.map((one) => one.twoWritersMs)),
    redundantAfterMs: again.includes(null) ? null : Math.max(...again.map((value) => value ?? 0)),
    unproved: watched.length - ledgers.length,
  };
}

/** Nearest-rank percentile of ascending values (NIST handbook 1.3.5.6); null of nothing. */
export function percentile(ascending: readonly number[], share: number): number | null {
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)] ?? null;
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
