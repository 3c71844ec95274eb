// Resources of a cloud as plain data: what would be made, before anybody makes it. Written by `infra/targets`, registered
// by `infra/components`, judged by the rules in `infra/model` and read by tests and the policy pack.

import type { SecretRef } from "./pair.ts";

/** Pulumi's AWS plugin and the npm package @pulumi/aws with its classes. */
export const AWS_PLUGIN_VERSION = "7.48.0";

/** A property of another declared resource that is known only when that one is there, e.g. its `id`. */
export interface OutputOf {
  readonly of: string;
  readonly output: string;
}

/** The answer of a data source; `output` names the field of the answer. */
export interface Lookup {
  readonly lookup: string;
  readonly args: Readonly<Record<string, Value>>;
  readonly output: string;
}

/** Text put together from what is known and what is not yet; a quoted secret stands as a JSON string. */
export interface Joined {
  readonly join: readonly (string | OutputOf | { readonly quoted: SecretRef })[];
}

/** A document that is handed over as JSON text, e.g. a policy. */
export interface Document {
  readonly json: Value;
}

export type Value =
  | string
  | number
  | boolean
  | OutputOf
  | Lookup
  | Joined
  | Document
  | readonly Value[]
  | { readonly [name: string]: Value };

export interface Declared {
  /** Unique in its graph, and part of the resource's URN: never renamed without need. */
  readonly name: string;
  /** Type token, e.g. `aws:ec2/instance:Instance`. */
  readonly type: string;
  readonly inputs: Readonly<Record<string, Value>>;
  /** Resources that must be there first although no input names them. */
  readonly after?: readonly string[];
  /** Inputs that somebody else changes in its time (the nodes, when the address moves), or that must not replace a server. */
  readonly ignoreChanges?: readonly string[];
  /** Its fixed address or name must be free before its successor can have it. */
  readonly deleteBeforeReplace?: boolean;
  /** The engine refuses, at the preview, whatever would exchange or end it. */
  readonly protect?: boolean;
  /** Carries secrets: kept as a secret in the state. */
  readonly secretInputs?: readonly string[];
}

export const outputOf = (of: string, output = "id"): OutputOf => ({ of, output });

/** Every reference in a value, in the order in which it is written. */
export function outputsIn(value: Value): readonly OutputOf[] {
  if (typeof value !== "object") return [];
  if (Array.isArray(value)) return value.flatMap(outputsIn);
  if (isOutput(value)) return [value];
  if (isJoined(value)) return value.join.filter((part): part is OutputOf => typeof part === "object" && "of" in part);
  if (isDocument(value)) return outputsIn(value.json);
  return Object.values(isLookup(value) ? value.args : (value as Readonly<Record<string, Value>>)).flatMap(outputsIn);
}

export const isOutput = (value: object): value is OutputOf => "of" in value && "output" in value;
export const isLookup = (value: object): value is Lookup => "lookup" in value && "output" in value;
export const isJoined = (value: object): value is Joined => "join" in value;
export const isDocument = (value: object): value is Document => "json" in value;
