// Drills that nobody watches: in a maintenance window, one scenario after the other, and no further as soon as something
// speaks against it. Pure: what the pair, the alerts and the clock say is handed in.

import { z } from "zod";
import type { DrillRecord } from "../model/proof.ts";
import type { Answer } from "./health.ts";
import type { Scenario } from "./scenario.ts";

/** Unix milliseconds. */
export interface Window {
  readonly from: number;
  readonly until: number;
}

/** What is known before a scenario begins. */
export interface Situation {
  readonly now: number;
  /** undefined: none is open. */
  readonly window: Window | undefined;
  /** What the scenario may take at worst, all its runs and the healing included. */
  readonly needsMs: number;
  /** One line per thing that is not well; a parked pair is not well, either. */
  readonly problems: readonly string[];
  /** How far the replica is behind; null: it was not measured. undefined: a pair without one. */
  readonly lagMs: number | null | undefined;
  readonly maxLagMs: number;
  /** Names of the alerts that fire; undefined: nobody was asked. A text: it was asked and did not answer. */
  readonly alerts: readonly string[] | string | undefined;
}

export interface Stop {
  readonly why: string;
  /** The time was over, which is how a window ends. */
  readonly regular: boolean;
}

/** Why the scenario is not begun; undefined: it is. */
export function stopOf(situation: Situation): Stop | undefined {
  const { now, window, needsMs, problems, lagMs, maxLagMs, alerts } = situation;
  const stop = (why: string): Stop => ({ why, regular: false });
  if (window === undefined || now < window.from || now >= window.until)
    return stop("it is outside the maintenance window");
  if (now + needsMs > window.until) return { why: "the window has no room for another one", regular: true };
  if (problems.length > 0) return stop(`the pair is not whole: ${problems.join("; ")}`);
  if (lagMs === null) return stop("how far the replica is behind is not known");
  if (lagMs !== undefined && lagMs > maxLagMs)
    return stop(`the replica is ${lagMs} ms behind, ${maxLagMs} ms are allowed`);
  if (typeof alerts === "string") return stop(`the alerts are not known: ${alerts}`);
  if (alerts !== undefined && alerts.length > 0) return stop(`an alert fires: ${alerts.join(", ")}`);
  return undefined;
}

/** Longest lag that a node tells of its own database; null: a replica tells none; undefined: none keeps data. */
export function lagOf(answers: readonly Answer[]): number | null | undefined {
  const databases = answers.flatMap((answer) => ("error" in answer || !answer.database ? [] : [answer.database]));
  const replicas = databases.filter(({ state }) => state === "replica");
  if (databases.length === 0) return undefined;
  const lags = replicas.map(({ lagMs }) => lagMs);
  return lags.length === 0 || lags.includes(null) ? null : Math.max(...lags.map((lag) => lag ?? 0));
}

/** A drill's time without its fault: client, observers, undo, the ten quiet seconds. */
const AROUND_MS = 40_000;

export const neededMs = ({ holdMs, healWithinMs }: Scenario, runs: number): number =>
  runs * (AROUND_MS + holdMs + healWithinMs);

/** What was proven longest ago, or never, comes first: a window that ends early goes on there the next time. */
export function inOrderOfNeed(
  scenarios: readonly Scenario[],
  drills: readonly DrillRecord[],
  configDigest: string,
): readonly Scenario[] {
  const last = new Map(
    drills
      .filter((drill) => drill.configDigest === configDigest && drill.distrusted === undefined)
      .map(({ scenario, startedAt }) => [scenario, startedAt]),
  );
  const key = ({ name }: Scenario): string => last.get(name) ?? "";
  return scenarios.toSorted((one, other) => (key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : 0));
}

/** What was done in one window, as it is kept. */
export const windowReport = z.object({
  version: z.literal(1),
  stack: z.string(),
  /** systemd's calendar expression, and the length. */
  when: z.string(),
  windowMs: z.number(),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  drilled: z.array(
    z.object({
      scenario: z.string(),
      outcome: z.enum(["passed", "failed", "broken off"]),
      reasons: z.array(z.string()),
    }),
  ),
  /** Scenarios that were not begun, and why; null: all were. */
  left: z.array(z.string()),
  stopped: z.string().nullable(),
});
export type WindowReport = z.output<typeof windowReport>;
