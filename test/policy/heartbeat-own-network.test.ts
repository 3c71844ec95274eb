// Promises of the policy `heartbeat-own-network`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { heartbeatOwnNetwork } from "../../infra/policy/heartbeat-own-network.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("heartbeat-own-network", heartbeatOwnNetwork);
