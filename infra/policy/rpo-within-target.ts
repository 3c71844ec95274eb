// What no setting can keep must not be promised: a forced promotion gives up whatever the other side alone had.

import { policyFor } from "./policy.ts";

export const rpoWithinTarget = policyFor(
  "rpo-within-target",
  "What can be lost is within the target of every failure class.",
);
