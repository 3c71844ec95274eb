// NFS believes what a client says of its users; the only guard is who may reach it.

import { policyFor } from "./policy.ts";

export const nfsClientsNamed = policyFor("nfs-clients-named", "An NFS export names the networks that may mount it.");
