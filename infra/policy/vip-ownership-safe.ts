// The first promise of the product. The one case that two nodes without a witness cannot decide is said, not hidden.

import { policyFor } from "./policy.ts";

export const vipOwnershipSafe = policyFor(
  "vip-ownership-safe",
  "No setting allows two owners of a VIP, and what two nodes cannot decide is declared.",
);
