// A disk that has another name after the next boot is another disk to whoever goes by the name.

import { policyFor } from "./policy.ts";

export const drbdStableDevices = policyFor(
  "drbd-stable-devices",
  "Replicated disks are named by what stays the same when disks are added.",
);
