// Promises of the policy `lease-timing`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { leaseTiming } from "../../infra/policy/lease-timing.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("lease-timing", leaseTiming);
