// A role that may do anything to anything is the account's key on two servers.

import { resourcePolicy } from "./policy.ts";

export const noWildcards = resourcePolicy("no-wildcards", "Roles allow named actions on named resources.");
