// It shows every address and state of the service; its administration socket can switch servers off.

import { policyFor } from "./policy.ts";

export const statisticsNotPublic = policyFor(
  "statistics-not-public",
  "HAProxy's statistics page is reachable from the server itself only.",
);
