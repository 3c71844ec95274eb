// What the kept drills of a stack prove for a configuration: the one way from the disk and the clock to the rules of
// `infra/model/proof.ts`. The program, the policy pack and the commands come through here.

import { configDigest } from "../evidence/digest.ts";
import { readRecords } from "../evidence/records.ts";
import { evidenceDirectory } from "../evidence/store.ts";
import type { FailureClassId } from "../model/failure.ts";
import type { Pair } from "../model/pair.ts";
import type { Proof } from "../model/proof.ts";
import { SCENARIOS } from "./scenarios.ts";

export function proofOf(stack: string, pair: Pair, directory = evidenceDirectory()): Proof {
  const digest = configDigest(pair);
  const trust = {
    allowedSigners: pair.evidence.allowedSigners,
    // What was measured on another configuration is never the reason why this one is let through.
    of: (entry: { readonly configDigest: string }) => entry.configDigest === digest,
  };
  return {
    stack,
    asOf: new Date().toISOString(),
    configDigest: digest,
    drillable: drillable(pair),
    ...readRecords(directory, stack, trust),
  };
}

/** Scenarios per class that apply to the pair and may break real servers, in the order in which they are drilled. */
export function drillable(pair: Pair): Partial<Record<FailureClassId, readonly string[]>> {
  const classes: Partial<Record<FailureClassId, string[]>> = {};
  for (const { name, failure, place, inapplicable } of SCENARIOS)
    if (place === "anywhere" && inapplicable?.(pair) === undefined)
      classes[failure] = [...(classes[failure] ?? []), name];
  return classes;
}
