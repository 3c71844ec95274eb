// Promises of the policy `journal-kept`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { journalKept } from "../../infra/policy/journal-kept.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("journal-kept", journalKept);
