// Promises of the policy `state-has-witness`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { stateHasWitness } from "../../infra/policy/state-has-witness.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("state-has-witness", stateHasWitness);
