// An unset host key is not verified at all: whoever answers at the address receives configuration and secrets.

import { policyFor } from "./policy.ts";

export const hostKeysPinned = policyFor(
  "host-keys-pinned",
  "The host key of every server is pinned, and no two servers share one.",
);
