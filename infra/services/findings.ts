// All that is unsafe in a configuration: what the services say of themselves, what the model says of the pair as a whole,
// and the targets that the estimate misses. The program, `hotpair check` and the policy pack read this one list.

import type { Finding } from "../model/finding.ts";
import { estimateFindings, pairFindings } from "../model/findings.ts";
import type { Pair } from "../model/pair.ts";
import { estimate } from "./estimate.ts";
import { services } from "./index.ts";

/** Mandatory findings first, then by rule and path: the same configuration always gives the same text. */
export function collectFindings(pair: Pair): readonly Finding[] {
  const found = [
    ...pairFindings(pair),
    ...services.flatMap((service) => service.findings(pair)),
    ...estimateFindings(estimate(pair)),
  ];
  const key = (finding: Finding): string => `${finding.level === "mandatory" ? 0 : 1} ${finding.rule} ${finding.path}`;
  return found.sort((one, other) => (key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : 0));
}
