// The line between a warning and a stop: a configuration with a mandatory finding is not applied, by whatever way it came.

import { UserError } from "../model/errors.ts";
import type { Finding } from "../model/finding.ts";

/** Throws UserError with every mandatory finding. */
export function refuseMandatory(stack: string, findings: readonly Finding[]): void {
  const mandatory = findings.filter(({ level }) => level === "mandatory");
  if (mandatory.length === 0) return;
  const count = mandatory.length === 1 ? "a finding" : `${mandatory.length} findings`;
  throw new UserError(`stack ${stack} is not applied: ${count} of its configuration must be put right first`, [
    ...mandatory.map(({ rule, path, message, fix }) => `${path}: ${message}. To fix: ${fix}. [${rule}]`),
  ]);
}
