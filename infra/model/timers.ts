// The timers that a stack file can set, and what each of them demands of the others: the smallest and largest value at which
// the set is consistent, with what the servers and networks ordinarily do. Pure. Choosing values is tuning.ts.

import { silenceTolerated, silentDetection, unconnectedCheck } from "./checks.ts";
import { type Duration, formatDuration, ms } from "./duration.ts";
import { CLIENT_DEADLINE } from "./estimate.ts";
import type { Finding } from "./finding.ts";
import { deadlineRule, shortestTakeover, watchdogRule } from "./lease.ts";
import type { Authority, Backend, Haproxy, Limits, Pair } from "./pair.ts";
import { masterDownInterval, skewTime } from "./vrrp.ts";

/** Smallest advert interval whose fast gate closed in time in every run (docs/arbitration.md#measured). */
export const SMALLEST_SAFE_ADVERT: Duration = ms(100);
/** From a beacon's arrival to keepalived having read the gate; measured at most (docs/arbitration.md#measured). */
export const GATE_REACTION: Duration = ms(30);
/** A skew beyond this share of the advert interval only delays every failover: RFC 9568 needs it to break ties, no more. */
export const SKEW_SHARE = 0.25;
/** Keeps the skew small and leaves 254 to the holder of a lease (docs/arbitration.md). */
export const BEST_PRIORITY = 253;
/** Wait of systemd before it starts a dead HAProxy again: its own default (systemd.service(5), RestartSec). */
export const HAPROXY_RESTART: Duration = ms(100);
/** The arbiter asks HAProxy this often, so its last answer may be that old when it hangs (infra/node/arbiter/haproxy.py). */
export const HAPROXY_ASKED_EVERY: Duration = ms(200);
/** Checks that follow each other faster are a load of their own and tell nothing more. */
const FASTEST_CHECK: Duration = ms(10);
/** Failed checks in a row that a proposal asks for at most; beyond it one lost answer in ten would hide a dead server. */
const MOST_CHECKS = 10;

/** Where the VIP is at the latest after a crash: VRRP's timer, and where a lease decides, the lease's. */
export const takeoverOf = ({ vrrp, authority }: Pick<Pair, "vrrp" | "authority">): Duration =>
  ms(Math.max(masterDownInterval(vrrp.advertInterval, vrrp.priority), authority?.lease.takeover ?? 0));

/** The longest silence of a peer that is no fault. */
export const ordinarySilence = ({ roundTrip, jitter, pause }: Limits): Duration => ms(roundTrip + jitter + pause);

const silenceFormula = ({ roundTrip, jitter, pause }: Limits): string =>
  `round trip ${formatDuration(roundTrip)} + jitter ${formatDuration(jitter)} + pause ${formatDuration(pause)} = ` +
  formatDuration(ms(roundTrip + jitter + pause));

/** What the timers of a set must be to each other. */
export interface Demand {
  /** Path below hotpair:pair, e.g. `arbiter.serviceDead`. */
  readonly path: string;
  readonly bound: "at least" | "at most";
  /** Milliseconds, or a number where the field is one; a step of the field within the bound. */
  readonly value: number;
  /** What to set where the present value breaks the demand, when that is not `value` itself. */
  readonly set?: number;
  /** The other side of it, for the reason of a proposal and the end of a search, e.g. `longer than 2 × election + renewal`. */
  readonly why: string;
  /** Who reports a set that breaks it. */
  readonly rule: string;
  readonly level: Finding["level"];
  /** Both sides with the present numbers, where `rule` is timers-agree. */
  readonly contradiction?: string;
}

/** A timer as a field of the configuration. */
export const timerAt = (pair: Pair, path: string): number => {
  const value = partsOf(path).reduce<unknown>(
    (node, part) => (node as Record<string, unknown> | undefined)?.[part],
    pair,
  );
  if (typeof value !== "number") throw new Error(`the pair has no timer ${path}`);
  return value;
};

/** The pair with another value of one timer. */
export const withTimer = (pair: Pair, path: string, value: number): Pair =>
  replaced(pair, partsOf(path), value) as Pair;

const partsOf = (path: string): readonly string[] => path.split(/[.[\]]+/).filter((part) => part !== "");

function replaced(node: unknown, [part, ...rest]: readonly string[], value: number): unknown {
  if (part === undefined) return value;
  if (Array.isArray(node))
    return node.map((item, index) => (index === Number(part) ? replaced(item, rest, value) : item));
  const fields = node as Record<string, unknown>;
  return { ...fields, [part]: replaced(fields[part], rest, value) };
}

/** Fields that count and do not measure a time. */
export const countsOnly = (path: string): boolean => /\.(priority|fall|rise)$/.test(path);

/** A value as it stands in a stack file. */
export const shownTimer = (path: string, value: number): string =>
  countsOnly(path) ? String(value) : formatDuration(ms(value));

export const meets = (pair: Pair, { path, bound, value }: Demand): boolean =>
  bound === "at least" ? timerAt(pair, path) >= value : timerAt(pair, path) <= value;

/** Everything that the timers of this pair demand of each other; a consistent set meets all of it. */
export const demandsOf = (pair: Pair): readonly Demand[] => [
  ...vrrpDemands(pair),
  ...arbiterDemands(pair),
  ...(pair.haproxy === undefined ? [] : haproxyDemands(pair, pair.haproxy)),
  ...(pair.authority === undefined ? [] : leaseDemands(pair, pair.authority)),
];

const AGREE = "timers-agree";
const upTo = (value: number, step: number): number => Math.ceil(Math.round((value / step) * 1e6) / 1e6) * step;
const show = (value: number): string => formatDuration(ms(value));

function vrrpDemands({ vrrp, limits }: Pair): readonly Demand[] {
  const { advertInterval: advert, priority } = vrrp;
  const silence = ordinarySilence(limits);
  const path = "vrrp.advertInterval";
  return [
    {
      path,
      bound: "at least",
      value: SMALLEST_SAFE_ADVERT,
      why: `${show(SMALLEST_SAFE_ADVERT)} is the shortest that the arbiter was measured safe with`,
      rule: "advert-interval",
      level: "mandatory",
    },
    {
      path,
      bound: "at least",
      value: upTo(silence / 2, 10),
      why: `two adverts in a row may be late by an ordinary silence, ${silenceFormula(limits)}`,
      rule: AGREE,
      level: "mandatory",
      contradiction:
        `VRRP takes over once two adverts in a row are missing, 2 × ${show(advert)} = ${show(2 * advert)} after the next was due, ` +
        `but an active node that is well may be silent for ${silenceFormula(limits)}: two owners`,
    },
    ...(skewTime(advert, priority) > SKEW_SHARE * advert
      ? [
          {
            path: "vrrp.priority",
            bound: "at least",
            value: BEST_PRIORITY,
            why: "a larger skew only delays every failover",
            rule: "vrrp-skew",
            level: "advisory",
          } as const,
        ]
      : []),
  ];
}

function arbiterDemands({ vrrp, arbiter, haproxy, limits }: Pair): readonly Demand[] {
  const { advertInterval: advert, priority } = vrrp;
  const { beaconInterval: beacon, serviceDead } = arbiter;
  const silence = ordinarySilence(limits);
  const room = Math.ceil(masterDownInterval(advert, priority) - beacon - GATE_REACTION) - 1;
  const usual = Math.floor(1.5 * advert);
  const gate = { rule: "arbiter-silence", level: "mandatory" } as const;
  const lasts = 2 * beacon + silence;
  const restarted = HAPROXY_RESTART + limits.restore + HAPROXY_ASKED_EVERY;
  return [
    {
      ...gate,
      path: "arbiter.silence",
      bound: "at least",
      value: Math.floor(advert) + 1,
      set: usual,
      why: "longer than one advert, and half another for one that is late",
    },
    // Beacons that leave no room at all are shortened first.
    ...(room <= advert
      ? [
          {
            ...gate,
            path: "arbiter.beaconInterval",
            bound: "at most",
            value: Math.floor(advert / 5),
            why: "a beacon must arrive between a missed advert and the end of VRRP's timer",
          } as const,
        ]
      : [
          {
            ...gate,
            path: "arbiter.silence",
            bound: "at most",
            value: room,
            set: Math.min(usual, room),
            why: `silence + beacon + reaction ${show(GATE_REACTION)} before VRRP's timer ends`,
          } as const,
        ]),
    {
      path: "arbiter.evidence",
      bound: "at least",
      value: Math.ceil(2 * beacon),
      set: Math.max(200, Math.ceil(10 * beacon)),
      why: "one beacon may be lost",
      rule: "vip-ownership-safe",
      level: "mandatory",
    },
    {
      path: "arbiter.evidence",
      bound: "at least",
      value: Math.ceil(lasts),
      why: `two beacons, the second of them late by an ordinary silence, ${silenceFormula(limits)}`,
      rule: AGREE,
      level: "mandatory",
      contradiction:
        `a veto ends ${show(arbiter.evidence)} after the last beacon, but with one beacon lost and the next one late they may be ` +
        `2 × ${show(beacon)} + ${silenceFormula(limits)} apart, ${show(lasts)} in all: two owners during a heartbeat cut`,
    },
    ...(haproxy === undefined
      ? []
      : [
          {
            path: "arbiter.serviceDead",
            bound: "at least",
            value: Math.ceil(restarted),
            why:
              `a HAProxy that systemd starts again answers after RestartSec ${show(HAPROXY_RESTART)} + ` +
              `${show(limits.restore)}, and is asked every ${show(HAPROXY_ASKED_EVERY)}`,
            rule: AGREE,
            level: "advisory",
            contradiction:
              `the VIP moves when HAProxy has not answered for ${show(serviceDead)}, but systemd has a HAProxy that died back after ` +
              `${show(HAPROXY_RESTART)} + ${show(limits.restore)}, seen within ${show(HAPROXY_ASKED_EVERY)}: every restart moves the VIP`,
          } as const,
        ]),
  ];
}

function haproxyDemands(pair: Pair, settings: Haproxy): readonly Demand[] {
  const { connect, server } = settings.timeouts;
  const { limits } = pair;
  const accepted = upTo(limits.roundTrip + limits.jitter, 1);
  const checks = { rule: "haproxy-check-timers", level: "advisory" } as const;
  return [
    {
      path: "haproxy.timeouts.connect",
      bound: "at least",
      value: Math.max(1, accepted),
      why: `a server that is well accepts within round trip ${show(limits.roundTrip)} + jitter ${show(limits.jitter)}`,
      rule: AGREE,
      level: "advisory",
      contradiction:
        `HAProxy gives a connection up after ${show(connect)}, but a server that is well may take round trip ` +
        `${show(limits.roundTrip)} + jitter ${show(limits.jitter)} = ${show(limits.roundTrip + limits.jitter)} to accept it`,
    },
    // Where servers may take longer than a client waits, the checks alone end its wait.
    ...(accepted >= CLIENT_DEADLINE
      ? []
      : [
          {
            ...checks,
            path: "haproxy.timeouts.connect",
            bound: "at most",
            value: CLIENT_DEADLINE - 1,
            set: Math.max(50, accepted),
            why: `a client gives up after ${show(CLIENT_DEADLINE)}`,
          } as const,
        ]),
    ...settings.backends.flatMap((backend, index) => checkDemands(pair, backend, `haproxy.backends[${index}].check`)),
    ...settings.backends.flatMap(({ check, role }) =>
      // Sessions of a database have a wait of their own.
      role !== undefined
        ? []
        : [
            {
              path: "haproxy.timeouts.server",
              bound: "at least",
              value: check.timeout,
              why: "as patient as the check that decides whether a server is well",
              rule: AGREE,
              level: "advisory",
              contradiction:
                `a request is given up after ${show(server)} without an answer, but a check waits ${show(check.timeout)} for its own: ` +
                "servers in between fail their clients and stay in",
            } as const,
          ],
    ),
  ];
}

function checkDemands(pair: Pair, backend: Backend, at: string): readonly Demand[] {
  const { limits } = pair;
  const { check } = backend;
  const { connect } = pair.haproxy?.timeouts ?? { connect: ms(0) };
  const silence = ordinarySilence(limits);
  const takeover = takeoverOf(pair);
  const tolerated = silenceTolerated(backend, connect);
  const best = checksFor(backend, connect, silence, takeover);
  const change = (
    field: "interval" | "fastInterval" | "fall",
    why: string,
    reported: Pick<Demand, "rule" | "level">,
  ): readonly Demand[] =>
    best === undefined || best[field] === check[field]
      ? []
      : [
          {
            path: `${at}.${field}`,
            bound: best[field] > check[field] ? "at least" : "at most",
            value: best[field],
            why,
            ...reported,
          },
        ];
  const why = `(fall − 1) × (failed check + fastInterval) outlasts ${silenceFormula(limits)}, and the server is out before the VIP moves`;
  const own = { rule: "haproxy-check-timers", level: check.fall < 2 ? "mandatory" : "advisory" } as const;
  const reported =
    tolerated < silence && check.fall >= 2
      ? ({
          rule: AGREE,
          level: "advisory",
          contradiction:
            `HAProxy takes a server of backend "${backend.name}" out that does not answer for ${check.fall - 1} × ` +
            `(${show(unconnectedCheck(backend, connect))} + ${show(check.fastInterval)}) = ${show(tolerated)}, but one that is well ` +
            `may be silent for ${silenceFormula(limits)}`,
        } as const)
      : own;
  // One contradiction, said once, however many fields it takes to end it.
  const { rule, level } = reported;
  const changes = (["fall", "fastInterval", "interval"] as const).flatMap((field) =>
    change(field, why, { rule, level }),
  );
  return [
    ...changes.map((demand, index) => (index === 0 ? { ...demand, ...reported } : demand)),
    {
      path: `${at}.timeout`,
      bound: "at least",
      value: Math.ceil(silence),
      why: `a server that is well answers within ${silenceFormula(limits)}`,
      rule: AGREE,
      level: "advisory",
      contradiction:
        `a check of backend "${backend.name}" has failed after ${show(check.timeout)}, but a server that is well may take ` +
        `${silenceFormula(limits)} to answer`,
    },
  ];
}

/**
 * The nearest checks that outlast an ordinary silence and take a dead server out before the VIP moves; undefined: these do, or
 * none would. The silence comes first: a server that is out for nothing is worse than a dead one that is in for a moment.
 */
function checksFor(
  backend: Backend,
  connect: Duration,
  silence: Duration,
  takeover: Duration,
): Pick<Backend["check"], "interval" | "fastInterval" | "fall"> | undefined {
  const { check } = backend;
  const fits = (one: Backend) => silenceTolerated(one, connect) >= silence && one.check.fall >= 2;
  const inTime = (one: Backend) => silentDetection(one, connect) <= takeover;
  if (check.fastInterval <= check.interval && fits(backend) && inTime(backend)) return undefined;
  const candidates: Backend[] = [];
  for (let fall = Math.max(2, Math.min(check.fall, MOST_CHECKS)); fall <= MOST_CHECKS; fall += 1) {
    // A failed check lasts as long as a connection is waited for, and never longer than the interval.
    const longest = Math.max(
      1,
      unconnectedCheck({ ...backend, check: { ...check, interval: CLIENT_DEADLINE } }, connect),
    );
    const share = Math.ceil(silence / (fall - 1));
    for (const fastest of [check.fastInterval, Math.max(FASTEST_CHECK, share - longest)]) {
      const latest = Math.floor(takeover - fall * longest - (fall - 1) * fastest);
      for (const interval of [check.interval, latest, Math.max(fastest, share - fastest)].filter(
        (one) => one >= FASTEST_CHECK,
      )) {
        const fastInterval = ms(Math.min(fastest, interval));
        candidates.push({ ...backend, check: { ...check, fall, fastInterval, interval: ms(interval) } });
      }
    }
  }
  const changed = ({ check: one }: Backend): number =>
    (["fall", "fastInterval", "interval"] as const).filter((field) => one[field] !== check[field]).length;
  const later = (one: Backend, other: Backend): number =>
    silentDetection(other, connect) - silentDetection(one, connect);
  const fitting = candidates.filter(fits);
  const [good] = fitting
    .filter(inTime)
    .sort((one, other) => changed(one) - changed(other) || one.check.fall - other.check.fall || later(one, other));
  if (good !== undefined) return good.check;
  if (fits(backend) && check.fastInterval <= check.interval) return undefined;
  return fitting.sort((one, other) => changed(one) - changed(other) || later(other, one))[0]?.check;
}

function leaseDemands(pair: Pair, authority: Authority): readonly Demand[] {
  const { etcd, lease } = authority;
  const { limits } = pair;
  const timed = { ...pair, authority };
  const silence = ordinarySilence(limits);
  const hop = limits.roundTrip + limits.jitter;
  const rule = { rule: "lease-timing", level: "mandatory" } as const;
  const agree = { rule: AGREE, level: "advisory" } as const;
  const election = Math.max(5 * etcd.heartbeat, 10 * limits.roundTrip, etcd.heartbeat + silence);
  const outlasts = 2 * etcd.election + lease.renewal + silence;
  const lost = lease.rpcTimeout + lease.renewal;
  const stops = (name: "deadline" | "watchdog", what: string): readonly Demand[] => [
    {
      ...rule,
      path: `authority.lease.${name}`,
      bound: "at least",
      value: Math.floor((name === "deadline" ? deadlineRule(timed) : watchdogRule(timed)).right) + 1,
      why: "longer than an election, 2 × election + renewal",
    },
    {
      ...agree,
      path: `authority.lease.${name}`,
      bound: "at least",
      value: Math.ceil(outlasts),
      why: `an election, 2 × ${show(etcd.election)} + renewal ${show(lease.renewal)}, and an ordinary silence, ${silenceFormula(limits)}`,
      contradiction:
        `${what} after ${show(lease[name])} without an acknowledged renewal, but an election may take 2 × ${show(etcd.election)} + ` +
        `renewal ${show(lease.renewal)}, and the answer after it ${silenceFormula(limits)}: ${show(outlasts)} in all`,
    },
  ];
  return [
    {
      ...agree,
      path: "authority.etcd.heartbeat",
      bound: "at least",
      value: Math.max(10, upTo(hop, 1)),
      why: `a follower is heard within round trip ${show(limits.roundTrip)} + jitter ${show(limits.jitter)} (etcd's tuning guide)`,
      contradiction: `etcd's leader speaks every ${show(etcd.heartbeat)}, but an answer takes up to ${show(hop)}: heartbeats overtake each other`,
    },
    {
      ...agree,
      path: "authority.etcd.election",
      bound: "at least",
      value: upTo(election, 1),
      why: `at least 5 heartbeats, 10 round trips, and a heartbeat that is late by ${silenceFormula(limits)} (etcd's tuning guide)`,
      contradiction:
        `etcd elects another leader after ${show(etcd.election)} of silence, but one that is well may be silent for heartbeat ` +
        `${show(etcd.heartbeat)} + ${silenceFormula(limits)}, or ${show(election)} with what etcd asks for`,
    },
    {
      ...agree,
      path: "authority.lease.renewal",
      bound: "at least",
      value: Math.max(10, Math.ceil(silence)),
      why: `a renewal is answered before the next one is due, within ${silenceFormula(limits)}`,
      contradiction: `the lease is renewed every ${show(lease.renewal)}, but an answer may take ${silenceFormula(limits)}: renewals queue up`,
    },
    {
      ...agree,
      path: "authority.lease.rpcTimeout",
      bound: "at least",
      value: Math.max(10, Math.ceil(2 * silence)),
      why: `an answer waits for two members, each silent for ${silenceFormula(limits)} at most`,
      contradiction:
        `a question to etcd is given up after ${show(lease.rpcTimeout)}, but its answer waits for two members, each of which may be ` +
        `silent for ${silenceFormula(limits)}`,
    },
    ...stops("deadline", "the holder stops writing"),
    {
      ...agree,
      path: "authority.lease.deadline",
      bound: "at least",
      value: Math.floor(lost) + 1,
      why: "one lost answer does not end the holder: rpcTimeout + renewal",
      contradiction:
        `the holder stops writing ${show(lease.deadline)} after its last acknowledged renewal, but waits rpcTimeout ` +
        `${show(lease.rpcTimeout)} + renewal ${show(lease.renewal)} for one lost answer before it asks again`,
    },
    ...stops("watchdog", "systemd kills the holder"),
    {
      ...rule,
      path: "authority.lease.takeover",
      bound: "at least",
      value: shortestTakeover(timed),
      why: "T × (1 − drift) > max(D, rpcTimeout + watchdog) + S + margin: the old holder has stopped before the new one starts",
    },
  ];
}

/** Timers of the arbiter that follow the advert interval where a stack file does not state them. */
export const followingAdverts = (
  advert: Duration,
): Readonly<Record<"arbiter.beaconInterval" | "arbiter.silence" | "arbiter.evidence", Duration>> => ({
  "arbiter.beaconInterval": ms(Math.min(20, advert / 5)),
  "arbiter.silence": ms(1.5 * advert),
  "arbiter.evidence": ms(Math.max(200, 2 * advert)),
});

/** Timers that a proposal may change, in the order in which one is read after the other. */
export const timersOf = (pair: Pair): readonly string[] => [
  "vrrp.advertInterval",
  "vrrp.priority",
  "arbiter.beaconInterval",
  "arbiter.silence",
  "arbiter.evidence",
  ...(pair.haproxy === undefined
    ? []
    : [
        "arbiter.serviceDead",
        "haproxy.timeouts.connect",
        "haproxy.timeouts.server",
        ...pair.haproxy.backends.flatMap((_, index) =>
          ["interval", "fastInterval", "fall", "timeout"].map((field) => `haproxy.backends[${index}].check.${field}`),
        ),
      ]),
  ...(pair.authority === undefined
    ? []
    : [
        "authority.etcd.heartbeat",
        "authority.etcd.election",
        ...["renewal", "rpcTimeout", "deadline", "watchdog", "takeover"].map((field) => `authority.lease.${field}`),
      ]),
];

/** The false-positive risk of a timer: what it takes for a fault, and how much of it happens on a good day. */
export interface Tolerance {
  /** e.g. `silence of the active node`. */
  readonly of: string;
  readonly upTo: Duration;
  /** What the limits call ordinary; undefined where the timer mistakes nothing on these networks and servers. */
  readonly ordinary: Duration | undefined;
}

/** How much jitter or pause a timer bears before it acts for nothing; undefined for one that mistakes nothing by itself. */
export function toleranceOf(pair: Pair, path: string): Tolerance | undefined {
  const { vrrp, arbiter, limits, authority, haproxy } = pair;
  const silence = ordinarySilence(limits);
  const hop = ms(limits.roundTrip + limits.jitter);
  const of = (what: string, value: number, ordinary: Duration | undefined): Tolerance => ({
    of: what,
    upTo: ms(Math.max(0, value)),
    ordinary,
  });
  const backend = haproxy?.backends[Number(/^haproxy\.backends\[(\d+)\]/.exec(path)?.[1] ?? -1)];
  if (backend !== undefined && haproxy !== undefined) {
    if (path.endsWith(".timeout")) return of("slow answer to a check", backend.check.timeout, silence);
    if (path.endsWith(".fall"))
      return of("silence of a server", silenceTolerated(backend, haproxy.timeouts.connect), silence);
    return undefined;
  }
  switch (path) {
    case "vrrp.advertInterval":
      return of("silence of the active node", 2 * vrrp.advertInterval, silence);
    case "arbiter.silence":
      return of("late advert", arbiter.silence - vrrp.advertInterval, undefined);
    case "arbiter.evidence":
      return of("late beacon, with the one before it lost", arbiter.evidence - 2 * arbiter.beaconInterval, silence);
    case "arbiter.serviceDead":
      return of(
        "HAProxy without an answer",
        arbiter.serviceDead - HAPROXY_ASKED_EVERY,
        ms(HAPROXY_RESTART + limits.restore),
      );
    case "haproxy.timeouts.connect":
      return of("slow connection", haproxy?.timeouts.connect ?? 0, hop);
    default:
      return authority === undefined ? undefined : leaseTolerance({ ...pair, authority }, path);
  }
}

function leaseTolerance(pair: Pair & { readonly authority: Authority }, path: string): Tolerance | undefined {
  const { etcd, lease } = pair.authority;
  const silence = ordinarySilence(pair.limits);
  const beyond = (value: Duration) => ms(Math.max(0, value - 2 * etcd.election - lease.renewal));
  switch (path) {
    case "authority.etcd.election":
      return { of: "silence of etcd's leader", upTo: ms(etcd.election - etcd.heartbeat), ordinary: silence };
    case "authority.lease.rpcTimeout":
      return { of: "slow answer of etcd", upTo: lease.rpcTimeout, ordinary: ms(2 * silence) };
    case "authority.lease.deadline":
      return { of: "silence of etcd after an election", upTo: beyond(lease.deadline), ordinary: silence };
    case "authority.lease.watchdog":
      return { of: "silence of etcd after an election", upTo: beyond(lease.watchdog), ordinary: silence };
    case "authority.lease.takeover":
      return {
        of: "more than the old holder needs to stop",
        upTo: ms(Math.max(0, lease.takeover - shortestTakeover(pair))),
        ordinary: undefined,
      };
    default:
      return undefined;
  }
}
