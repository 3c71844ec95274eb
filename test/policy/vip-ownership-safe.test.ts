// Promises of the policy `vip-ownership-safe`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { vipOwnershipSafe } from "../../infra/policy/vip-ownership-safe.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("vip-ownership-safe", vipOwnershipSafe);
