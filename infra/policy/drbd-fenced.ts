// A node that cannot let go of its disk keeps the other one from being promoted; only its power switch ends that.

import { policyFor } from "./policy.ts";

export const drbdFenced = policyFor("drbd-fenced", "A pair that replicates disks can switch each node off.");
