// The scenarios: every way in which a drill breaks the pair. One entry says what is broken, what must happen, and what
// undoes it; a new way to fail is one entry more. Server commands are POSIX shell and name only units that hotpair plans.

import { holdsState, type NetworkName, type Pair } from "../model/pair.ts";
import type { Action, Role, Scenario, Stage } from "./scenario.ts";
import { STATEFUL_SCENARIOS } from "./scenarios-stateful.ts";
import { dropIn, dropInGone, ensure, signal, UNIT, wake } from "./units.ts";

/** A server boots in seconds in the lab and in minutes in a rack; the heal deadline is generous, the RTO is not. */
const BOOT_MS = 180_000;
const QUICK_HEAL_MS = 60_000;
/** Long enough for every timer of the default configuration to have fired, twice. */
const HOLD_MS = 6_000;

const run = (node: Role, command: string | ((stage: Stage) => string), mayFail = false): Action => ({
  kind: "run",
  node,
  command: typeof command === "string" ? () => command : command,
  mayFail,
});
const noHaproxy = (pair: Pair) => (pair.haproxy ? undefined : "this pair has no HAProxy");
const noNginx = (pair: Pair) => (pair.nginx ? undefined : "this pair has no nginx");
const noStorage = (pair: Pair) => (pair.networks.storage ? undefined : "this pair has no storage network");

/** How an arbiter can be gone, and what the node looks like meanwhile. */
const ARBITER_LOSS: Readonly<
  Record<string, { readonly what: string; readonly actions: (node: Role) => Action[]; readonly undo: string }>
> = {
  kill: {
    what: "is killed (SIGKILL)",
    actions: (node) => [run(node, signal(UNIT.arbiter, "KILL"))],
    undo: ensure(UNIT.arbiter),
  },
  hang: {
    what: "hangs (SIGSTOP)",
    // Longer than any veto: what it last said has expired.
    actions: (node) => [run(node, signal(UNIT.arbiter, "STOP")), { kind: "wait", ms: 500 }],
    undo: wake(UNIT.arbiter),
  },
  missing: {
    what: "is dead and cannot start",
    actions: (node) => [
      run(node, `${dropIn(UNIT.arbiter, "ExecStartPre=/bin/false")}\n${signal(UNIT.arbiter, "KILL")}`),
      { kind: "wait", ms: 1_500 },
    ],
    undo: `${dropInGone(UNIT.arbiter)}\n${ensure(UNIT.arbiter)}`,
  },
};

function arbiterLoss(name: string, node: Role): Scenario {
  const loss = ARBITER_LOSS[name];
  if (loss === undefined) throw new Error(`no such loss of an arbiter: ${name}`);
  return {
    name: `arbiter-${name}-${node}`,
    failure: "arbiter-loss",
    fault: `The arbiter of the ${node} node ${loss.what}.`,
    expectation: "Nothing moves and no request fails: without its arbiter a node is a plain VRRP node.",
    undo: "A unit on that server brings the arbiter back.",
    place: "anywhere",
    actions: loss.actions(node),
    undoOnServer: { [node]: () => loss.undo },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  };
}

function arbiterLossThenPowerCut(name: string, node: Role): Scenario {
  const loss = ARBITER_LOSS[name];
  if (loss === undefined) throw new Error(`no such loss of an arbiter: ${name}`);
  return {
    name: `arbiter-${name}-${node}-then-power-cut`,
    failure: "arbiter-loss-then-power-cut",
    fault: `The arbiter of the ${node} node ${loss.what}; then the active node loses power.`,
    expectation: "The standby takes over: an arbiter that is gone vetoes nothing.",
    undo: "Power comes back; a unit on the server brings the arbiter back, at boot at the latest.",
    place: "anywhere",
    setUp: loss.actions(node),
    actions: [{ kind: "power-cut", node: "active", backAfterMs: 2_000 }],
    undoOnServer: { [node]: () => loss.undo },
    holdMs: HOLD_MS,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  };
}

function linkLoss(
  name: string,
  failure: Scenario["failure"],
  networks: readonly NetworkName[],
  words: string,
): Scenario {
  return {
    name,
    failure,
    fault: `The active node's ${words}.`,
    expectation: "Nothing moves, no request fails, and there are never two owners.",
    undo: "The links come back by themselves after a deadline that was armed before.",
    place: "anywhere",
    ...(networks.includes("storage") ? { inapplicable: noStorage } : {}),
    actions: [{ kind: "link-down", node: "active", networks }],
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  };
}

function oneWay(node: Role): Scenario {
  return {
    name: `heartbeat-one-way-from-${node}`,
    failure: "heartbeat-one-way",
    fault: `What the ${node} node sends over the heartbeat network is lost; the other direction works.`,
    expectation: "Nothing moves, no request fails, and there are never two owners.",
    undo: "The loss ends by itself after a deadline that was armed before.",
    place: "anywhere",
    actions: [{ kind: "drop-from", node, networks: ["heartbeat"] }],
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  };
}

/** The file that the drill breaks by hand, and where the right one waits meanwhile. */
const HAPROXY_CONFIG = "/etc/haproxy/haproxy.cfg";
const SAVED_CONFIG = "/var/lib/hotpair/drill-haproxy.cfg";
const FILL = "/var/tmp/hotpair-drill-fill";
const BURN = "hotpair-drill-burn";
const EAT = "hotpair-drill-eat";

/** What time it was, and the seconds since boot, which do not jump. Gone after a boot, and the jump with it. */
const CLOCK = "/run/hotpair-drill-clock";
const jumpAhead = `read -r up rest < /proc/uptime
echo "$(date +%s) \${up%.*}" > ${CLOCK}
date --set='+1 hour'`;
const setClockBack = `if [ -e ${CLOCK} ]; then
  read -r time since < ${CLOCK}
  read -r up rest < /proc/uptime
  date --set="@$((time + \${up%.*} - since))"
  rm -f ${CLOCK}
fi`;
/** Enough for what a pair starts anew while it is drilled, and little enough to be eaten in a second. */
const MEMORY_MIB = 200;
const noData = (pair: Pair) => (holdsState(pair) ? "it was never tried on a pair that keeps data" : undefined);

const OF_EVERY_PAIR: readonly Scenario[] = [
  {
    name: "node-power-cut",
    failure: "node-power-cut",
    fault: "The active node loses power.",
    expectation: "The standby takes the VIP within its estimate.",
    undo: "Power comes back; the node boots and stays standby.",
    place: "anywhere",
    actions: [{ kind: "power-cut", node: "active", backAfterMs: 2_000 }],
    holdMs: 2_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "standby-power-cut",
    failure: "standby-power-cut",
    fault: "The standby node loses power.",
    expectation: "Nothing moves; requests that were on their way to its backend may be sent again by HAProxy.",
    undo: "Power comes back; the node boots.",
    place: "anywhere",
    actions: [{ kind: "power-cut", node: "standby", backAfterMs: 3_000 }],
    holdMs: 3_000,
    movement: "stays",
    healWithinMs: BOOT_MS,
  },
  {
    name: "both-power-cut",
    failure: "both-power-cut",
    fault: "Both nodes lose power and get it back together.",
    expectation: "One of them, and only one, takes the VIP once they have heard each other.",
    undo: "Power comes back for both at the same time.",
    place: "anywhere",
    actions: [
      { kind: "power-cut", node: "active", backAfterMs: 2_000 },
      { kind: "power-cut", node: "standby", backAfterMs: 2_000 },
    ],
    holdMs: 2_000,
    movement: "somewhere",
    healWithinMs: BOOT_MS,
  },
  {
    name: "both-power-cut-late-network",
    failure: "both-power-cut",
    fault: "Both nodes lose power; one gets it back before the other, and its network ports come up late.",
    expectation: "Never two owners, although each node boots alone at first.",
    undo: "Power comes back for one node, then for the other; the late ports come up.",
    place: "lab",
    actions: [
      { kind: "power-cut", node: "active", backAfterMs: 1_000, networkLateMs: 9_000 },
      { kind: "power-cut", node: "standby", backAfterMs: 4_000 },
    ],
    holdMs: 10_000,
    movement: "somewhere",
    healWithinMs: BOOT_MS,
  },
  {
    name: "clean-reboot",
    failure: "clean-reboot",
    fault: "The active node is rebooted in an orderly way.",
    expectation: "The standby takes over as soon as keepalived stops.",
    undo: "The node boots by itself and stays standby.",
    place: "anywhere",
    actions: [run("active", "systemctl reboot", true)],
    holdMs: 1_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "keepalived-stop",
    failure: "keepalived-stop",
    fault: "keepalived is stopped on the active node.",
    expectation: "It says good-bye, and the standby takes over without waiting for silence.",
    undo: "A unit on that server starts keepalived again.",
    place: "anywhere",
    actions: [run("active", `systemctl stop --no-block ${UNIT.keepalived}`)],
    undoOnServer: { active: () => ensure(UNIT.keepalived) },
    holdMs: HOLD_MS,
    movement: "to-peer",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "keepalived-kill",
    failure: "keepalived-kill",
    fault: "keepalived is killed (SIGKILL) on the active node.",
    expectation: "Its death takes the VIP off the node, and the standby takes it: never two owners.",
    undo: "systemd starts keepalived again; a unit on that server makes sure of it.",
    place: "anywhere",
    actions: [run("active", signal(UNIT.keepalived, "KILL"))],
    undoOnServer: { active: () => ensure(UNIT.keepalived) },
    holdMs: HOLD_MS,
    movement: "to-peer",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "keepalived-hang",
    failure: "keepalived-hang",
    fault: "keepalived hangs (SIGSTOP) on the active node: the VIP is there, and no advert leaves.",
    expectation: "The hung process is found and killed, its VIP removed, and the standby takes over: never two owners.",
    undo: "A unit on that server lets keepalived go on, or starts it.",
    place: "anywhere",
    actions: [run("active", signal(UNIT.keepalived, "STOP"))],
    undoOnServer: { active: () => wake(UNIT.keepalived) },
    holdMs: 8_000,
    movement: "to-peer",
    healWithinMs: QUICK_HEAL_MS,
  },
  arbiterLoss("kill", "active"),
  arbiterLoss("hang", "active"),
  arbiterLoss("missing", "standby"),
  ...["kill", "hang", "missing"].flatMap((name) => [
    arbiterLossThenPowerCut(name, "active"),
    arbiterLossThenPowerCut(name, "standby"),
  ]),
  {
    name: "haproxy-kill",
    failure: "haproxy-kill",
    fault: "HAProxy is killed (SIGKILL) on the active node, with all its workers.",
    expectation: "systemd starts it again before it counts as dead; the VIP stays.",
    undo: "A unit on that server makes sure that HAProxy runs.",
    place: "anywhere",
    inapplicable: noHaproxy,
    actions: [run("active", signal(UNIT.haproxy, "KILL"))],
    undoOnServer: { active: () => ensure(UNIT.haproxy) },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "haproxy-hang",
    failure: "haproxy-hang",
    fault: "HAProxy hangs (SIGSTOP) on the active node: it accepts and does not answer.",
    expectation: "It counts as dead after its deadline, and the VIP moves to the node whose HAProxy answers.",
    undo: "A unit on that server lets HAProxy go on.",
    place: "anywhere",
    inapplicable: noHaproxy,
    actions: [run("active", signal(UNIT.haproxy, "STOP"))],
    undoOnServer: { active: () => wake(UNIT.haproxy) },
    holdMs: 8_000,
    movement: "to-peer",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "nginx-kill",
    failure: "backend-kill",
    fault: "nginx is killed (SIGKILL) on the active node and does not come back.",
    expectation: "HAProxy sends its requests to the other node's nginx; nothing moves.",
    undo: "A unit on that server starts nginx again.",
    place: "anywhere",
    inapplicable: noNginx,
    actions: [run("active", `${dropIn("nginx.service", "Restart=no")}\nsystemctl kill --signal=SIGKILL nginx.service`)],
    undoOnServer: { active: () => `${dropInGone("nginx.service")}\n${ensure("nginx.service")}` },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "nginx-hang",
    failure: "backend-hang",
    fault: "nginx hangs (SIGSTOP) on the active node: it takes connections and answers none.",
    expectation: "HAProxy's checks find it and send everything to the other node's nginx; nothing moves.",
    undo: "A unit on that server lets nginx go on.",
    place: "anywhere",
    inapplicable: (pair) => noNginx(pair) ?? noHaproxy(pair),
    actions: [run("active", signal("nginx.service", "STOP"))],
    undoOnServer: { active: () => wake("nginx.service") },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "freeze-active",
    failure: "whole-node-freeze",
    fault: "The whole active node stands still for 5 s, and wakes up.",
    expectation:
      "The standby takes the VIP as after a power cut. The other one still has it when it wakes up, for some 50 ms, until one of them gives way; this is reported, not promised away.",
    undo: "It wakes up by itself.",
    place: "lab",
    inapplicable: (pair) =>
      holdsState(pair) ? "a pair that keeps data has a lease, and a drill of its own: freeze-primary" : undefined,
    actions: [{ kind: "freeze", node: "active", forMs: 5_000 }],
    holdMs: 5_000,
    movement: "somewhere",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "public-link-down",
    failure: "public-link-loss",
    fault: "The active node's link to the public network loses its carrier.",
    expectation: "It gives the VIP up, and the standby takes it, once.",
    undo: "The link comes back by itself after a deadline that was armed before.",
    place: "anywhere",
    actions: [{ kind: "link-down", node: "active", networks: ["public"] }],
    holdMs: HOLD_MS,
    movement: "to-peer",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "switch-loss",
    failure: "switch-loss",
    fault: "The public links of both nodes lose their carrier at the same time, as when the one switch dies.",
    expectation: "Nobody owns the VIP while there is no way to a client; then one of them takes it, and only one.",
    undo: "The links come back by themselves after a deadline that was armed before.",
    place: "lab",
    inapplicable: (pair) =>
      holdsState(pair) ? "a pair that keeps data loses its quorum with it: quorum-loss, public-link-down" : undefined,
    actions: [
      {
        kind: "together",
        each: [
          [{ kind: "link-down", node: "active", networks: ["public"] }],
          [{ kind: "link-down", node: "standby", networks: ["public"] }],
        ],
      },
    ],
    holdMs: HOLD_MS,
    movement: "somewhere",
    healWithinMs: QUICK_HEAL_MS,
  },
  linkLoss(
    "heartbeat-link-down",
    "heartbeat-link-loss",
    ["heartbeat"],
    "link to the heartbeat network loses its carrier",
  ),
  linkLoss("storage-link-down", "storage-link-loss", ["storage"], "link to the storage network loses its carrier"),
  linkLoss(
    "heartbeat-and-storage-down",
    "heartbeat-storage-loss",
    ["heartbeat", "storage"],
    "links to the heartbeat and storage networks lose their carrier",
  ),
  oneWay("active"),
  oneWay("standby"),
  {
    name: "full-partition",
    failure: "full-partition",
    fault: "All networks are cut between the two nodes, and both still reach the clients.",
    expectation: "Not decidable without a witness: both nodes take the VIP, and this is reported, not promised away.",
    undo: "The cut ends by itself after a deadline that was armed before; one of them gives way.",
    place: "lab",
    inapplicable: (pair) => (pair.witness ? "its witness decides this: full-partition-with-witness" : undefined),
    actions: [
      { kind: "drop-from", node: "active", networks: ["public", "heartbeat", "storage"] },
      { kind: "drop-from", node: "standby", networks: ["public", "heartbeat", "storage"] },
    ],
    holdMs: 4_000,
    movement: "somewhere",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "vip-conflict",
    failure: "vip-conflict",
    fault: "A third host on the public network claims the VIP's address by gratuitous ARP.",
    expectation: "The pair does not move; its owner answers the claim at once, and the clients come back.",
    undo: "The third host drops the address after a deadline of its own.",
    place: "lab",
    actions: [{ kind: "claim-vip" }],
    holdMs: 1_000,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "bad-configuration",
    failure: "bad-configuration",
    fault: "Somebody writes nonsense into haproxy.cfg on the active node and reloads.",
    expectation: "HAProxy refuses the file and the running one goes on serving.",
    undo: "A unit on that server puts the right file back.",
    place: "anywhere",
    inapplicable: noHaproxy,
    actions: [
      run(
        "active",
        `cp -p ${HAPROXY_CONFIG} ${SAVED_CONFIG}
printf 'frontend broken\\n  bind nonsense:\\n' >> ${HAPROXY_CONFIG}
systemctl reload ${UNIT.haproxy}`,
        true,
      ),
    ],
    undoOnServer: {
      active: () => `if [ -e ${SAVED_CONFIG} ]; then
  mv ${SAVED_CONFIG} ${HAPROXY_CONFIG}
  systemctl reload --no-block ${UNIT.haproxy} || :
fi`,
    },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "cpu-overload",
    failure: "cpu-overload",
    fault: "Every core of the active node is busy with twice as many endless loops.",
    expectation: "Nothing moves; requests may be slow and do not fail.",
    undo: "A unit on that server ends the loops.",
    place: "anywhere",
    actions: [
      run(
        "active",
        `i=0
while [ $i -lt $((2 * $(nproc))) ]; do
  systemd-run --quiet --collect --unit=${BURN}-$i /bin/sh -c 'while :; do :; done'
  i=$((i + 1))
done`,
      ),
    ],
    undoOnServer: { active: () => `systemctl stop '${BURN}-*.service'` },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "kernel-panic",
    failure: "kernel-panic",
    fault: "The active node's kernel panics.",
    expectation: "The standby takes the VIP within its estimate.",
    undo: "The kernel boots again by itself (kernel.panic).",
    place: "lab",
    ownKernel: true,
    actions: [{ kind: "panic", node: "active" }],
    holdMs: 2_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "clock-jump",
    failure: "clock-jump",
    fault: "The clock of the active node jumps an hour ahead.",
    expectation: "Nothing moves and no request fails.",
    undo: "A unit on that server sets the clock back.",
    place: "lab",
    ownKernel: true,
    actions: [run("active", jumpAhead)],
    undoOnServer: { active: () => setClockBack },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "memory-exhaustion",
    failure: "memory-exhaustion",
    fault: "The active node has 200 MiB more, and a program that takes whatever it gets, as often as it is ended.",
    expectation: "The kernel ends that program and nothing that serves or decides; nothing moves.",
    undo: "A unit on that server ends the program, and the limit goes after a deadline that was armed before.",
    place: "lab",
    inapplicable: noData,
    actions: [
      { kind: "memory-limit", node: "active", mebibytes: MEMORY_MIB },
      // A limit of its own besides, so that the machine that the lab runs on has memory left whatever goes wrong.
      run(
        "active",
        `systemd-run --quiet --collect --unit=${EAT} --property=Restart=always --property=RestartSec=0 \\
  --property=StartLimitIntervalSec=0 --property=LimitAS=1G /usr/bin/python3 -c '
held = []
while True:
    held.append(b"x" * (4 << 20))'`,
      ),
    ],
    undoOnServer: { active: () => `systemctl stop ${EAT}.service || :` },
    holdMs: 8_000,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "disk-failure",
    failure: "storage-device-failure",
    fault: "The disk of the active node fails: what is not in memory cannot be read or written; then its power is cut.",
    expectation: "Nothing moves until somebody cuts its power; then the standby takes over as after any power cut.",
    undo: "Power comes back with a disk that is well, also when the drill was broken off.",
    place: "lab",
    inapplicable: noData,
    actions: [
      { kind: "disk-failure", node: "active" },
      { kind: "wait", ms: HOLD_MS },
      { kind: "power-cut", node: "active", backAfterMs: 2_000 },
    ],
    holdMs: 2_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "disk-full",
    failure: "disk-full",
    fault: "The root disk of the active node has no byte left.",
    expectation: "Nothing moves and no request fails; state changes are still made.",
    undo: "A unit on that server removes the file that fills the disk.",
    place: "lab",
    inapplicable: (pair) => (pair.mariadb ? "its binary log is on that disk: binlog-disk-full" : undefined),
    actions: [
      run(
        "active",
        `free=$(df --output=avail -B1 ${FILL.slice(0, FILL.lastIndexOf("/"))} | tail -n 1)
fallocate -l "$free" ${FILL} || :
cat /dev/zero >> ${FILL}`,
        true,
      ),
    ],
    undoOnServer: { active: () => `rm -f ${FILL}` },
    holdMs: HOLD_MS,
    movement: "stays",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "planned-switch",
    failure: "planned-switch",
    fault: "The operator moves the active role to the other node.",
    expectation: "The VIP moves once, and a client that retries once notices nothing.",
    undo: "None needed: the other node is as good.",
    place: "anywhere",
    inapplicable: (pair) =>
      pair.vips.some((vip) => vip.preferred !== undefined) ? "every VIP goes home to its preferred node" : undefined,
    actions: [
      run("active", (stage) =>
        stage.vips.map((vip) => `/usr/lib/hotpair/hotpair-arbiter switch --vip ${vip.name} --wait 10`).join("\n"),
      ),
    ],
    holdMs: 0,
    movement: "to-peer",
    healWithinMs: QUICK_HEAL_MS,
  },
  {
    name: "failback",
    failure: "failback",
    fault: "A node that was parked for maintenance is back; with a preferred node, its VIP goes home.",
    expectation: "A VIP with a preferred node goes home by agreement of both; one without stays where it is.",
    undo: "A unit on that server ends the maintenance if nothing else does.",
    place: "anywhere",
    setUp: [run("active", "/usr/lib/hotpair/hotpair-arbiter maintenance on"), { kind: "wait", ms: 2_000 }],
    setUpMovesRole: true,
    actions: [run("active", "/usr/lib/hotpair/hotpair-arbiter maintenance off")],
    // Unparking starts keepalived and waits for it, and at boot keepalived waits for this.
    undoOnServer: {
      active: () => "systemd-run --quiet --collect --no-block /usr/lib/hotpair/hotpair-arbiter maintenance off",
    },
    holdMs: 8_000,
    movement: "home",
    healWithinMs: QUICK_HEAL_MS,
  },
];

/** All of them; what a pair's are is what each says of it. */
export const SCENARIOS: readonly Scenario[] = [...OF_EVERY_PAIR, ...STATEFUL_SCENARIOS];

/** Scenarios by name, in the order asked for; undefined where there is none of that name. */
export const scenarioNamed = (name: string): Scenario | undefined =>
  SCENARIOS.find((scenario) => scenario.name === name);
