// A VIP has moved for a client only when its switch and its ARP cache know.

import { policyFor } from "./policy.ts";

export const gratuitousArp = policyFor(
  "gratuitous-arp",
  "Neighbours learn of a takeover by gratuitous ARP, more than once.",
);
