// Registers what the target declares in AWS: references become outputs, secrets secret values, and everything is a child of
// one component. What is declared, and why, is in infra/targets/aws.ts.
// The classes are those of the npm package @pulumi/aws (aws-classes.ts); its compiler's word on every input is asked for in
// test/targets/aws-types.test.ts.

import * as pulumi from "@pulumi/pulumi";
import type { HostId, SecretRef } from "../model/pair.ts";
import {
  type Declared,
  isDocument,
  isJoined,
  isLookup,
  isOutput,
  type OutputOf,
  type Value,
} from "../model/resource.ts";
import type { AwsClasses } from "./aws-classes.ts";

export interface AwsServersArgs {
  readonly classes: AwsClasses;
  readonly region: string;
  /** Everything that a resource needs stands before it. */
  readonly declared: readonly Declared[];
  /** Names of the resources that make a host reachable. */
  readonly servers: Readonly<Record<HostId, readonly string[]>>;
  readonly secrets: (ref: SecretRef) => string;
  /** Ports that services declare for clients, for the policy that compares what is open with them. */
  readonly clientPorts: readonly number[];
}

export class AwsServers extends pulumi.ComponentResource {
  /** What must be there before a host can be asked over SSH. */
  readonly servers: Readonly<Record<HostId, readonly pulumi.Resource[]>>;

  constructor(name: string, args: AwsServersArgs, opts?: pulumi.ComponentResourceOptions) {
    super("hotpair:index:AwsServers", name, { region: args.region }, opts);
    const { classes } = args;
    const provider = new classes.Provider("aws", { region: args.region }, { parent: this });
    const made = new Map<string, pulumi.CustomResource>();
    const named = (wanted: string): pulumi.CustomResource => {
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
        const asked = classes.lookup(value.lookup)(plain(value.args) as pulumi.Inputs, { provider });
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
    for (const declared of args.declared) {
      const { name: own, type, inputs, after, ignoreChanges, deleteBeforeReplace, protect, secretInputs } = declared;
      const known = Object.fromEntries(
        Object.entries(inputs).map(([key, value]) => [
          key,
          secretInputs?.includes(key) ? pulumi.secret(plain(value)) : plain(value),
        ]),
      );
      const options: pulumi.CustomResourceOptions = {
        parent: this,
        provider,
        dependsOn: (after ?? []).map(named),
        ignoreChanges: [...(ignoreChanges ?? [])],
        ...(deleteBeforeReplace === true ? { deleteBeforeReplace } : {}),
        ...(protect === true ? { protect } : {}),
      };
      made.set(own, new (classes.resource(type))(own, known, options));
    }
    const { a, b, witness } = args.servers;
    this.servers = { a: a.map(named), b: b.map(named), witness: witness.map(named) };
    this.registerOutputs({ clientPorts: args.clientPorts });
  }
}
