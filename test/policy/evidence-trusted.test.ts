// Promises of the policy `evidence-trusted`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { evidenceTrusted } from "../../infra/policy/evidence-trusted.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("evidence-trusted", evidenceTrusted);
