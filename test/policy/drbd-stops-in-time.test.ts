// Promises of the policy `drbd-stops-in-time`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { drbdStopsInTime } from "../../infra/policy/drbd-stops-in-time.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("drbd-stops-in-time", drbdStopsInTime);
