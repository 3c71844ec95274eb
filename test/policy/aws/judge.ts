// Asks a policy about resources in AWS as the engine would: one resource, or a whole stack with its pair.

import type {
  ResourceValidationArgs,
  ResourceValidationPolicy,
  StackValidationArgs,
  StackValidationPolicy,
} from "@pulumi/policy";
import { PAIR_TYPE } from "../../../infra/policy/policy.ts";
import { cloudPair } from "../../model/pairs.ts";

type Props = Readonly<Record<string, unknown>>;

export async function judged(policy: ResourceValidationPolicy, type: string, props: Props): Promise<readonly string[]> {
  const said: string[] = [];
  const args = { type, props, urn: "", name: "it" } as unknown as ResourceValidationArgs;
  for (const validate of [policy.validateResource ?? []].flat()) await validate(args, (message) => said.push(message));
  return said;
}

/** The example's pair is in the stack beside the resource. */
export async function judgedInStack(
  policy: StackValidationPolicy,
  type: string,
  props: Props,
): Promise<readonly string[]> {
  const said: string[] = [];
  const resources = [
    { type, props, urn: "urn:pulumi:cloud::hotpair::type::it", name: "it" },
    { type: PAIR_TYPE, props: { pair: JSON.parse(JSON.stringify(cloudPair)) }, urn: "urn", name: "pair" },
  ];
  await policy.validateStack({ resources } as unknown as StackValidationArgs, (message) => said.push(message));
  return said;
}
