// Promises of the policy `drbd-drilled`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { drbdDrilled } from "../../infra/policy/drbd-drilled.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("drbd-drilled", drbdDrilled);
