// The catalogue of failure classes that this configuration room, the drills, the estimate and the report share. A drill
// scenario belongs to exactly one class; a class states what a client may see.

export const FAILURE_CLASSES = {
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
} as const satisfies Record<string, string>;

export type FailureClassId = keyof typeof FAILURE_CLASSES;
export const FAILURE_CLASS_IDS = Object.keys(FAILURE_CLASSES) as FailureClassId[];
