// All that is unsafe in a configuration: what the services say of themselves, what the model says of the pair as a whole,
// the targets that the estimate misses, and what no drill has proven. The program, `hotpair check` and the policy pack read this one list.

import type { Finding } from "../model/finding.ts";
import { estimateFindings, pairFindings, yearlyFindings } from "../model/findings.ts";
import type { Pair } from "../model/pair.ts";
import { evidenceFindings, type Proof } from "../model/proof.ts";
import { estimate } from "./estimate.ts";
import { services } from "./index.ts";
import { tuningPerClass } from "./tuning.ts";

/**
 * Mandatory findings first, then by rule and path: the same configuration always gives the same text. Without a proof,
 * nothing is said of the evidence.
 */
export function collectFindings(pair: Pair, proof?: Proof): readonly Finding[] {
  const estimates = estimate(pair);
  const found = [
    ...pairFindings(pair),
    ...services.flatMap((service) => service.findings(pair)),
    ...estimateFindings(estimates, tuningPerClass(pair)),
    ...yearlyFindings(pair, estimates),
    ...evidenceFindings(pair, estimates, proof),
  ];
  const key = (finding: Finding): string => `${finding.level === "mandatory" ? 0 : 1} ${finding.rule} ${finding.path}`;
  return found.sort((one, other) => (key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : 0));
}
