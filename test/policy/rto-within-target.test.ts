// Promises of the policy `rto-within-target`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { rtoWithinTarget } from "../../infra/policy/rto-within-target.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("rto-within-target", rtoWithinTarget);
