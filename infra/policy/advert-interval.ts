// After a heartbeat cut the arbiter must veto a second owner before VRRP's timer, three adverts, ends. The shorter the
// interval, the thinner that margin.

import { policyFor } from "./policy.ts";

export const advertInterval = policyFor(
  "advert-interval",
  "The VRRP advert interval is not shorter than what was measured safe.",
);
