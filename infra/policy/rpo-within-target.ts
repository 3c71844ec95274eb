// A pair without state loses nothing by definition; services with state add their bounds.

import { policyFor } from "./policy.ts";

export const rpoWithinTarget = policyFor(
  "rpo-within-target",
  "The acknowledged data that can be lost is within the target of every failure class.",
);
