// Promises of the policy `external-reached`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { externalReached } from "../../infra/policy/external-reached.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("external-reached", externalReached);
