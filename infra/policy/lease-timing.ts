// The one inequality that two writers are prevented by, and the one that keeps an election of etcd from stopping the
// database. Both are written out in infra/model/lease.ts.

import { policyFor } from "./policy.ts";

export const leaseTiming = policyFor(
  "lease-timing",
  "The lease's timers leave no moment for two writers, and outlast an election of etcd.",
);
