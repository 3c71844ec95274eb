// Promises of the policy `arbiter-silence`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { arbiterSilence } from "../../infra/policy/arbiter-silence.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("arbiter-silence", arbiterSilence);
