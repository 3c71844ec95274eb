// DRBD is built and its parts are tested; what they do together on a real kernel driver, nobody has measured yet. Until drills
// have, a pair that uses it is refused, or its owner says in writing why it is not.

import { policyFor } from "./policy.ts";

export const drbdDrilled = policyFor("drbd-drilled", "A pair relies on nothing that was never drilled.");
