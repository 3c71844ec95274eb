// An open port that no service needs is one that nobody watches.

import { stackPolicy } from "./policy.ts";

export const portsDeclared = stackPolicy(
  "ports-declared",
  "Nothing is open to the world but ports that a service declares for clients.",
);
