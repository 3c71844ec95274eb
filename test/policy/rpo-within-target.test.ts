// Promises of the policy `rpo-within-target`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { rpoWithinTarget } from "../../infra/policy/rpo-within-target.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("rpo-within-target", rpoWithinTarget);
