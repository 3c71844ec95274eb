// The resource classes of the npm package @pulumi/aws, loaded one by one from where that package is kept: outside of the
// project, so that no other stack is asked for its plugin. Which resources there are is in infra/targets/aws.ts.

import { existsSync } from "node:fs";
import { createRequire, registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as pulumi from "@pulumi/pulumi";
import { UserError } from "../model/errors.ts";
import { AWS_PLUGIN_VERSION } from "../model/resource.ts";

export type ResourceClass = new (
  name: string,
  inputs: pulumi.Inputs,
  options: pulumi.CustomResourceOptions,
) => pulumi.CustomResource;

/** A data source, e.g. `getAmiOutput`. */
export type Lookup = (args: pulumi.Inputs, options: pulumi.InvokeOptions) => pulumi.Output<Record<string, unknown>>;

export interface AwsClasses {
  readonly Provider: new (
    name: string,
    inputs: pulumi.Inputs,
    options: pulumi.ResourceOptions,
  ) => pulumi.ProviderResource;
  /** By type token, e.g. `aws:ec2/vpc:Vpc`. */
  resource(type: string): ResourceClass;
  /** By token, e.g. `aws:ec2/getAmi:getAmi`. */
  lookup(token: string): Lookup;
}

/** `directory`: of the unpacked package. Throws UserError when it is not there. */
export function loadAwsClasses(directory: string): AwsClasses {
  if (!existsSync(join(directory, "package.json")))
    throw new UserError(`the npm package @pulumi/aws ${AWS_PLUGIN_VERSION} is not here, and a stack in AWS needs it`, [
      "fetch it with: hotpair cloud install",
    ]);
  const inside = pathToFileURL(`${directory}/`).href;
  const own = createRequire(import.meta.url);
  // Its classes extend those of the program's own SDK: there is one engine to register with.
  registerHooks({
    resolve: (specifier, context, next) =>
      /^@pulumi\/pulumi($|\/)/.test(specifier) && context.parentURL?.startsWith(inside)
        ? { url: pathToFileURL(own.resolve(specifier)).href, format: "commonjs", shortCircuit: true }
        : next(specifier, context),
  });
  const load = createRequire(join(directory, "package.json"));
  /** The file of a token's middle part has the class, and what belongs to it. */
  const exported = (token: string, name: string): unknown => {
    const [, file = ""] = token.split(":");
    const found = (load(`./${file}.js`) as Readonly<Record<string, unknown>>)[name];
    if (found === undefined) throw new Error(`@pulumi/aws ${AWS_PLUGIN_VERSION} has no ${name} in ${file}.js`);
    return found;
  };
  return {
    Provider: exported("aws:provider:Provider", "Provider") as AwsClasses["Provider"],
    resource: (type) => exported(type, type.split(":").at(-1) ?? "") as ResourceClass,
    lookup: (token) => exported(token, `${token.split(":").at(-1)}Output`) as Lookup,
  };
}
