// What was measured on other timers, another topology or other daemons says nothing about these.

import { policyFor } from "./policy.ts";

export const evidenceMatches = policyFor(
  "evidence-matches",
  "The evidence was measured on this configuration and these versions.",
);
