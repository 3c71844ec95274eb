// Promises of the policy `redundancy-budget`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { redundancyBudget } from "../../infra/policy/redundancy-budget.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("redundancy-budget", redundancyBudget);
