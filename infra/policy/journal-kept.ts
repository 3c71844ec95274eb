// Without it the node that failed cannot tell what it saw last.

import { policyFor } from "./policy.ts";

export const journalKept = policyFor("journal-kept", "The journal survives a power cut.");
