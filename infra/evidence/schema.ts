// What a drill measured, as it is kept: one JSON file per drill run under `evidence/<stack>/`, written by `infra/drill`,
// read by the report and the policies. Schema-versioned; every number has its unit in its name; times of one run count
// from the fault (`atMs`, negative before it).

import type { FailureClassId } from "../model/failure.ts";
import type { NodeId, VipMethod } from "../model/pair.ts";

export const EVIDENCE_VERSION = 1;

export interface Evidence {
  readonly version: typeof EVIDENCE_VERSION;
  readonly stack: string;
  readonly scenario: string;
  readonly failure: FailureClassId;
  /** One sentence each: the fault, what must happen, what undoes it. */
  readonly fault: string;
  readonly expectation: string;
  readonly undo: string;
  /** ISO 8601, start of the drill. */
  readonly startedAt: string;
  /** Digest of what matters for timing and safety in the configuration. */
  readonly configDigest: string;
  /** hotpair and daemon versions on both nodes, e.g. `keepalived@node-a: 2.3.3`. */
  readonly versions: Readonly<Record<string, string>>;
  /** Where it ran: `lab` faults come from outside, too. */
  readonly place: "lab" | "servers";
  readonly estimate: {
    readonly rtoLowerMs: number;
    readonly rtoUpperMs: number | "unbounded";
    readonly rtoTarget: number | null;
    readonly formula: string;
  };
  readonly runs: readonly Run[];
  /** How long service had to hold to count as back, when not the 10 s of the definition (quick tests only). */
  readonly quietMs?: number;
  /** Command that repeats it, e.g. `hotpair drill -s lab --scenario node-power-cut --runs 3`. */
  readonly reproduce: string;
}

export interface Run {
  readonly number: number;
  readonly verdict: "passed" | "failed";
  /** Why, one line per violated expectation; empty when passed. */
  readonly reasons: readonly string[];
  /** The stated RTO was missed; the command's exit code tells it from other failures. */
  readonly missedTarget?: boolean;
  /** Unix milliseconds of the fault. */
  readonly faultAt: number;
  /** What each client saw. `direct` is the one that the RTO is measured with. */
  readonly clients: Readonly<Record<"direct" | "persistent" | "beyondRouter", ClientResult | undefined>>;
  readonly ownership: Ownership;
  /** A pair in AWS: where clients are sent at the end. */
  readonly address?: MovedAddress;
  /** A pair with state: what the ledger proved, and who could acknowledge a write when. */
  readonly ledger?: Ledger;
  readonly writers?: Writers;
  readonly log: readonly LogLine[];
}

export interface ClientResult {
  readonly requests: number;
  readonly failed: number;
  /** Completed within the deadline but slower than 10 × the median before the fault. */
  readonly slow: number;
  /** From the scheduled start of the first failed request to the completion of the first success that 10 s without failure follow; 0 when none failed; null when service did not come back. */
  readonly rtoMs: number | null;
  /** The same, counted from the fault. */
  readonly rtoFromFaultMs: number | null;
  /** Each request around the fault: scheduled start, how long it took, whether it succeeded, who answered. Thinned far from the fault. */
  readonly samples: readonly Sample[];
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Failed requests whose repetition would have failed, too: the next request that started after the failure did. */
  readonly failedTwice?: number;
  /** Connections that a persistent client had to make anew. */
  readonly reconnects?: number;
  /** How far the client itself was behind its schedule: what a busy observer adds, not what the pair did. */
  readonly lateP99Ms?: number;
  readonly lateMaxMs?: number;
}

/** [atMs, tookMs, ok (1/0), answering node or ""] — a tuple, since a run has thousands. */
export type Sample = readonly [number, number, 0 | 1, string];

export interface Ownership {
  /** Per VIP, who held it when; `untilMs` null: to the end of the observation. */
  readonly spans: readonly {
    readonly vip: string;
    readonly node: NodeId;
    readonly fromMs: number;
    readonly untilMs: number | null;
  }[];
  /** Time during the observation with two owners, and with none, per VIP. */
  readonly twoOwnersMs: Readonly<Record<string, number>>;
  readonly noOwnerMs: Readonly<Record<string, number>>;
  /** How exactly the nodes' clocks are known against the observer's; 0 in the lab (one clock). */
  readonly clockErrorMs: number;
}

/** By the word of the nodes' own programs, to which AWS has acknowledged each move. */
export interface MovedAddress {
  readonly method: VipMethod;
  /**
   * Per VIP the node to which its address was moved last, and when; null: no node says so. `tookMs` is from that node's
   * first call of the role to AWS's acknowledgement, after this many `attempts`.
   */
  readonly moves: readonly {
    readonly vip: string;
    readonly node: NodeId | null;
    readonly atMs: number | null;
    readonly tookMs: number;
    readonly attempts: number;
  }[];
}

export interface LogLine {
  readonly atMs: number;
  readonly node: string;
  readonly source: string;
  readonly text: string;
}

/** Numbered writes through the VIP and what became of them, on the primary that is left and on its replica. */
export interface Ledger {
  readonly writers: number;
  readonly primary: LedgerVerdict;
  /** The replica's table once it was in sync again; absent when it was not. */
  readonly replica?: LedgerVerdict;
}

export interface LedgerVerdict {
  readonly attempts: number;
  readonly acknowledged: number;
  /** Certainly not written, and not to be known. */
  readonly failed: number;
  readonly unknown: number;
  /** Unknown ones that are there: allowed. */
  readonly survived: number;
  readonly missing: Violations;
  readonly duplicated: Violations;
  readonly disordered: Violations;
  readonly phantom: Violations;
}

export interface Violations {
  readonly count: number;
  /** The first ones, as client/number. */
  readonly first: readonly string[];
}

/** From samples on both nodes; times in milliseconds from the fault, as everywhere in a run. */
export interface Writers {
  /** When a node could have acknowledged a write: its database runs, listens and is writable. */
  readonly spans: readonly { readonly node: NodeId; readonly fromMs: number; readonly untilMs: number | null }[];
  /** When a node held the lease by its own deadline. */
  readonly leases: readonly { readonly node: NodeId; readonly fromMs: number; readonly untilMs: number | null }[];
  readonly twoWritersMs: number;
  readonly twoLeasesMs: number;
  /** Changes of `insync`, as the authority has it. */
  readonly insync: readonly { readonly atMs: number; readonly nodes: readonly NodeId[] }[];
  /** From the fault until both nodes were in sync again; 0: they never ceased to be; null: not while somebody looked. */
  readonly redundantAfterMs: number | null;
  /** Longest time between two samples of a node that was not switched off or frozen. */
  readonly resolutionMs: number;
}
