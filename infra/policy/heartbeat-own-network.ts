// Where clients and heartbeat share a cable, one pulled plug takes both, and the node that is cut off cannot know it.

import { policyFor } from "./policy.ts";

export const heartbeatOwnNetwork = policyFor(
  "heartbeat-own-network",
  "The heartbeat has a network and a cable of its own.",
);
