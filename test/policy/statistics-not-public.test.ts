// Promises of the policy `statistics-not-public`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { statisticsNotPublic } from "../../infra/policy/statistics-not-public.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("statistics-not-public", statisticsNotPublic);
