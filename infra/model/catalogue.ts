// What is known of each failure class besides its length: what is lost, who notices, how bad it is until somebody has repaired
// it, and the drills that do it on purpose. What a person does about it stands on the class's page and is only pointed at.

import type { FailureClassId } from "./failure.ts";
import { holdsState, type Pair, type Stateful } from "./pair.ts";

/**
 * What is left when the pair has done what it does by itself, until somebody has repaired the rest. `P0`: no service, or two of
 * it. `P1`: service, but worse than promised. `P2`: full service from a pair that survives nothing more. `none`: nothing.
 */
export type Severity = "P0" | "P1" | "P2" | "none";

export interface FailureFacts {
  readonly lost: string;
  readonly detectedBy: string;
  readonly severity: Severity;
  /** Scenarios that bring it about, or why there is none. */
  readonly drills: readonly string[] | { readonly none: string };
}

/** What it leaves of this pair: a class that the pair bounds ends with service. */
export function severityOf(failure: FailureClassId, beyond: string | undefined): Severity {
  const { severity } = CATALOGUE[failure];
  return severity === "P0" && beyond === undefined ? "P2" : severity;
}

/** Page of a class, with what to do about it under `## What to do`. */
export const pageOf = (failure: FailureClassId): string => `docs/failures/${failure}.md`;

const VRRP = "the standby's keepalived, by three adverts that are missing";
const GOODBYE = "keepalived of the active node, which says goodbye with an advert of priority 0";
const OPERATOR = "nobody has to: the operator does it";
const ETCD = "the lease's observers on both nodes, by what etcd answers";

const fact = (lost: string, detectedBy: string, severity: Severity, drills: FailureFacts["drills"]): FailureFacts => ({
  lost,
  detectedBy,
  severity,
  drills,
});
const never = (why: string): FailureFacts["drills"] => ({ none: why });

export const CATALOGUE: Readonly<Record<FailureClassId, FailureFacts>> = {
  "node-power-cut": fact("the active node", VRRP, "P2", ["node-power-cut"]),
  "standby-power-cut": fact("the standby node", "HAProxy's checks; the arbiter, by beacons that are missing", "P2", [
    "standby-power-cut",
  ]),
  "both-power-cut": fact("both nodes", "clients", "P0", ["both-power-cut", "both-power-cut-late-network"]),
  "clean-reboot": fact("the active node, for as long as it boots", GOODBYE, "none", ["clean-reboot"]),
  "keepalived-stop": fact("the active node's right to the VIP", GOODBYE, "P2", ["keepalived-stop"]),
  "keepalived-kill": fact(
    "the active node's VIP",
    "systemd and the arbiter beside it; the standby, by VRRP's timer",
    "none",
    ["keepalived-kill"],
  ),
  "keepalived-hang": fact("the active node's VIP", "the arbiter beside it, which kills it", "none", [
    "keepalived-hang",
  ]),
  "arbiter-loss": fact("the veto of one node", "systemd, or its watchdog", "none", [
    "arbiter-kill-active",
    "arbiter-hang-active",
    "arbiter-missing-standby",
  ]),
  "arbiter-loss-then-power-cut": fact(
    "an arbiter, then the active node",
    VRRP,
    "P2",
    ["kill", "hang", "missing"].flatMap((how) =>
      ["active", "standby"].map((node) => `arbiter-${how}-${node}-then-power-cut`),
    ),
  ),
  "haproxy-kill": fact("HAProxy of the active node", "systemd", "none", ["haproxy-kill"]),
  "haproxy-hang": fact("HAProxy of the active node", "the arbiter beside it, which asks it every 200 ms", "P2", [
    "haproxy-hang",
  ]),
  "backend-kill": fact("one of two servers of the backend", "HAProxy's checks; systemd", "none", ["nginx-kill"]),
  "backend-hang": fact("one of two servers of the backend", "HAProxy's checks, which it does not answer", "P2", [
    "nginx-hang",
  ]),
  "public-link-loss": fact("the active node's way to its clients", "keepalived, by the carrier", "P2", [
    "public-link-down",
  ]),
  "heartbeat-link-loss": fact(
    "VRRP's own way; beacons have others",
    "the arbiters, by adverts that are missing",
    "P2",
    ["heartbeat-link-down"],
  ),
  "storage-link-loss": fact(
    "one way of the beacons, and replication",
    "the arbiters; the primary, by its replica",
    "P2",
    ["storage-link-down"],
  ),
  "heartbeat-storage-loss": fact("all ways of the beacons but the public network", "the arbiters", "P2", [
    "heartbeat-and-storage-down",
  ]),
  "heartbeat-one-way": fact("adverts of one node", "the arbiters, by adverts that are missing", "P2", [
    "heartbeat-one-way-from-active",
    "heartbeat-one-way-from-standby",
  ]),
  "full-partition": fact("every way between the nodes", "both nodes; with a witness it decides", "P0", [
    "full-partition",
    "full-partition-with-witness",
    "one-way-partition-from-active",
    "one-way-partition-from-standby",
  ]),
  "vip-conflict": fact(
    "clients that believe the third host",
    "the arbiter, by neighbours that answer for the VIP",
    "P0",
    ["vip-conflict"],
  ),
  "bad-configuration": fact(
    "nothing: the daemon keeps the configuration that it has",
    "the daemon's own parser",
    "none",
    ["bad-configuration"],
  ),
  "cpu-overload": fact("speed", "nobody but whoever watches the load", "P1", ["cpu-overload"]),
  "disk-full": fact("log lines", "systemd's journal; `hotpair up`, which refuses", "P1", ["disk-full"]),
  "planned-switch": fact("nothing", OPERATOR, "none", ["planned-switch"]),
  failback: fact("nothing", "the two arbiters, which agree on it", "none", ["failback"]),
  "kernel-panic": fact("the active node", VRRP, "P2", ["kernel-panic"]),
  "memory-exhaustion": fact(
    "what the kernel kills; before that, time",
    "the kernel's OOM killer, when it comes to it; it spares keepalived, the arbiter and the lease",
    "P0",
    ["memory-exhaustion"],
  ),
  "clock-jump": fact("nothing: what is timed is timed by clocks that do not jump", "nobody has to", "none", [
    "clock-jump",
  ]),
  "switch-loss": fact(
    "the way of both nodes to their clients",
    "keepalived on both nodes, by the carrier; clients",
    "P0",
    ["switch-loss"],
  ),
  "storage-device-failure": fact(
    "what is on the disk of the active node",
    "nobody for certain: programs run on from memory until they need the disk",
    "P1",
    ["disk-failure"],
  ),
  "site-loss": fact(
    "everything that stands there",
    "clients; the other site's node where the nodes stand apart",
    "P0",
    never("what a site takes along is not in the lab"),
  ),
  "witness-loss": fact("one of three votes", ETCD, "P2", ["witness-loss"]),
  "witness-link-loss": fact("one node's way to one of three votes", ETCD, "P2", ["witness-link-loss"]),
  "witness-loss-then-power-cut": fact("two of three votes, one with the data", ETCD, "P0", [
    "witness-down-then-power-cut",
  ]),
  "member-isolation": fact("the active node's way to the majority", "its lease's holder, which stops in time", "P2", [
    "member-isolation",
    "isolated-primary",
  ]),
  "quorum-loss": fact("the majority", ETCD, "P1", ["quorum-loss"]),
  "etcd-leader-loss": fact(
    "one member, for as long as systemd takes",
    "the other members, by heartbeats that are missing",
    "none",
    ["etcd-leader-kill", "etcd-hang"],
  ),
  "lease-loss": fact("the right to write, and with it the database's process", "systemd, or its watchdog", "none", [
    "lease-kill",
    "lease-hang",
    "database-ignores-sigterm",
  ]),
  "whole-node-freeze": fact("the active node, until it wakes up", VRRP, "P2", ["freeze-active", "freeze-primary"]),
  "database-kill": fact("the primary's process", "its watcher, whose session ends; on a volume, systemd", "none", [
    "database-kill",
  ]),
  "database-hang": fact(
    "the primary's process",
    "its watcher, which asks every 100 ms; on a volume, every second",
    "none",
    ["database-hang"],
  ),
  "replica-loss": fact("the second copy", "the primary, by semi-synchronous answers that are missing", "P2", [
    "replica-kill",
    "replica-hang",
  ]),
  "replica-lag": fact(
    "how fresh the replica's answers are",
    "the replica's watcher, by rows that carry the time",
    "P1",
    ["replica-lag"],
  ),
  "replication-stopped": fact("the second copy's progress", "the replica's watcher", "P2", ["replication-stopped"]),
  "replica-diverged": fact(
    "the second copy",
    "the replica's watcher, by transactions that the primary does not have",
    "P2",
    ["replica-diverged"],
  ),
  "binlog-disk-full": fact("writes", "the primary's watcher, by commits that wait", "P0", ["binlog-disk-full"]),
  "forced-promotion": fact("what the old primary alone had acknowledged", OPERATOR, "P2", ["forced-promotion"]),
  "rolling-upgrade": fact("one host at a time, handed over before", OPERATOR, "none", ["rolling-upgrade"]),
  "data-deletion": fact(
    "the data, on both servers alike: the replica deletes what the primary deletes",
    "whoever misses it",
    "P0",
    never("a pair cannot bring it back, so there is nothing to measure"),
  ),
  "replicated-disk-failure": fact("the active node's copy", "DRBD, by the disk's errors", "P2", [
    "replicated-disk-failure",
  ]),
  "unmount-hang": fact("the hand-over", "hotpair-drbd, which ends what holds the file system", "P0", ["unmount-hang"]),
  "split-brain": fact(
    "one copy, as soon as somebody decides which",
    "DRBD, when both nodes meet again",
    "P2",
    never(
      "it takes somebody who promotes against hotpair; with the real driver in two machines, test/node/drbd.machine.test.ts does it",
    ),
  ),
};

/** What would be needed to survive a class that this pair cannot survive, or to bound one that it does not. */
const NEEDED: Readonly<Partial<Record<FailureClassId, string>>> = {
  "both-power-cut": "a second source of power for one of the nodes",
  "vip-conflict":
    "a switch that lets only the pair's ports answer for the VIP (dynamic ARP inspection), or `mode: vmac`",
  "memory-exhaustion":
    "a limit on whatever else runs there (MemoryMax), no swap, and base.watchdog for a machine that no longer answers itself",
  "switch-loss": "each node's public link as a bond over two switches, named as its interface",
  "storage-device-failure": "two disks as a mirror (RAID 1), and base.watchdog for a machine that waits for a dead one",
  "site-loss":
    "the nodes at two sites that no one fault takes, and with data the witness at a third; all three stated as `site`",
  "data-deletion":
    "backups that are kept elsewhere, with the binary log since the last one, and a restore that is tried regularly",
  "full-partition": "a witness",
  "quorum-loss": "a second member back, or hotpair promote",
  "witness-loss-then-power-cut": "a second member back, or hotpair promote",
  "binlog-disk-full": "room on the disk, or a disk of its own for the binary log with an alarm at 80 %",
  "unmount-hang": "fencing: the other node switches off the one that does not let go",
  "split-brain": "somebody who decides which copy is given up",
  "whole-node-freeze": "a host that is never paused: no snapshots and no live migration of this machine",
};

export const neededFor = (failure: FailureClassId): string | undefined => NEEDED[failure];

/** Whether the nodes are stated to stand where no one fault takes both, and with data the witness at a third place. */
export function standApart(pair: Pick<Pair, "nodes" | "witness"> & Stateful): boolean {
  const sites = [...pair.nodes.map(({ site }) => site), ...(holdsState(pair) ? [pair.witness?.site] : [])];
  return sites.every((site) => site !== undefined) && new Set(sites).size === sites.length;
}
