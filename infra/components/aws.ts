// Registers what the target declares in AWS: references become outputs, secrets secret values, and everything is a child of
// one component. What is declared, and why, is in infra/targets/aws.ts.
//
// Resources are registered by their type tokens, without the npm package of the provider: its presence alone makes Pulumi's
// Node host ask for the AWS plugin, some hundred megabytes, for every stack, also for one that has no server there. The names
// of all inputs are compared with that package's declarations in test/targets/aws.test.ts.

import * as pulumi from "@pulumi/pulumi";
import type { NodeId, SecretRef } from "../model/pair.ts";
import {
  AWS_PLUGIN_VERSION,
  type Declared,
  isDocument,
  isJoined,
  isLookup,
  isOutput,
  type OutputOf,
  outputsIn,
  type Value,
} from "../model/resource.ts";

export interface AwsServersArgs {
  readonly region: string;
  /** Everything that a resource needs stands before it. */
  readonly declared: readonly Declared[];
  /** Names of the resources that make a node reachable. */
  readonly servers: Readonly<Record<NodeId, readonly string[]>>;
  readonly secrets: (ref: SecretRef) => string;
  /** Ports that services declare for clients, for the policy that compares what is open with them. */
  readonly clientPorts: readonly number[];
}

class AwsProvider extends pulumi.ProviderResource {
  constructor(region: string, opts: pulumi.ResourceOptions) {
    super("aws", "aws", { region }, { ...opts, version: AWS_PLUGIN_VERSION });
  }
}

class AwsResource extends pulumi.CustomResource {}

export class AwsServers extends pulumi.ComponentResource {
  /** What must be there before a node can be asked over SSH. */
  readonly servers: Readonly<Record<NodeId, readonly pulumi.Resource[]>>;

  constructor(name: string, args: AwsServersArgs, opts?: pulumi.ComponentResourceOptions) {
    super("hotpair:index:AwsServers", name, { region: args.region }, opts);
    const provider = new AwsProvider(args.region, { parent: this });
    const read = outputsRead(args.declared);
    const made = new Map<string, AwsResource>();
    const named = (wanted: string): AwsResource => {
      const resource = made.get(wanted);
      if (resource === undefined) throw new Error(`${wanted} is needed before it is declared`);
      return resource;
    };
    const output = ({ of, output: field }: OutputOf): unknown =>
      (named(of) as unknown as Readonly<Record<string, unknown>>)[field];
    const plain = (value: Value): unknown => {
      if (typeof value !== "object") return value;
      if (Array.isArray(value)) return value.map(plain);
      if (isOutput(value)) return output(value);
      if (isLookup(value)) {
        const asked = pulumi.runtime.invokeOutput<Record<string, unknown>>(
          value.lookup,
          plain(value.args) as pulumi.Inputs,
          { provider, version: AWS_PLUGIN_VERSION },
        );
        return asked.apply((answer) => answer[value.output]);
      }
      if (isJoined(value)) {
        const parts = value.join.map((part) => {
          if (typeof part === "string") return part;
          return "of" in part ? output(part) : pulumi.secret(JSON.stringify(args.secrets(part.quoted)));
        });
        return pulumi.concat(...(parts as pulumi.Input<string>[]));
      }
      if (isDocument(value)) return pulumi.jsonStringify(plain(value.json) as pulumi.Input<object>);
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
    };
    for (const { name: own, type, inputs, after, ignoreChanges, deleteBeforeReplace, secretInputs } of args.declared) {
      const outputs = Object.fromEntries((read.get(own) ?? []).map((field) => [field, undefined]));
      const known = Object.fromEntries(
        Object.entries(inputs).map(([key, value]) => [
          key,
          secretInputs?.includes(key) ? pulumi.secret(plain(value)) : plain(value),
        ]),
      );
      made.set(
        own,
        new AwsResource(
          type,
          own,
          { ...outputs, ...known },
          {
            parent: this,
            provider,
            version: AWS_PLUGIN_VERSION,
            dependsOn: (after ?? []).map(named),
            ignoreChanges: [...(ignoreChanges ?? [])],
            ...(deleteBeforeReplace === true ? { deleteBeforeReplace } : {}),
          },
        ),
      );
    }
    this.servers = { a: args.servers.a.map(named), b: args.servers.b.map(named) };
    this.registerOutputs({ clientPorts: args.clientPorts });
  }
}

/** Fields of each resource that others ask for; the SDK resolves only those that it was told of. */
function outputsRead(declared: readonly Declared[]): ReadonlyMap<string, readonly string[]> {
  const read = new Map<string, string[]>();
  for (const { of, output } of declared.flatMap(({ inputs }) => outputsIn(inputs)))
    if (output !== "id") read.set(of, [...(read.get(of) ?? []), output]);
  return read;
}
