// Timers of a tenth of a second need processors that are there.

import { policyFor } from "./policy.ts";

export const awsSteadyInstances = policyFor(
  "aws-steady-instances",
  "The servers' speed and presence depend on no credits and no market, or a reason is stated.",
);
