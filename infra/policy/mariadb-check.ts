// A replica listens like a primary and refuses only when it is written to. Only the role responder tells them apart.

import { policyFor } from "./policy.ts";

export const mariadbCheck = policyFor(
  "mariadb-check",
  "HAProxy leads to MariaDB by the role of its servers, and sees a promotion soon.",
);
