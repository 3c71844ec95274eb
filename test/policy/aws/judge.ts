// Asks a policy about resources in AWS as the engine would: one resource, or a whole stack.

import type {
  ResourceValidationArgs,
  ResourceValidationPolicy,
  StackValidationArgs,
  StackValidationPolicy,
} from "@pulumi/policy";
import { SERVERS_TYPE } from "../../../infra/policy/aws/policy.ts";

type Props = Readonly<Record<string, unknown>>;

export async function judged(policy: ResourceValidationPolicy, type: string, props: Props): Promise<readonly string[]> {
  const said: string[] = [];
  const args = { type, props, urn: "", name: "it" } as unknown as ResourceValidationArgs;
  for (const validate of [policy.validateResource ?? []].flat()) await validate(args, (message) => said.push(message));
  return said;
}

/** In the stack beside the resource, a service declares port 80 for clients. */
export async function judgedInStack(
  policy: StackValidationPolicy,
  type: string,
  props: Props,
): Promise<readonly string[]> {
  const said: string[] = [];
  const resources = [
    { type, props, urn: "urn:pulumi:cloud::hotpair::type::it", name: "it" },
    { type: SERVERS_TYPE, props: { clientPorts: [80] }, urn: "urn", name: "aws" },
  ];
  await policy.validateStack({ resources } as unknown as StackValidationArgs, (message) => said.push(message));
  return said;
}
