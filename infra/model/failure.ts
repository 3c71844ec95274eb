// The catalogue of failure classes that this configuration room, the drills, the estimate and the report share. A drill
// scenario belongs to exactly one class; a class states what a client may see.

import { hasDatabase, holdsState, type Stateful } from "./pair.ts";

/** What can happen to every pair. */
const OF_EVERY_PAIR = {
  "node-power-cut": "the active node loses power",
  "standby-power-cut": "the standby node loses power",
  "both-power-cut": "both nodes lose power and come back, together or one after the other",
  "clean-reboot": "the active node is rebooted in an orderly way",
  "keepalived-stop": "keepalived is stopped on the active node",
  "keepalived-kill": "keepalived is killed (SIGKILL) on the active node",
  "keepalived-hang": "keepalived hangs (SIGSTOP) on the active node",
  "arbiter-loss": "the arbiter dies, hangs or cannot start on either node",
  "arbiter-loss-then-power-cut": "the arbiter of a node is gone, then the active node loses power",
  "haproxy-kill": "HAProxy is killed (SIGKILL) on the active node",
  "haproxy-hang": "HAProxy hangs (SIGSTOP) on the active node",
  "backend-kill": "the backend service dies on one node",
  "backend-hang": "the backend service hangs on one node",
  "public-link-loss": "the active node loses its public link",
  "heartbeat-link-loss": "the heartbeat network is cut",
  "storage-link-loss": "the storage network is cut",
  "heartbeat-storage-loss": "heartbeat and storage networks are cut together",
  "heartbeat-one-way": "heartbeat packets are lost in one direction",
  "full-partition": "all networks are cut between two living nodes",
  "vip-conflict": "a third host claims the VIP",
  "bad-configuration": "a configuration that the daemon refuses is written by hand and reloaded",
  "cpu-overload": "every core of the active node is busy",
  "disk-full": "the root disk of the active node is full",
  "planned-switch": "the operator moves the active role",
  failback: "the preferred node is back and takes its VIP home",
  "kernel-panic": "the active node's kernel panics and stands still",
  "whole-node-freeze": "the whole active node stands still for longer than the others wait, and wakes up",
  "memory-exhaustion": "the active node's memory is used up",
  "clock-jump": "the clock of a node jumps",
  "switch-loss": "the switch that both nodes' public links end on is lost",
  "storage-device-failure": "the disk of the active node fails",
  "site-loss": "the site where the active node stands is lost",
} as const satisfies Record<string, string>;

/** What can happen to a pair that keeps data, and to no other: it has a witness, a lease, and a database or a replicated disk. */
const OF_PAIRS_WITH_DATA = {
  "witness-loss": "the witness is down, or cut off from both nodes",
  "witness-link-loss": "the active node alone is cut off from the witness",
  "witness-loss-then-power-cut": "the witness is down, then the active node loses power",
  "member-isolation": "the active node's etcd member is cut off from the other two",
  "quorum-loss": "two of the three etcd members are lost, and both nodes live",
  "etcd-leader-loss": "the etcd member that leads is killed or hangs",
  "lease-loss": "the holder of the lease dies or hangs",
  "database-kill": "the primary's database is killed (SIGKILL)",
  "database-hang": "the primary's database hangs (SIGSTOP), or does not stop when told to",
  "replica-loss": "the replica's database dies, hangs or is cut off from its primary",
  "replica-lag": "the replica falls behind",
  "replication-stopped": "replication stops with an error",
  "replica-diverged": "the replica has transactions that the primary does not have",
  "binlog-disk-full": "the disk of the primary's binary log is full",
  "forced-promotion": "the operator promotes a node by force, and the old primary comes back",
  "rolling-upgrade": "operating system and daemons are upgraded, one host after the other",
  "data-deletion": "data is deleted by mistake",
  "replicated-disk-failure": "the disk under a replicated device fails on the active node",
  "unmount-hang": "a replicated file system cannot be unmounted when its node is to let go of it",
  "split-brain": "both copies of a replicated device were written apart from each other",
} as const satisfies Record<string, string>;

export const FAILURE_CLASSES = { ...OF_EVERY_PAIR, ...OF_PAIRS_WITH_DATA } as const;

export type FailureClassId = keyof typeof FAILURE_CLASSES;
export const FAILURE_CLASS_IDS = Object.keys(FAILURE_CLASSES) as FailureClassId[];

/** Of those, what needs a database server, one that replicates, and a replicated disk. */
const OF_DATABASES: readonly string[] = ["database-kill", "database-hang"];
const OF_REPLICAS: readonly string[] = [
  "replica-loss",
  "replica-lag",
  "replication-stopped",
  "replica-diverged",
  "binlog-disk-full",
];
const OF_DISKS: readonly string[] = ["replicated-disk-failure", "unmount-hang", "split-brain"];

/** Whether only a pair that keeps data has this class; false for a text that names none. */
export const needsData = (id: string): boolean => Object.hasOwn(OF_PAIRS_WITH_DATA, id);

/** The classes that this pair has, in the catalogue's order. */
export const failureClassesOf = (pair: Stateful): readonly FailureClassId[] =>
  FAILURE_CLASS_IDS.filter((id) => whyNot(id, pair) === undefined);

/** Why a failure class cannot happen to this pair: who has it, and what this one lacks; undefined: it can happen. */
export function whyNot(id: string, pair: Stateful): { readonly only: string; readonly lacks: string } | undefined {
  if (needsData(id) && !holdsState(pair)) return { only: "a pair that keeps data", lacks: "this pair keeps none" };
  if (OF_DATABASES.includes(id) && !hasDatabase(pair))
    return { only: "a pair with MariaDB", lacks: "this pair has none" };
  if (OF_REPLICAS.includes(id) && pair.mariadb === undefined)
    return {
      only: "a pair whose MariaDB replicates",
      lacks: hasDatabase(pair) ? "this pair's lies on a volume" : "this pair has none",
    };
  if (OF_DISKS.includes(id) && pair.drbd === undefined)
    return { only: "a pair with replicated disks", lacks: "this pair has no hotpair:drbd" };
  return undefined;
}
