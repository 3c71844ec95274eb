// What a year costs: how often each failure class happens, how long its repair takes, and what follows for clients with the
// pair and without it, and for the time that the pair runs without a usable standby. Expected values, not promises; the length
// of a single failure is the estimate's.

import { type Duration, ms, seconds, UNBOUNDED } from "./duration.ts";
import type { Estimate } from "./estimate.ts";
import type { FailureClassId } from "./failure.ts";
import type { Pair } from "./pair.ts";
import { perYear, type Rate } from "./rate.ts";

const minutes = (count: number): Duration => seconds(60 * count);
const hours = (count: number): Duration => minutes(60 * count);
export const YEAR: Duration = hours(8_760);

export interface Expectation {
  readonly rate: Rate;
  /** From the failure until the pair is as it was: noticed by a person, on the way, repaired. */
  readonly repair: Duration;
  /** How long one server without a peer is down: the repair, the same as in the pair, or a time of its own. */
  readonly alone: "repair" | "same" | Duration;
  /** Until the repair the pair has no usable standby. */
  readonly standbyGone: boolean;
  /** Where rate and repair come from. */
  readonly source: string;
}

/** Every source says that it is an assumption or where it was published; what each says word for word: docs/estimate.md. */
const GUESS = "an assumption: set your own";
/** 0.2 + 0.1 + 0.2 + 0.1 with kernel-panic, whole-node-freeze and memory-exhaustion. */
const MACHINE =
  "1,000 failures a year among 1,800 machines = 0.56 each (Dean 2008); that a third of them is this one, an assumption";
const OF_MACHINE = "a part of the 0.56 failures of a machine in a year (Dean 2008); how large a part, an assumption";
const REPAIRED = "repairs took from less than an hour to more than a day (Schroeder and Gibson, DSN 2006)";
const POWER =
  "53 % of operators had an outage in three years, 54 % of those that mattered by power: -ln(1 - 0.53) / 3 × 0.54 = 0.14 " +
  "(Uptime Institute 2025); 95 minutes (Ponemon Institute 2016)";
const PANIC = `${OF_MACHINE}; memory errors that cannot be corrected are 0.013 of it (Schroeder, Pinheiro and Weber, SIGMETRICS 2009)`;
const SWITCH =
  "5 % of top-of-rack switches fail in a year (Gill, Jain and Nagappan, SIGCOMM 2011); a rack is back in 1 to 6 hours (Dean 2008)";
const DISK =
  "2 to 4 % of disks are replaced in a year (Schroeder and Gibson, FAST 2007); in newer fleets 1.57 % of hard disks in 2024 " +
  "and less than 1 % of SSDs in 2022 (Backblaze); a day is an assumption";
const SITE =
  "an assumption: a tenth of the outages that were serious or severe, 9 % of -ln(1 - 0.53) / 3 = 0.023 (Uptime Institute 2025)";
const DELETED =
  "an assumption; nearly 40 % of organisations had a major outage by human error in three years, -ln(1 - 0.4) / 3 = 0.17 " +
  "(Uptime Institute 2025)";

const expect = (
  times: number,
  repair: Duration,
  alone: Expectation["alone"],
  standbyGone: boolean,
  source: string = GUESS,
): Expectation => ({ rate: perYear(times), repair, alone, standbyGone, source });
const never = ms(0);

/** Used where `failures` says nothing of a class. */
export const DEFAULTS: Readonly<Record<FailureClassId, Expectation>> = {
  "node-power-cut": expect(0.2, hours(8), "repair", true, `${MACHINE}; ${REPAIRED}`),
  "standby-power-cut": expect(0.2, hours(8), never, true, `${MACHINE}; ${REPAIRED}`),
  "both-power-cut": expect(0.14, minutes(95), "repair", true, POWER),
  "clean-reboot": expect(
    6,
    minutes(5),
    "repair",
    true,
    "an assumption: a kernel update a month, half of them on the active node; a server boots in minutes",
  ),
  "keepalived-stop": expect(0.1, minutes(10), never, true),
  "keepalived-kill": expect(0.1, minutes(1), never, false),
  "keepalived-hang": expect(0.05, minutes(1), never, false),
  "arbiter-loss": expect(0.2, minutes(1), never, false),
  "arbiter-loss-then-power-cut": expect(0.001, hours(8), "repair", true, "an assumption: both of two rare failures"),
  "haproxy-kill": expect(0.2, minutes(1), "same", false),
  "haproxy-hang": expect(0.1, minutes(15), "repair", true),
  "backend-kill": expect(1, minutes(1), seconds(2), false),
  "backend-hang": expect(0.1, minutes(15), "repair", true),
  "public-link-loss": expect(0.1, hours(4), "repair", true),
  "heartbeat-link-loss": expect(0.1, hours(4), never, true),
  "storage-link-loss": expect(0.1, hours(4), never, true),
  "heartbeat-storage-loss": expect(0.01, hours(4), never, true),
  "heartbeat-one-way": expect(0.02, hours(4), never, true),
  "full-partition": expect(0.01, hours(1), never, true),
  "vip-conflict": expect(0.05, hours(1), "repair", false),
  "bad-configuration": expect(2, minutes(15), never, false),
  "cpu-overload": expect(4, hours(1), never, false),
  "disk-full": expect(0.5, hours(1), never, false),
  "planned-switch": expect(12, minutes(1), never, false, "an assumption: with every kernel update of a month"),
  failback: expect(0.5, minutes(1), never, false, "an assumption: after what took the preferred node away"),
  "kernel-panic": expect(0.1, hours(1), "repair", true, PANIC),
  "memory-exhaustion": expect(0.1, hours(1), "repair", false, OF_MACHINE),
  "clock-jump": expect(0.1, hours(1), never, false),
  "switch-loss": expect(0.05, hours(4), "repair", true, SWITCH),
  "storage-device-failure": expect(0.03, hours(24), "repair", true, DISK),
  "site-loss": expect(0.002, hours(72), "repair", true, SITE),
  "witness-loss": expect(0.5, hours(4), never, true),
  "witness-link-loss": expect(0.1, hours(4), never, true),
  "witness-loss-then-power-cut": expect(0.0002, hours(4), "repair", true, "an assumption: both of two rare failures"),
  "member-isolation": expect(0.05, hours(1), never, true),
  "quorum-loss": expect(0.001, hours(1), never, true),
  "etcd-leader-loss": expect(0.2, minutes(1), never, false),
  "lease-loss": expect(0.1, minutes(1), never, false),
  "whole-node-freeze": expect(0.2, minutes(5), "repair", true, OF_MACHINE),
  "database-kill": expect(0.5, minutes(1), seconds(5), false),
  "database-hang": expect(0.1, minutes(15), "repair", false),
  "replica-loss": expect(0.5, hours(1), never, true),
  "replica-lag": expect(6, minutes(30), never, false),
  "replication-stopped": expect(0.2, hours(4), never, true),
  "replica-diverged": expect(0.02, hours(8), never, true),
  "binlog-disk-full": expect(0.1, hours(1), "repair", false),
  "forced-promotion": expect(0.01, hours(4), never, true),
  "rolling-upgrade": expect(
    12,
    minutes(10),
    never,
    true,
    "an assumption: a month's updates; each host is away for minutes",
  ),
  "data-deletion": expect(0.1, hours(8), "repair", false, DELETED),
  "replicated-disk-failure": expect(0.03, hours(24), "repair", true, DISK),
  "unmount-hang": expect(0.02, hours(1), never, true),
  "split-brain": expect(0.005, hours(8), never, true),
};

/** What holds for a class of this pair: what the stack file says, else the default. */
export function expectationOf({ failures }: Pick<Pair, "failures">, failure: FailureClassId): Expectation {
  const stated = failures.find((each) => each.failure === failure);
  const { rate, repair, source, ...rest } = DEFAULTS[failure];
  const given = [...(stated?.rate === undefined ? [] : ["rate"]), ...(stated?.repair === undefined ? [] : ["repair"])];
  return {
    ...rest,
    rate: stated?.rate ?? rate,
    repair: stated?.repair ?? repair,
    source:
      given.length === 2 ? "the stack file" : given.length === 1 ? `${given[0]}: the stack file; ${source}` : source,
  };
}

/** The share of one class in a year. */
export interface Share extends Expectation {
  readonly failure: FailureClassId;
  readonly downtime: { readonly lower: Duration; readonly upper: Duration };
  /** Of one server without a peer. */
  readonly downtimeAlone: Duration;
  readonly redundancyLost: Duration;
}

export interface Availability {
  /** Per year, in milliseconds. */
  readonly downtime: { readonly lower: Duration; readonly upper: Duration };
  readonly downtimeAlone: Duration;
  readonly redundancyLost: Duration;
  /** Part of the upper bound: the other node fails, too, while the first is away. */
  readonly secondFailure: Duration;
  /** Largest downtime first. */
  readonly shares: readonly Share[];
}

/**
 * Expected time per year. An occurrence costs what its estimate says; where nothing bounds it, at worst as long as the repair.
 * Failures are taken as independent of each other, except that the second of two falls into the repair of the first.
 */
export function availabilityOf(pair: Pick<Pair, "failures">, estimates: readonly Estimate[]): Availability {
  const shares = estimates.map(({ failure, rto }): Share => {
    const expectation = expectationOf(pair, failure);
    const { rate, repair, alone, standbyGone } = expectation;
    const longest = rto.upper === UNBOUNDED ? repair : rto.upper;
    const single = alone === "repair" ? repair : alone === "same" ? longest : alone;
    return {
      ...expectation,
      failure,
      downtime: { lower: ms(rate * Math.min(rto.lower, longest)), upper: ms(rate * longest) },
      downtimeAlone: ms(rate * single),
      redundancyLost: ms(standbyGone ? rate * repair : 0),
    };
  });
  const sum = (of: (share: Share) => number): Duration => ms(shares.reduce((all, share) => all + of(share), 0));
  const redundancyLost = sum((share) => share.redundancyLost);
  // What would take the service of one server takes that of the one that is left.
  const secondFailure = ms((redundancyLost / YEAR) * sum((share) => share.downtimeAlone));
  return {
    downtime: {
      lower: sum(({ downtime }) => downtime.lower),
      upper: ms(sum(({ downtime }) => downtime.upper) + secondFailure),
    },
    downtimeAlone: sum((share) => share.downtimeAlone),
    redundancyLost,
    secondFailure,
    shares: shares.toSorted((one, other) => other.downtime.upper - one.downtime.upper),
  };
}

/** A length of a year's budget as a person reads it, e.g. `8.7 h`, `4.2 min`; rounded up, so that it is not promised away. */
export function showYearly(time: Duration): string {
  const [value, name] =
    time >= hours(1)
      ? [time / hours(1), "h"]
      : time >= minutes(1)
        ? [time / minutes(1), "min"]
        : [time / seconds(1), "s"];
  return `${Math.ceil(Math.round(value * 1e4) / 1e3) / 10} ${name}`;
}
