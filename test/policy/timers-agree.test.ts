// Promises of the policy `timers-agree`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { timersAgree } from "../../infra/policy/timers-agree.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("timers-agree", timersAgree);
