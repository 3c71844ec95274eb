// A campaign as it is kept: one line per step in `<directory>/<stack>/campaigns/<seed>.jsonl`, appended as it happens, so
// that hours of work survive whatever ends them. What the lines come to is computed here and nowhere kept. Pure.

import type { NodeId } from "../model/pair.ts";
import { type Rate, rateOf } from "./rate.ts";
import type { LedgerVerdict } from "./schema.ts";
import { percentile } from "./summary.ts";

export const CAMPAIGN_VERSION = 1;

/** First line of a journal: what all its steps were measured on. */
export interface CampaignHeader {
  readonly version: typeof CAMPAIGN_VERSION;
  readonly stack: string;
  readonly seed: string;
  readonly configDigest: string;
  readonly versions: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly quietMs: number;
  readonly reproduce: string;
}

/** One fault of a step in words, e.g. `power-cut active`, with its moment after the first one and its duration. */
export interface CampaignFaultRecord {
  readonly fault: string;
  readonly afterMs: number;
  readonly holdMs: number;
}

export interface CampaignStep {
  /** From 1. Together with the seed it says everything about the step. */
  readonly step: number;
  readonly faults: readonly CampaignFaultRecord[];
  /** ISO 8601. */
  readonly at: string;
  readonly tookMs: number;
  readonly active: NodeId;
  readonly outcome: CampaignOutcome;
  /** After a violation: the smallest set of its faults that brought it about again; undefined: it did not come again. */
  readonly shrunk?:
    | { readonly faults: readonly CampaignFaultRecord[]; readonly reasons: readonly string[] }
    | undefined;
  /** How often it was run anew to shrink it. */
  readonly reruns?: number;
}

export type CampaignOutcome =
  | {
      readonly kind: "measured";
      /** Broken promises, one line each; empty: kept. */
      readonly reasons: readonly string[];
      /** 0: no write failed; null: service did not come back. */
      readonly rtoMs: number | null;
      readonly twoOwnersMs: number;
      /** Absent for a pair without state. */
      readonly twoWritersMs?: number;
      readonly twoLeasesMs?: number;
      readonly redundantAfterMs?: number | null;
      readonly ledger?: LedgerVerdict;
    }
  /** The drill itself went wrong: nothing was measured, and nothing is claimed. */
  | { readonly kind: "broken-off"; readonly error: string };

export interface Campaign {
  readonly header: CampaignHeader;
  readonly steps: readonly CampaignStep[];
}

export interface CampaignSummary {
  readonly steps: number;
  /** Faults that were measured; a step has one or two. */
  readonly faults: number;
  readonly brokenOff: number;
  readonly violations: readonly CampaignStep[];
  /** Of the steps that were measured. */
  readonly kept: Rate;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly survived: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly disordered: number;
  readonly phantom: number;
  readonly twoWritersMs: number;
  readonly twoOwnersMs: number;
  /** Over the steps in which a write failed at all. */
  readonly rto: Distribution;
  /** Over the steps in which the pair had ceased to be redundant. */
  readonly redundantAfter: Distribution;
  readonly notBack: number;
  readonly perFault: readonly {
    readonly fault: string;
    readonly count: number;
    readonly violations: number;
    /** Over the steps with this fault alone in which a write failed. */
    readonly rto: Distribution;
  }[];
}

export interface Distribution {
  readonly count: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
}

const distribution = (values: readonly number[]): Distribution => {
  const ascending = values.toSorted((one, other) => one - other);
  const at = (share: number) => percentile(ascending, share);
  return { count: values.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
};

type Measured = Extract<CampaignOutcome, { kind: "measured" }>;
const measured = (steps: readonly CampaignStep[]): Measured[] =>
  steps.flatMap(({ outcome }) => (outcome.kind === "measured" ? [outcome] : []));
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const violated = ({ outcome }: CampaignStep): boolean => outcome.kind === "measured" && outcome.reasons.length > 0;
const outages = (steps: readonly CampaignStep[]): number[] =>
  measured(steps).flatMap(({ rtoMs }) => (rtoMs === null || rtoMs === 0 ? [] : [rtoMs]));

export function summarizeCampaign({ steps }: Campaign): CampaignSummary {
  const all = measured(steps);
  const ledgers = all.flatMap(({ ledger }) => ledger ?? []);
  const names = [...new Set(steps.flatMap(({ faults }) => faults.map(({ fault }) => fault)))].sort();
  return {
    steps: steps.length,
    faults: sum(steps.filter(({ outcome }) => outcome.kind === "measured").map(({ faults }) => faults.length)),
    brokenOff: steps.length - all.length,
    violations: steps.filter(violated),
    kept: rateOf(all.length, all.length - steps.filter(violated).length),
    acknowledged: sum(ledgers.map((one) => one.acknowledged)),
    unknown: sum(ledgers.map((one) => one.unknown)),
    survived: sum(ledgers.map((one) => one.survived)),
    lost: sum(ledgers.map((one) => one.missing.count)),
    duplicated: sum(ledgers.map((one) => one.duplicated.count)),
    disordered: sum(ledgers.map((one) => one.disordered.count)),
    phantom: sum(ledgers.map((one) => one.phantom.count)),
    twoWritersMs: Math.max(0, ...all.map((one) => one.twoWritersMs ?? 0)),
    twoOwnersMs: Math.max(0, ...all.map((one) => one.twoOwnersMs)),
    rto: distribution(outages(steps)),
    redundantAfter: distribution(all.flatMap(({ redundantAfterMs }) => redundantAfterMs || [])),
    notBack: all.filter(({ rtoMs }) => rtoMs === null).length,
    perFault: names.map((fault) => {
      const having = steps.filter(({ faults }) => faults.some((one) => one.fault === fault));
      const alone = having.filter(({ faults }) => faults.length === 1);
      return {
        fault,
        count: having.filter(({ outcome }) => outcome.kind === "measured").length,
        violations: having.filter(violated).length,
        rto: distribution(outages(alone)),
      };
    }),
  };
}
