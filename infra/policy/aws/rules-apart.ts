// A rule inside a group is overlooked by whoever compares the rules.

import { resourcePolicy } from "./policy.ts";

export const rulesApart = resourcePolicy("rules-apart", "Every opening of a firewall is a resource of its own.");
