// Promises of the policy `evidence-passed`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { evidencePassed } from "../../infra/policy/evidence-passed.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("evidence-passed", evidencePassed);
