// A node that may switch off more than its peer can take everything else of the account with it.

import { resourcePolicy } from "./policy.ts";

export const stopsPeerAlone = resourcePolicy(
  "stops-peer-alone",
  "A role that may stop a server may stop one, by its name, while it carries the pair's tag; none may end or start one.",
);
