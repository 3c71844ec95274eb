// Promises of the policy `heartbeat-second-path`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { heartbeatSecondPath } from "../../infra/policy/heartbeat-second-path.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("heartbeat-second-path", heartbeatSecondPath);
