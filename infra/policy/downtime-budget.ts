// What clients see in a year is what every failure costs times how often it happens, and what no pair survives counts with
// its repair.

import { policyFor } from "./policy.ts";

export const downtimeBudget = policyFor(
  "downtime-budget",
  "The time without service that a year is expected to have is within its budget.",
);
