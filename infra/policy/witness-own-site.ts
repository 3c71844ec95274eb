// A witness is worth something as long as no single fault takes it together with a node: a room, a rack, a zone.

import { policyFor } from "./policy.ts";

export const witnessOwnSite = policyFor(
  "witness-own-site",
  "The witness stands at a site where no node stands, and all three sites are stated.",
);
