// A pair that runs on one server half of the year is a pair half of the year. How long repairs take decides it, and not
// how quick a takeover is.

import { policyFor } from "./policy.ts";

export const redundancyBudget = policyFor(
  "redundancy-budget",
  "The time without a usable standby that a year is expected to have is within its budget.",
);
