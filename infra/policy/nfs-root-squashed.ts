// Otherwise every client's administrator is the export's.

import { policyFor } from "./policy.ts";

export const nfsRootSquashed = policyFor("nfs-root-squashed", "Root on an NFS client is nobody on the export.");
