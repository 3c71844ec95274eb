// A client that was promised its data does not look again.

import { policyFor } from "./policy.ts";

export const nfsAcknowledgedKept = policyFor(
  "nfs-acknowledged-kept",
  "What an NFS client was told is kept, is on both nodes.",
);
