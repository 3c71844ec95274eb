// VRRP alone reads a cut heartbeat as a dead peer. What corrects it is a beacon that came another way.

import { policyFor } from "./policy.ts";

export const heartbeatSecondPath = policyFor(
  "heartbeat-second-path",
  "Evidence that the peer lives has a second way beside the heartbeat.",
);
