// Promises of the policy `fencing-agents-distinct`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { fencingAgentsDistinct } from "../../infra/policy/fencing-agents-distinct.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("fencing-agents-distinct", fencingAgentsDistinct);
