// What is generated from the schema is up to date, valid, and says everything that the schema knows.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { AWS_EXAMPLE, DRBD_EXAMPLE } from "../../infra/config/example.ts";
import { readPair, readStack } from "../../infra/config/index.ts";
import {
  annotatedAwsExample,
  annotatedDrbdExample,
  annotatedExample,
  drbdExampleByKey,
  exampleByKey,
  jsonSchema,
  referencePage,
} from "../../infra/config/reference.ts";
import { FAILURE_CLASS_IDS } from "../../infra/model/failure.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { cloudWitnessInput, diskInput, type Input, LAB_TEXT, mistakesIn, PROJECT } from "./sample.ts";

test.each([
  ["stacks/schema.json", jsonSchema],
  ["docs/example.yaml", annotatedExample],
  ["docs/example-aws.yaml", annotatedAwsExample],
  ["docs/example-drbd.yaml", annotatedDrbdExample],
  ["docs/configuration.md", referencePage],
])("%s is what the schema gives (npm run generate)", (path, generate) => {
  expect(readFileSync(join(PROJECT, path), "utf8")).toBe(generate());
});

test("the annotated example is a valid configuration, and reads as the object that it is made from", () => {
  const text = annotatedExample();
  expect(parse(text).config).toEqual(exampleByKey());
  const { pair } = readStack(text, "docs/example.yaml", "example");
  expect(pair.name).toBe("shop");
  // What is shown as an example is not refused.
  expect(collectFindings(pair).filter(({ level }) => level === "mandatory")).toEqual([]);
});

test("the example of a pair in AWS is valid with the servers of the one that is committed", () => {
  const input = cloudWitnessInput();
  const { addresses, ...vip } = input.aws.vip;
  expect(addresses).toBeDefined();
  input.aws = { ...AWS_EXAMPLE, vip: { ...vip, ...AWS_EXAMPLE.vip } };
  expect(mistakesIn(() => readPair(input, { stack: "cloud", locate: () => undefined }))).toEqual([]);
  expect(parse(annotatedAwsExample()).config).toEqual({ "hotpair:aws": AWS_EXAMPLE });
});

test("the example of replicated disks is valid beside a pair with a witness", () => {
  const { drbd: _, volumes: __, ...input } = diskInput();
  expect(mistakesIn(() => readPair({ ...input, ...DRBD_EXAMPLE }, { stack: "lab", locate: () => undefined }))).toEqual(
    [],
  );
  expect(parse(annotatedDrbdExample()).config).toEqual(drbdExampleByKey());
});

test("the annotated examples show every field", () => {
  const shown = pathsOf({ ...exampleByKey(), ...drbdExampleByKey(), "hotpair:aws": AWS_EXAMPLE });
  const input = JSON.parse(jsonSchema()).properties.config;
  // One class stands for all: each can have a target of its own. A key stands beside no key file; the nodes show both.
  const others = [
    ...FAILURE_CLASS_IDS.map((id) => `objectives\\.r[tp]o\\.${id}`),
    "hotpair:witness\\.ssh\\.key",
    // One network stands for the three.
    "hotpair:pair\\.nodes\\.networks\\.(public|heartbeat)\\.managed(\\..*)?",
    // Methods exclude each other; the committed stack in AWS shows this one's.
    "hotpair:aws\\.vip\\.addresses(\\.[ab])?",
  ];
  const excused = others.map((pattern) => new RegExp(`${pattern}$`));
  const missing = schemaPaths(input).filter((path) => !shown.has(path) && !excused.some((each) => each.test(path)));
  expect(missing).toEqual([]);
});

test("every field is described", () => {
  const described = (shape: Input, path: string): readonly string[] =>
    Object.entries<Input>(shape.properties ?? {}).flatMap(([key, field]) => [
      ...(field.description === undefined ? [`${path}.${key}`] : []),
      ...described(field.items ?? field, `${path}.${key}`),
    ]);
  expect(described(JSON.parse(jsonSchema()), "")).toEqual([]);
});

test("the JSON Schema accepts what hotpair accepts, and finds what editors can find", () => {
  const schema = z.fromJSONSchema(JSON.parse(jsonSchema()));
  const accepts = (text: string) => schema.safeParse(parse(text)).success;
  expect(accepts(LAB_TEXT)).toBe(true);
  expect(accepts(annotatedExample())).toBe(true);
  expect(accepts(`${LAB_TEXT}secretsprovider: awskms://alias/pair\n`)).toBe(true);
  expect(accepts(LAB_TEXT.replace("routerId: 51", "routerId: 0"))).toBe(false);
  expect(accepts(LAB_TEXT.replace("routerId:", "routreId:"))).toBe(false);
  expect(accepts(LAB_TEXT.replace("encryptionsalt:", "encryptonsalt:"))).toBe(false);
  expect(accepts(LAB_TEXT.replace(/beaconKey:\n +secure: .*/, "beaconKey: plain"))).toBe(false);
});

test("stack files point editors at the schema", () => {
  expect(LAB_TEXT.split("\n")[0]).toBe("# yaml-language-server: $schema=schema.json");
});

function schemaPaths(shape: Input, path = ""): readonly string[] {
  if (shape.properties?.secure !== undefined) return [];
  return Object.entries<Input>(shape.properties ?? {}).flatMap(([key, field]) => {
    const here = path === "" ? key : `${path}.${key}`;
    return [here, ...schemaPaths(field.items ?? field, here)];
  });
}

function pathsOf(value: Input, path = ""): ReadonlySet<string> {
  if (Array.isArray(value)) return new Set(value.flatMap((item) => [...pathsOf(item, path)]));
  if (typeof value !== "object") return new Set();
  return new Set(
    Object.entries(value).flatMap(([key, inner]) => {
      const here = path === "" ? key : `${path}.${key}`;
      return [here, ...pathsOf(inner, here)];
    }),
  );
}
