// There is one lease and one writer. A second address that may stand on the other node would lead to a server that must
// not write.

import { policyFor } from "./policy.ts";

export const stateOneVip = policyFor("state-one-vip", "A pair that keeps data has one VIP.");
