// How often a promise was kept, and what that number of runs says about the next one: a rate is never shown without the
// bound that the runs support. Pure.

import type { FailureClassId } from "../model/failure.ts";
import type { DrillRecord } from "../model/proof.ts";

export interface Rate {
  readonly runs: number;
  readonly kept: number;
  /** The true rate is at least this, with CONFIDENCE; 0 to 1. */
  readonly atLeast: number;
}

/** One-sided: nobody is harmed by a rate that is better than stated. */
export const CONFIDENCE = 0.95;

/**
 * Clopper–Pearson's lower bound (Biometrika 26, 1934: exact, never too high, whatever the number of runs): the rate at which
 * as many or more kept runs as were seen come about with a chance of 1 − CONFIDENCE. Without a failure it is
 * 0.05^(1/n), which the rule of three, 1 − 3/n, comes near to (Hanley and Lippman-Hand, JAMA 249, 1983).
 */
export function rateOf(runs: number, kept: number): Rate {
  const risk = 1 - CONFIDENCE;
  if (kept === 0) return { runs, kept, atLeast: 0 };
  if (kept === runs) return { runs, kept, atLeast: risk ** (1 / runs) };
  let low = 0;
  let high = kept / runs;
  // Each step halves the interval; after 60 it is narrower than what a double can tell apart.
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (chanceOfAtMost(runs - kept, runs, 1 - middle) < risk) low = middle;
    else high = middle;
  }
  return { runs, kept, atLeast: low };
}

/** P(X ≤ failures) of a binomial distribution, each term from the one before it; in logarithms, since p^n vanishes early. */
function chanceOfAtMost(failures: number, runs: number, p: number): number {
  let term = runs * Math.log1p(-p);
  let sum = Math.exp(term);
  for (let count = 1; count <= failures; count++) {
    term += Math.log((runs - count + 1) / count) + Math.log(p) - Math.log1p(-p);
    sum += Math.exp(term);
  }
  return sum;
}

/**
 * `3 of 3, so at least 36 % (95 % confidence)`: two digits of what may go wrong, always rounded against ourselves, so that
 * 99.99 % takes 29,956 runs without a failure.
 */
export function showRate({ runs, kept, atLeast }: Rate): string {
  if (runs === 0) return "not measured";
  return `${kept.toLocaleString("en")} of ${runs.toLocaleString("en")}, so at least ${percent(atLeast)} (95 % confidence)`;
}

function percent(atLeast: number): string {
  const digits = Math.max(0, 1 - Math.floor(Math.log10(100 * (1 - atLeast))));
  const scale = 10 ** digits;
  // A last bit of the double must not cost a digit: 95 % is not 94.99999999999999 %.
  return `${(Math.floor(100 * atLeast * scale + 1e-9) / scale).toFixed(digits)} %`;
}

/** Per failure class the runs on one configuration that count. Drills of other daemons' versions are left out, too. */
export function ratesOf(
  drills: readonly DrillRecord[],
  on: Pick<DrillRecord, "configDigest" | "versions">,
): ReadonlyMap<FailureClassId, Rate> {
  const same = drills.filter(
    ({ configDigest, versions, distrusted }) =>
      distrusted === undefined &&
      configDigest === on.configDigest &&
      Object.entries(versions).every(([name, version]) => (on.versions[name] ?? version) === version),
  );
  const sum = (of: readonly DrillRecord[], figure: "runs" | "passedRuns") =>
    of.reduce((total, each) => total + each[figure], 0);
  return new Map(
    [...Map.groupBy(same, ({ failure }) => failure)].map(([failure, of]) => [
      failure,
      rateOf(sum(of, "runs"), sum(of, "passedRuns")),
    ]),
  );
}
