// A plain value is kept readable in the stack file, the state and every copy of both. Reports name the path only.

import { policyFor } from "./policy.ts";

export const noPlainSecrets = policyFor("no-plain-secrets", "No secret stands in plain text in the configuration.");
