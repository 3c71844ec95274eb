// Two fence agents with the same options are one agent, copied: the holder of the lease would shoot itself, or nobody.

import { policyFor } from "./policy.ts";

export const fencingAgentsDistinct = policyFor(
  "fencing-agents-distinct",
  "Each node is shot by an agent with options of its own, at an address that is not a node's.",
);
