// Nobody knows how long a failure takes that was never tried.

import { policyFor } from "./policy.ts";

export const evidencePresent = policyFor("evidence-present", "Every failure class with a target was drilled.");
