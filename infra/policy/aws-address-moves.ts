// VRRP's decision reaches clients only when AWS is told of it.

import { policyFor } from "./policy.ts";

export const awsAddressMoves = policyFor(
  "aws-address-moves",
  "When the owner of the VIP changes, AWS is told, or a reason is stated why not.",
);
