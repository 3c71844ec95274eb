// The evidence of a stack named `trial`, for the pairs of test/model/violations.ts that must be proven: `broken` has one
// drill that failed, one of another configuration, one that is old, and one whose file was changed; in `fixed` all is well.

import { appendFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { configDigest } from "../../infra/evidence/digest.ts";
import { recordDrill } from "../../infra/evidence/records.ts";
import type { Evidence } from "../../infra/evidence/schema.ts";
import type { Sign } from "../../infra/evidence/signature.ts";
import { evidencePath, writeEvidence } from "../../infra/evidence/store.ts";
import { labPair } from "../model/pairs.ts";
import { SAMPLE } from "./sample.ts";

export const STACK = "trial";
const DAY_MS = 86_400_000;

/** Writes it anew; the ages are those of today. */
export function writeTrial(directory: string, state: "broken" | "fixed"): void {
  rmSync(join(directory, STACK), { recursive: true, force: true });
  const broken = state === "broken";
  keep(directory, "keepalived-kill", "keepalived-kill", broken ? { runs: oneFailed } : {});
  keep(directory, "planned-switch", "planned-switch", broken ? { configDigest: `sha256:${"0".repeat(64)}` } : {});
  keep(directory, "haproxy-kill", "haproxy-kill", broken ? { startedAt: daysAgo(100) } : {});
  const tampered = keep(directory, "nginx-kill", "backend-kill", {});
  if (broken) appendFileSync(tampered, " ");
  else keep(directory, "clean-reboot", "clean-reboot", {});
}

export const daysAgo = (days: number): string => new Date(Date.now() - days * DAY_MS - 60_000).toISOString();

const [sample] = SAMPLE;
if (sample === undefined) throw new Error("no sample");
const oneFailed = sample.runs.map((run, index) => (index === 0 ? { ...run, verdict: "failed" as const } : run));

/** Writes and records a drill of the lab's pair that passed yesterday, but for `changes`; its file. */
export function keep(
  directory: string,
  scenario: string,
  failure: Evidence["failure"],
  changes: Partial<Evidence>,
  sign?: Sign,
): string {
  const base = { ...(sample as Evidence), stack: STACK, scenario, failure, startedAt: daysAgo(1) };
  const evidence: Evidence = { ...base, configDigest: configDigest(labPair), ...changes };
  writeEvidence(directory, evidence);
  recordDrill(directory, evidence, sign);
  return evidencePath(directory, evidence);
}
