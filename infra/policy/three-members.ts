// A majority of two is two. A witness that is one of the nodes under another name makes the pair worse than none: etcd
// stands still as soon as that machine is gone.

import { policyFor } from "./policy.ts";

export const threeMembers = policyFor(
  "three-members",
  "The witness is a third host, by its address, its SSH host and its host key.",
);
