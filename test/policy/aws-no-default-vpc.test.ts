// Promises of the policy `aws-no-default-vpc`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { awsNoDefaultVpc } from "../../infra/policy/aws-no-default-vpc.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("aws-no-default-vpc", awsNoDefaultVpc);
