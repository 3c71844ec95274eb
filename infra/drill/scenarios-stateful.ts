// The scenarios that only a pair with data has: its witness, its lease, its database, its replicated disks. One entry each, as
// in scenarios.ts;
// whatever they bring about, the ledger and the watch over the writers judge it.

import { type FailureClassId, failureClassesOf, needsData } from "../model/failure.ts";
import { holdsState, type NetworkName, type Pair } from "../model/pair.ts";
import type { Action, Role, Scenario, Stage } from "./scenario.ts";
import { dropIn, dropInGone, ensure, hasUnit, signal, UNIT, type Unit, unitOf, wake } from "./units.ts";

const BOOT_MS = 180_000;
const QUICK_HEAL_MS = 120_000;
const HOLD_MS = 6_000;
/** Longer than any takeover of the default configuration, with room to see that there is none. */
const NOBODY_MS = 12_000;
/** Longer than a forced promotion takes. */
const AWAY_MS = 45_000;
const EVERY_NETWORK: readonly NetworkName[] = ["public", "heartbeat", "storage"];

const run = (node: Role, command: (stage: Stage) => string, mayFail = false): Action => ({
  kind: "run",
  node,
  command,
  mayFail,
});
const wait = (ms: number): Action => ({ kind: "wait", ms });
const kill = (node: Role, unit: Unit): Action => run(node, ({ pair }) => signal(unitOf(unit, pair), "KILL"));
const stop = (node: Role, unit: Unit): Action => run(node, ({ pair }) => signal(unitOf(unit, pair), "STOP"));
const wakes =
  (...units: Unit[]) =>
  ({ pair }: Stage) =>
    units.map((unit) => wake(unitOf(unit, pair))).join("\n");
const ensures =
  (...units: Unit[]) =>
  ({ pair }: Stage) =>
    units
      .filter((unit) => hasUnit(unit, pair))
      .map((unit) => ensure(unitOf(unit, pair)))
      .join("\n");

/** Says nothing about a pair that keeps no data, or keeps it in another way. */
function onlyWithData(pair: Pair, failure: FailureClassId): string | undefined {
  if (!holdsState(pair)) return "this pair keeps no data";
  if (failureClassesOf(pair).includes(failure)) return undefined;
  return pair.drbd === undefined ? "this pair has no replicated disk" : "this pair has no replica of a database";
}
const noReplica = (pair: Pair) => (pair.mariadb === undefined ? "this pair has no replica of a database" : undefined);

/** Milliseconds in which the other node has taken over for certain. */
const longerThanLease = ({ authority }: Pair): number => Math.max(5_000, 2 * (authority?.lease.takeover ?? 0));

const ITSELF = "It ends by itself after a deadline that was armed before.";
const NOTHING_LOST = "no acknowledged write is lost, and never two nodes could acknowledge one";

/** SQL as root on a server, over its local socket. `otherwise`: what is done when it fails, e.g. `|| :`. */
const sql = (statements: string, otherwise = ""): string =>
  `socket=$(sed -n 's/.*"socket": *"\\([^"]*\\)".*/\\1/p' /etc/hotpair/mariadb.json)
mariadb --batch --skip-column-names "--socket=$socket" <<'HOTPAIR_SQL' ${otherwise}
${statements}
HOTPAIR_SQL`;

/** Kills the member on this host if it leads. `program`: where hotpair-etcd is. */
const killLeader = (program: (pair: Pair) => string) => (stage: Stage) => {
  const { pair } = stage;
  return `. /etc/hotpair/authority/${pair.name}/etcd.env
url=$(echo "$HOTPAIR_CLIENTS" | tr , '\\n' | sed -n "s/^$ETCD_NAME=//p")
leads=$(ETCDCTL_ENDPOINTS=$url ${program(pair)} ${pair.name} ctl endpoint status -w simple | cut -d, -f5)
[ "$leads" != " true" ] || ${signal(unitOf("etcd", pair), "KILL")}`;
};
const ON_NODE = () => "/usr/lib/hotpair/hotpair-etcd";
const ON_WITNESS = (pair: Pair) => `/usr/lib/hotpair/pairs/${pair.name}/hotpair-etcd`;

const TABLE = "inet hotpair_drill_member";
/** Loses everything between this node's member and clients of it on other hosts, and nothing else. */
const cutMember = ({ pair }: Stage): string => {
  const { clientPort = 2379, peerPort = 2380 } = pair.authority?.etcd ?? {};
  const ports = `{ ${clientPort}, ${peerPort} }`;
  const rules = (hook: string, side: string) =>
    `add chain ${TABLE} ${hook} { type filter hook ${hook} priority -300; }; add rule ${TABLE} ${hook} ${side} "lo" accept; add rule ${TABLE} ${hook} tcp dport ${ports} drop; add rule ${TABLE} ${hook} tcp sport ${ports} drop`;
  return `nft 'add table ${TABLE}; ${rules("input", "iifname")}; ${rules("output", "oifname")}'`;
};
const joinMember = (): string => `nft delete table ${TABLE} 2>/dev/null || :`;

const FILL = "/var/tmp/hotpair-drill-fill";
const LOCK = "hotpair-drill-lock";
/** A row that the primary will make as well: replication meets it and stops. The ledger's writers start at 1. */
const CONFLICT = 0;

/** The resource that is broken where there are several. */
const firstDevice = (pair: Pair): string => pair.drbd?.resources[0]?.name ?? "";
const firstVolume = (pair: Pair): string => pair.volumes?.[0]?.mountPoint ?? "";
/** Longer than a hand-over waits before it is called off. */
const HANGS_MS = 12_000;
const SWITCH = "/usr/lib/hotpair/hotpair-arbiter switch --wait 10";

const MARIADB_WATCH = "hotpair-mariadb-watch.service";

/**
 * Restarts of a standby's daemons in the order of an upgrade (infra/node/hotpair-apply), each behind the same guard and
 * followed by the same look at its health.
 */
function restarts(node: Role): readonly Action[] {
  const restart = (text: (pair: Pair) => string) => run(node, ({ pair }) => text(pair));
  return [
    restart((pair) => restartMember(ON_NODE(), pair)),
    restart(() => `systemctl restart ${UNIT.quorum}`),
    restart(() => `systemctl restart ${UNIT.keepalived}`),
    restart(() => `systemctl restart ${UNIT.arbiter}`),
    restart((pair) =>
      pair.mariadb === undefined
        ? "systemctl restart hotpair-drbd-watch.service"
        : `systemctl restart ${MARIADB_WATCH}
/usr/lib/hotpair/hotpair-mariadb may-restart >&2
systemctl restart ${UNIT.database}`,
    ),
    restart((pair) => (pair.haproxy === undefined ? ":" : `systemctl restart ${UNIT.haproxy}`)),
  ];
}

const restartMember = (program: string, pair: Pair): string => `${program} ${pair.name} may-stop >&2
systemctl restart ${unitOf("etcd", pair)}
tries=0
until ${program} ${pair.name} settled >&2; do
  tries=$((tries + 1))
  [ $tries -lt 50 ] || exit 1
  sleep 0.2
done`;

const RUNNING: readonly Unit[] = ["etcd", "quorum", "keepalived", "arbiter", "database", "disk-watch", "haproxy"];
const WHOLE: Action = { kind: "whole", withinMs: 120_000 };

interface Entry extends Omit<Scenario, "place" | "inapplicable" | "holdMs" | "healWithinMs"> {
  readonly place?: Scenario["place"];
  readonly holdMs?: number;
  readonly healWithinMs?: number;
  readonly inapplicable?: Scenario["inapplicable"];
}

const entries: readonly Entry[] = [
  {
    name: "witness-loss",
    failure: "witness-loss",
    fault: "The witness loses power.",
    expectation: "Nothing moves and no write fails: the two nodes are a majority.",
    undo: "Power comes back.",
    place: "lab",
    actions: [{ kind: "witness-power-cut", backAfterMs: HOLD_MS }],
    movement: "stays",
  },
  {
    name: "witness-link-loss",
    failure: "witness-link-loss",
    fault: "The active node and the witness no longer reach each other; everybody else does.",
    expectation: "Nothing moves and no write fails.",
    undo: ITSELF,
    place: "lab",
    actions: [{ kind: "cut-witness", node: "active" }],
    movement: "stays",
  },
  {
    name: "witness-down-then-power-cut",
    failure: "witness-loss-then-power-cut",
    fault: "The witness is down; then the active node loses power.",
    expectation:
      "Nobody is promoted: one of three cannot know that the other one does not write. The survivor says so, and what to do.",
    undo: "Power comes back for both; then one of the nodes serves again, and nothing is lost.",
    place: "lab",
    setUp: [{ kind: "witness-power-cut", backAfterMs: NOBODY_MS + 4_000 }, wait(1_500)],
    actions: [{ kind: "power-cut", node: "active", backAfterMs: NOBODY_MS }],
    holdMs: NOBODY_MS,
    movement: "somewhere",
    noPromotion: true,
    healWithinMs: BOOT_MS,
  },
  {
    name: "forced-promotion",
    failure: "forced-promotion",
    fault:
      "The witness is down, the active node loses power, and the operator promotes the standby by force; then the old primary and the witness come back together.",
    expectation:
      "The forced node serves with every acknowledged write. The two that come back are two of three members, of an epoch that is over: they have nothing to say until they are taken in again.",
    undo: "Power comes back for both, and the operator takes their members in again.",
    place: "lab",
    actions: [
      {
        kind: "together",
        each: [
          [{ kind: "witness-power-cut", backAfterMs: AWAY_MS }],
          [wait(1_000), { kind: "power-cut", node: "active", backAfterMs: AWAY_MS - 1_000 }],
          [
            // Longer than T: the lease is free, and still nobody may take it.
            wait(4_000),
            {
              kind: "operator",
              words: ({ standby }) => ["promote", "--node", standby.name, "--i-know-the-peer-is-down"],
            },
          ],
        ],
      },
    ],
    restores: ({ pair, active }) => [...(pair.witness === undefined ? [] : [pair.witness.name]), active.name],
    // Long enough to see that what came back does nothing.
    holdMs: AWAY_MS + 10_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "member-isolation",
    failure: "member-isolation",
    fault: "The active node's etcd member is cut off from the other two; clients and heartbeat are not.",
    expectation: `The active node stops writing at its own deadline, and the other one takes over; ${NOTHING_LOST}.`,
    undo: ITSELF,
    actions: [run("active", cutMember)],
    undoOnServer: { active: joinMember },
    movement: "to-peer",
  },
  {
    name: "isolated-primary",
    failure: "member-isolation",
    fault: "The active node is cut off from its peer and the witness on every network; clients still reach it.",
    expectation: `The one that is cut off stops writing and gives the VIP up, and the other one takes over; ${NOTHING_LOST}.`,
    undo: ITSELF,
    place: "lab",
    actions: [
      { kind: "drop-from", node: "active", networks: EVERY_NETWORK },
      { kind: "drop-from", node: "standby", networks: EVERY_NETWORK },
      { kind: "cut-witness", node: "active" },
    ],
    movement: "to-peer",
  },
  {
    name: "full-partition-with-witness",
    failure: "full-partition",
    fault: "All networks are cut between the two nodes; both still reach the clients and the witness.",
    expectation:
      "Nothing moves: the standby sees through the witness that the lease is renewed. Writes wait until the active node goes on alone.",
    undo: ITSELF,
    place: "lab",
    actions: [
      { kind: "drop-from", node: "active", networks: EVERY_NETWORK },
      { kind: "drop-from", node: "standby", networks: EVERY_NETWORK },
    ],
    movement: "stays",
  },
  ...(["active", "standby"] as const).map(
    (node): Entry => ({
      name: `one-way-partition-from-${node}`,
      failure: "full-partition",
      fault: `Whatever the ${node} node sends to the other one is lost on every network; the other direction works.`,
      expectation: `Nothing moves; ${NOTHING_LOST}.`,
      undo: ITSELF,
      place: "lab",
      actions: [{ kind: "drop-from", node, networks: EVERY_NETWORK }],
      movement: "stays",
    }),
  ),
  {
    name: "quorum-loss",
    failure: "quorum-loss",
    fault: "The witness is down and the standby's etcd member hangs; both nodes live.",
    expectation: "The primary stops at its deadline, since it cannot know that nobody else writes; nobody is promoted.",
    undo: "Power comes back for the witness, and the member goes on.",
    place: "lab",
    setUp: [{ kind: "witness-power-cut", backAfterMs: NOBODY_MS + 4_000 }, wait(1_500)],
    actions: [stop("standby", "etcd")],
    undoOnServer: { standby: wakes("etcd") },
    holdMs: NOBODY_MS,
    movement: "somewhere",
    noPromotion: true,
  },
  {
    name: "etcd-leader-kill",
    failure: "etcd-leader-loss",
    fault: "The etcd member that leads is killed (SIGKILL), on whichever host it is.",
    expectation: "The others elect a new leader within the holder's deadline; nothing moves.",
    undo: "systemd starts it again.",
    place: "lab",
    actions: [
      {
        kind: "together",
        each: [
          [run("active", killLeader(ON_NODE), true)],
          [run("standby", killLeader(ON_NODE), true)],
          [{ kind: "run-witness", command: killLeader(ON_WITNESS), mayFail: true }],
        ],
      },
    ],
    undoOnServer: { active: ensures("etcd"), standby: ensures("etcd") },
    movement: "stays",
  },
  {
    name: "etcd-hang",
    failure: "etcd-leader-loss",
    fault: "The active node's etcd member hangs (SIGSTOP).",
    expectation: `The lease is renewed through the other members, or its holder stops and the role moves once; ${NOTHING_LOST}.`,
    undo: "A unit on that server lets it go on.",
    actions: [stop("active", "etcd")],
    undoOnServer: { active: wakes("etcd") },
    movement: "somewhere",
  },
  {
    name: "lease-kill",
    failure: "lease-loss",
    fault: "The holder of the lease is killed (SIGKILL).",
    expectation: `What writes is stopped with it, and a node takes the lease anew; ${NOTHING_LOST}.`,
    undo: "hotpair-arbiter starts it again.",
    actions: [kill("active", "lease")],
    undoOnServer: { active: wakes("lease") },
    movement: "somewhere",
  },
  {
    name: "lease-hang",
    failure: "lease-loss",
    fault: "The holder of the lease hangs (SIGSTOP).",
    expectation: `Its watchdog kills it before anybody else may take the lease; ${NOTHING_LOST}.`,
    undo: "A unit on that server lets it go on if it still hangs.",
    actions: [stop("active", "lease")],
    undoOnServer: { active: wakes("lease") },
    movement: "somewhere",
  },
  {
    name: "freeze-primary",
    failure: "whole-node-freeze",
    fault: "The whole active node stands still for longer than the lease, and wakes up.",
    expectation: `The other node takes over; the one that wakes up acknowledges nothing any more; ${NOTHING_LOST}.`,
    undo: "It wakes up by itself.",
    place: "lab",
    actions: [{ kind: "freeze", node: "active", forMs: longerThanLease }],
    holdMs: 5_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "database-kill",
    failure: "database-kill",
    fault: "The primary's database is killed (SIGKILL).",
    expectation: `Writes go on on one of the nodes; ${NOTHING_LOST}.`,
    undo: "systemd starts it again; a unit on that server makes sure of it.",
    actions: [kill("active", "database")],
    undoOnServer: { active: ensures("database") },
    movement: "somewhere",
  },
  {
    name: "database-hang",
    failure: "database-hang",
    fault: "The primary's database hangs (SIGSTOP): it holds its connections and answers none.",
    expectation: `It counts as dead after its deadline and is killed; writes go on on one of the nodes; ${NOTHING_LOST}.`,
    undo: "A unit on that server lets it go on, or starts it.",
    actions: [stop("active", "database")],
    undoOnServer: { active: wakes("database") },
    holdMs: 10_000,
    movement: "somewhere",
  },
  {
    name: "database-ignores-sigterm",
    // Its end comes with the lease's, long before anybody would have taken it for hung.
    failure: "lease-loss",
    fault: "The primary's database hangs and does not heed any order to stop; then the lease is lost, too.",
    expectation: `It is killed by its control group before anybody else may write; ${NOTHING_LOST}.`,
    undo: "A unit on that server lets it go on, or starts it.",
    inapplicable: noReplica,
    actions: [stop("active", "database"), kill("active", "lease")],
    undoOnServer: { active: wakes("database") },
    holdMs: 10_000,
    movement: "somewhere",
  },
  {
    name: "replica-kill",
    failure: "replica-loss",
    fault: "The replica's database is killed (SIGKILL) and does not come back.",
    expectation:
      "Writes wait until the primary has put the replica out of insync, then go on on one server; nothing moves.",
    undo: "A unit on that server starts it again; it catches up and is listed again.",
    actions: [run("standby", () => `${dropIn(UNIT.database, "Restart=no")}\n${signal(UNIT.database, "KILL")}`)],
    undoOnServer: { standby: () => `${dropInGone(UNIT.database)}\n${ensure(UNIT.database)}` },
    movement: "stays",
  },
  {
    name: "replica-hang",
    failure: "replica-loss",
    fault: "The replica's database hangs (SIGSTOP).",
    expectation:
      "Writes wait until the primary has put the replica out of insync, then go on on one server; nothing moves.",
    undo: "A unit on that server lets it go on.",
    actions: [stop("standby", "database")],
    undoOnServer: { standby: wakes("database") },
    holdMs: 10_000,
    movement: "stays",
  },
  {
    name: "replica-lag",
    failure: "replica-lag",
    fault: "The replica cannot apply anything: a lock on all of its tables.",
    expectation: "No write fails: acknowledged ones are in its relay log. Nothing moves.",
    undo: "The lock is released by itself, and the replica catches up.",
    actions: [
      run(
        "standby",
        () => `cat > /run/${LOCK}.sql <<'HOTPAIR_LOCK'
FLUSH TABLES WITH READ LOCK;
SELECT SLEEP(${HOLD_MS / 1_000});
HOTPAIR_LOCK
socket=$(sed -n 's/.*"socket": *"\\([^"]*\\)".*/\\1/p' /etc/hotpair/mariadb.json)
systemd-run --quiet --collect --unit=${LOCK} sh -c 'mariadb "--socket=$0" < /run/${LOCK}.sql' "$socket"`,
      ),
    ],
    undoOnServer: { standby: () => `systemctl stop ${LOCK}.service 2>/dev/null || :\nrm -f /run/${LOCK}.sql` },
    movement: "stays",
  },
  {
    name: "replication-stopped",
    failure: "replication-stopped",
    fault: "The replica has a row that the primary is about to make: replication stops with an error.",
    expectation:
      "No acknowledged write is lost, nothing is skipped and nothing moves; the replica says why it stopped.",
    undo: "A unit on that server removes the row and starts replication again.",
    actions: [
      run("standby", () =>
        sql(
          `SET sql_log_bin = 0; INSERT INTO hotpair_drill.ledger (id, client, number, server) SELECT COALESCE(MAX(id), 0) + 40, ${CONFLICT}, 0, 'drill' FROM hotpair_drill.ledger;`,
        ),
      ),
    ],
    undoOnServer: {
      standby: () =>
        sql(`SET sql_log_bin = 0; DELETE FROM hotpair_drill.ledger WHERE client = ${CONFLICT}; START SLAVE;`, "|| :"),
    },
    movement: "stays",
  },
  {
    name: "replica-diverged",
    failure: "replica-diverged",
    fault: "Somebody with the privilege to ignore read_only writes to the replica.",
    expectation:
      "It is put out of insync and stays out, and says where the histories part; writes wait until then and go on on one server.",
    undo: "A unit on that server gives its data up and copies the primary's, with the consent that this asks for.",
    place: "lab",
    actions: [
      run("standby", () => sql("INSERT INTO hotpair_drill.ledger (client, number, server) VALUES (0, 0, 'drill');")),
    ],
    undoOnServer: {
      standby: ({ standby }) =>
        `systemd-run --quiet --collect --no-block /usr/lib/hotpair/hotpair-mariadb recover --discard ${standby.name}`,
    },
    movement: "stays",
    healWithinMs: BOOT_MS,
  },
  {
    name: "binlog-disk-full",
    failure: "binlog-disk-full",
    fault: "The disk of the primary's binary log has no byte left.",
    expectation: "Commits wait until there is room; the role does not move, and nothing acknowledged is lost.",
    undo: "A unit on that server removes the file that fills the disk.",
    place: "lab",
    actions: [
      run(
        "active",
        () => `free=$(df --output=avail -B1 ${FILL.slice(0, FILL.lastIndexOf("/"))} | tail -n 1)
fallocate -l "$free" ${FILL} || :
cat /dev/zero >> ${FILL}`,
        true,
      ),
    ],
    undoOnServer: { active: () => `rm -f ${FILL}` },
    movement: "stays",
  },
  {
    name: "replicated-disk-failure",
    failure: "replicated-disk-failure",
    fault: "The driver gives up the active node's copy, as it does when the disk has errors.",
    expectation: `Reads and writes go to the other node's copy, and the role moves to it; ${NOTHING_LOST}.`,
    undo: "A unit on that server attaches the disk again; it gets whatever was written since.",
    actions: [run("active", ({ pair }) => `drbdadm detach --force ${firstDevice(pair)}`)],
    undoOnServer: { active: ({ pair }) => `drbdadm attach ${firstDevice(pair)} || :` },
    holdMs: 20_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "unmount-hang",
    failure: "unmount-hang",
    fault:
      "The active node's file system is frozen, so that it cannot be let go of; then the operator moves the role away.",
    expectation: `No node is promoted while the old one is primary. Then its power is cut, and the other one serves; ${NOTHING_LOST}.`,
    undo: "Power comes back.",
    place: "lab",
    actions: [
      run("active", ({ pair }) => `fsfreeze --freeze ${firstVolume(pair)}`),
      run("active", () => SWITCH, true),
      wait(HANGS_MS),
      { kind: "power-cut", node: "active", backAfterMs: 5_000 },
    ],
    // Thawed, it could be written by what has waited; after the power cut there is nothing to thaw.
    undoOnServer: {
      active: ({ pair }) => `! mountpoint -q ${firstVolume(pair)} || fsfreeze --unfreeze ${firstVolume(pair)} || :`,
    },
    holdMs: HANGS_MS + 5_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
  {
    name: "rolling-upgrade",
    failure: "rolling-upgrade",
    fault:
      "Every daemon is restarted as by an upgrade: the standby's; after a hand-over the other node's; at last the witness's member.",
    expectation: `Writes pause at the hand-over alone, and wait a moment for each restart of the replica without failing; ${NOTHING_LOST}.`,
    undo: "None needed: a unit on each server makes sure that its daemons run.",
    place: "lab",
    inapplicable: (pair) =>
      pair.vips.some((vip) => vip.preferred !== undefined) ? "every VIP goes home to its preferred node" : undefined,
    setUp: [...restarts("standby"), WHOLE],
    actions: [
      run("active", () => "/usr/lib/hotpair/hotpair-arbiter switch --stay --wait 10"),
      WHOLE,
      // The hand-over's outage is measured by itself: what comes within these 10 s would count into it.
      wait(11_000),
      ...restarts("active"),
      WHOLE,
      { kind: "run-witness", command: ({ pair }) => restartMember(ON_WITNESS(pair), pair) },
    ],
    undoOnServer: { active: ensures(...RUNNING), standby: ensures(...RUNNING) },
    holdMs: 30_000,
    movement: "to-peer",
    healWithinMs: BOOT_MS,
  },
];

/** Classes that every pair has, and that end in another way where a lease and a witness decide. */
const OF_EVERY_PAIR: readonly Scenario["failure"][] = ["full-partition", "whole-node-freeze"];

export const STATEFUL_SCENARIOS: readonly Scenario[] = entries.map((entry): Scenario => {
  const { inapplicable } = entry;
  if (!needsData(entry.failure) && !OF_EVERY_PAIR.includes(entry.failure))
    throw new Error(`${entry.name} is of a class that every pair has`);
  return {
    ...entry,
    place: entry.place ?? "anywhere",
    holdMs: entry.holdMs ?? HOLD_MS,
    healWithinMs: entry.healWithinMs ?? QUICK_HEAL_MS,
    inapplicable: (pair) => onlyWithData(pair, entry.failure) ?? inapplicable?.(pair),
  };
});
