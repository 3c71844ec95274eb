// Evidence that somebody changed, or took out, proves nothing, and not only its own class.

import { policyFor } from "./policy.ts";

export const evidenceTrusted = policyFor("evidence-trusted", "The evidence is what was recorded.");
