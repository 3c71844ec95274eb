// When the right to write passes from one node to the other without two of them ever having it: the timing rule of the
// lease, in one place. Pure arithmetic; who renews and who watches is in infra/node/lease, what it rests on in docs/lease.md.

import { type Duration, formatDuration, ms } from "./duration.ts";
import type { Authority, Pair } from "./pair.ts";
import { unitsOn } from "./volume.ts";

type Lease = Authority["lease"];
type Timed = Pick<Pair, "mariadb" | "volumes"> & { readonly authority: Pick<Authority, "etcd" | "lease"> };

/** One unit whose end the new holder waits for, and how long it may take at most. */
export interface Stop {
  readonly unit: string;
  readonly atMost: Duration;
}

/**
 * What must have ended before the other node may write, in the order in which it ends: the lease's own unit and every unit
 * that writes. `stopTimeout` is each one's TimeoutStopSec; at its deadline the holder does not wait for it, but writes
 * cgroup.kill.
 */
export const stopChain = (pair: Timed): readonly Stop[] =>
  ["hotpair-lease.service", ...writersOf(pair)].map((unit) => ({ unit, atMost: pair.authority.lease.stopTimeout }));

/** Units that write and that the holder kills at its deadline, in order: the last one to start is the first to end. */
export const writersOf = ({ mariadb, volumes = [] }: Pick<Pair, "mariadb" | "volumes">): readonly string[] => [
  ...(mariadb === undefined ? [] : ["hotpair-mariadb.service"]),
  ...volumes.flatMap(unitsOn).toReversed(),
];

/** S: the sum over the chain. */
export const stopTime = (pair: Timed): Duration => ms(stopChain(pair).reduce((sum, { atMost }) => sum + atMost, 0));

/** Both sides of an inequality that must hold strictly, with the sum as a person checks it. */
export interface Inequality {
  readonly holds: boolean;
  readonly left: Duration;
  readonly right: Duration;
  /** e.g. `1.5s × (1 − 0.001) = 1.4985s`. */
  readonly leftFormula: string;
  readonly rightFormula: string;
}

/** `T × (1 − drift) > max(D, rpcTimeout + watchdog) + S + margin`: the old holder has stopped before the new one starts. */
export function takeoverRule(pair: Timed): Inequality {
  const { takeover, deadline, rpcTimeout, watchdog, margin, drift } = pair.authority.lease;
  const chain = stopChain(pair);
  const left = exact(takeover * (1 - drift));
  const right = exact(lastWrite(pair.authority.lease) + stopTime(pair) + margin);
  const stops = chain.map(({ atMost }) => formatDuration(atMost)).join(" + ");
  return {
    holds: left > right,
    left,
    right,
    leftFormula: `${formatDuration(takeover)} × (1 − ${drift}) = ${formatDuration(left)}`,
    rightFormula:
      `max(${formatDuration(deadline)}, ${formatDuration(rpcTimeout)} + ${formatDuration(watchdog)}) + ${stops} + ` +
      `${formatDuration(margin)} = ${formatDuration(right)}`,
  };
}

/** From the last acknowledged renewal to the order to stop: the holder's own deadline, or systemd's when it hangs. */
const lastWrite = ({ deadline, rpcTimeout, watchdog }: Lease): number => Math.max(deadline, rpcTimeout + watchdog);

/** The shortest T that the rule allows, in whole milliseconds; the least that a failover with data takes. */
export function shortestTakeover(pair: Timed): Duration {
  const { margin, drift } = pair.authority.lease;
  return ms(Math.floor(exact((lastWrite(pair.authority.lease) + stopTime(pair) + margin) / (1 - drift))) + 1);
}

/** `D > 2 × election + renewal`: the loss of etcd's leader does not end the holder. */
export const deadlineRule = (pair: Timed): Inequality => outlasts(pair, pair.authority.lease.deadline);

/** The same for systemd's watchdog, which is fed by acknowledged renewals and would kill the holder in an election, too. */
export const watchdogRule = (pair: Timed): Inequality => outlasts(pair, pair.authority.lease.watchdog);

function outlasts({ authority: { etcd, lease } }: Timed, left: Duration): Inequality {
  const right = exact(2 * etcd.election + lease.renewal);
  return {
    holds: left > right,
    left,
    right,
    leftFormula: formatDuration(left),
    rightFormula: `2 × ${formatDuration(etcd.election)} + ${formatDuration(lease.renewal)} = ${formatDuration(right)}`,
  };
}

/** To a microsecond: what is equal in decimals is equal in binary. */
const exact = (value: number): Duration => ms(Math.round(value * 1_000) / 1_000);
