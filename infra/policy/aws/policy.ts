// Makes a policy of a rule about resources in AWS. The rules are in infra/model/aws-rules.ts; which ports are for clients
// only the whole stack tells, so that rule waits for it, and the others stop the engine before the resource is made.

import type { ResourceValidationPolicy, StackValidationPolicy } from "@pulumi/policy";
import { RESOURCE_RULES } from "../../model/aws-rules.ts";
import type { Pair } from "../../model/pair.ts";
import { clientPorts } from "../../services/listeners.ts";
import { PAIR_TYPE } from "../policy.ts";

type RuleName = keyof typeof RESOURCE_RULES;

const base = (name: RuleName, description: string) =>
  ({ name: `aws-${name}`, description, enforcementLevel: "mandatory" }) as const;

export const resourcePolicy = (name: RuleName, description: string): ResourceValidationPolicy => ({
  ...base(name, description),
  validateResource: ({ type, props }, report) => {
    if (!type.startsWith("aws:")) return;
    const message = RESOURCE_RULES[name]({ type, props }, []);
    if (message !== undefined) report(`This resource ${message}.`);
  },
});

export const stackPolicy = (name: RuleName, description: string): StackValidationPolicy => ({
  ...base(name, description),
  validateStack: ({ resources }, report) => {
    const pair = resources.find(({ type }) => type === PAIR_TYPE)?.props.pair;
    const ports = pair === undefined ? [] : clientPorts(JSON.parse(JSON.stringify(pair)) as Pair);
    for (const { type, props, urn } of resources) {
      if (!type.startsWith("aws:")) continue;
      const message = RESOURCE_RULES[name]({ type, props }, ports);
      if (message !== undefined) report(`${urn.split("::").at(-1)} ${message}.`, urn);
    }
  },
});
