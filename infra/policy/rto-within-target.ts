// Timers that add up to more than was promised make the promise false before anything has failed. Classes that two
// nodes cannot bound by any setting count only when a target names them.

import { policyFor } from "./policy.ts";

export const rtoWithinTarget = policyFor(
  "rto-within-target",
  "The upper bound of the recovery time is within the target of every failure class.",
);
