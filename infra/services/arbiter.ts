// All that hotpair knows of its arbiter on the servers: the program, its units and settings, the key that it shares with
// the peer, and what its decisions add to a recovery. The rules themselves are in infra/node/arbiter/rules.py.

import { type Duration, formatDuration, ms, seconds } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import { managedOf } from "../model/link.ts";
import {
  type Authority,
  holdsState,
  type NetworkName,
  type Node,
  type NodeId,
  type Pair,
  peerOf,
} from "../model/pair.ts";
import type { Contribution, Listener, PlannedFile, Service } from "../model/plan.ts";
import { HAPROXY_ASKED_EVERY } from "../model/timers.ts";
import type { TimingTerm } from "../model/timing.ts";
import { masterDownInterval } from "../model/vrrp.ts";
import { ADMIN_SOCKET } from "./haproxy.ts";
import { hostOf, priorityOf, vetoEnds, WITHOUT_ARBITER } from "./keepalived.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const arbiter: Service = { name: "arbiter", plan, timing, findings: () => [], listeners };

const PROGRAM = "/usr/lib/hotpair/hotpair-arbiter";

/** A preferred node gets its VIP back when it has been well this long: longer than any daemon's start. */
export const FAILBACK_AFTER = seconds(10);
/** From keepalived's hang to its death: judged after 0.5 s without a sign of life, looked at every 50 ms (progress.py). */
const HANG_NOTICED = ms(700);
/** HAProxy is asked every 200 ms and given 500 ms to answer (haproxy.py). */
const HAPROXY_ASKED = ms(700);

function plan(pair: Pair, id: NodeId): Contribution {
  const node = nodeOf(pair, id);
  const names = { pair: pair.name, node: node.name };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const restart = { action: "restart", unit: "hotpair-arbiter.service" } as const;
  const modules: readonly PlannedFile[] = nodeModules("arbiter").map((name) => ({
    ...root,
    path: `/usr/lib/hotpair/arbiter/${name}`,
    content: nodeFile(`arbiter/${name}`),
    onChange: restart,
  }));
  const { beaconKey, previousBeaconKey } = pair.secrets;
  return {
    packages: ["python3"],
    files: [
      { ...root, path: PROGRAM, mode: "0755", content: nodeFile("hotpair-arbiter"), onChange: restart },
      ...modules,
      {
        ...root,
        path: "/etc/hotpair/arbiter.json",
        content: `${JSON.stringify(settings(pair, id), undefined, 2)}\n`,
        onChange: restart,
      },
      {
        ...root,
        path: "/etc/hotpair/beacon.key",
        mode: "0600",
        secret: true,
        // Newest first; both nodes accept all of them and send with the newest that the other accepts.
        content: [
          "current ",
          beaconKey,
          "\n",
          ...(previousBeaconKey === undefined ? [] : ["previous ", previousBeaconKey, "\n"]),
        ],
        onChange: restart,
      },
      {
        ...root,
        path: "/etc/systemd/system/hotpair-arbiter.service",
        content: render("arbiter/hotpair-arbiter.service.hbs", {
          ...names,
          stateful: pair.authority !== undefined,
          withoutArbiter: WITHOUT_ARBITER,
          watchdogMs: Math.max(500, 10 * pair.arbiter.beaconInterval),
        }),
        onChange: restart,
      },
      {
        ...root,
        path: "/etc/systemd/system/hotpair-active.target",
        content: render("arbiter/hotpair-active.target.hbs", names),
        onChange: { action: "none" },
      },
    ],
    units: [{ name: "hotpair-arbiter.service", running: true, holdsRole: false }],
    validators: [
      {
        name: "hotpair-arbiter check",
        covers: ["/usr/lib/hotpair/hotpair-arbiter", "/usr/lib/hotpair/arbiter/", "/etc/hotpair/"],
        command: `${PROGRAM} check`,
      },
    ],
    health: [{ name: "the arbiter answers", command: `${PROGRAM} ping`, deadlineSeconds: 10 }],
  };
}

function listeners(pair: Pair): readonly Listener[] {
  return (["heartbeat", "public", "storage"] as const).flatMap((network) =>
    pair.networks[network] === undefined
      ? []
      : [{ what: "the arbiter's beacons", network, from: "peer", protocol: "udp", port: pair.arbiter.port } as const],
  );
}

/** /etc/hotpair/arbiter.json; field names say their unit, since Python reads plain numbers. */
function settings(pair: Pair, id: NodeId): Readonly<Record<string, unknown>> {
  const [node, peer] = [nodeOf(pair, id), nodeOf(pair, peerOf(id))];
  const networks = (["heartbeat", "public", "storage"] as const).flatMap((name: NetworkName) => {
    const [here, there] = [node.networks[name], peer.networks[name]];
    if (here === undefined || there === undefined) return [];
    return [{ name, interface: here.interface, address: hostOf(here.address), peer: hostOf(there.address) }];
  });
  return {
    version: 1,
    pair: pair.name,
    node: { id, name: node.name },
    peer: { id: peerOf(id), name: peer.name },
    networks,
    port: pair.arbiter.port,
    vips: pair.vips.map((vip) => ({
      name: vip.name,
      address: hostOf(vip.address),
      prefix: Number(vip.address.split("/")[1]),
      interface: node.networks.public.interface,
      routerId: vip.routerId,
      preferred: vip.preferred ?? null,
    })),
    advertMs: pair.vrrp.advertInterval,
    priority: priorityOf(pair),
    beaconMs: pair.arbiter.beaconInterval,
    silenceMs: pair.arbiter.silence,
    evidenceMs: pair.arbiter.evidence,
    holdMs: pair.arbiter.hold,
    serviceDeadMs: pair.arbiter.serviceDead,
    failbackMs: FAILBACK_AFTER,
    gateway: pair.networks.public.gateway ?? null,
    haproxySocket: pair.haproxy === undefined ? null : ADMIN_SOCKET,
    ...(pair.authority === undefined ? {} : { authority: authority(pair, pair.authority) }),
    ...(pair.mariadb === undefined ? {} : { database: "/usr/lib/hotpair/hotpair-mariadb" }),
    ...(pair.drbd === undefined ? {} : { database: "/usr/lib/hotpair/hotpair-drbd" }),
    ...(pair.fencing === undefined ? {} : { fencing: "/usr/lib/hotpair/hotpair-fence" }),
    ...(pair.aws === undefined ? {} : { address: "/usr/lib/hotpair/hotpair-address" }),
    ...(managedOf(node).length === 0 ? {} : { managed: "/usr/lib/hotpair/hotpair-network" }),
    units: units(pair),
  };
}

/** What makes the gate strict. */
const authority = (pair: Pair, { lease }: Authority): Readonly<Record<string, unknown>> => ({
  witness: pair.witness?.name,
  renewalMs: lease.renewal,
  deadlineMs: lease.deadline,
  takeoverMs: lease.takeover,
});

/** What `status` reports, in the order of their importance. The lease's own unit runs on the active node only. */
const units = (pair: Pair): readonly string[] => [
  "keepalived",
  "hotpair-arbiter",
  ...(pair.authority === undefined ? [] : ["hotpair-quorum", `hotpair-etcd-${pair.name}`]),
  ...(pair.mariadb === undefined ? [] : ["hotpair-mariadb"]),
  ...(pair.drbd === undefined ? [] : ["hotpair-drbd-watch"]),
  ...(pair.haproxy === undefined ? [] : ["haproxy"]),
  ...(pair.nginx === undefined ? [] : ["nginx"]),
  ...(pair.external?.units ?? []),
];

const nodeOf = (pair: Pair, id: NodeId): Node => pair.nodes[id === "a" ? 0 : 1];

/** What the strict gate adds to a crash; nothing where a database is, which waits for the lease just as long. */
function lastWord(pair: Pair): readonly { lower: Duration; upper: Duration; formula: string }[] {
  if (pair.authority === undefined || holdsState(pair)) return [];
  const { takeover, renewal } = pair.authority.lease;
  const down = masterDownInterval(pair.vrrp.advertInterval, priorityOf(pair));
  const upper = ms(Math.max(0, takeover - down));
  return [
    {
      lower: ms(Math.max(0, upper - renewal)),
      upper,
      formula: `T ${formatDuration(takeover)} − master down interval ${formatDuration(ms(Math.round(down)))}`,
    },
  ];
}

/** Faults that VRRP alone would take for the peer's death, and the arbiter does not. */
const VETOED: readonly FailureClassId[] = ["heartbeat-link-loss", "heartbeat-storage-loss", "heartbeat-one-way"];

/** Faults in which a node ends in the middle of a beacon. */
const GONE_AT_ONCE: readonly FailureClassId[] = ["node-power-cut", "kernel-panic", "site-loss"];

function timing(pair: Pair): readonly TimingTerm[] {
  const { hold, evidence, serviceDead, silence, beaconInterval } = pair.arbiter;
  const term = (
    failure: FailureClassId,
    step: TimingTerm["step"],
    name: string,
    lower: Duration,
    upper: Duration,
    formula: string,
    source = "docs/arbitration.md",
  ): TimingTerm => ({ service: "arbiter", failure, step, name, lower, upper, formula, source });
  const nothing = (failure: FailureClassId, name: string): TimingTerm =>
    term(failure, "decide", name, ms(0), ms(0), "0");
  return [
    ...VETOED.map((failure) =>
      nothing(
        failure,
        `the gate closes ${formatDuration(silence)} + ${formatDuration(beaconInterval)} after the last advert, before VRRP's timer ends`,
      ),
    ),
    ...lastWord(pair).flatMap(({ lower, upper, formula }) =>
      GONE_AT_ONCE.map((failure) =>
        term(
          failure,
          "decide",
          "the dead node's last word counts until the lease could be taken",
          lower,
          upper,
          formula,
        ),
      ),
    ),
    nothing("arbiter-loss", "an arbiter only vetoes: without it the pair is plain VRRP"),
    term(
      "arbiter-loss-then-power-cut",
      "decide",
      "a veto of the lost arbiter expires",
      ms(0),
      evidence,
      `evidence ≤ ${formatDuration(evidence)}`,
    ),
    term(
      "both-power-cut",
      "decide",
      "hold until the peer is heard",
      ms(0),
      hold,
      `≤ hold ${formatDuration(hold)}`,
      "docs/arbitration.md#boot",
    ),
    {
      service: "arbiter",
      ...vetoEnds(pair),
      failure: "keepalived-hang",
      step: "detect",
      name: `the hung keepalived is killed within ${formatDuration(HANG_NOTICED)}, and the standby's veto ends once the VIP is removed (it serves until then)`,
    },
    ...(pair.haproxy === undefined
      ? []
      : [
          term(
            "haproxy-hang",
            "detect",
            "HAProxy does not answer on its socket",
            ms(Math.max(0, serviceDead - HAPROXY_ASKED_EVERY)),
            ms(serviceDead + HAPROXY_ASKED),
            `${formatDuration(serviceDead)} + ${formatDuration(HAPROXY_ASKED)}`,
          ),
        ]),
  ];
}
