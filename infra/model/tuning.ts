// The timer solver: a set of timers that agree with each other and with the limits of the pair, and that keep its targets
// where any set can. Pure: how long a failure lasts with a set, it is told. What timers demand of each other is in timers.ts.
//
// Every upper bound grows with every timer, so the set in which each timer is as short as the others and the limits allow
// is the best that there is: a target that it misses, none keeps. Above it the solver gives up as little as it must, since
// what is taken off a timer is taken off what the pair bears before it acts for nothing.

import { type Bound, type Duration, formatDuration, UNBOUNDED } from "./duration.ts";
import { type Estimate, showBound } from "./estimate.ts";
import type { FailureClassId } from "./failure.ts";
import { shortestTakeover } from "./lease.ts";
import type { Authority, Pair } from "./pair.ts";
import {
  BEST_PRIORITY,
  type Demand,
  demandsOf,
  followingAdverts,
  meets,
  ordinarySilence,
  SMALLEST_SAFE_ADVERT,
  shownTimer,
  type Tolerance,
  timerAt,
  timersOf,
  toleranceOf,
  withTimer,
} from "./timers.ts";
import type { TimingTerm } from "./timing.ts";

/** Estimates of the pair's failure classes; all of them, or only the one that is asked for. */
export type Estimates = (pair: Pair, failure?: FailureClassId) => readonly Estimate[];

export interface TimerChange {
  /** Path below hotpair:pair. */
  readonly path: string;
  /** Milliseconds, or a number where the field is one. */
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** A target that no set of timers keeps. */
export interface Unmet {
  readonly failure: FailureClassId;
  readonly target: Duration;
  /** The bound with every timer as short as it may be. */
  readonly shortest: Bound;
  /** The sum of that bound. */
  readonly formula: string;
  /** The largest term of it, and why it cannot be shorter. */
  readonly irreducible: { readonly name: string; readonly formula: string; readonly why: string };
}

export interface Tuning {
  /** The pair with the proposed timers. */
  readonly pair: Pair;
  readonly changes: readonly TimerChange[];
  /** Every timer of the pair, changed or not, with its false-positive risk as proposed. */
  readonly timers: readonly (Omit<TimerChange, "reason"> & {
    readonly reason: string | undefined;
    readonly tolerance: Tolerance | undefined;
  })[];
  /** Per class whose target was missed and is kept now, the terms of its sum that became shorter. */
  readonly kept: readonly { readonly failure: FailureClassId; readonly terms: readonly string[] }[];
  readonly unmet: readonly Unmet[];
}

/**
 * Proposes sets of timers for this pair: for all of its targets, or for that of one failure class. What is `unstated` in the
 * stack file goes on following the adverts where that keeps everything.
 */
export function tunerOf(
  pair: Pair,
  estimates: Estimates,
  unstated: readonly string[] = [],
): (only?: FailureClassId) => Tuning {
  const agreement = new Map<string, string>();
  const agreeing = settled(pair, (path, { why }) => agreement.set(path, why));
  const shortest = shortestSet(agreeing);
  return (only) => tune(pair, agreeing, shortest, agreement, estimates, unstated, only);
}

function tune(
  pair: Pair,
  agreeing: Pair,
  shortest: Pair,
  agreement: ReadonlyMap<string, string>,
  estimates: Estimates,
  unstated: readonly string[],
  only: FailureClassId | undefined,
): Tuning {
  const reasons = new Map(agreement);
  const unmet: Unmet[] = [];
  let proposed = agreeing;
  const missed = estimates(agreeing, only).filter(({ rto }) => rto.verdict === "missed");
  for (const { failure } of missed) {
    const [least] = estimates(shortest, failure);
    if (least?.rto.target === undefined) continue;
    if (least.rto.verdict === "missed") {
      unmet.push(unmetOf(least, least.rto.target.value, shortest, estimates));
      continue;
    }
    const before = proposed;
    proposed = shortened(proposed, failure, least.rto.target.value, estimates);
    for (const { path, to } of differences(before, proposed))
      reasons.set(path, reasonOf(failure, path, to, timerAt(before, path), estimates, before, proposed));
  }
  const followed = Object.entries(followingAdverts(proposed.vrrp.advertInterval))
    .filter(([path]) => unstated.includes(path))
    .reduce<Pair>((now, [path, value]) => withTimer(now, path, value), proposed);
  const keeps = (other: Pair): boolean =>
    demandsOf(other).every((demand) => meets(other, demand)) &&
    estimates(other, only).every(
      ({ failure, rto }) => rto.verdict !== "missed" || unmet.some((one) => one.failure === failure),
    );
  if (differences(proposed, followed).length > 0 && keeps(followed)) {
    for (const { path } of differences(proposed, followed)) reasons.set(path, "is not stated, and follows the adverts");
    proposed = followed;
  }
  const changes = differences(pair, proposed).map((change) => ({
    ...change,
    reason: reasons.get(change.path) ?? AGREES,
  }));
  return {
    pair: proposed,
    changes,
    timers: timersOf(proposed).map((path) => ({
      path,
      from: timerAt(pair, path),
      to: timerAt(proposed, path),
      reason: changes.find((change) => change.path === path)?.reason,
      tolerance: toleranceOf(proposed, path),
    })),
    kept: estimates(pair, only).flatMap(({ failure, rto, terms }) => {
      const [after] = rto.verdict === "missed" ? estimates(proposed, failure) : [];
      return after === undefined || after.rto.verdict === "missed"
        ? []
        : [{ failure, terms: shorterOf(terms, after.terms) }];
    }),
    unmet,
  };
}

const shorterOf = (before: readonly TimingTerm[], after: readonly TimingTerm[]): readonly string[] =>
  before.flatMap(({ name, upper }, index) => (upper === after[index]?.upper ? [] : [name]));

const AGREES = "fits the others";

function reasonOf(
  failure: FailureClassId,
  path: string,
  to: number,
  from: number,
  estimates: Estimates,
  before: Pair,
  after: Pair,
): string {
  const bound = (pair: Pair): Bound => estimates(pair, failure)[0]?.rto.upper ?? UNBOUNDED;
  const alone = bound(withTimer(before, path, to));
  if (alone === bound(before)) return to < from ? "leaves the others room to be shorter" : AGREES;
  const target = estimates(after, failure)[0]?.rto.target;
  return (
    `${failure}: at most ${showBound(bound(after))} in place of ${showBound(bound(before))}, ` +
    `target ${target === undefined ? "none" : formatDuration(target.value)}`
  );
}

const differences = (one: Pair, other: Pair): readonly Omit<TimerChange, "reason">[] =>
  timersOf(one)
    .map((path) => ({ path, from: timerAt(one, path), to: timerAt(other, path) }))
    .filter(({ from, to }) => from !== to);

/** A demand that is met by changing one timer can break another; each round settles all that the last one broke. */
const ROUNDS = 32;

/** The pair with every timer that breaks a demand changed as little as the demand asks for. */
export function settled(pair: Pair, changed: (path: string, demand: Demand) => void = () => undefined): Pair {
  let now = pair;
  for (let round = 0; round < ROUNDS; round += 1) {
    const broken = demandsOf(now).find((demand) => !meets(now, demand));
    if (broken === undefined) return now;
    changed(broken.path, broken);
    now = withTimer(now, broken.path, broken.set ?? broken.value);
  }
  return now;
}

/** A way to shorten some of the timers together, step by step from what they are to the shortest that they may be. */
interface Way {
  readonly steps: number;
  readonly at: (step: number) => Pair;
}

/** The ways that a pair's timers leave, each on its own. */
function waysOf(pair: Pair): readonly Way[] {
  const { arbiter, limits, haproxy, authority } = pair;
  const silence = ordinarySilence(limits);
  const down = (path: string, least: number, step: number, beside: (value: number) => Pair = () => pair): Way => {
    const from = timerAt(pair, path);
    const steps = Math.max(0, Math.floor((from - least) / step));
    return { steps, at: (taken) => withTimer(beside(from - taken * step), path, from - taken * step) };
  };
  const up = (path: string, most: number): Way => {
    const from = timerAt(pair, path);
    return { steps: Math.max(0, most - from), at: (taken) => withTimer(pair, path, from + taken) };
  };
  const shortestAdvert = Math.max(SMALLEST_SAFE_ADVERT, Math.ceil(silence / 2 / 10) * 10);
  const beacon = Math.min(arbiter.beaconInterval, SHORTEST_MEASURED.beacon);
  return [
    down("vrrp.advertInterval", shortestAdvert, 10),
    up("vrrp.priority", BEST_PRIORITY),
    down("arbiter.evidence", Math.ceil(2 * beacon + silence), 1, (evidence) =>
      withTimer(
        pair,
        "arbiter.beaconInterval",
        Math.min(arbiter.beaconInterval, Math.max(beacon, Math.floor((evidence - silence) / 2))),
      ),
    ),
    ...(haproxy === undefined
      ? []
      : [
          down("arbiter.serviceDead", leastOf(pair, "arbiter.serviceDead"), 1),
          down(
            "haproxy.timeouts.connect",
            Math.max(SHORTEST_MEASURED.connect, leastOf(pair, "haproxy.timeouts.connect")),
            1,
          ),
        ]),
    ...(authority === undefined
      ? []
      : [
          down("authority.lease.takeover", shortestTakeover({ ...pair, authority }), 1),
          authorityWay({ ...pair, authority }),
        ]),
  ].map(({ steps, at }) => ({ steps, at: (step) => (step === 0 ? pair : settled(at(step))) }));
}

/**
 * The shortest with which a beacon, an authority and HAProxy's connections were measured to hold (docs/arbitration.md#measured,
 * docs/authority.md, docs/estimate.md#measured).
 */
const SHORTEST_MEASURED = { beacon: 20, heartbeat: 50, election: 300, connect: 50 } as const;

const leastOf = (pair: Pair, path: string): number =>
  Math.max(
    0,
    ...demandsOf(pair).flatMap((demand) => (demand.path === path && demand.bound === "at least" ? [demand.value] : [])),
  );

/** The authority's timers hang together: all of them come down in proportion, and the takeover as far as they allow. */
function authorityWay(pair: Pair & { readonly authority: Authority }): Way {
  const { etcd, lease } = pair.authority;
  const silence = Math.ceil(ordinarySilence(pair.limits));
  const election = Math.max(SHORTEST_MEASURED.election, leastOf(withHeartbeat(pair), "authority.etcd.election"));
  const renewal = Math.max(10, silence);
  const rpcTimeout = Math.max(10, 2 * silence);
  const stop = Math.max(2 * Math.min(election, etcd.election) + renewal + silence, rpcTimeout + renewal + 1);
  const least: Readonly<Record<string, number>> = {
    "authority.etcd.heartbeat": Math.max(SHORTEST_MEASURED.heartbeat, leastOf(pair, "authority.etcd.heartbeat")),
    "authority.etcd.election": election,
    "authority.lease.renewal": renewal,
    "authority.lease.rpcTimeout": rpcTimeout,
    "authority.lease.deadline": stop,
    "authority.lease.watchdog": stop,
  };
  const room = Object.entries(least).map(([path, value]) => ({
    path,
    from: timerAt(pair, path),
    room: Math.max(0, timerAt(pair, path) - value),
  }));
  const steps = Math.max(0, ...room.map((each) => each.room));
  return {
    steps: steps === 0 && lease.takeover <= shortestTakeover(pair) ? 0 : Math.max(1, steps),
    at: (step) => {
      const share = steps === 0 ? 1 : step / steps;
      const lower = room.reduce<Pair>(
        (now, { path, from, room }) => withTimer(now, path, from - Math.floor(room * share)),
        pair,
      );
      const agreeing = settled(lower);
      const { authority } = agreeing;
      if (authority === undefined) return agreeing;
      const takeover = Math.min(lease.takeover, shortestTakeover({ ...agreeing, authority }));
      return withTimer(agreeing, "authority.lease.takeover", takeover);
    },
  };
}

/** With etcd's heartbeat as short as it may be, on which its election rests. */
const withHeartbeat = (pair: Pair & { readonly authority: Authority }): Pair =>
  withTimer(
    pair,
    "authority.etcd.heartbeat",
    Math.min(
      pair.authority.etcd.heartbeat,
      Math.max(SHORTEST_MEASURED.heartbeat, leastOf(pair, "authority.etcd.heartbeat")),
    ),
  );

/** The pair with a share of every way taken, one after the other, since each leaves room to the next. */
function together(pair: Pair, share: number, taken: (way: number) => boolean = () => true): Pair {
  return waysOf(pair).reduce<Pair>((now, _, index) => {
    const way = waysOf(now)[index];
    return way === undefined || !taken(index) ? now : way.at(Math.floor(way.steps * share));
  }, pair);
}

/** Every timer as short as the others and the limits allow. */
export const shortestSet = (pair: Pair): Pair => together(pair, 1);

/** In how many parts the room is divided where it takes several ways to keep a target. */
const SHARES = 1_000;

/**
 * The pair with no timer shorter than the target needs: the one way that is enough, the one that has most to give first;
 * else the same share of the fewest that are. The target is one that the shortest set keeps.
 */
function shortened(pair: Pair, failure: FailureClassId, target: Duration, estimates: Estimates): Pair {
  const bound = (one: Pair): number => {
    const upper = estimates(one, failure)[0]?.rto.upper ?? UNBOUNDED;
    return upper === UNBOUNDED ? Number.POSITIVE_INFINITY : upper;
  };
  if (bound(pair) <= target) return pair;
  const ways = waysOf(pair);
  const [best] = ways
    .map(({ steps, at }) => ({ steps, at, least: bound(at(steps)) }))
    .sort((one, other) => one.least - other.least);
  if (best !== undefined && best.least <= target)
    return best.at(fewest(best.steps, (step) => bound(best.at(step)) <= target));
  // The fewest that are enough together: what gives least is left alone first.
  const taken = new Set(ways.keys());
  for (const { way } of ways
    .map(({ steps, at }, way) => ({ way, least: bound(at(steps)) }))
    .sort((one, other) => other.least - one.least)) {
    taken.delete(way);
    if (bound(together(pair, 1, (other) => taken.has(other))) > target) taken.add(way);
  }
  const at = (step: number): Pair => together(pair, step / SHARES, (way) => taken.has(way));
  return at(fewest(SHARES, (step) => bound(at(step)) <= target));
}

/** The first step that is enough, of steps that do ever more; the last one is. */
function fewest(steps: number, enough: (step: number) => boolean): number {
  let [missing, reached] = [0, steps];
  while (reached - missing > 1) {
    const middle = Math.floor((missing + reached) / 2);
    if (enough(middle)) reached = middle;
    else missing = middle;
  }
  return reached;
}

function unmetOf(least: Estimate, target: Duration, shortest: Pair, estimates: Estimates): Unmet {
  const { failure, rto, terms, beyond } = least;
  const weight = ({ upper }: TimingTerm): number => (upper === UNBOUNDED ? Number.POSITIVE_INFINITY : upper);
  const largest = [...terms].sort((one, other) => weight(other) - weight(one))[0];
  const nothing = { name: "nothing", formula: "0", why: "no term of the sum is longer than 0" };
  return {
    failure,
    target,
    shortest: rto.upper,
    formula: rto.formula,
    irreducible:
      largest === undefined
        ? nothing
        : {
            name: largest.name,
            formula: largest.formula,
            why: beyond ?? whyNotShorter(largest, failure, shortest, estimates),
          },
  };
}

/** The demand that holds the timer of this term up; a term without a timer is what a daemon takes. */
function whyNotShorter(term: TimingTerm, failure: FailureClassId, shortest: Pair, estimates: Estimates): string {
  const upperOf = (pair: Pair): Bound | undefined =>
    estimates(pair, failure)[0]?.terms.find(
      ({ service, step, name }) => service === term.service && step === term.step && name === term.name,
    )?.upper;
  const timers = timersOf(shortest).filter(
    (path) => upperOf(withTimer(shortest, path, 2 * timerAt(shortest, path))) !== upperOf(shortest),
  );
  const holding = timers.flatMap((path) => {
    const demands = demandsOf(shortest)
      .filter((demand) => demand.path === path && demand.bound === "at least")
      .sort((one, other) => other.value - one.value);
    const [tightest] = demands;
    if (tightest === undefined) return [];
    const value = timerAt(shortest, path);
    const why = value > tightest.value ? "no shorter one was measured to hold" : tightest.why;
    return [`${path} ${shownTimer(path, value)}: ${why}`];
  });
  return holding.length > 0
    ? holding.join("; ")
    : `no timer of the configuration shortens it: it is what the servers and programs take (${term.source})`;
}
