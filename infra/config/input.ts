// A stack's configuration has several keys of hotpair's, and they are one description: here they become the one input that is
// checked, whoever reads it, hotpair a stack file or the Pulumi engine for its program.

import { UserError } from "../model/errors.ts";
import { APART, CONFIG_KEY } from "./problem.ts";

/** `apart` in the order of APART; undefined where the key is not in the configuration. */
export function mergeInput(pair: unknown, apart: readonly unknown[]): unknown {
  // Whatever else stands there is a mistake that is reported for itself.
  if (typeof pair !== "object" || pair === null || Array.isArray(pair)) return pair;
  const own = Object.entries(pair).filter(([key]) => misplaced(key) === undefined);
  const beside = APART.flatMap((name, index) => (apart[index] === undefined ? [] : [[name, apart[index]] as const]));
  return Object.fromEntries([...own, ...beside]);
}

/** The part that a key below `hotpair:pair` says and that has a key of its own. */
export const misplaced = (key: string): (typeof APART)[number] | undefined => APART.find((name) => name === key);

export const MISPLACED = (name: (typeof APART)[number]): string =>
  `${CONFIG_KEY}.${name}: stands beside the pair, not in it; move it to hotpair:${name}`;

/**
 * The input as the Pulumi engine hands it to its program, secrets decrypted. `get` gives the object under a key of
 * hotpair's, e.g. `(key) => new pulumi.Config("hotpair").getObject(key)`. Throws UserError when there is no pair.
 */
export function readInput(get: (key: string) => unknown): unknown {
  const pair = get("pair") ?? undefined;
  if (pair === undefined) throw new UserError(`the configuration has no ${CONFIG_KEY}`, ["start one: hotpair init"]);
  const strays = typeof pair === "object" ? Object.keys(pair as object).flatMap((key) => misplaced(key) ?? []) : [];
  if (strays.length > 0) throw new UserError("the configuration has a mistake", strays.map(MISPLACED));
  return mergeInput(
    pair,
    APART.map((name) => get(name) ?? undefined),
  );
}
