// What the target declares, as the program that a person would write with @pulumi/aws, under that package's own compiler
// types: every input, every output that is asked for, every ignored change, and whether a type takes tags.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type Declared,
  isDocument,
  isJoined,
  isLookup,
  isOutput,
  type OutputOf,
  type Value,
} from "../../infra/model/resource.ts";
import { awsPackage, installAwsPackage } from "../../infra/toolchain/aws-package.ts";
import { projectRoot } from "../../infra/toolchain/places.ts";
import { cloudDataPair } from "../model/pairs.ts";
import { BY_METHOD, declare, existing, fencedPair, inAws, oneZone, vip } from "./cloud-pairs.ts";

const PAIRS = {
  ...BY_METHOD,
  fenced: fencedPair,
  "with a witness": cloudDataPair,
  "an existing VPC, one zone, spot, provisioned operations": inAws({
    zones: oneZone,
    vip: vip("route"),
    vpc: { prefix: "10.20.0.0/16", existing },
    instance: { type: "m7g.large", image: "ami-0a1b2c3d4e5f60718", spot: true, terminationProtection: false },
    volume: { type: "io2", size: 100 * 1024 ** 3, iops: 3_000 },
  }),
};

let directory: string;

beforeAll(async () => {
  await installAwsPackage(() => {});
  directory = mkdtempSync(join(tmpdir(), "hotpair-types-"));
}, 300_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const moduleOf = (token: string): string => token.split(":")[1] ?? "";
const nameOf = (token: string): string => token.split(":").at(-1) ?? "";

/** A graph as TypeScript: one variable per resource, references as properties of earlier ones. */
function programOf(declared: readonly Declared[]): string {
  const variable = new Map(declared.map(({ name }, index) => [name, `r${index}`]));
  const outputText = ({ of, output }: OutputOf) => `${variable.get(of)}.${output}`;
  const text = (value: Value): string => {
    if (typeof value !== "object") return JSON.stringify(value);
    if (Array.isArray(value)) return `[${value.map(text).join(", ")}]`;
    if (isOutput(value)) return outputText(value);
    if (isLookup(value)) return `${nameOf(value.lookup)}Output(${text(value.args)}).${value.output}`;
    if (isJoined(value)) {
      const parts = value.join.map((part) =>
        typeof part === "string" ? JSON.stringify(part) : "of" in part ? outputText(part) : 'pulumi.secret("")',
      );
      return `pulumi.concat(${parts.join(", ")})`;
    }
    if (isDocument(value)) return `pulumi.jsonStringify(${text(value.json)})`;
    const entries = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${text(inner)}`);
    return `{ ${entries.join(", ")} }`;
  };
  const types = new Map(declared.map((resource) => [resource.type, resource]));
  const lookups = new Set(JSON.stringify(declared).match(/aws:[a-z0-9]+\/get\w+:get\w+/g) ?? []);
  return [
    'import * as pulumi from "@pulumi/pulumi";',
    ...[...types.keys()].map(
      (type) => `import { ${nameOf(type)}, type ${nameOf(type)}Args } from "@pulumi/aws/${moduleOf(type)}.js";`,
    ),
    ...[...lookups].map((token) => `import { ${nameOf(token)}Output } from "@pulumi/aws/${moduleOf(token)}.js";`),
    'type Tagged<T> = "tags" extends keyof T ? true : false;',
    ...[...types.values()].map(
      ({ type, inputs }, index) => `const t${index}: Tagged<${nameOf(type)}Args> = ${inputs.tags !== undefined};`,
    ),
    ...declared.flatMap(({ name, type, inputs, ignoreChanges = [] }, index) => [
      `const r${index} = new ${nameOf(type)}(${JSON.stringify(name)}, ${text(inputs)});`,
      `const i${index}: (keyof ${nameOf(type)}Args)[] = ${JSON.stringify(ignoreChanges)};`,
    ]),
  ].join("\n");
}

/** What the compiler says of each program, with the line that it is about. One run for all: it reads the package once. */
function complaints(programs: Readonly<Record<string, string>>): Readonly<Record<string, readonly string[]>> {
  const files = Object.entries(programs).map(([name, text]) => {
    const file = join(directory, `${name.replaceAll(/\W+/g, "-")}.ts`);
    writeFileSync(file, text);
    return [name, file] as const;
  });
  const program = ts.createProgram(
    files.map(([, file]) => file),
    {
      noEmit: true,
      strict: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: [],
      // The package's own imports of the SDK as well: it lies outside of the project.
      paths: {
        "@pulumi/aws/*": [join(awsPackage(), "*")],
        "@pulumi/pulumi": [join(projectRoot, "node_modules/@pulumi/pulumi/index.d.ts")],
      },
    },
  );
  const found = ts.getPreEmitDiagnostics(program).map(({ messageText, file, start = 0 }) => {
    const line = file?.text.slice(file.text.lastIndexOf("\n", start) + 1, start + 120) ?? "";
    return [file?.fileName, `${ts.flattenDiagnosticMessageText(messageText, " ")}: ${line}`] as const;
  });
  return Object.fromEntries(
    files.map(([name, path]) => [
      name,
      found.filter(([file]) => file === undefined || file === path).map(([, words]) => words),
    ]),
  );
}

const wrong = (name: string, change: (declared: Declared) => Declared) =>
  programOf(declare(fencedPair).map((each) => (each.name === name ? change(each) : each)));

it("every resource of every kind of pair is one that @pulumi/aws compiles, and a mistake is none", () => {
  const right = Object.fromEntries(Object.entries(PAIRS).map(([name, pair]) => [name, programOf(declare(pair))]));
  const found = complaints({
    ...right,
    name: wrong("vpc", (vpc) => ({ ...vpc, inputs: { ...vpc.inputs, cidr: "10.0.0.0/16" } })),
    type: wrong("gateway", (gateway) => ({ ...gateway, inputs: { ...gateway.inputs, vpcId: 7 } })),
    missing: wrong("attachment-storage-a", (one) => ({ ...one, inputs: { deviceIndex: 1 } })),
    output: wrong("profile-a", (one) => ({
      ...one,
      inputs: { ...one.inputs, role: { of: "role-a", output: "title" } },
    })),
    ignored: wrong("instance-a", (one) => ({ ...one, ignoreChanges: ["image"] })),
    tags: wrong("route-out", (one) => ({ ...one, inputs: { ...one.inputs, tags: {} } })),
  });
  expect(Object.keys(right).map((name) => [name, found[name]])).toEqual(Object.keys(right).map((name) => [name, []]));
  const mistakes = {
    name: /'"cidr"' does not exist/,
    type: /Type 'number' is not assignable to type 'Input<string/,
    missing: /instanceId/,
    output: /'title' does not exist/,
    ignored: /"image"/,
    tags: /'"tags"' does not exist/,
  };
  for (const [name, words] of Object.entries(mistakes)) expect(found[name]?.join(), name).toMatch(words);
});
