// Two nodes cannot tell a dead peer from a cut network. Without data that costs two web servers with one address; with
// data it costs the writes of one side.

import { policyFor } from "./policy.ts";

export const stateHasWitness = policyFor("state-has-witness", "A pair that keeps data has a witness.");
