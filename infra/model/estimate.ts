// What a failure will cost, before it happens: per failure class the recovery time as a written-out sum of terms, and the
// acknowledged data that can be lost, beside the target. Pure arithmetic over terms; where they come from is the
// services' business (`infra/services/estimate.ts` gathers them).

import { neededFor, standApart } from "./catalogue.ts";
import { unsent, unsentFormula } from "./drbd.ts";
import { addBounds, type Bound, type Duration, formatDuration, ms, seconds, UNBOUNDED, within } from "./duration.ts";
import { FAILURE_CLASSES, type FailureClassId, failureClassesOf } from "./failure.ts";
import { type Drbd, holdsState, type Pair, type Stateful } from "./pair.ts";
import type { TimingTerm } from "./timing.ts";

/** The client that an estimate is made for, and that a drill brings along. */
export interface Client {
  /** Time between requests, which start on schedule whether or not earlier ones came back. */
  readonly interval: Duration;
  /** A request that is not complete after this long has failed. */
  readonly deadline: Duration;
  /** Longest time that a request takes while all is well. */
  readonly answer: Duration;
}

export const CLIENT_DEADLINE: Duration = seconds(1);
/** One new connection every 10 ms as the drills' probe makes them; p99 of an answer in the lab, docs/estimate.md#measured. */
export const DEFAULT_CLIENT: Client = { interval: ms(10), deadline: CLIENT_DEADLINE, answer: ms(25) };

/** The default client, answered as fast as the services of this pair are said to answer. */
export const clientOf = ({ limits }: Pick<Pair, "limits">): Client => ({ ...DEFAULT_CLIENT, answer: limits.answer });

interface Promised {
  readonly rto: Duration;
  readonly rpo: Duration;
}

/** What a named tier promises for every class that has no target of its own; with data the lease has to run out first. */
const TIERS: Readonly<Record<string, { readonly without: Promised; readonly withState: Promised | undefined }>> = {
  standard: {
    without: { rto: seconds(30), rpo: seconds(5) },
    withState: { rto: seconds(30), rpo: seconds(5) },
  },
  critical: { without: { rto: seconds(1), rpo: ms(0) }, withState: { rto: seconds(3), rpo: ms(0) } },
  extreme: { without: { rto: ms(300), rpo: ms(0) }, withState: undefined },
};

/** Tiers that a stack file can name without describing them; `custom` has no target of its own. */
export const TIER_NAMES: readonly string[] = [...Object.keys(TIERS), "custom"];

export interface Target {
  readonly value: Duration;
  /** Where it is stated, e.g. `hotpair:pair.objectives.rto.default`. */
  readonly path: string;
  /** Stated for this class by name, not for all or by a tier. */
  readonly named: boolean;
}

/** `beyond`: no configuration of two nodes bounds it, and no target was stated for this class by name. */
export type Verdict = "within" | "missed" | "beyond" | "no target";

export interface Estimate {
  readonly failure: FailureClassId;
  readonly description: string;
  readonly rto: {
    readonly lower: Duration;
    readonly upper: Bound;
    /** `detect … → decide … → recover … → client … = 191.17ms..361.17ms`. */
    readonly formula: string;
    readonly target: Target | undefined;
    readonly verdict: Verdict;
  };
  readonly rpo: {
    readonly upper: Bound;
    readonly formula: string;
    readonly target: Target | undefined;
    readonly verdict: Verdict;
  };
  readonly terms: readonly TimingTerm[];
  /** Why the class has no upper bound; undefined when it has one. */
  readonly beyond: string | undefined;
  /** What would be needed to bound it, where anything is known; undefined for a class that has an upper bound. */
  readonly needed: string | undefined;
}

/** What of a pair an estimate depends on, besides the terms of its services. */
export type Estimated = Pick<Pair, "objectives" | "authority" | "mariadb" | "drbd"> &
  Partial<Pick<Pair, "volumes" | "fencing" | "nodes" | "witness" | "limits">>;

/** Classes whose length no setting of any pair bounds, and why. */
const BEYOND_EVERY_PAIR: Readonly<Partial<Record<FailureClassId, string>>> = {
  "both-power-cut":
    "lasts as long as the power is gone and the machines boot; counted from the start of keepalived, the terms below hold",
  "vip-conflict":
    "a third host answers for the VIP as long as it likes; gratuitous ARP wins neighbours back, but cannot keep them",
  "memory-exhaustion":
    "nothing bounds how long a machine without memory is busy with itself before its kernel kills something, and which service that is",
  "switch-loss": "cannot be survived: neither node reaches a client, for as long as the switch is gone",
  "storage-device-failure":
    "nothing watches a root disk: what runs goes on from memory, and a process that waits for a dead disk cannot even be killed",
};

/** Where both nodes may stand in the same place. */
const BEYOND_ONE_SITE: Readonly<Partial<Record<FailureClassId, string>>> = {
  "site-loss":
    "cannot be survived: it is not stated that the nodes stand at two sites, and with data the witness at a third",
};

const BEYOND_TWO_NODES: Readonly<Partial<Record<FailureClassId, string>>> = {
  "full-partition":
    "undecidable without a witness: a node that hears nothing cannot tell a dead peer from cut networks, so both own the VIP until a network is back",
};

const BEYOND_PAIRS_WITHOUT_DATA: Readonly<Partial<Record<FailureClassId, string>>> = {
  "whole-node-freeze":
    "the takeover is bounded, and what comes after it is not: the node that wakes up still has the VIP, for some 50ms beside the " +
    "other one, and either may keep it; requests fail again then",
};

const BEYOND_PAIRS_WITH_DATA: Readonly<Partial<Record<FailureClassId, string>>> = {
  "witness-loss-then-power-cut":
    "the survivor has one of three votes and must not promote: lasts until another member is back, or the operator forces it",
  "quorum-loss":
    "nobody can renew or take the lease: lasts until a second member is back, or the operator forces it (a primary that is alone in insync goes on)",
  "binlog-disk-full": "commits wait as long as the disk has no room; reads go on",
  "forced-promotion": "lasts as long as the operator takes; counted from the command, the terms below hold",
  "data-deletion": "cannot be survived: the replica deletes what the primary deletes; lasts as long as a restore takes",
};

const BEYOND_PAIRS_WITH_DISKS: Readonly<Partial<Record<FailureClassId, string>>> = {
  "unmount-hang":
    "the other node cannot be promoted while this one holds the device; lasts until it is switched off (hotpair:fencing, or somebody)",
};

const NOT_CONFIRMED =
  "the promotion waits until the peer is confirmed off (hotpair:fencing.required): a power controller that does not answer, " +
  "as one that lost its power with the node, makes it last until the operator says that the peer is down";

/** Where the holder fences and waits for it (docs/fencing.md). */
const BEYOND_REQUIRED_FENCING: Readonly<Partial<Record<FailureClassId, string>>> = {
  "node-power-cut": NOT_CONFIRMED,
  "arbiter-loss-then-power-cut": NOT_CONFIRMED,
  "full-partition": NOT_CONFIRMED,
  "whole-node-freeze": NOT_CONFIRMED,
  "kernel-panic": NOT_CONFIRMED,
  "site-loss": NOT_CONFIRMED,
};

/**
 * Why no setting of this pair bounds the class; undefined where something does. Such classes are declared, shown with what
 * can be said, and compared with a target only when one is stated for the class by name.
 */
export const beyondOf = (failure: FailureClassId, pair: Omit<Estimated, "objectives">): string | undefined =>
  BEYOND_EVERY_PAIR[failure] ??
  (isApart(pair) ? undefined : BEYOND_ONE_SITE[failure]) ??
  (pair.authority === undefined ? BEYOND_TWO_NODES[failure] : undefined) ??
  (holdsState(pair) ? BEYOND_PAIRS_WITH_DATA : BEYOND_PAIRS_WITHOUT_DATA)[failure] ??
  (pair.drbd === undefined ? undefined : BEYOND_PAIRS_WITH_DISKS[failure]) ??
  (holdsState(pair) && pair.fencing?.required === true ? BEYOND_REQUIRED_FENCING[failure] : undefined);

const isApart = ({ nodes, witness, ...pair }: Omit<Estimated, "objectives">): boolean =>
  nodes !== undefined && standApart({ ...pair, nodes, witness });

/** A sum of nothing is no promise. */
const NOBODY_SAYS = "no service of this pair says how long it lasts, so nothing is promised";

/** Estimates of all failure classes that the pair has, in the catalogue's order. */
export const estimateAll = (terms: readonly TimingTerm[], pair: Estimated, client: Client): readonly Estimate[] =>
  failureClassesOf(pair).map((failure) =>
    estimateClass(
      failure,
      terms.filter((term) => term.failure === failure),
      pair,
      client,
    ),
  );

/** Estimate of one class from the terms that belong to it. */
export function estimateClass(
  failure: FailureClassId,
  terms: readonly TimingTerm[],
  pair: Estimated,
  client: Client,
): Estimate {
  const beyond = beyondOf(failure, pair) ?? (terms.length === 0 ? NOBODY_SAYS : undefined);
  const own = beyond === undefined ? terms : [...terms, beyondTerm(failure, beyond)];
  const interrupts = own.some((term) => term.upper === UNBOUNDED || term.upper > 0);
  const all = inOrder(interrupts ? [...own, clientTerm(failure, client)] : own);
  const along = (terms: readonly TimingTerm[]): number => terms.reduce((sum, term) => sum + term.lower, 0);
  const fromFault = Math.max(
    along(all.filter(({ beside }) => beside !== true)),
    along(all.filter(({ beside }) => beside)),
  );
  const lower = ms(Math.max(0, fromFault - client.interval));
  const upper = addBounds(all.map((term) => term.upper));
  const rtoTarget = targetOf(pair, "rto", failure);
  const rpoTarget = targetOf(pair, "rpo", failure);
  const loss = lossOf(failure, pair);
  return {
    failure,
    description: FAILURE_CLASSES[failure],
    rto: {
      lower,
      upper,
      formula: formulaOf(all, lower, upper),
      target: rtoTarget,
      verdict: verdictOf(upper, rtoTarget, beyond !== undefined),
    },
    rpo: {
      ...loss,
      target: rpoTarget,
      verdict: verdictOf(loss.upper, rpoTarget, loss.upper === UNBOUNDED),
    },
    terms: all,
    beyond,
    needed: beyond === undefined ? undefined : neededFor(failure),
  };
}

/** What was acknowledged and can be gone: nothing, by construction, or as much as somebody decides to give up. */
function lossOf(failure: FailureClassId, pair: Omit<Estimated, "objectives">): { upper: Bound; formula: string } {
  const none = (why: string) => ({ upper: ms(0), formula: `0: ${why}` });
  if (!holdsState(pair)) return none("the pair keeps no state, so nothing acknowledged is stored that could be lost");
  switch (failure) {
    case "forced-promotion":
      return {
        upper: UNBOUNDED,
        formula:
          "unbounded: whatever the old primary acknowledged alone is gone with it; `hotpair promote` shows what is known before it asks",
      };
    case "site-loss":
      if (isApart(pair)) break;
      return { upper: UNBOUNDED, formula: "unbounded: both copies may stand there; what is kept elsewhere is left" };
    case "data-deletion":
      return {
        upper: UNBOUNDED,
        formula:
          "unbounded: what was deleted is deleted on both servers; it is as old as the last backup that can be restored",
      };
    case "witness-loss-then-power-cut":
    case "quorum-loss":
      return none("nobody is promoted without a quorum, so nothing is given up while the pair waits");
    case "split-brain":
      return {
        upper: UNBOUNDED,
        formula:
          "unbounded: whatever the copy holds that is given up; DRBD counts it on both sides, and nothing is given up without somebody's word",
      };
    case "replica-diverged":
      return none(
        "the pair acknowledged none of what only the replica has; it is saved before the replica is made anew",
      );
  }
  if (pair.drbd !== undefined) return lossOfDevice(failure, pair.drbd, pair);
  return none(
    "a commit is acknowledged once both servers have it on disk (AFTER_SYNC, sync_binlog 1) or insync lists its server alone, and only a server in insync is promoted",
  );
}

/** Classes that end the active node with what it has not sent. */
const ENDS_AT_ONCE: readonly FailureClassId[] = [
  "node-power-cut",
  "arbiter-loss-then-power-cut",
  "kernel-panic",
  "whole-node-freeze",
  "site-loss",
];

/** By the protocol: where an acknowledged write is at the least. */
function lossOfDevice(
  failure: FailureClassId,
  drbd: Drbd,
  { limits }: Pick<Estimated, "limits">,
): { upper: Bound; formula: string } {
  if (drbd.protocol === "A" && limits !== undefined && ENDS_AT_ONCE.includes(failure))
    return { upper: unsent(drbd, limits), formula: `protocol A: ${unsentFormula(drbd, limits)}` };
  if (drbd.protocol !== "C" && failure === "both-power-cut")
    return {
      upper: UNBOUNDED,
      formula: `unbounded: with protocol ${drbd.protocol} the standby's copy may lack what was acknowledged, and the active node's disk may not come back`,
    };
  const where = {
    A: "this node's disk and on its way",
    B: "this node's disk and in the other's memory",
    C: "both disks",
  };
  return {
    upper: ms(0),
    formula: `0: a write is acknowledged once it is on ${where[drbd.protocol]} (protocol ${drbd.protocol}), or insync lists its node alone, and only a node in insync is promoted`,
  };
}

/** The target that holds for a class: its own, else the one for all, else the tier's. */
export function targetOf(
  pair: Pick<Pair, "objectives"> & Stateful,
  kind: "rto" | "rpo",
  failure: FailureClassId,
): Target | undefined {
  const { objectives } = pair;
  const at = `hotpair:pair.objectives.${kind}`;
  const own = objectives[kind][failure];
  if (own !== undefined) return { value: own, path: `${at}.${failure}`, named: true };
  const all = objectives[kind].default;
  if (all !== undefined) return { value: all, path: `${at}.default`, named: false };
  const tier = TIERS[objectives.tier ?? ""];
  const promised =
    objectives.tiers?.find(({ name }) => name === objectives.tier) ??
    (holdsState(pair) ? tier?.withState : tier?.without);
  return promised && { value: promised[kind], path: "hotpair:pair.objectives.tier", named: false };
}

function verdictOf(upper: Bound, target: Target | undefined, beyond: boolean): Verdict {
  if (beyond && target?.named !== true) return "beyond";
  if (target === undefined) return "no target";
  return within(upper, target.value) ? "within" : "missed";
}

/** The client's own share: one request under way at the fault, the wait for the next one on schedule, and its answer. */
const clientTerm = (failure: FailureClassId, client: Client): TimingTerm => ({
  service: "client",
  failure,
  step: "client",
  name: "request under way, next request, its answer",
  lower: ms(0),
  upper: ms(client.interval + 2 * client.answer),
  formula: `${formatDuration(client.interval)} + 2 × ${formatDuration(client.answer)}`,
  source: "docs/estimate.md#measured",
});

const beyondTerm = (failure: FailureClassId, reason: string): TimingTerm => ({
  service: "model",
  failure,
  step: "decide",
  name: reason,
  lower: ms(0),
  upper: UNBOUNDED,
  formula: UNBOUNDED,
  source: `docs/failures/${failure}.md`,
});

const STEPS = ["detect", "decide", "recover", "client"] as const;

const inOrder = (terms: readonly TimingTerm[]): readonly TimingTerm[] =>
  STEPS.flatMap((step) => terms.filter((term) => term.step === step));

/** Terms that add nothing are left out of the line (they stay in `terms`), unless there is nothing else to say. */
function formulaOf(terms: readonly TimingTerm[], lower: Duration, upper: Bound): string {
  const adding = terms.filter((term) => term.upper === UNBOUNDED || term.upper > 0);
  if (adding.length === 0) return ["0: nothing interrupts", ...terms.map((term) => term.name)].join("; ");
  const parts = STEPS.flatMap((step) => {
    const own = adding.filter((term) => term.step === step);
    return own.length === 0 ? [] : [`${step} ${own.map((term) => `${term.formula} (${term.name})`).join(" + ")}`];
  });
  return `${parts.join(" → ")} = ${showRange(lower, upper)}`;
}

/** To a tenth of a millisecond, which is more than a probe can see, and outwards, so that the bounds still hold. */
function shown(value: Duration, round: (value: number) => number): string {
  const tenths = round(Math.round(value * 1e6) / 1e5) / 10;
  return tenths >= 1_000 ? `${Math.round(tenths * 10) / 10_000}s` : `${tenths}ms`;
}

/** The range as a person reads it, `191.1ms..461.2ms`, rounded outwards. */
export const showRange = (lower: Duration, upper: Bound): string => `${shown(lower, Math.floor)}..${showBound(upper)}`;

/** A bound as a person reads it, rounded outwards. */
export const showBound = (bound: Bound): string => (bound === UNBOUNDED ? bound : shown(bound, Math.ceil));
