// Every account has a default VPC, and everybody's experiments are in it.

import { policyFor } from "./policy.ts";

export const awsNoDefaultVpc = policyFor("aws-no-default-vpc", "The pair is not in the account's default VPC.");
