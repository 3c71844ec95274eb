// All that hotpair knows of keepalived: its configuration on both nodes, how systemd keeps it alive, what is left behind
// when it ends, and how long VRRP takes. When keepalived must keep away from a VIP is the arbiter's room.

import { formatDuration, ms } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import { type Node, type NodeId, type Pair, peerOf, type Vip } from "../model/pair.ts";
import type { Contribution, Listener, Service } from "../model/plan.ts";
import { GATE_REACTION } from "../model/timers.ts";
import type { TimingTerm } from "../model/timing.ts";
import { endsInPlace } from "../model/volume.ts";
import { masterDownFormula, masterDownInterval, skewTime } from "../model/vrrp.ts";
import { nodeFile, render } from "./template.ts";

export const keepalived: Service = { name: "keepalived", plan, timing, findings: () => [], listeners };

/** Wait of systemd before it starts a dead keepalived again; its VIP is gone by then, so nothing is won by haste. */
const RESTART_DELAY = ms(200);
/**
 * From the end of VRRP's timer to the address set and announced: measured at most 4 ms, at a load of 6 to 15 (docs/arbitration.md#measured),
 * since keepalived is scheduled before ordinary load; five times that.
 */
const PROMOTION = ms(20);
/** From the loss of the carrier to the advert with priority 0: measured at most 2 ms, in the same runs, and for the same reason. */
const CARRIER_NOTICED = ms(20);
/**
 * What is added to VRRP's timer where keepalived died or hung and its node lives. The address serves until it is removed, so
 * that is no outage; at worst the standby was vetoed by then, counts from the first beacon without it, and serves nobody.
 */
export const vetoEnds = ({ arbiter: { beaconInterval } }: Pair) => ({
  lower: ms(0),
  upper: ms(beaconInterval + GATE_REACTION),
  formula: `≤ beacon ${formatDuration(beaconInterval)} + ${formatDuration(GATE_REACTION)}`,
  source: MEASURED,
});

/** The lease adds 1; 254 is the highest priority of a router that does not own the address (RFC 9568 §5.2.4). */
const HIGHEST_BELOW_HOLDER = 253;

/** Lets the active target follow the VIP while the arbiter cannot. */
export const WITHOUT_ARBITER = "/usr/lib/hotpair/active-without-arbiter";

const MEASURED = "docs/arbitration.md#measured";

function plan(pair: Pair, id: NodeId): Contribution {
  const node = nodeOf(pair, id);
  const names = { pair: pair.name, node: node.name };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const vips = pair.vips.map((vip) => ({ name: vip.name, address: hostOf(vip.address) }));
  return {
    packages: ["iproute2", "keepalived"],
    files: [
      {
        ...root,
        path: "/etc/keepalived/keepalived.conf",
        content: render("keepalived/keepalived.conf.hbs", configuration(pair, id)),
        onChange: { action: "reload", unit: "keepalived.service" },
      },
      {
        ...root,
        path: "/etc/systemd/system/keepalived.service.d/60-hotpair.conf",
        content: render("keepalived/service.conf.hbs", { ...names, restartMs: RESTART_DELAY }),
        // Read again with the units; a running keepalived does not need to know.
        onChange: { action: "none" },
      },
      {
        ...root,
        path: "/usr/lib/hotpair/keepalived-stopped",
        mode: "0755",
        content: nodeFile("keepalived-stopped"),
        onChange: { action: "none" },
      },
      {
        ...root,
        path: WITHOUT_ARBITER,
        mode: "0755",
        content: nodeFile("active-without-arbiter"),
        onChange: { action: "none" },
      },
      {
        ...root,
        path: "/etc/hotpair/vips",
        content: render("keepalived/vips.hbs", { ...names, vips }),
        onChange: { action: "none" },
      },
      {
        // keepalived writes this file itself where it is missing, and never removes it. Planned, it goes with the rest.
        ...root,
        path: "/etc/iproute2/rt_addrprotos.d/keepalived.conf",
        content: "18\tkeepalived\t# added by keepalived\n",
        onChange: { action: "none" },
      },
    ],
    units: [{ name: "keepalived.service", running: true, holdsRole: true }],
    validators: [
      {
        name: "keepalived -t",
        covers: ["/etc/keepalived/keepalived.conf"],
        // The gates must have their directory. In a session of its own: with `script_user`, some versions signal their
        // whole process group at the end (2.2.7).
        command: `mkdir -p /run/hotpair && ${withInterfaces(node, "setsid --wait keepalived -t -f /etc/keepalived/keepalived.conf")}`,
      },
      {
        name: "sh -n",
        covers: ["/usr/lib/hotpair/keepalived-stopped", WITHOUT_ARBITER],
        command: `sh -n /usr/lib/hotpair/keepalived-stopped && sh -n ${WITHOUT_ARBITER}`,
      },
    ],
    health: [
      {
        name: "keepalived runs",
        command: "[ -e /var/lib/hotpair/maintenance ] || systemctl is-active --quiet keepalived.service",
        deadlineSeconds: 10,
      },
    ],
  };
}

/**
 * keepalived refuses interfaces that do not exist, and those that hotpair sets up come only after all files are judged: its
 * parser gets a network namespace in which each has a stand-in.
 */
function withInterfaces(node: Node, command: string): string {
  const named = [node.networks.public, node.networks.heartbeat];
  if (named.every(({ managed }) => managed === undefined)) return command;
  const names = named.map((attachment) => attachment.interface).join(" ");
  return `unshare --net sh -ec 'for name in ${names}; do ip link add "$name" type dummy || ip link add "$name" type bridge; done; exec ${command}'`;
}

function configuration(pair: Pair, id: NodeId): Readonly<Record<string, unknown>> {
  const node = nodeOf(pair, id);
  const { advertInterval, garp, notify, email } = pair.vrrp;
  const priority = priorityOf(pair);
  return {
    pair: pair.name,
    node: node.name,
    stateful: pair.authority !== undefined,
    priority,
    advertSeconds: advertInterval / 1_000,
    masterDownFormula: masterDownFormula(advertInterval, priority),
    masterDown: formatDuration(ms(Math.round(masterDownInterval(advertInterval, priority)))),
    // In a VPC nobody hears it: the network knows where an address is by AWS's own word.
    garp:
      pair.target === "aws"
        ? undefined
        : { repeat: garp.repeat, delay: garp.delay / 1_000, refresh: garp.refresh / 1_000 },
    withoutArbiter: WITHOUT_ARBITER,
    notify,
    email,
    publicInterface: node.networks.public.interface,
    heartbeat: {
      interface: node.networks.heartbeat.interface,
      address: hostOf(node.networks.heartbeat.address),
      peer: hostOf(nodeOf(pair, peerOf(id)).networks.heartbeat.address),
    },
    vips: pair.vips.map((vip) => ({
      name: vip.name,
      address: vip.address,
      routerId: vip.routerId,
      vmac: vip.mode === "vmac",
      mac: vip.routerId.toString(16).padStart(2, "0"),
      preference: preference(pair, vip),
    })),
  };
}

function listeners(): readonly Listener[] {
  return [{ what: "VRRP", network: "heartbeat", from: "peer", protocol: "vrrp", port: undefined }];
}

/** Of a node without the lease. */
export const priorityOf = (pair: Pair): number =>
  pair.authority === undefined ? pair.vrrp.priority : Math.min(pair.vrrp.priority, HIGHEST_BELOW_HOLDER);

const preference = (pair: Pair, vip: Vip): string =>
  vip.preferred === undefined
    ? "No node is preferred: the VIP stays where it is."
    : `It goes home to ${nodeOf(pair, vip.preferred).name} by agreement of the two arbiters, never by preemption.`;

const nodeOf = (pair: Pair, id: NodeId): Node => pair.nodes[id === "a" ? 0 : 1];
export const hostOf = (address: string): string => address.split("/")[0] ?? address;

/** Faults that end the owner's adverts without a word, so that VRRP's timer must run down. */
const SILENT: readonly FailureClassId[] = [
  "node-power-cut",
  "arbiter-loss-then-power-cut",
  "kernel-panic",
  "site-loss",
  "whole-node-freeze",
];
/** Faults and acts in which the owner says goodbye (an advert with priority 0), so that only the skew is waited for. */
const ANNOUNCED: readonly FailureClassId[] = [
  "clean-reboot",
  "keepalived-stop",
  "public-link-loss",
  "planned-switch",
  "failback",
  "haproxy-hang",
  "database-kill",
  "database-hang",
  "member-isolation",
  "lease-loss",
  "rolling-upgrade",
];

/** Every class in which the address goes to the other node, or comes back. */
export const ADDRESS_MOVES: readonly FailureClassId[] = [
  ...SILENT,
  ...ANNOUNCED,
  "keepalived-kill",
  "keepalived-hang",
  "both-power-cut",
];

function timing(pair: Pair): readonly TimingTerm[] {
  const { advertInterval: advert, priority } = pair.vrrp;
  const down = masterDownInterval(advert, priority);
  const skew = skewTime(advert, priority);
  const own = { service: "keepalived" } as const;
  const timer = {
    ...own,
    step: "detect",
    name: "master down interval",
    // The fault may come just before the next advert would have.
    lower: ms(down - advert),
    upper: down,
    formula: masterDownFormula(advert, priority),
    source: "RFC 9568 §6.1",
  } as const;
  const goodbye = {
    ...own,
    step: "detect",
    name: "skew after the advert with priority 0",
    lower: skew,
    upper: skew,
    formula: `(256 − ${priority}) × ${formatDuration(advert)} / 256`,
    source: "RFC 9568 §6.4.2",
  } as const;
  const promotion = {
    ...own,
    step: "recover",
    name: "the VIP is set and announced",
    lower: ms(0),
    upper: PROMOTION,
    formula: `≤ ${formatDuration(PROMOTION)}`,
    source: MEASURED,
  } as const;
  const still = (failure: FailureClassId, name: string): TimingTerm => ({
    ...own,
    failure,
    step: "detect",
    name,
    lower: ms(0),
    upper: ms(0),
    formula: "0",
    source: "docs/arbitration.md",
  });
  return [
    ...SILENT.flatMap((failure) => [
      { ...timer, failure },
      { ...promotion, failure },
    ]),
    ...ANNOUNCED.filter((failure) => !endsInPlace(failure, pair)).flatMap((failure) => [
      { ...goodbye, failure },
      { ...promotion, failure },
    ]),
    {
      ...own,
      failure: "public-link-loss",
      step: "detect",
      name: "the kernel reports the carrier",
      lower: ms(0),
      upper: CARRIER_NOTICED,
      formula: `≤ ${formatDuration(CARRIER_NOTICED)}`,
      source: MEASURED,
    },
    {
      ...own,
      ...vetoEnds(pair),
      failure: "keepalived-kill",
      step: "detect",
      name: "the standby's veto ends once the VIP is removed (it serves until then)",
    },
    { ...timer, failure: "keepalived-kill", step: "decide", lower: ms(0) },
    { ...promotion, failure: "keepalived-kill" },
    { ...timer, failure: "keepalived-hang", step: "decide", lower: ms(0) },
    { ...promotion, failure: "keepalived-hang" },
    { ...timer, failure: "both-power-cut", lower: down },
    { ...promotion, failure: "both-power-cut" },
    still("standby-power-cut", "the owner needs nobody's consent"),
    still("backend-kill", "the VIP does not depend on one backend"),
    still("cpu-overload", "real-time priority: adverts go out before ordinary load"),
    still("bad-configuration", "a reload of a file with mistakes is refused (reload_check_config)"),
    still("clock-jump", "keepalived times by a clock that does not jump (CLOCK_MONOTONIC)"),
    still("disk-full", "nothing that holds the VIP writes to the disk"),
    still("storage-link-loss", "VRRP does not use the storage network"),
  ];
}
