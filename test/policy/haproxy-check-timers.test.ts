// Promises of the policy `haproxy-check-timers`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { haproxyCheckTimers } from "../../infra/policy/haproxy-check-timers.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("haproxy-check-timers", haproxyCheckTimers);
