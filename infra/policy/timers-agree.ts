// Two timers that are each sensible can contradict each other: one declares dead what the other lets live. And any of them can
// take for a fault what is ordinary on these servers and networks.

import { policyFor } from "./policy.ts";

export const timersAgree = policyFor(
  "timers-agree",
  "No two timers contradict each other, and none takes an ordinary pause for a fault.",
);
