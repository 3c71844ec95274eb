// All that hotpair knows of HAProxy: its configuration on both nodes, how systemd keeps it alive, how long it takes to
// leave out a dead server, and which settings are unsafe. When the VIP moves is decided by keepalived and the arbiter.

import {
  checkDetection,
  checkDetectionFormula,
  DATABASE_CONNECT,
  silentDetection,
  silentDetectionFormula,
} from "../model/checks.ts";
import { type Duration, formatDuration, ms, seconds } from "../model/duration.ts";
import { CLIENT_DEADLINE } from "../model/estimate.ts";
import type { FailureClassId } from "../model/failure.ts";
import type { Finding } from "../model/finding.ts";
import { type Backend, databaseOf, type Frontend, type Haproxy, type NodeId, type Pair } from "../model/pair.ts";
import type { Contribution, Listener, Service } from "../model/plan.ts";
import { HAPROXY_RESTART, takeoverOf } from "../model/timers.ts";
import type { TimingTerm } from "../model/timing.ts";
import { render } from "./template.ts";

export const haproxy: Service = { name: "haproxy", plan, timing, findings, listeners };

export const ADMIN_SOCKET = "/run/haproxy/admin.sock";

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { haproxy: settings } = pair;
  if (settings === undefined) return undefined;
  const node = pair.nodes[id === "a" ? 0 : 1].name;
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  return {
    packages: ["haproxy", "python3"],
    files: [
      {
        ...root,
        path: "/etc/haproxy/haproxy.cfg",
        content: render("haproxy/haproxy.cfg.hbs", configuration(pair, settings, node)),
        onChange: { action: "reload", unit: "haproxy.service" },
      },
      {
        ...root,
        path: "/etc/systemd/system/haproxy.service.d/60-hotpair.conf",
        content: render("haproxy/service.conf.hbs", { node, restartMs: HAPROXY_RESTART }),
        // Read again with the units; a running HAProxy does not need to know.
        onChange: { action: "none" },
      },
    ],
    units: [{ name: "haproxy.service", running: true, holdsRole: false }],
    validators: [
      {
        name: "haproxy -c",
        covers: ["/etc/haproxy/haproxy.cfg"],
        // Not -q: it would keep the reason of a refusal to itself, too.
        command: "haproxy -c -f /etc/haproxy/haproxy.cfg",
      },
    ],
    health: [
      { name: "HAProxy runs", command: "systemctl is-active --quiet haproxy.service", deadlineSeconds: 10 },
      {
        name: "HAProxy answers on its socket",
        command:
          `python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(2); ` +
          `s.connect("${ADMIN_SOCKET}"); s.sendall(b"show info\\n"); assert b"HAProxy" in s.recv(4096)'`,
        deadlineSeconds: 10,
      },
    ],
  };
}

/** Sessions of a database last; a dead one is ended by on-marked-down, not by its silence. MariaDB's own wait_timeout. */
const DATABASE_IDLE = seconds(28_800);
function configuration(pair: Pair, settings: Haproxy, node: string): Readonly<Record<string, unknown>> {
  const { connect, client, server } = settings.timeouts;
  const roleOf = (backend: string) => settings.backends.find(({ name }) => name === backend)?.role;
  return {
    pair: pair.name,
    node,
    maxconn: settings.maxconn,
    timeouts: {
      connect: formatDuration(connect),
      client: formatDuration(client),
      server: formatDuration(server),
    },
    frontends: settings.frontends.map((frontend) => ({
      name: frontend.name,
      mode: frontend.mode,
      http: frontend.mode === "http",
      backend: frontend.backend,
      database: roleOf(frontend.backend) !== undefined,
      binds: [bindLine(pair, frontend)],
      comment:
        frontend.bind.vip === "*"
          ? "On every address of this node."
          : `On VIP "${frontend.bind.vip}", also while the other node holds it (net.ipv4.ip_nonlocal_bind).`,
    })),
    backends: settings.backends.map((backend) => ({
      name: backend.name,
      mode: backend.mode,
      http: backend.mode === "http",
      algorithm: backend.algorithm,
      source: backend.algorithm === "source",
      servers: backend.servers,
      maxconn: backend.maxconn,
      checkPath: backend.check.path,
      checkStatus: backend.check.status,
      checkTimeout: formatDuration(backend.check.timeout),
      interval: formatDuration(backend.check.interval),
      fastInterval: formatDuration(backend.check.fastInterval),
      fall: backend.check.fall,
      rise: backend.check.rise,
      role: backend.role,
      detection: formatDuration(silentDetection(backend, connect)),
      hungDetection: formatDuration(checkDetection(backend, connect)),
    })),
    rolePort: pair.mariadb?.rolePort,
    databaseIdle: formatDuration(DATABASE_IDLE),
    databaseConnect: formatDuration(DATABASE_CONNECT),
    reads: reads(pair, settings),
    statsPort: settings.stats.port,
  };
}

function listeners(pair: Pair): readonly Listener[] {
  const { haproxy: settings } = pair;
  if (settings === undefined) return [];
  const forClients = (what: string, port: number) => onPublic(what, "clients", port);
  const readsPort = reads(pair, settings) === undefined ? undefined : pair.mariadb?.replicaReads?.port;
  return [
    ...settings.frontends.map(({ name, bind }) => forClients(`HAProxy's frontend ${name}`, bind.port)),
    ...(readsPort === undefined ? [] : [forClients("reads from the replica", readsPort)]),
  ];
}

/** A service's port on the nodes: behind HAProxy only HAProxy asks; without one, clients do. */
export const behindHaproxy = ({ haproxy: settings }: Pair, what: string, port: number): Listener =>
  onPublic(what, settings === undefined ? "clients" : "peer", port);

const onPublic = (what: string, from: Listener["from"], port: number): Listener => ({
  what,
  network: "public",
  from,
  protocol: "tcp",
  port,
});

/** Where clients read from the replica: a port on the VIP of every frontend that leads to the primary; undefined: nowhere. */
function reads(pair: Pair, settings: Haproxy): Readonly<Record<string, unknown>> | undefined {
  const backend = settings.backends.find(({ role }) => role !== undefined);
  const replicaReads = pair.mariadb?.replicaReads;
  if (backend === undefined || replicaReads === undefined) return undefined;
  const vips = settings.frontends.filter((frontend) => frontend.backend === backend.name).map(({ bind }) => bind.vip);
  const addresses = [...new Set(vips)].map((vip) => (vip === "*" ? "*" : addressOf(pair, vip)));
  return {
    name: `${backend.name}-reads`,
    primary: backend.name,
    binds: addresses.map((address) => `${address}:${replicaReads.port}`),
    maxLag: formatDuration(replicaReads.maxLag),
    backend,
    interval: formatDuration(backend.check.interval),
    fastInterval: formatDuration(backend.check.fastInterval),
    checkTimeout: formatDuration(backend.check.timeout),
  };
}

function bindLine(pair: Pair, frontend: Frontend): string {
  const { vip: name, port } = frontend.bind;
  const address = name === "*" ? "*" : addressOf(pair, name);
  if (frontend.certificate === undefined) return `${address}:${port}`;
  const alpn = frontend.mode === "http" ? " alpn h2,http/1.1" : "";
  return `${address}:${port} ssl crt ${frontend.certificate}${alpn}`;
}

function addressOf(pair: Pair, vipName: string): string {
  const address = pair.vips.find((vip) => vip.name === vipName)?.address.split("/")[0];
  if (address === undefined) throw new Error(`frontend binds VIP "${vipName}", which the pair does not have`);
  return address;
}

/** Faults after which the HAProxy that holds the VIP has a server that no longer answers at all, not even with a reset. */
const SILENT_SERVER: readonly FailureClassId[] = [
  "node-power-cut",
  "standby-power-cut",
  "clean-reboot",
  "arbiter-loss-then-power-cut",
  "public-link-loss",
  "kernel-panic",
  "site-loss",
  "whole-node-freeze",
];

function timing(pair: Pair): readonly TimingTerm[] {
  if (pair.haproxy === undefined) return [];
  const { connect } = pair.haproxy.timeouts;
  const own = { service: "haproxy", lower: ms(0) } as const;
  const { backends } = pair.haproxy;
  const slowest = slowestBackend(backends, silentDetection, connect);
  const out = slowest === undefined ? ms(0) : silentDetection(slowest, connect);
  const services = backends.filter(({ role }) => role === undefined);
  const hung = slowestBackend(services, checkDetection, connect);
  // A retry that comes before the client has given up ends its wait, unless the checks have ended it before.
  const silent: Omit<TimingTerm, "failure"> =
    connect < CLIENT_DEADLINE && (slowest === undefined || connect <= out)
      ? {
          ...own,
          step: "recover",
          name: "a connection to the silent server is given to the other",
          upper: connect,
          formula: `timeout connect ${formatDuration(connect)}, redispatch`,
          source: "HAProxy manual, option redispatch",
        }
      : {
          ...own,
          step: "recover",
          name: "the silent server is taken out, before a connection to it would be given to the other",
          upper: out,
          formula: slowest === undefined ? "0" : silentDetectionFormula(slowest, connect),
          source: "HAProxy manual, inter, fastinter, fall",
        };
  return [
    ...SILENT_SERVER.map((failure) => ({ ...silent, failure })),
    {
      ...own,
      failure: "haproxy-kill",
      step: "recover",
      name: "systemd starts HAProxy again",
      // A client of the database connects anew and waits that long: none of its requests need fail.
      lower: databaseOf(pair) === undefined ? HAPROXY_RESTART : ms(0),
      upper: ms(HAPROXY_RESTART + pair.limits.restore),
      formula: `RestartSec ${formatDuration(HAPROXY_RESTART)} + start ≤ ${formatDuration(pair.limits.restore)}`,
      source: "systemd.service(5); limits.restore, docs/estimate.md#measured",
    },
    {
      ...own,
      failure: "backend-kill",
      step: "recover",
      name: "a response under way is cut; requests that nobody has begun to answer are given to the other server",
      upper: pair.limits.answer,
      formula: `≤ one answer ${formatDuration(pair.limits.answer)}`,
      source: "limits.answer; HAProxy manual, retry-on, option redispatch",
    },
    {
      ...own,
      failure: "backend-hang",
      step: "detect",
      ...(hung === undefined
        ? { name: "nothing but the database is behind HAProxy, and that is database-hang", upper: ms(0), formula: "0" }
        : {
            name: "the server that takes requests and answers none is taken out",
            upper: checkDetection(hung, connect),
            formula: checkDetectionFormula(hung, connect),
          }),
      source: "HAProxy manual, inter, fastinter, fall, timeout check",
    },
    {
      ...own,
      failure: "bad-configuration",
      step: "recover",
      name: "a reload that its parser refuses leaves the old worker running",
      upper: ms(0),
      formula: "0",
      source: "HAProxy management guide, master-worker mode",
    },
  ];
}

/** The backend whose dead server stays in the longest, by this way of being dead. */
const slowestBackend = (
  backends: readonly Backend[],
  detection: typeof silentDetection,
  connect: Duration,
): Backend | undefined => backends.toSorted((one, other) => detection(other, connect) - detection(one, connect))[0];

function findings(pair: Pair): readonly Finding[] {
  if (pair.haproxy === undefined) return [];
  return [...checkTimers(pair, pair.haproxy), ...publicStatistics(pair, pair.haproxy)];
}

/** Checks that are slower than the takeover, or than what a client waits, make a takeover look like an outage. */
function checkTimers(pair: Pair, settings: Haproxy): readonly Finding[] {
  const { connect } = settings.timeouts;
  const takeover = takeoverOf(pair);
  const at = "hotpair:pair.haproxy";
  const found: Finding[] = [];
  const state = (level: Finding["level"], path: string, message: string, fix: string) =>
    found.push({ rule: "haproxy-check-timers", level, path: `${at}.${path}`, message, fix });
  if (connect >= CLIENT_DEADLINE)
    state(
      "advisory",
      "timeouts.connect",
      `a request to a server that died waits ${formatDuration(connect)} before the other one gets it; ` +
        `a client that gives up after ${formatDuration(CLIENT_DEADLINE)} sees an error until the checks have noticed`,
      `set ${at}.timeouts.connect to ${BRISK.connect}`,
    );
  for (const [index, backend] of settings.backends.entries()) {
    const { interval, fastInterval, fall } = backend.check;
    const path = `backends[${index}].check`;
    if (fastInterval > interval)
      state(
        "mandatory",
        `${path}.fastInterval`,
        `checks after a first failure come every ${formatDuration(fastInterval)}, slower than the ordinary ${formatDuration(interval)}`,
        `set ${at}.${path}.fastInterval to ${formatDuration(interval)} or less`,
      );
    if (fall === 1)
      state(
        "mandatory",
        `${path}.fall`,
        `one lost check takes a server of backend "${backend.name}" out; a takeover of the VIP loses one by itself`,
        `set ${at}.${path}.fall to 2`,
      );
    const silent = silentDetection(backend, connect);
    if (silent > takeover)
      state(
        "advisory",
        `${path}.interval`,
        `when a node dies, its peer's HAProxy may declare the server dead only after ` +
          `${silentDetectionFormula(backend, connect)} = ${formatDuration(silent)}, but the VIP moves after ` +
          `${formatDuration(takeover)}: the first requests wait ${formatDuration(connect)} each for the dead server`,
        `set ${at}.${path}.interval to ${BRISK.interval}, ${at}.${path}.fastInterval to ${BRISK.fastInterval}, ` +
          `${at}.${path}.fall to 2 and ${at}.timeouts.connect to ${BRISK.connect}`,
      );
  }
  return found;
}

/**
 * Settings whose checks have taken a dead node's server out before the VIP is there at the shortest advert interval:
 * 100 + 2 × 50 + 50 < 3 × 100 (docs/estimate.md#measured).
 */
const BRISK = { interval: "100ms", fastInterval: "50ms", connect: "50ms" } as const;

/** The page binds 127.0.0.1 by construction; what can still publish it is a server that points at it. */
function publicStatistics(_pair: Pair, settings: Haproxy): readonly Finding[] {
  return settings.backends.flatMap((backend, index) =>
    backend.servers.flatMap((server, position) => {
      const local = server.address === "localhost" || server.address.startsWith("127.");
      if (!local || server.port !== settings.stats.port) return [];
      const path = `hotpair:pair.haproxy.backends[${index}].servers[${position}]`;
      return [
        {
          rule: "statistics-not-public",
          level: "mandatory",
          path,
          message: `server "${server.name}" is HAProxy's own statistics page (127.0.0.1:${settings.stats.port}): every client of backend "${backend.name}" would see it`,
          fix: `remove ${path}; read the page through ssh -L ${settings.stats.port}:127.0.0.1:${settings.stats.port}`,
        } as const,
      ];
    }),
  );
}
