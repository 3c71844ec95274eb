// A zone is what fails as one: power, cooling, network.

import { policyFor } from "./policy.ts";

export const awsTwoZones = policyFor(
  "aws-two-zones",
  "The two servers are in different availability zones, or a reason is stated.",
);
