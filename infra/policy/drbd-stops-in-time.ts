// A hand-over that takes too long is called off: the pair is as it was, and its owner finds out when he needs the other node.

import { policyFor } from "./policy.ts";

export const drbdStopsInTime = policyFor(
  "drbd-stops-in-time",
  "What runs on replicated disks stops within the time of a hand-over.",
);
