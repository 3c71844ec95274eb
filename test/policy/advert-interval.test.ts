// Promises of the policy `advert-interval`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { advertInterval } from "../../infra/policy/advert-interval.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("advert-interval", advertInterval);
