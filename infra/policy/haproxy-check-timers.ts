// A takeover in 0.3 s is worth nothing when the new owner keeps sending requests to the dead node for longer than
// clients wait.

import { policyFor } from "./policy.ts";

export const haproxyCheckTimers = policyFor(
  "haproxy-check-timers",
  "HAProxy's checks and timeouts fit the takeover of the VIP and each other.",
);
