// Promises of the policy `aws-steady-instances`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { awsSteadyInstances } from "../../infra/policy/aws-steady-instances.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("aws-steady-instances", awsSteadyInstances);
