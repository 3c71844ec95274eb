// Promises of the policy `downtime-budget`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { downtimeBudget } from "../../infra/policy/downtime-budget.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("downtime-budget", downtimeBudget);
