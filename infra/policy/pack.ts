// The policy pack: the second reader of the findings that the program itself stops at. It exists for CI and for
// organisations that want them enforced wherever a stack is previewed (`pulumi preview --policy-pack infra/policy`).

import { PolicyPack } from "@pulumi/policy";
import { awsPolicies } from "./aws/policies.ts";
import { policies } from "./policies.ts";

new PolicyPack("hotpair", { policies: [...policies, ...awsPolicies] });
