// Promises of the policy `vrrp-skew`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { vrrpSkew } from "../../infra/policy/vrrp-skew.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("vrrp-skew", vrrpSkew);
