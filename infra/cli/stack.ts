// Finds a stack's file, stacks/Pulumi.<stack>.yaml, and reads it. The only place where a command meets that file; what
// stands in it is understood in infra/config.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { readStack, type StackFile } from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import type { Pair } from "../model/pair.ts";

const PROJECT = join(import.meta.dirname, "../..");
/** Where Pulumi.yaml's `stackConfigDir` points. */
export const STACKS = join(PROJECT, "stacks");

export interface LoadedStack {
  /** Name without organisation and project. */
  readonly stack: string;
  readonly pair: Pair;
  /** Absolute path. */
  readonly file: string;
  readonly text: string;
  readonly stackFile: StackFile;
}

/** Throws UserError with all mistakes, or when there is no such stack. */
export function loadStack(name?: string, directory = STACKS): LoadedStack {
  const { stack, file, text } = readStackText(name, directory);
  return { stack, file, text, ...readStack(text, shownPath(file), stack) };
}

/** The file as it is, also when its configuration has mistakes. */
export function readStackText(name?: string, directory = STACKS): { stack: string; file: string; text: string } {
  const stack = chooseStack(name, directory);
  const file = stackPath(stack, directory);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const existing = stackNames(directory);
    throw new UserError(
      `there is no stack ${stack}: ${shownPath(file)} does not exist`,
      existing.length > 0
        ? [`existing stacks: ${existing.join(", ")}`, `make a new one with: hotpair init -s ${stack}`]
        : [`make it with: hotpair init -s ${stack}`],
    );
  }
  return { stack, file, text };
}

/** `org/project/prod` and `prod` are the same file to Pulumi (its sdk/go/common/workspace, ProjectStackPath). */
export const stackPath = (stack: string, directory = STACKS): string =>
  join(directory, `Pulumi.${stack.split("/").at(-1)}.yaml`);

/** A path as users read it: relative to where they stand when that is shorter. */
export function shownPath(file: string): string {
  const fromHere = relative(process.cwd(), file);
  return fromHere.startsWith("../..") ? file : fromHere;
}

/** The stack that a command means: as given, else PULUMI_STACK, else the only one there is. */
export function chooseStack(name?: string, directory = STACKS): string {
  const given = name || process.env.PULUMI_STACK;
  if (given) return given.split("/").at(-1) ?? given;
  const existing = stackNames(directory);
  const [only] = existing;
  if (existing.length === 1 && only !== undefined) return only;
  throw new UserError(existing.length === 0 ? "there is no stack yet" : `which stack? ${existing.join(", ")}`, [
    existing.length === 0 ? "make one with: hotpair init -s NAME" : "name one with -s STACK or in PULUMI_STACK",
  ]);
}

export const stackNames = (directory = STACKS): readonly string[] =>
  readdirSync(directory)
    .flatMap((entry) => /^Pulumi\.(.+)\.yaml$/.exec(entry)?.[1] ?? [])
    .toSorted();
