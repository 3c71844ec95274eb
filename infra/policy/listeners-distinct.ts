// The second one would not start, on both nodes alike, and its parser cannot see it beforehand.

import { policyFor } from "./policy.ts";

export const listenersDistinct = policyFor(
  "listeners-distinct",
  "No two daemons listen on the same port of the same address.",
);
