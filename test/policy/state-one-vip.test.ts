// Promises of the policy `state-one-vip`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { stateOneVip } from "../../infra/policy/state-one-vip.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("state-one-vip", stateOneVip);
