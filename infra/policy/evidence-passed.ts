// A drill that failed is the best forecast of the night in which it is none.

import { policyFor } from "./policy.ts";

export const evidencePassed = policyFor(
  "evidence-passed",
  "The newest drill of every failure class with a target passed, within the target of today.",
);
