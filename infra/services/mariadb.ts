// All that hotpair knows of MariaDB: the server's settings on both nodes, the program that makes one of them the primary and
// keeps the other near, its units, and how long a promotion takes. Its rules are in infra/node/mariadb/rules.py; who may
// write is the lease's business, and where clients connect HAProxy's.

import { type Duration, formatDuration, ms, seconds } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import {
  type Authority,
  type Mariadb,
  type MariadbServer,
  type NetworkName,
  type Node,
  type NodeId,
  type Pair,
  peerOf,
} from "../model/pair.ts";
import type { Contribution, Listener, PlannedFile, Service, Validator } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { unitOf } from "./etcd.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const mariadb: Service = { name: "mariadb", plan, timing, findings: () => [], listeners };

const LIBRARY = "/usr/lib/hotpair";
const PROGRAM = `${LIBRARY}/hotpair-mariadb`;
const DIRECTORY = "/etc/hotpair/mariadb";
/** The server's own settings. */
export const MY_CNF = `${DIRECTORY}/my.cnf`;
/** What a program of hotpair's has to know of the server; its presence keeps the package's own unit from starting. */
export const MARIADB_SETTINGS = "/etc/hotpair/mariadb.json";
export const MARIADB_UNIT = "hotpair-mariadb.service";
export const PRIMARY_UNIT = "hotpair-mariadb-primary.service";
export const WATCH_UNIT = "hotpair-mariadb-watch.service";
/** The package's own places, so that `mariadb` on a server just works. */
export const SOCKET = "/run/mysqld/mysqld.sock";
const PID_FILE = "/run/mysqld/mysqld.pid";
/** The drop-in that keeps the package's own unit from starting. */
export const PACKAGE_UNIT_DROP_IN = "/etc/systemd/system/mariadb.service.d/60-hotpair.conf";

/** One row each: what lag is measured by, and the first write to show that acknowledgements do not come. */
const HEARTBEAT = ms(250);
/** A write that waits this long for its acknowledgement: the replica is lost, and the primary goes on alone. */
export const REPLICA_LOSS = seconds(1);
/** The same for a replica whose connection has ended, which a dead server's does at once (measured, ≤ 10 ms). */
const REPLICA_DISCONNECTED = ms(300);
/** A replica that was away no longer than this catches up from the binary logs; longer, and all data is copied. */
const BINLOG_KEPT = seconds(7 * 24 * 3_600);

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { mariadb: settings, authority } = pair;
  if (settings === undefined) return undefined;
  if (authority === undefined) throw new Error(`the pair ${pair.name} has MariaDB and no authority`);
  const node = nodeOf(pair, id);
  const names = { pair: pair.name, node: node.name, etcdUnit: unitOf(pair) };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const nothing = { action: "none" } as const;
  // Moves nothing. The process that promoted goes on with the code that it has until the role moves.
  const watched = { action: "restart", unit: WATCH_UNIT } as const;
  const unit = (name: string, template: string, onChange: PlannedFile["onChange"]): PlannedFile => ({
    ...root,
    path: `/etc/systemd/system/${name}`,
    content: render(`mariadb/${template}.hbs`, { ...names, stopMs: authority.lease.stopTimeout }),
    onChange,
  });
  return {
    packages: ["mariadb-backup", "mariadb-client", "mariadb-server", "python3"],
    files: [
      { ...root, path: PROGRAM, mode: "0755", content: nodeFile("hotpair-mariadb"), onChange: watched },
      ...nodeModules("mariadb")
        // Of the server that does not replicate.
        .filter((name) => name !== "volume.py")
        .map(
          (name): PlannedFile => ({
            ...root,
            path: `${LIBRARY}/mariadb/${name}`,
            content: nodeFile(`mariadb/${name}`),
            onChange: watched,
          }),
        ),
      {
        ...root,
        path: MARIADB_SETTINGS,
        content: `${JSON.stringify(programSettings(pair, settings, id), undefined, 2)}\n`,
        onChange: watched,
      },
      {
        ...root,
        path: MY_CNF,
        content: render("mariadb/my.cnf.hbs", { ...names, ...serverSettings(pair, settings, id) }),
        onChange: { action: "restart", unit: MARIADB_UNIT },
      },
      ...certificateFiles(authority, id, MARIADB_UNIT),
      {
        ...root,
        path: `${DIRECTORY}/replication.password`,
        mode: "0600",
        secret: true,
        content: [
          "current ",
          settings.replicationPassword,
          "\n",
          ...(settings.previousReplicationPassword === undefined
            ? []
            : ["previous ", settings.previousReplicationPassword, "\n"]),
        ],
        // Read again by itself.
        onChange: nothing,
      },
      // A changed unit of a server that holds data is read at its next start; it is not worth one.
      unit(MARIADB_UNIT, "hotpair-mariadb.service", nothing),
      unit(PRIMARY_UNIT, "hotpair-mariadb-primary.service", nothing),
      unit(WATCH_UNIT, "hotpair-mariadb-watch.service", watched),
      packageUnitFile({ ...names, unit: MARIADB_UNIT }),
    ],
    units: [
      { name: WATCH_UNIT, running: true, holdsRole: false },
      { name: MARIADB_UNIT, running: true, holdsRole: true, guard: `${PROGRAM} may-restart` },
      { name: PRIMARY_UNIT, running: false, holdsRole: false },
    ],
    validators: [
      SERVER_VALIDATOR,
      {
        name: "hotpair-mariadb check",
        covers: [PROGRAM, `${LIBRARY}/mariadb/`, MARIADB_SETTINGS, `${DIRECTORY}/`],
        command: `${PROGRAM} check`,
      },
    ],
    health: [
      {
        name: "the pair's replication is watched",
        command: `systemctl is-active --quiet ${WATCH_UNIT}`,
        deadlineSeconds: 10,
      },
      {
        name: "MariaDB answers, or waits for the lease",
        command: `${PROGRAM} healthy`,
        deadlineSeconds: 60,
      },
    ],
    state: ["/var/lib/hotpair/mariadb"],
  };
}

/** Exit code 7 for a setting that it does not know; --validate-config would try to start. */
export const SERVER_VALIDATOR: Validator = {
  name: "mariadbd --help --verbose",
  covers: [MY_CNF],
  command: `mariadbd --defaults-file=${MY_CNF} --help --verbose >/dev/null`,
};

/** What the server shows to its clients; `unit` reads it again without an interruption. */
export function certificateFiles(authority: Authority, id: NodeId, unit: string): readonly PlannedFile[] {
  const shown = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const onChange = { action: "reload", unit } as const;
  const { certificate, key } = authority.members[id];
  return [
    {
      ...shown,
      path: `${DIRECTORY}/ca.pem`,
      content: `${authority.caCertificate}${authority.previousCaCertificate ?? ""}`,
      onChange,
    },
    { ...shown, path: `${DIRECTORY}/server.pem`, content: certificate, onChange },
    {
      path: `${DIRECTORY}/server.key`,
      owner: "root",
      // The server gives root's rights up before it reads its key.
      group: "mysql",
      mode: "0640",
      secret: true,
      content: [key],
      onChange,
    },
  ];
}

/** `unit` is the one that runs the server in place of the package's. */
export const packageUnitFile = (names: Readonly<Record<"pair" | "node" | "unit", string>>): PlannedFile => ({
  path: PACKAGE_UNIT_DROP_IN,
  owner: "root",
  group: "root",
  mode: "0644",
  secret: false,
  content: render("mariadb/package-unit.conf.hbs", names),
  onChange: { action: "none" },
});

const nodeOf = (pair: Pair, id: NodeId): Node => pair.nodes[id === "a" ? 0 : 1];

/** IPv4 address of a node on a network that it is on. */
function addressOf(pair: Pair, id: NodeId, network: NetworkName): string {
  const address = nodeOf(pair, id).networks[network]?.address.split("/")[0];
  if (address === undefined) throw new Error(`node ${id} of ${pair.name} has no address on the ${network} network`);
  return address;
}

/** Servers tell each other apart by it; the numbers that the measurements were made with. */
const serverId = (id: NodeId): number => (id === "a" ? 11 : 12);

function serverSettings(pair: Pair, settings: Mariadb, id: NodeId): Readonly<Record<string, unknown>> {
  const own = (network: NetworkName) => addressOf(pair, id, network);
  return {
    ...commonSettings(settings, settings.dataDirectory),
    serverId: serverId(id),
    bindAddress: [...new Set([own("public"), own(settings.replicationNetwork)])].join(","),
    binlogKeptSeconds: BINLOG_KEPT / 1_000,
  };
}

/** What a template of my.cnf needs for any server. */
export const commonSettings = (
  { port, maxConnections, bufferPool, redoLog }: MariadbServer,
  dataDirectory: string,
): Readonly<Record<string, unknown>> => ({
  dataDirectory,
  socket: SOCKET,
  pidFile: PID_FILE,
  port,
  maxConnections,
  bufferPool,
  redoLog,
  ca: `${DIRECTORY}/ca.pem`,
  certificate: `${DIRECTORY}/server.pem`,
  key: `${DIRECTORY}/server.key`,
});

/** /etc/hotpair/mariadb.json; field names say their unit, since Python reads plain numbers. */
function programSettings(pair: Pair, settings: Mariadb, id: NodeId): Readonly<Record<string, unknown>> {
  const peer = peerOf(id);
  return {
    version: 1,
    pair: pair.name,
    node: { id, name: nodeOf(pair, id).name },
    peer: { id: peer, name: nodeOf(pair, peer).name },
    port: settings.port,
    rolePort: settings.rolePort,
    roleAddress: addressOf(pair, id, "public"),
    address: addressOf(pair, id, settings.replicationNetwork),
    peerAddress: addressOf(pair, peer, settings.replicationNetwork),
    serverId: serverId(id),
    dataDirectory: settings.dataDirectory,
    socket: SOCKET,
    defaults: MY_CNF,
    longestLagMs: settings.replicaReads?.maxLag ?? null,
    adopt: settings.adopt,
    tls: { ca: `${DIRECTORY}/ca.pem`, certificate: `${DIRECTORY}/server.pem`, key: `${DIRECTORY}/server.key` },
    heartbeatMs: HEARTBEAT,
    replicaLossMs: REPLICA_LOSS,
    replicaDisconnectedMs: REPLICA_DISCONNECTED,
  };
}

/** HAProxy on the other node asks for the role and leads its clients here; replication has a network of its own. */
function listeners({ mariadb: settings }: Pair): readonly Listener[] {
  if (settings === undefined) return [];
  const { port, rolePort, replicationNetwork } = settings;
  const tcp = { from: "peer", protocol: "tcp" } as const;
  return [
    { ...tcp, what: "MariaDB", network: "public", port },
    { ...tcp, what: "MariaDB's role", network: "public", port: rolePort },
    ...(replicationNetwork === "public"
      ? []
      : [
          { ...tcp, what: "MariaDB's replication", network: replicationNetwork, port },
          { ...tcp, what: "MariaDB's channel between the nodes", network: replicationNetwork, port: rolePort },
        ]),
  ];
}

/** Promotion of a replica that runs: 4.2 ms idle to 48 ms under eight writers (docs/mariadb.md#measured). */
const PROMOTION: readonly [Duration, Duration] = [ms(4), ms(48)];
/** From systemd's start of the program to its first question; 0.15 s of processor time without compiled files, doubled. */
const PROGRAM_START = ms(300);
/** A killed receiving thread has left its loop, whatever its primary does (measured 2 to 5 ms, n = 3). */
const RECEIVING_ENDED = ms(5);
/** Planned: read-only, the last write applied, clients ended (measured 0.4..12 ms, 0.9..3.1 ms; n = 6). */
const HAND_OVER: readonly [Duration, Duration] = [ms(1), ms(76)];
/** Wait of systemd before it starts a killed server again (templates/mariadb/hotpair-mariadb.service.hbs). */
export const SERVER_RESTART = ms(100);
/** Recovery of the server to its first query, measured with 96 and 512 MB of redo log. */
const RECOVERY: readonly [
  { readonly log: number; readonly time: Duration },
  { readonly log: number; readonly time: Duration },
] = [
  { log: 96 * 1024 ** 2, time: ms(1_700) },
  { log: 512 * 1024 ** 2, time: ms(3_800) },
];

/** The two measurements and the line through them, never less than the smaller one. */
export function recoveryBound({ redoLog }: MariadbServer): Duration {
  const [small, large] = RECOVERY;
  const slope = (large.time - small.time) / (large.log - small.log);
  return ms(Math.ceil(Math.max(small.time, small.time + slope * (redoLog - small.log))));
}

/** e.g. `recovery of 96 MB redo log 1.7s`. */
export const recoveryFormula = (server: MariadbServer): string =>
  `recovery of ${Math.round(server.redoLog / 1024 ** 2)} MB redo log ${formatDuration(recoveryBound(server))}`;

/** Faults after which the other node's server is promoted; where the old primary's machine ends at once, its connections do, too. */
const PROMOTED: readonly FailureClassId[] = [
  "node-power-cut",
  "arbiter-loss-then-power-cut",
  "clean-reboot",
  "keepalived-stop",
  "keepalived-kill",
  "keepalived-hang",
  "public-link-loss",
  "haproxy-hang",
  "database-kill",
  "database-hang",
  "whole-node-freeze",
  "member-isolation",
  "failback",
  "kernel-panic",
  "site-loss",
];
/** After these, the same node takes the lease at once and its killed server recovers, or the other node waits T and is promoted. */
const RESTARTED: readonly FailureClassId[] = ["lease-loss"];
/** A primary that does not answer for this long is killed; asked every 100 ms (infra/node/mariadb/primary.py). */
const HUNG: readonly [Duration, Duration] = [ms(5_000), ms(5_100)];
/** A primary that ends closes its watcher's session: seen at once, acted upon within one round. */
const ENDED: readonly [Duration, Duration] = [ms(0), ms(100)];
/** Orders of an operator, or of an upgrade, that hand over with both servers well. */
const HANDED_OVER: readonly FailureClassId[] = ["planned-switch", "rolling-upgrade"];
/** Faults of the replica that no client and no commit waits for. */
const REPLICA_APART: Readonly<Partial<Record<FailureClassId, string>>> = {
  "replica-lag": "what is acknowledged is in the replica's relay log, applied or not",
};
/** After these, writes wait until the primary has gone on alone. */
const REPLICA_GONE: readonly FailureClassId[] = [
  "standby-power-cut",
  "replica-loss",
  "replication-stopped",
  "replica-diverged",
  "storage-link-loss",
  "heartbeat-storage-loss",
  "full-partition",
];

function timing(pair: Pair): readonly TimingTerm[] {
  const { mariadb: settings, authority } = pair;
  if (settings === undefined || authority === undefined) return [];
  const replication = settings.replicationNetwork;
  const term = (
    failure: FailureClassId,
    step: TimingTerm["step"],
    name: string,
    [lower, upper]: readonly [Duration, Duration],
    formula: string,
  ): TimingTerm => ({
    service: "mariadb",
    beside: true,
    failure,
    step,
    name,
    lower,
    upper,
    formula,
    source: "docs/mariadb.md#measured",
  });
  const promoted = ms(PROGRAM_START + RECEIVING_ENDED + PROMOTION[1]);
  const promotedFormula =
    `start of the program ${formatDuration(PROGRAM_START)} + receiving ended ${formatDuration(RECEIVING_ENDED)} + ` +
    `promotion ${formatDuration(PROMOTION[1])}`;
  const restarted = recoveryBound(settings) + SERVER_RESTART + PROMOTION[1];
  // The lease's own term counts it.
  const waited = authority.lease.takeover + authority.lease.renewal;
  const longestLoss = ms(HEARTBEAT + REPLICA_LOSS + order(authority));
  const losing = REPLICA_GONE.filter(
    (failure) =>
      (failure !== "storage-link-loss" || replication === "storage") &&
      (failure !== "heartbeat-storage-loss" || replication !== "public"),
  );
  return [
    ...PROMOTED.map((failure) =>
      term(
        failure,
        "recover",
        "the replica stops receiving, applies what it has, and takes writes",
        [PROMOTION[0], promoted],
        `≤ ${promotedFormula}`,
      ),
    ),
    ...HANDED_OVER.map((failure) =>
      term(
        failure,
        "recover",
        "read-only, the last write applied by the peer, which then takes writes",
        [HAND_OVER[0], ms(HAND_OVER[1] + PROGRAM_START + PROMOTION[1])],
        `≤ hand-over ${formatDuration(HAND_OVER[1])} + start of the program ${formatDuration(PROGRAM_START)} + ` +
          `promotion ${formatDuration(PROMOTION[1])}`,
      ),
    ),
    ...Object.entries(REPLICA_APART).map(([failure, why]) =>
      term(failure as FailureClassId, "detect", why, [ms(0), ms(0)], "0"),
    ),
    ...losing.map((failure) =>
      term(
        failure,
        "detect",
        "a write waits for the replica until insync is this node alone",
        [ms(0), longestLoss],
        `≤ heartbeat ${formatDuration(HEARTBEAT)} + loss ${formatDuration(REPLICA_LOSS)} + order to etcd ` +
          formatDuration(order(authority)),
      ),
    ),
    term("database-kill", "detect", "the server's end is seen", ENDED, `≤ one round ${formatDuration(ENDED[1])}`),
    term(
      "database-hang",
      "detect",
      "the server does not answer, and is killed",
      HUNG,
      `no answer for ${formatDuration(HUNG[0])}, asked every ${formatDuration(ms(HUNG[1] - HUNG[0]))}`,
    ),
    ...RESTARTED.map((failure) =>
      term(
        failure,
        "recover",
        "the other node's replica takes writes after T, or at once the same node's server recovers",
        [ms(0), ms(Math.max(promoted, restarted - waited))],
        restarted - waited <= promoted
          ? `≤ ${promotedFormula}`
          : `RestartSec ${formatDuration(SERVER_RESTART)} + ${recoveryFormula(settings)} + ` +
              `promotion ${formatDuration(PROMOTION[1])} − T and renewal ` +
              formatDuration(ms(waited)),
      ),
    ),
  ];
}

/** One order of the lease's holder: the renewal under way, then its own answer. */
const order = ({ lease: { renewal, rpcTimeout } }: Authority): Duration => ms(renewal + 2 * rpcTimeout);
