// Promises of the policy `evidence-present`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { evidencePresent } from "../../infra/policy/evidence-present.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("evidence-present", evidencePresent);
