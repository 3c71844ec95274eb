// Makes a policy of a rule about resources in AWS. The rules are in infra/model/aws-rules.ts; which ports are for clients
// only the whole stack tells, so that rule waits for it, and the others stop the engine before the resource is made.

import { type ResourceValidationPolicy, type StackValidationPolicy, UnknownValueError } from "@pulumi/policy";
import { RESOURCE_RULES } from "../../model/aws-rules.ts";

/** The component that everything in AWS is a child of; its output `clientPorts` is what services declare for clients. */
export const SERVERS_TYPE = "hotpair:index:AwsServers";

type RuleName = keyof typeof RESOURCE_RULES;

const base = (name: RuleName, description: string) =>
  ({ name: `aws-${name}`, description, enforcementLevel: "mandatory" }) as const;

export const resourcePolicy = (name: RuleName, description: string): ResourceValidationPolicy => ({
  ...base(name, description),
  validateResource: ({ type, props }, report) => {
    if (!type.startsWith("aws:")) return;
    try {
      const message = RESOURCE_RULES[name]({ type, props }, []);
      if (message !== undefined) report(`This resource ${message}.`);
    } catch (error) {
      // In a preview not everything is known; the program has judged the same as data, and the update asks again.
      if (!(error instanceof UnknownValueError)) throw error;
    }
  },
});

/** Its resources are what they became, with outputs in the place of inputs. */
export const stackPolicy = (name: RuleName, description: string): StackValidationPolicy => ({
  ...base(name, description),
  validateStack: ({ resources }, report) => {
    const ports = resources.find(({ type }) => type === SERVERS_TYPE)?.props.clientPorts ?? [];
    for (const { type, props, urn } of resources) {
      if (!type.startsWith("aws:")) continue;
      const message = RESOURCE_RULES[name]({ type, props }, ports);
      if (message !== undefined) report(`${urn.split("::").at(-1)} ${message}.`, urn);
    }
  },
});
