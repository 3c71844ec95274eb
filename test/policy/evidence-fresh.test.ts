// Promises of the policy `evidence-fresh`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { evidenceFresh } from "../../infra/policy/evidence-fresh.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("evidence-fresh", evidenceFresh);
