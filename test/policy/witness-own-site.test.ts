// Promises of the policy `witness-own-site`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { witnessOwnSite } from "../../infra/policy/witness-own-site.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("witness-own-site", witnessOwnSite);
