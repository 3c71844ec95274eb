// Promises of the policy `three-members`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { threeMembers } from "../../infra/policy/three-members.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("three-members", threeMembers);
