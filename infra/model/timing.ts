// Terms of a recovery time. Each says who contributes it, in which failure class, between which bounds, by which formula
// and where the numbers come from, so that an estimate is a sum that a person can check.

import type { Bound, Duration } from "./duration.ts";
import type { FailureClassId } from "./failure.ts";

export interface TimingTerm {
  readonly service: string;
  readonly failure: FailureClassId;
  readonly step: "detect" | "decide" | "recover" | "client";
  /** e.g. `master down interval`. */
  readonly name: string;
  readonly lower: Duration;
  readonly upper: Bound;
  /** The sum with its numbers, e.g. `3 × 100ms + 3 × 100ms / 256`. */
  readonly formula: string;
  /**
   * Part of the way that the data takes (lease, promotion), which runs beside that of the address. The upper bound adds both,
   * as if neither overlapped; the lower bound is the longer of the two.
   */
  readonly beside?: boolean;
  /** RFC, man page or `docs/measurements.md#anchor`. */
  readonly source: string;
}
