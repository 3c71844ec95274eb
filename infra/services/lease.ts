// All that hotpair knows of the lease on the servers: the program, its units and settings, and how long a takeover of the
// right to write takes. The rules themselves are in infra/node/lease; etcd, which keeps it, is a room of its own.

import { type Duration, formatDuration, ms } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import { writersOf } from "../model/lease.ts";
import { type Authority, type HostId, holdsState, type NodeId, type Pair, peerOf } from "../model/pair.ts";
import type { Contribution, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { endsInPlace } from "../model/volume.ts";
import { clientUrl, directoryOf, hostName, MEMBER_IDS, unitOf } from "./etcd.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const lease: Service = { name: "lease", plan, timing, findings: () => [] };

const LIBRARY = "/usr/lib/hotpair";
const PROGRAM = `${LIBRARY}/hotpair-lease`;
const STOPPED = `${LIBRARY}/lease-stopped`;
export const LEASE_UNIT = "hotpair-lease.service";
export const QUORUM_UNIT = "hotpair-quorum.service";

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { authority } = pair;
  if (authority === undefined) return undefined;
  const names = { pair: pair.name, node: hostName(pair, id), etcdUnit: unitOf(pair) };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const nothing = { action: "none" } as const;
  // The observer is restarted at once. The holder's process goes on with what it has until the role moves: a restart of it
  // is a hand-over, and nothing in these files is worth one.
  const restart = { action: "restart", unit: QUORUM_UNIT } as const;
  const modules = nodeModules("lease").map(
    (name): PlannedFile => ({
      ...root,
      path: `${LIBRARY}/lease/${name}`,
      content: nodeFile(`lease/${name}`),
      onChange: restart,
    }),
  );
  const unit = (name: string, template: string, onChange: PlannedFile["onChange"]): PlannedFile => ({
    ...root,
    path: `/etc/systemd/system/${name}`,
    content: render(template, {
      ...names,
      watchdogMs: authority.lease.watchdog,
      stopMs: authority.lease.stopTimeout,
      writers: writersOf(pair).join(" "),
    }),
    onChange,
  });
  return {
    packages: ["python3"],
    files: [
      { ...root, path: PROGRAM, mode: "0755", content: nodeFile("hotpair-lease"), onChange: restart },
      { ...root, path: STOPPED, mode: "0755", content: nodeFile("lease-stopped"), onChange: nothing },
      ...modules,
      {
        ...root,
        path: "/etc/hotpair/lease.json",
        content: `${JSON.stringify(settings(pair, authority, id), undefined, 2)}\n`,
        onChange: restart,
      },
      unit(LEASE_UNIT, "lease/hotpair-lease.service.hbs", nothing),
      unit(QUORUM_UNIT, "lease/hotpair-quorum.service.hbs", restart),
      unit("hotpair-active.target.d/60-lease.conf", "lease/active-target.conf.hbs", nothing),
    ],
    units: [{ name: QUORUM_UNIT, running: true, holdsRole: false }],
    validators: [
      {
        name: "hotpair-lease check",
        covers: [PROGRAM, `${LIBRARY}/lease/`, "/etc/hotpair/lease.json", `${directoryOf(pair)}/`],
        command: `${PROGRAM} check`,
      },
      { name: "sh -n lease-stopped", covers: [STOPPED], command: `sh -n ${STOPPED}` },
    ],
    health: [
      {
        name: "the lease is observed",
        command: `systemctl is-active --quiet ${QUORUM_UNIT}`,
        deadlineSeconds: 10,
      },
    ],
    state: ["/var/lib/hotpair/incarnation"],
  };
}

/** /etc/hotpair/lease.json; every time in seconds, as Python counts them. */
function settings(pair: Pair, authority: Authority, id: NodeId): Readonly<Record<string, unknown>> {
  const directory = directoryOf(pair);
  const { drift, ...times } = authority.lease;
  const peer = peerOf(id);
  return {
    version: 1,
    pair: pair.name,
    node: { id, name: hostName(pair, id) },
    peer: { id: peer, name: hostName(pair, peer) },
    witness: { name: hostName(pair, "witness") },
    endpoints: Object.fromEntries(MEMBER_IDS.map((member: HostId) => [member, clientUrl(pair, authority, member)])),
    ca: `${directory}/ca.pem`,
    certificate: `${directory}/member.pem`,
    key: `${directory}/member.key`,
    lease: {
      ...Object.fromEntries(Object.entries(times).map(([name, duration]) => [name, inSeconds(duration)])),
      drift,
    },
    writers: writersOf(pair),
    keepsData: holdsState(pair),
  };
}

const inSeconds = (duration: Duration): number => duration / 1_000;

/** The taking node's holder, from systemd's start to its first question; 0.07 s of processor time, and a machine that is busy. */
const PROGRAM_START = ms(300);

/**
 * Faults after which nobody gives the lease back: the other node waits until it has run out. Without its public link a node
 * reaches no member but its own.
 */
const SILENT: readonly FailureClassId[] = [
  "node-power-cut",
  "arbiter-loss-then-power-cut",
  "whole-node-freeze",
  "public-link-loss",
  "kernel-panic",
  "site-loss",
];
/** Faults that end the holder, whose node may take the lease again at once; at worst the other one waits it out. */
const ENDED: readonly FailureClassId[] = ["lease-loss", "member-isolation"];
/** Faults of the authority that its majority and the holder's deadline outlast. */
const OUTLASTED: Readonly<Partial<Record<FailureClassId, string>>> = {
  "witness-loss": "two of three members renew the lease",
  "witness-link-loss": "two of three members renew the lease",
  "clock-jump": "the lease is timed by clocks that do not jump (CLOCK_BOOTTIME)",
  "etcd-leader-loss": "an election ends before the holder's deadline does: D > 2 × election + renewal",
};
/** Acts in which its holder stops in order and gives it back, at a moment that others decide. */
const RELEASED: readonly FailureClassId[] = ["clean-reboot"];
/**
 * Faults and acts in which it stops as its node loses the VIP, or before: the other node's holder is started meanwhile, and
 * waits for the lease (docs/arbitration.md#on-a-server).
 */
const HANDED_OVER: readonly FailureClassId[] = [
  "keepalived-stop",
  "keepalived-kill",
  "keepalived-hang",
  "haproxy-hang",
  "database-kill",
  "database-hang",
  "planned-switch",
  "failback",
  "rolling-upgrade",
];

function timing(pair: Pair): readonly TimingTerm[] {
  const { authority } = pair;
  // Without a service that writes nothing waits for the lease.
  if (authority === undefined || !holdsState(pair)) return [];
  const { takeover, renewal, rpcTimeout, stopTimeout } = authority.lease;
  const stopping =
    2 * stopTimeout < PROGRAM_START
      ? `start of the program ${formatDuration(PROGRAM_START)}`
      : `2 × stop ${formatDuration(stopTimeout)}`;
  const taking = `start of the program ${formatDuration(PROGRAM_START)} + one answer ${formatDuration(rpcTimeout)}`;
  const term = (
    failure: FailureClassId,
    name: string,
    lower: Duration,
    upper: Duration,
    formula: string,
  ): TimingTerm => ({
    service: "lease",
    beside: true,
    failure,
    step: "decide",
    name,
    lower,
    upper,
    formula,
    source: "docs/lease.md",
  });
  return [
    ...SILENT.map((failure) =>
      term(
        failure,
        "the silent holder's lease runs out, counted from its last renewal that was seen",
        ms(takeover - renewal),
        ms(takeover + renewal + PROGRAM_START + rpcTimeout),
        `T ${formatDuration(takeover)} + renewal ${formatDuration(renewal)} + ${taking}`,
      ),
    ),
    ...ENDED.map((failure) =>
      term(
        failure,
        "the holder is ended before its deadline is over, and the lease is taken again or runs out",
        ms(0),
        ms(takeover + renewal + PROGRAM_START + rpcTimeout),
        `≤ T ${formatDuration(takeover)} + renewal ${formatDuration(renewal)} + ${taking}`,
      ),
    ),
    ...Object.entries(OUTLASTED).map(([failure, why]) => term(failure as FailureClassId, why, ms(0), ms(0), "0")),
    ...RELEASED.map((failure) =>
      term(
        failure,
        "the holder stops what writes and gives the lease back, and the other node takes it",
        ms(0),
        ms(2 * stopTimeout + PROGRAM_START + rpcTimeout),
        `2 × stop ${formatDuration(stopTimeout)} + ${taking}`,
      ),
    ),
    ...HANDED_OVER.filter((failure) => !endsInPlace(failure, pair)).map((failure) =>
      term(
        failure,
        "the holder stops what writes and gives the lease back, while the other node's is started to take it",
        ms(0),
        ms(Math.max(2 * stopTimeout, PROGRAM_START) + rpcTimeout),
        `${stopping} + one answer ${formatDuration(rpcTimeout)}`,
      ),
    ),
  ];
}
