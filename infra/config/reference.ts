// What is generated from the schema: the JSON Schema that editors complete stack files with, the annotated example, and
// the reference page. Texts only; generate.ts writes them. Explanations of a single field belong into schema.ts.

import { z } from "zod";
import { AWS_EXAMPLE, DRBD_EXAMPLE, EXAMPLE } from "./example.ts";
import { APART, CONFIG_KEY } from "./problem.ts";
import { fileSchema } from "./schema.ts";

/** The part of JSON Schema that the configuration uses. */
interface Shape {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly limits?: string;
  readonly properties?: Readonly<Record<string, Shape>>;
  /** Of a map whose keys are names; `false` where only `properties` may stand. */
  readonly additionalProperties?: Shape | false;
  readonly required?: readonly string[];
  readonly items?: Shape;
  readonly minItems?: number;
  readonly maxItems?: number;
}

const shapeOfInput = (): Shape => z.toJSONSchema(fileSchema, { io: "input" }) as Shape;

/** The input's shape under the keys of the stack's configuration that its parts are written under. */
function shapesByKey(input: Shape): Readonly<Record<string, Shape>> {
  const properties = { ...input.properties };
  const apart = APART.flatMap((name) => {
    const shape = properties[name];
    delete properties[name];
    return shape === undefined ? [] : [[`hotpair:${name}`, shape] as const];
  });
  return { [CONFIG_KEY]: { description: "The pair.", ...input, properties }, ...Object.fromEntries(apart) };
}

/** stacks/schema.json: a whole stack file, with what Pulumi itself writes into it. */
export function jsonSchema(): string {
  const { $schema, ...input } = z.toJSONSchema(fileSchema, {
    io: "input",
    override: ({ jsonSchema: shape }) => {
      delete shape.limits;
    },
  });
  const text = (description: string) => ({ type: "string", description });
  const schema = {
    $schema,
    title: "A stack file of hotpair",
    type: "object",
    properties: {
      config: {
        type: "object",
        description: "The stack's configuration.",
        properties: shapesByKey(input as Shape),
        required: [CONFIG_KEY],
      },
      encryptionsalt: text("Written by Pulumi: salt and check of the passphrase that encrypts this stack's secrets."),
      secretsprovider: text("Written by Pulumi: who encrypts this stack's secrets."),
      encryptedkey: text("Written by Pulumi: the key of this stack's secrets, encrypted by the secrets provider."),
      environment: { description: "Pulumi ESC environments that the stack imports." },
    },
    required: ["config"],
    additionalProperties: false,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

const WIDTH = 120;

/** docs/example.yaml: every field once, under its description. */
export function annotatedExample(): string {
  const lines = [
    "# Everything that a stack file can say, each field under its description. Generated from infra/config/schema.ts.",
    "# It is a catalogue and not a start: `hotpair init` writes a file with what is needed, and defaults do the rest.",
    "config:",
    ...annotated(exampleByKey(), { properties: shapesByKey(shapeOfInput()) }, 2, new Set()),
  ];
  return `${lines.join("\n")}\n`;
}

/** docs/example-aws.yaml: every field of `hotpair:aws` but `vip.addresses`, which is for another method than this one's. */
export function annotatedAwsExample(): string {
  const lines = [
    "# Everything that hotpair:aws can say, each field under its description, beside a pair with target: aws. Generated from",
    "# infra/config/schema.ts. A whole stack file: stacks/Pulumi.cloud.yaml. The other fields: docs/example.yaml.",
    "config:",
    ...annotated({ "hotpair:aws": AWS_EXAMPLE }, { properties: shapesByKey(shapeOfInput()) }, 2, new Set()),
  ];
  return `${lines.join("\n")}\n`;
}

/** docs/example-drbd.yaml: every field of `hotpair:drbd` and `hotpair:volumes`. */
export function annotatedDrbdExample(): string {
  const lines = [
    "# Everything that hotpair:drbd and hotpair:volumes can say, each field under its description, beside a pair with a witness",
    "# and without mariadb. Generated from infra/config/schema.ts. The other fields: docs/example.yaml.",
    "config:",
    ...annotated(drbdExampleByKey(), { properties: shapesByKey(shapeOfInput()) }, 2, new Set()),
  ];
  return `${lines.join("\n")}\n`;
}

export const drbdExampleByKey = (): Readonly<Record<string, object>> => ({
  "hotpair:drbd": DRBD_EXAMPLE.drbd,
  "hotpair:volumes": DRBD_EXAMPLE.volumes,
});

/** The example as it is written, under the keys of a stack's configuration. */
export function exampleByKey(): Readonly<Record<string, object>> {
  const { witness, fencing, ...pair } = EXAMPLE;
  return { [CONFIG_KEY]: pair, "hotpair:witness": witness, "hotpair:fencing": fencing };
}

/** `seen` holds the shapes that were described: the second node needs no comment again. */
function annotated(value: object, shape: Shape, indent: number, seen: Set<Shape>): readonly string[] {
  const space = " ".repeat(indent);
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const field = shape.properties?.[key] ?? (shape.additionalProperties || undefined);
    if (field === undefined) throw new Error(`the example has ${key}, the schema has not`);
    const comment = seen.has(field) ? [] : commentOf(field, shape.required?.includes(key) ?? false, space);
    seen.add(field);
    return [...comment, ...yaml(`${space}${key}:`, inner, field, indent, seen)];
  });
}

function commentOf(field: Shape, required: boolean, space: string): readonly string[] {
  // An option of the author's own naming: the map that it stands in is described.
  if (field.description === undefined) return [];
  const facts = [
    required ? "Required." : "",
    field.enum === undefined ? "" : `One of ${field.enum.join(", ")}.`,
    hasSimpleDefault(field) ? `Default: ${field.default}.` : "",
  ].filter((fact) => fact !== "");
  return wrap([field.description ?? "", ...facts].join(" "), `${space}# `);
}

const hasSimpleDefault = ({ default: value }: Shape): boolean => value !== undefined && typeof value !== "object";

function yaml(head: string, value: unknown, field: Shape, indent: number, seen: Set<Shape>): readonly string[] {
  if (Array.isArray(value)) {
    const items = field.items ?? {};
    return [head, ...value.flatMap((item: unknown) => listItem(item, items, indent + 2, seen))];
  }
  if (typeof value === "object" && value !== null) {
    if ("secure" in value) return [head, `${" ".repeat(indent + 2)}secure: ${value.secure}`];
    return [head, ...annotated(value, field, indent + 2, seen)];
  }
  if (typeof value === "string" && value.includes("\n"))
    return [
      `${head} |`,
      ...value
        .trimEnd()
        .split("\n")
        .map((line) => `${" ".repeat(indent + 2)}${line}`),
    ];
  return [`${head} ${typeof value === "string" ? quoted(value) : value}`];
}

function listItem(item: unknown, shape: Shape, indent: number, seen: Set<Shape>): readonly string[] {
  const space = " ".repeat(indent);
  if (typeof item !== "object" || item === null) return [`${space}- ${quoted(String(item))}`];
  const lines = annotated(item, shape, indent + 2, seen);
  // The dash stands before the first key; comments above it keep their place.
  const first = lines.findIndex((line) => !line.trimStart().startsWith("#"));
  return lines.map((line, index) => (index === first ? `${space}- ${line.trimStart()}` : line));
}

const quoted = (text: string): string =>
  /^[A-Za-z0-9~/][^#]*$/.test(text) && !/: /.test(text) && !/^\d+(\.\d+)?$|^\d{4}-\d\d-\d\d$/.test(text)
    ? text
    : JSON.stringify(text);

function wrap(text: string, prefix: string): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && prefix.length + line.length + 1 + word.length > WIDTH) {
      lines.push(`${prefix}${line}`);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, `${prefix}${line}`];
}

/** docs/configuration.md. */
export function referencePage(): string {
  const { [CONFIG_KEY]: pair = {}, ...apart } = shapesByKey(shapeOfInput());
  const pages = [
    ...sections(pair, "", 2),
    ...Object.entries(apart).flatMap(([key, { description = "", ...shape }]) =>
      sections({ ...(shape.items ?? shape), description }, shape.items === undefined ? key : `${key}[]`, 2),
    ),
  ];
  return `${[INTRODUCTION, ...pages].join("\n\n")}\n`;
}

const INTRODUCTION = `<!-- Generated from infra/config/schema.ts by \`npm run generate\`. -->

# The stack file

A pair is described in \`stacks/Pulumi.<stack>.yaml\`, under \`config\` and the key \`${CONFIG_KEY}\`; a pair that keeps data has
its witness under [\`hotpair:witness\`](#hotpairwitness), its fence agents under [\`hotpair:fencing\`](#hotpairfencing), and replicated
disks under [\`hotpair:drbd\`](#hotpairdrbd) and [\`hotpair:volumes\`](#hotpairvolumes). \`hotpair init\` writes a
new one; [example.yaml](example.yaml) shows every field once; [the lab's](../stacks/Pulumi.lab.yaml) is the smallest that
is complete. With its first line, \`# yaml-language-server: $schema=schema.json\`, an editor completes and checks the file.

- **Units are written**: \`100ms\`, \`2.5s\`, \`5m\`, \`1h\`, \`1d\`; \`64MiB\`, \`2GiB\`. A bare number is refused.
- **Secrets are encrypted** where they stand, as \`{secure: …}\`. \`hotpair init\` and \`hotpair secrets rotate\` make the beacon
  key and the replication password, \`hotpair authority init\` makes certificates and their keys; any other secret is set with \`pulumi config set --path --secret\`. A secret in plain text is an error that names the
  line and does not show the value.
- **What YAML readers disagree about is refused**: \`0100\` is 64 to Pulumi and 100 to others, and a plain date becomes a time.
  Write modes and dates in quotes. Anchors, aliases, merge keys and tags are not read.
- **Mistakes are reported together**, each with path, value, reason, fix, file and line. \`hotpair check\` needs no network.
- Keys that Pulumi writes itself (\`encryptionsalt\`, \`secretsprovider\`, \`encryptedkey\`, \`environment\`) and configuration of
  other providers (\`aws:region\`) may stand beside it.

Paths that do not begin with \`hotpair:\` are below \`${CONFIG_KEY}\`.`;

function sections(shape: Shape, path: string, level: number): readonly string[] {
  const fields = Object.entries(shape.properties ?? {});
  if (fields.length === 0) return [];
  const rows = fields.map(([key, field]) => {
    const required = shape.required?.includes(key) === true;
    return `| \`${key}\` | ${cell(field.description ?? "")} | ${acceptedBy(field, below(path, key, field))} | ${defaultOf(field, required)} |`;
  });
  const title = path === "" ? "The pair" : `\`${path}\``;
  const table = ["| key | meaning | value | default |", "|---|---|---|---|", ...rows].join("\n");
  const about = path === "" || shape.description === undefined ? [] : [shape.description];
  return [
    `${"#".repeat(level)} ${title}`,
    ...about,
    table,
    ...fields.flatMap(([key, field]) => {
      const inner = field.items ?? field;
      if (inner.properties === undefined || isSecret(inner)) return [];
      const description = field.description === undefined ? {} : { description: field.description };
      return sections({ ...inner, ...description }, below(path, key, field), Math.min(level + 1, 4));
    }),
  ];
}

const isSecret = (shape: Shape): boolean => shape.properties?.secure !== undefined;

const below = (path: string, key: string, field: Shape): string =>
  `${path === "" ? "" : `${path}.`}${key}${field.items?.properties === undefined ? "" : "[]"}`;

function acceptedBy(field: Shape, path: string): string {
  if (isSecret(field)) return "encrypted";
  const anchor = `[${field.items === undefined ? "keys" : "list"}](#${path.toLowerCase().replace(/[^a-z0-9-]/g, "")})`;
  if (field.additionalProperties) return `options by name, each ${acceptedBy(field.additionalProperties, path)}`;
  if (field.properties !== undefined) return anchor;
  if (field.items !== undefined) {
    const amount =
      field.minItems === field.maxItems ? `${field.minItems}` : `${field.minItems ?? 0} to ${field.maxItems}`;
    return `${field.items.properties === undefined ? `list, e.g. \`${field.items.examples?.[0]}\`` : anchor}, ${amount}`;
  }
  if (field.enum !== undefined) return field.enum.map((name) => `\`${name}\``).join(", ");
  if (field.type === "boolean") return "`true`, `false`";
  if (field.type === "integer") return `${field.minimum} to ${field.maximum}`;
  return `e.g. \`${field.examples?.[0]}\`${field.limits === undefined ? "" : `; ${cell(field.limits)}`}`;
}

function defaultOf(field: Shape, required: boolean): string {
  if (required) return "required";
  if (hasSimpleDefault(field)) return `\`${field.default}\``;
  return Array.isArray(field.default) || field.additionalProperties
    ? "none"
    : field.default === undefined
      ? "—"
      : "its own";
}

const cell = (text: string): string => text.replaceAll("|", "\\|");
