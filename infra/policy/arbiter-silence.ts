// silence + beacon + reaction < 3 × advert + skew; otherwise a cut heartbeat makes two owners.

import { policyFor } from "./policy.ts";

export const arbiterSilence = policyFor("arbiter-silence", "The arbiter's gate closes before VRRP's own timer ends.");
