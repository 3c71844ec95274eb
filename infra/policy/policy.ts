// Makes the policies of a rule: the findings that carry the rule's name become violations of the pair's resource. What is
// unsafe is decided in `infra/model` and `infra/services`, never here.

import type { ReportViolation, ResourceValidationArgs, ResourceValidationPolicy } from "@pulumi/policy";
import { proofOf } from "../drill/proof.ts";
import type { Finding } from "../model/finding.ts";
import type { Pair } from "../model/pair.ts";
import { collectFindings } from "../services/findings.ts";

/** Type of the component whose input `pair` is the whole configuration, with references in place of secrets. */
export const PAIR_TYPE = "hotpair:index:Pair";

/**
 * The policies of one rule: `<rule>` reports its mandatory findings and stops the engine, `<rule>-advice` reports its
 * advisory ones and does not. Two, because a policy has one enforcement level for all that it reports.
 */
export const policyFor = (rule: string, description: string): readonly ResourceValidationPolicy[] => [
  policy(rule, rule, "mandatory", description),
  policy(`${rule}-advice`, rule, "advisory", description),
];

function policy(name: string, rule: string, level: Finding["level"], description: string): ResourceValidationPolicy {
  const validateResource = (args: ResourceValidationArgs, report: ReportViolation): void => {
    if (args.type !== PAIR_TYPE) return;
    for (const finding of findingsOf(args.props.pair, stackIn(args.urn)))
      if (finding.rule === rule && finding.level === level)
        report(`${finding.path}: ${finding.message}. To fix: ${finding.fix}.`);
  };
  // The mark by which @pulumi/policy skips the resources of every other type without reading them.
  const marked = Object.assign(validateResource, { __pulumiType: PAIR_TYPE });
  return { name, description, enforcementLevel: level, validateResource: marked };
}

/** The stack that a resource belongs to, e.g. `prod` of `urn:pulumi:prod::hotpair::hotpair:index:Pair::pair`. */
const stackIn = (urn: string): string => /^urn:pulumi:([^:]+)::/.exec(urn)?.[1] ?? "";

/** The engine hands the same configuration to every policy; it is judged once. */
let judged: { readonly text: string; readonly findings: readonly Finding[] } | undefined;

/** The evidence is read here and not handed over by the program: a second reader asks for itself. */
function findingsOf(pair: unknown, stack: string): readonly Finding[] {
  if (pair === undefined || pair === null) throw new Error(`a resource of type ${PAIR_TYPE} has no input "pair"`);
  const text = JSON.stringify(pair);
  if (judged?.text !== text) {
    const read = JSON.parse(text) as Pair;
    judged = { text, findings: collectFindings(read, proofOf(stack, read)) };
  }
  return judged.findings;
}
