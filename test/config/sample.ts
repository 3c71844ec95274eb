// The lab's own stack file, the configuration that every test in this room starts from.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readPair, readStackFile } from "../../infra/config/index.ts";
import { UserError } from "../../infra/model/errors.ts";

export const PROJECT = join(import.meta.dirname, "../..");
export const LAB_TEXT = readFileSync(join(PROJECT, "stacks/Pulumi.lab.yaml"), "utf8");

// biome-ignore lint/suspicious/noExplicitAny: tests break the input in ways that no type allows.
export type Input = any;

/** What stands under `hotpair:pair` in the lab's stack file, to be changed freely. */
export const labInput = (): Input => structuredClone(readStackFile(LAB_TEXT, "Pulumi.lab.yaml").pairInput);

/** All mistakes of the lab's configuration after a change; empty when it is still right. */
export function mistakesAfter(change: (pair: Input) => void): readonly string[] {
  const input = labInput();
  change(input);
  return mistakesIn(() => readPair(input, { stack: "lab", locate: () => undefined }));
}

export function mistakesIn(read: () => unknown): readonly string[] {
  try {
    read();
    return [];
  } catch (error) {
    if (error instanceof UserError) return error.details;
    throw error;
  }
}
