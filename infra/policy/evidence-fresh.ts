// Servers, networks and what runs on them change without the stack file.

import { policyFor } from "./policy.ts";

export const evidenceFresh = policyFor("evidence-fresh", "The evidence is not older than the stack allows.");
