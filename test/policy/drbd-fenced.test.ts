// Promises of the policy `drbd-fenced`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { drbdFenced } from "../../infra/policy/drbd-fenced.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("drbd-fenced", drbdFenced);
