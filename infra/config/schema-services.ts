// What clients reach through a VIP: HAProxy with its frontends and backends, nginx, and services that hotpair does not manage.
// The database is schema-data.ts.

import {
  absolutePath,
  duration,
  integer,
  keys,
  label,
  list,
  oneOf,
  plainAddress,
  port,
  text,
  urlPath,
} from "./formats.ts";

/** HAProxy keeps timers as 32-bit milliseconds; a day is far below and far above anything sensible. */
const haproxyTime = (example: string) =>
  duration({ min: "1ms", max: "1d", step: "1ms", because: "HAProxy counts milliseconds", example });

const frontend = () =>
  keys({
    name: label("a name", 32, "web").describe("Name of the frontend in HAProxy's configuration and logs."),
    bind: text({
      what: '"VIP:PORT" with the name of a VIP, or "*:PORT"',
      example: "web:80",
      pattern: /^(\*|[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?):([1-9]\d{0,4})$/,
      accepts: (value) => Number(value.slice(value.lastIndexOf(":") + 1)) <= 65_535,
    }).describe("Where clients connect: the name of a VIP (or `*`, every address of the node) and a port."),
    mode: oneOf("http", "tcp").default("http").describe("What HAProxy understands of the traffic."),
    certificate: absolutePath("a PEM file on the servers", "/etc/ssl/private/web.pem")
      .optional()
      .describe("PEM file with certificate and key for TLS. hotpair does not carry it: it must be on both servers."),
    backend: label("the name of a backend", 32, "nginx").describe("The backend that answers."),
  });

const backend = () =>
  keys({
    name: label("a name", 32, "nginx").describe("Name of the backend in HAProxy's configuration and logs."),
    mode: oneOf("http", "tcp").default("http").describe("Must be its frontends' mode."),
    algorithm: oneOf("roundrobin", "leastconn", "source")
      .default("roundrobin")
      .describe("How requests are spread: in turn, to the fewest connections, or by client address."),
    service: label("the name of a service", 32, "nginx")
      .optional()
      .describe(
        "`nginx`, `mariadb`, or the name of `external`: the servers are both nodes' public addresses at its port. Default: nginx or else external, where configured. Of `mariadb`, here or on a volume, only the primary gets traffic (mode tcp).",
      ),
    servers: list(
      keys({
        name: label("a name", 32, "app-1").describe("Name of the server in HAProxy's statistics."),
        address: plainAddress("198.51.100.21").describe(
          "IPv4 address; names are not taken, since HAProxy would not start while one does not resolve.",
        ),
        port: port(8080).describe("TCP port."),
      }),
      "servers",
      { min: 1, max: 64 },
    )
      .optional()
      .describe("Instead of `service`: any servers, named one by one."),
    check: keys({
      path: urlPath("/healthz")
        .optional()
        .describe(
          "HTTP path asked for. Default: nginx's health path for the service nginx in http mode; otherwise a TCP connect is the check.",
        ),
      status: integer(100, 599, 200, "an HTTP status").default(200).describe("HTTP status that counts as healthy."),
      interval: haproxyTime("100ms").default("100ms").describe("Time between checks of a healthy server (`inter`)."),
      fastInterval: haproxyTime("50ms")
        .default("50ms")
        .describe("Time between checks once one failed or succeeded against the present state (`fastinter`)."),
      fall: integer(1, 100, 2, "a number of checks")
        .default(2)
        .describe("Failed checks in a row that take a server out."),
      rise: integer(1, 100, 2, "a number of checks")
        .default(2)
        .describe("Successful checks in a row that bring it back."),
      timeout: haproxyTime("250ms").default("250ms").describe("A check without answer for this long has failed."),
    })
      .prefault({})
      .describe("Health check of every server."),
    maxconn: integer(1, 1_000_000, 5_000, "a number of connections")
      .default(5_000)
      .describe("Connections per server; further ones wait in HAProxy."),
  });

export const haproxy = () =>
  keys({
    frontends: list(frontend(), "frontends", { min: 1, max: 32 }).describe("Where clients connect."),
    backends: list(backend(), "backends", { min: 1, max: 32 }).describe("Who answers."),
    maxconn: integer(1, 1_000_000, 20_000, "a number of connections")
      .default(20_000)
      .describe("Connections that one HAProxy holds at once."),
    timeouts: keys({
      connect: haproxyTime("50ms")
        .default("50ms")
        .describe(
          "Until a server accepts; then the request goes to another one. Raise it for servers that are far away.",
        ),
      client: haproxyTime("30s").default("30s").describe("Silence of a client."),
      server: haproxyTime("30s").default("30s").describe("Silence of a server."),
    })
      .prefault({})
      .describe("HAProxy's timeouts."),
    stats: keys({
      port: port(8404).default(8404).describe("TCP port on 127.0.0.1."),
    })
      .prefault({})
      .describe("Statistics page, on localhost only."),
  });

export const nginx = () =>
  keys({
    port: port(8080).default(8080).describe("TCP port on the node's public address."),
    healthPath: urlPath("/healthz").default("/healthz").describe("Answers 200 while nginx serves."),
    root: absolutePath("a directory on the servers", "/srv/www")
      .default("/var/lib/hotpair/www")
      .describe("Document root. With the default, hotpair writes an index page with the node's name."),
  });

export const external = () =>
  keys({
    name: label("a name", 32, "app").describe("Name, for backends and status."),
    port: port(9000).describe("TCP port on the node's public address."),
    units: list(
      text({
        what: "a systemd unit name",
        example: "app.service",
        pattern: /^[A-Za-z0-9:_.@-]{1,200}\.(service|socket|target|mount|timer|path)$/,
      }),
      "systemd units",
      { max: 16 },
    )
      .default([])
      .describe("systemd units that `hotpair status` looks at. hotpair never starts or stops them."),
  });
