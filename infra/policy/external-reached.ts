// One that no backend names is most likely a forgotten port.

import { policyFor } from "./policy.ts";

export const externalReached = policyFor(
  "external-reached",
  "A service that hotpair does not manage gets traffic through HAProxy.",
);
