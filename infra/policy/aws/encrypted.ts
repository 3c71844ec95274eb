// A disk or an object that leaves AWS's hands says nothing.

import { resourcePolicy } from "./policy.ts";

export const encrypted = resourcePolicy("encrypted", "Every volume and bucket is encrypted.");
