// Which stack a command means; finds its file, stacks/Pulumi.<stack>.yaml, and reads it. The only place where a command
// meets that file; what stands in it is understood in infra/config.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { Option } from "commander";
import { readStack, type StackFile } from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import type { Finding } from "../model/finding.ts";
import type { Pair } from "../model/pair.ts";

const PROJECT = join(import.meta.dirname, "../..");
/** Where Pulumi.yaml's `stackConfigDir` points. */
export const STACKS = join(PROJECT, "stacks");

/** What a command that works on a stack is given; `chooseStack` says which one is meant. */
export interface Named {
  readonly stack?: string;
}

export const stackOption = (): Option =>
  new Option("-s, --stack <name>", "default: PULUMI_STACK, or the only stack that there is");

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

/** Other stacks here that use the same virtual router id or address on a network of the same prefix. */
export function stackClashes(stack: string, pair: Pair, directory = STACKS): readonly Finding[] {
  return stackNames(directory)
    .filter((name) => name !== stack)
    .flatMap((name) => {
      const other = readable(name, directory);
      return other === undefined ? [] : clashesWith(name, other, pair);
    });
}

/** A stack with mistakes is not the business of the one that is looked at. */
function readable(name: string, directory: string): Pair | undefined {
  try {
    return loadStack(name, directory).pair;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

function clashesWith(name: string, other: Pair, pair: Pair): readonly Finding[] {
  if (other.networks.public.prefix !== pair.networks.public.prefix) return [];
  return pair.vips.flatMap((vip, index): readonly Finding[] => {
    const found: Finding[] = [];
    const state = (field: string, message: string, fix: string) =>
      found.push({
        rule: "stacks-apart",
        level: "advisory",
        path: `hotpair:pair.vips[${index}].${field}`,
        message,
        fix,
      });
    for (const theirs of other.vips) {
      if (theirs.routerId === vip.routerId)
        state(
          "routerId",
          `${vip.routerId} is also the virtual router id of VIP "${theirs.name}" in stack ${name}, on the same public network ${pair.networks.public.prefix}`,
          "choose another one, unless the two networks only share their numbers",
        );
      if (theirs.address.split("/")[0] === vip.address.split("/")[0])
        state(
          "address",
          `${vip.address} is also VIP "${theirs.name}" of stack ${name}`,
          "choose another one, unless the two networks only share their numbers",
        );
    }
    return found;
  });
}
