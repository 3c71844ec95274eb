// `npm run generate`: writes what is made from the schema. With --check it writes nothing and exits 1 when a file is not
// what the schema would give. The only file of this room that touches the disk; it is a command, nobody imports it.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { annotatedAwsExample, annotatedDrbdExample, annotatedExample, jsonSchema, referencePage } from "./reference.ts";

const PROJECT = join(import.meta.dirname, "../..");

const GENERATED: Readonly<Record<string, () => string>> = {
  "stacks/schema.json": jsonSchema,
  "docs/example.yaml": annotatedExample,
  "docs/example-aws.yaml": annotatedAwsExample,
  "docs/example-drbd.yaml": annotatedDrbdExample,
  "docs/configuration.md": referencePage,
};

const checkOnly = process.argv.includes("--check");
let stale = 0;
for (const [path, generate] of Object.entries(GENERATED)) {
  const file = join(PROJECT, path);
  const wanted = generate();
  if (wanted === present(file)) continue;
  stale += 1;
  if (checkOnly) console.error(`${path} is not what infra/config/schema.ts says; run: npm run generate`);
  else {
    writeFileSync(file, wanted);
    console.log(`wrote ${path}`);
  }
}
if (checkOnly && stale > 0) process.exitCode = 1;

function present(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
