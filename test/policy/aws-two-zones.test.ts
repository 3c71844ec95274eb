// Promises of the policy `aws-two-zones`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { awsTwoZones } from "../../infra/policy/aws-two-zones.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("aws-two-zones", awsTwoZones);
