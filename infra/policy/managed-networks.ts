// A bond that is none, VLANs that meet, frames that do not arrive: what hotpair would set up as it was told, and to no use.

import { policyFor } from "./policy.ts";

export const managedNetworks = policyFor(
  "managed-networks",
  "Networks that hotpair sets up are worth it: bonds have members to spare, and VLANs and MTU fit.",
);
