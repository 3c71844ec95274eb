// Promises of the policy `aws-address-moves`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { awsAddressMoves } from "../../infra/policy/aws-address-moves.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("aws-address-moves", awsAddressMoves);
