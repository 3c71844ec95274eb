// Promises of the policy `evidence-matches`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { evidenceMatches } from "../../infra/policy/evidence-matches.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("evidence-matches", evidenceMatches);
