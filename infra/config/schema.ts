// What may be written under `hotpair:pair` and the keys beside it (`hotpair:witness`, `hotpair:drbd`, …): every field with its
// meaning, unit, default and limits. The JSON Schema, the annotated example and docs/configuration.md are made from this file. How fields must fit together is in rules.ts.

import { z } from "zod";
import { TIER_NAMES } from "../model/estimate.ts";
import { FAILURE_CLASS_IDS, FAILURE_CLASSES, type FailureClassId } from "../model/failure.ts";
import { parseRate } from "../model/rate.ts";
import {
  absolutePath,
  address,
  certificate,
  duration,
  flag,
  host,
  hostKey,
  integer,
  keys,
  label,
  list,
  mailbox,
  named,
  networkInterface,
  oneOf,
  plainAddress,
  port,
  size,
  text,
  urlPath,
} from "./formats.ts";
import { APART } from "./problem.ts";

/** VRRPv3 carries the interval as 12 bits of centiseconds (RFC 9568 §5.2.7). */
const advertInterval = duration({
  min: "10ms",
  max: "40.95s",
  step: "10ms",
  because: "VRRPv3 carries centiseconds in 12 bits, RFC 9568 §5.2.7",
  example: "100ms",
});

/** keepalived's gratuitous ARP timers are whole seconds (keepalived.conf(5)). */
const wholeSeconds = (max: string, example: string) =>
  duration({
    min: "1s",
    max,
    step: "1s",
    because: "keepalived counts gratuitous ARP in whole seconds, keepalived.conf(5)",
    example,
  });

/** HAProxy keeps timers as 32-bit milliseconds; a day is far below and far above anything sensible. */
const haproxyTime = (example: string) =>
  duration({ min: "1ms", max: "1d", step: "1ms", because: "HAProxy counts milliseconds", example });

const arbiterTime = (max: string, example: string) =>
  duration({ min: "1ms", max, step: "1ms", because: "the arbiter counts milliseconds", example });

const target = duration({
  min: "0s",
  max: "365d",
  step: "1ms",
  because: "targets are kept in milliseconds",
  example: "30s",
});

const jump = () =>
  keys({
    host: host("bastion.example.net").describe("Name or address of the jump host, as this machine resolves it."),
    port: port(22).default(22).describe("Port of its SSH server."),
    user: userName().default("root").describe("User on the jump host."),
    hostKey: hostKey().describe("The jump host's public host key, `type base64`."),
  });

const userName = () => text({ what: "a user name", example: "root", pattern: /^[a-z_][a-z0-9_-]{0,30}$/ });

const ssh = (secret: z.ZodType<unknown>, at: string) =>
  keys({
    host: host("198.51.100.12").describe(
      "Name or address of the server, as this machine (or the jump host) resolves it.",
    ),
    port: port(22).default(22).describe("Port of its SSH server."),
    user: userName().default("root").describe("root, or a user who may run sudo without a password prompt."),
    hostKey: hostKey().describe(
      "The server's public host key, `type base64`. Required: without it anybody could be the server. `hotpair scan` fetches it and shows its fingerprint for confirmation.",
    ),
    keyFile: text({
      what: "a path to a private key file",
      example: "~/.ssh/id_ed25519",
      pattern: /^[^\s][^\r\n]*$/,
      accepts: (value) => !value.includes("PRIVATE KEY"),
    })
      .optional()
      .describe(
        "Private key file on this machine; `~/` is the home directory; a relative path starts at the project. Without `keyFile` and `key`, the SSH agent.",
      ),
    key: secret
      .optional()
      .describe(
        `Private key as an encrypted value, for machines without an agent. Set it with \`pulumi config set --path --secret '${at}.key' < id_ed25519\`.`,
      ),
    jump: jump().optional().describe("A host on the way; it is reached with the same agent or key."),
  });

const prefix = (example: string) => address(example).describe("The network's IPv4 prefix, with all host bits zero.");

const attachment = (interfaceExample: string, addressExample: string) =>
  keys({
    interface: networkInterface(interfaceExample).describe("Network interface of this node on this network."),
    address: address(addressExample).describe("This node's own address there, with the network's prefix length."),
    mtu: integer(1280, 9216, 1500, "bytes")
      .default(1500)
      .describe("Bytes per packet; above 1500 only where every hop of the network carries jumbo frames."),
  });

const site = () => label("the name of a site", 63, "room-1").optional();

const node = (secret: z.ZodType<unknown>) =>
  keys({
    name: label("a host name", 63, "node-a").describe(
      "Host name. It may change later: a node is known by its position in this list.",
    ),
    site: site().describe(
      "Where the server stands, as far as one fault can reach: a room, a rack, a zone. Default: not stated.",
    ),
    ssh: ssh(secret, "hotpair:pair.nodes[0].ssh").describe("How the server is reached."),
    networks: keys({
      public: attachment("eth0", "198.51.100.12/24").describe("Where clients are."),
      heartbeat: attachment("eth1", "198.18.1.12/24").describe("Where VRRP speaks to the peer."),
      storage: attachment("eth2", "198.18.2.12/24")
        .optional()
        .describe("Where data is replicated; a second path for beacons."),
    }).describe("This node's interface and address on every network of the pair."),
  });

const vip = () =>
  keys({
    name: label("a name", 16, "web").describe("Names the VRRP instance, the gate and the report's rows."),
    address: address("198.51.100.100/24").describe(
      "The virtual address, inside the public network, with that network's prefix length or /32.",
    ),
    preferred: label("the name of a node", 63, "node-a")
      .optional()
      .describe("The node that gets this VIP back when both are well. Default: none, the VIP stays where it is."),
    mode: oneOf("ip", "vmac")
      .default("ip")
      .describe(
        "`ip`: the address moves and neighbours learn it by gratuitous ARP. `vmac`: VRRP's virtual MAC moves with it, on a macvlan interface.",
      ),
    routerId: integer(1, 255, 51, "a virtual router id").describe(
      "VRRP virtual router id (RFC 9568 §5.2.3), used by no other router on the pair's networks.",
    ),
  });

const vrrp = () =>
  keys({
    advertInterval: advertInterval
      .default("100ms")
      .describe(
        "Time between VRRP advertisements. A dead node is noticed after 3 × this + skew. The default is the smallest measured safe with the fast gate.",
      ),
    priority: integer(1, 254, 253, "a priority")
      .default(253)
      .describe("Base priority of both nodes; near 254 keeps the skew small (RFC 9568 §6.1)."),
    garp: keys({
      repeat: integer(1, 100, 5, "a number of packets")
        .default(5)
        .describe(
          "Gratuitous ARP packets sent at once by a new owner, and again after `delay` (keepalived's default).",
        ),
      delay: wholeSeconds("1m", "1s")
        .default("1s")
        .describe("Time until the second burst, for switches that were slow to learn."),
      refresh: wholeSeconds("1h", "10s")
        .default("10s")
        .describe("Time between repeats while the node owns the VIP; it corrects neighbours that missed the bursts."),
    })
      .prefault({})
      .describe("Gratuitous ARP: how neighbours learn of a new owner."),
    notify: absolutePath("a program on the servers", "/usr/local/sbin/vip-changed")
      .optional()
      .describe("Run at each state change as `PROGRAM INSTANCE NAME STATE PRIORITY` (keepalived.conf(5), notify)."),
    email: keys({
      to: list(mailbox("ops@example.net"), "mail addresses", { min: 1, max: 16 }).describe(
        "Who is told of state changes.",
      ),
      from: mailbox("hotpair@example.net").describe("Sender."),
      smtpServer: host("mail.example.net").describe("SMTP server, reachable from both nodes."),
    })
      .optional()
      .describe("Mail at state changes."),
  });

const arbiter = () =>
  keys({
    beaconInterval: arbiterTime("1s", "20ms")
      .optional()
      .describe(
        "Time between beacons on every network. Default: 20ms, or a fifth of the advert interval where that is less.",
      ),
    silence: arbiterTime("1m", "150ms")
      .optional()
      .describe("VRRP counts as blind after this long without an advertisement. Default: 1.5 × the advert interval."),
    evidence: arbiterTime("1m", "200ms")
      .optional()
      .describe(
        "A veto lasts no longer than this after the last evidence. Default: 200ms, or twice the advert interval where that is more.",
      ),
    hold: arbiterTime("10m", "45s")
      .default("45s")
      .describe(
        "At boot and after a link comes up the gate stays closed this long, or until the peer is heard (spanning tree, slow bonds).",
      ),
    port: port(7788).default(7788).describe("UDP port of the beacons on every network."),
    serviceDead: arbiterTime("1m", "2s")
      .default("2s")
      .describe(
        "HAProxy counts as lastingly dead after this long without an answer; then the VIP moves if the peer's answers.",
      ),
  });

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
        "`nginx`, `mariadb`, or the name of `external`: the servers are both nodes' public addresses at its port. Default: nginx or else external, where configured. Of `mariadb` only the primary gets traffic (mode tcp).",
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

const haproxy = () =>
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

const nginx = () =>
  keys({
    port: port(8080).default(8080).describe("TCP port on the node's public address."),
    healthPath: urlPath("/healthz").default("/healthz").describe("Answers 200 while nginx serves."),
    root: absolutePath("a directory on the servers", "/srv/www")
      .default("/var/lib/hotpair/www")
      .describe("Document root. With the default, hotpair writes an index page with the node's name."),
  });

const external = () =>
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

const etcdTime = (example: string) =>
  duration({
    min: "10ms",
    max: "50s",
    step: "1ms",
    because: "etcd counts milliseconds and elects for at most 50 s, its tuning guide",
    example,
  });

const leaseTime = (min: string, example: string) =>
  duration({ min, max: "5m", step: "1ms", because: "the lease counts milliseconds", example });

const member = (who: string, secret: Secret) =>
  keys({
    certificate: certificate("the certificate of a member", MAKE_AUTHORITY).describe(
      `Certificate of ${who}, PEM, for both sides of every connection.`,
    ),
    key: secret("authorityKey").describe("Its private key, encrypted."),
  });

const authority = (secret: Secret) =>
  keys({
    etcd: keys({
      clientPort: port(2379)
        .default(2379)
        .describe("TCP port for clients, on every member. On a witness of several pairs each pair has its own."),
      peerPort: port(2380).default(2380).describe("TCP port between members; likewise one for each pair."),
      heartbeat: etcdTime("50ms")
        .default("50ms")
        .describe(
          "etcd's heartbeat interval. With 50ms and an election of 300ms the loss of the leader stopped no database in 8 of 8 runs; with etcd's own defaults it did.",
        ),
      election: etcdTime("300ms")
        .default("300ms")
        .describe("etcd's election timeout, at least 5 × the heartbeat (etcd refuses less)."),
      quota: size({
        min: "16MiB",
        max: "8GiB",
        step: "1MiB",
        because: "etcd recommends at most 8 GiB, its system limits",
        example: "64MiB",
      })
        .default("64MiB")
        .describe("Largest size of a member's database. A pair keeps four keys; compaction holds it at a few MiB."),
    })
      .prefault({})
      .describe("The three etcd members: both nodes and the witness."),
    lease: keys({
      renewal: leaseTime("10ms", "100ms").default("100ms").describe("R: time between renewals of the lease."),
      rpcTimeout: leaseTime("10ms", "200ms").default("200ms").describe("Longest wait for one answer of etcd."),
      deadline: leaseTime("50ms", "800ms")
        .default("800ms")
        .describe("D: the holder stops writing this long after it sent its last acknowledged renewal."),
      takeover: leaseTime("100ms", "1.5s")
        .default("1.5s")
        .describe(
          "T: the other node takes over this long after it saw the last renewal. The least of every failover with data; `hotpair check` says the smallest that is safe.",
        ),
      watchdog: leaseTime("50ms", "800ms")
        .default("800ms")
        .describe("systemd kills the holder when no renewal was acknowledged for this long (WatchdogSec)."),
      stopTimeout: leaseTime("10ms", "200ms")
        .default("200ms")
        .describe("Longest stop of one unit of the chain that the lease carries; their sum is S."),
      drift: text({
        what: "a difference of clocks in millionths, up to 100000ppm",
        example: "1000ppm",
        pattern: /^(0|[1-9]\d{0,5})ppm$/,
        accepts: (value) => Number.parseInt(value, 10) <= 100_000,
      })
        .default("1000ppm")
        .describe(
          "Largest difference in speed of the two nodes' clocks; twice the 500ppm that the kernel corrects at most (MAXFREQ, linux/timex.h).",
        ),
      margin: leaseTime("1ms", "50ms")
        .default("50ms")
        .describe("Kept free between the old holder's end and the new one's start."),
    })
      .prefault({})
      .describe("The lease: the right to write. `T × (1 − drift) > max(D, rpcTimeout + watchdog) + S + margin`."),
    caCertificate: certificate("the certificate of the pair's own authority", MAKE_AUTHORITY).describe(
      "Certificate of the pair's own certificate authority, PEM.",
    ),
    caKey: secret("authorityKey").describe("Its private key, encrypted. It stays in this file and goes to no server."),
    previousCaCertificate: certificate("the certificate of the authority before", MAKE_AUTHORITY)
      .optional()
      .describe("The authority before, still trusted while a rotation is under way."),
    members: keys({
      a: member("the first node's member", secret).describe("Member of the first node of `nodes`."),
      b: member("the second node's member", secret).describe("Member of the second node."),
      witness: member("the witness's member", secret).describe("Member of the witness."),
    }).describe("Certificates of the three members."),
  });

const mariadbSize = (min: string, max: string, step: string, because: string, example: string) =>
  size({ min, max, step, because, example });

const mariadb = (secret: Secret) =>
  keys({
    port: port(3306).default(3306).describe("TCP port on the nodes' own addresses."),
    rolePort: port(9200)
      .default(9200)
      .describe(
        "TCP port on the nodes' public addresses that tells HAProxy the role: 200 on the writable primary only.",
      ),
    dataDirectory: absolutePath("a directory on the servers", "/var/lib/mysql")
      .default("/var/lib/mysql")
      .describe("Where the data lies; its file system must keep what it was told to sync."),
    bufferPool: mariadbSize("8MiB", "16TiB", "1MiB", "InnoDB grows it in steps of 1 MiB", "4GiB")
      .default("128MiB")
      .describe("InnoDB's buffer pool. The default is MariaDB's; two thirds of a server of its own serve better."),
    redoLog: mariadbSize("4MiB", "512GiB", "4KiB", "InnoDB's log comes in blocks of 4 KiB", "512MiB")
      .default("96MiB")
      .describe(
        "InnoDB's redo log. It bounds the recovery after a crash: 1.7 s with 96 MiB, 3.8 s with 512 MiB (measured).",
      ),
    maxConnections: integer(10, 100_000, 151, "a number of connections")
      .default(151)
      .describe("Connections at once; the default is MariaDB's."),
    replicationNetwork: oneOf("public", "heartbeat", "storage")
      .optional()
      .describe("Network that replication uses. Default: storage where there is one, else heartbeat."),
    replicaReads: keys({
      port: port(3307).describe("TCP port on the VIP that leads to the replica."),
      maxLag: duration({
        min: "10ms",
        max: "1h",
        step: "1ms",
        because: "lag is measured in milliseconds, by heartbeat rows",
        example: "1s",
      })
        .default("1s")
        .describe("A replica that is further behind gets no reads until it has caught up."),
    })
      .optional()
      .describe("Reads from the replica, as a service of their own. Default: no reads there."),
    adopt: flag()
      .default(false)
      .describe("Take over a server that has data already. With false, data that hotpair did not make is an error."),
    replicationPassword: secret("replicationPassword").describe(
      "Encrypted password of the replication user. `hotpair secrets rotate` makes it.",
    ),
    previousReplicationPassword: secret("replicationPassword")
      .optional()
      .describe("The password before the last rotation, accepted until `hotpair secrets rotate --finish` drops it."),
  });

const witness = (secret: Secret) =>
  keys({
    name: label("a host name", 63, "witness").default("witness").describe("Host name."),
    site: site().describe(
      "Where it stands. It must not be where a node stands: one fault would take two of three votes.",
    ),
    ssh: ssh(secret("sshKey"), "hotpair:witness.ssh").describe("How it is reached."),
    address: plainAddress("198.51.100.13").describe(
      "Address at which both nodes reach it, on or beyond the network that clients use, so that a cut heartbeat costs no vote.",
    ),
  });

/** What fence-agents read on standard input, `name=value` (their man pages, STDIN PARAMETERS). */
const OPTION_NAME = /^[a-z][a-z0-9_]{0,39}$/;

const fencing = (secret: Secret) =>
  keys({
    agents: list(
      keys({
        node: label("the name of a node", 63, "node-a").describe("The node that this agent shoots."),
        agent: text({
          what: "a fence agent of the fence-agents project, or aws, or lab",
          example: "fence_ipmilan",
          pattern: /^(fence_[a-z0-9_]{1,40}|aws|lab)$/,
        }).describe(
          "Program of the fence-agents project; `aws` stops a server that hotpair made in AWS, by the other one's role; `lab` kills a machine of the lab.",
        ),
        options: named(
          "an option of a fence agent, in lower-case letters, digits and underscores",
          OPTION_NAME,
          "ip",
          text({
            what: "a text of one line (numbers in quotes)",
            example: "198.18.3.11",
            pattern: /^[\x20-\x7e]{1,200}$/,
            accepts: (value) => value.trim() === value && !value.includes("PRIVATE KEY"),
          }),
        )
          .default({})
          .describe("The agent's own options, as its man page names them, e.g. `ip`, `username`, `plug`."),
        secrets: named(
          "an option of a fence agent, in lower-case letters, digits and underscores",
          OPTION_NAME,
          "password",
          secret("fencingSecret"),
        )
          .default({})
          .describe("Options that are secrets, each encrypted, e.g. `password`."),
      }),
      "fence agents",
      { min: 2, max: 2 },
    ).describe("One for each node: what shoots that node."),
    timeout: duration({
      min: "1s",
      max: "5m",
      step: "1s",
      because: "fence agents count whole seconds",
      example: "20s",
    })
      .default("20s")
      .describe(
        "A node that is not confirmed off after this long counts as not fenced (fence-agents' own power timeout).",
      ),
    required: flag()
      .default(false)
      .describe(
        "A promotion after an unclean end waits until the other node is confirmed off. With false it is shot beside the promotion, which waits for the lease alone.",
      ),
  });

const device = (example: string) =>
  text({
    what: "a block device: a path below /dev of letters, digits and . _ - + @ : /",
    example,
    pattern: /^\/dev(\/[A-Za-z0-9._+@:-]+)+$/,
    accepts: (value) => !value.split("/").some((part) => part === "." || part === ".."),
  });

const onBothNodes = (what: string, examples: readonly [string, string]) =>
  keys({
    a: device(examples[0]).describe(`${what} on the first node.`),
    b: device(examples[1]).describe(`${what} on the second node.`),
  });

/** DRBD's names end up in file names, units and its own configuration. */
const resourceName = () => label("the name of a resource", 32, "data");

const perSecond = (example: string) =>
  size({ min: "1MiB", max: "64GiB", step: "1MiB", because: "what disks and networks carry in a second", example });

const drbdTime = (min: string, max: string, step: string, example: string) =>
  duration({ min, max, step, because: "drbd.conf(5) counts it so", example });

const drbd = (secret: Secret) =>
  keys({
    resources: list(
      keys({
        name: resourceName().describe("Name of the resource, in DRBD's configuration and in `volumes`."),
        minor: integer(0, 255, 0, "a minor number").describe("It becomes /dev/drbd<minor> on both nodes."),
        port: port(7789).describe("TCP port of its connection, on the network that replication uses."),
        disks: onBothNodes("Disk, partition or logical volume", [
          "/dev/disk/by-id/nvme-one-part1",
          "/dev/disk/by-id/nvme-two-part1",
        ]).describe("What it is made of. Names below /dev/disk/ stay the same when disks are added; /dev/sdb may not."),
        metadata: onBothNodes("Device for its metadata", ["/dev/vg/data-meta", "/dev/vg/data-meta"])
          .optional()
          .describe(
            "Devices of their own for DRBD's metadata, whole. Default: internal, at the end of the disk; data that is there already needs room for it, or this.",
          ),
      }),
      "resources",
      { min: 1, max: 16 },
    ).describe("Replicated block devices. All of them are written on the same node."),
    protocol: oneOf("A", "B", "C")
      .default("C")
      .describe(
        "When a write is acknowledged. `C`: on both disks, so no single failure loses one. `B`: on one disk and in the other node's memory; power lost on both may lose it. `A`: on one disk and on its way; a failure of the active node loses what is in the send buffer.",
      ),
    network: oneOf("public", "heartbeat", "storage")
      .optional()
      .describe("Network that replication uses. Default: storage where there is one, else heartbeat."),
    pingInterval: drbdTime("1s", "120s", "1s", "1s")
      .default("1s")
      .describe("A connection that is silent for this long is tested (ping-int)."),
    pingTimeout: drbdTime("100ms", "30s", "100ms", "500ms")
      .default("500ms")
      .describe("A peer that does not answer the test within this time is lost (ping-timeout). The default is DRBD's."),
    diskPerSecond: perSecond("200MiB").describe(
      "What the slower node's disk writes in a second. With the next one it sets the resync and the activity log.",
    ),
    networkPerSecond: perSecond("110MiB").describe("What that network carries in a second."),
    crashResync: duration({
      min: "1s",
      max: "1h",
      step: "1s",
      because: "the activity log is between 268 MiB and 25 GiB of the device",
      example: "30s",
    })
      .default("30s")
      .describe(
        "Longest resync after a crash of the active node that you accept, for each resource: so long the pair survives nothing more. Longer is faster in daily use (fewer writes to the metadata).",
      ),
    sendBuffer: size({
      min: "64KiB",
      max: "10MiB",
      step: "1KiB",
      because: "sndbuf-size, drbd.conf(5)",
      example: "1MiB",
    })
      .default("1MiB")
      .describe("For protocol A: what may be acknowledged and not sent yet. With B and C the kernel chooses."),
    onIoError: oneOf("detach", "pass-on")
      .default("detach")
      .describe(
        "A disk with errors: `detach` gives it up, reads and writes go to the peer's, and the pair hands over. `pass-on` tells the file system.",
      ),
    checksum: oneOf("crc32c", "sha1", "sha256")
      .default("crc32c")
      .describe("Digest that verification and resyncs compare blocks by; crc32c is in hardware on most servers."),
    verify: oneOf("never", "daily", "weekly", "monthly")
      .default("weekly")
      .describe("How often the active node compares both copies block by block, while it serves."),
    sharedSecret: secret("sharedSecret")
      .optional()
      .describe(
        "Encrypted secret that both sides prove to know before they connect. Without it, whoever reaches the port can be the peer. It authenticates; it does not encrypt.",
      ),
    accepted: keys({
      undrilled: reason("a trial on servers that hold nothing anybody needs")
        .optional()
        .describe(
          "Why DRBD is used although hotpair has not drilled it with a real kernel driver yet. Without a reason it is refused.",
        ),
    })
      .default({})
      .describe("What is unusual on purpose, with the reason."),
  });

const serviceUnit = () =>
  text({
    what: "the full name of a systemd service, a plain one and no template",
    example: "app.service",
    pattern: /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}\.service$/,
  });

const ownTime = (min: string, max: string, because: string, example: string) =>
  duration({ min, max, step: "1ms", because, example });

const volumes = () =>
  list(
    keys({
      device: resourceName().describe("The resource of `hotpair:drbd` that carries it; each carries one."),
      fileSystem: oneOf("ext4", "xfs")
        .default("ext4")
        .describe("Its file system, made by you or by the first set-up (docs/drbd.md#first-set-up)."),
      mountPoint: text({
        what: "a directory on the servers: an absolute path of letters, digits, _ and inner dots (systemd names the mount by it)",
        example: "/srv/data",
        pattern: /^(\/[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*)+$/,
      }).describe(
        "Where the active node mounts it: letters, digits, _ and inner dots, since systemd names the mount by it. On the standby the directory is empty.",
      ),
      units: list(serviceUnit(), "systemd services", { max: 16 })
        .default([])
        .describe(
          "Services that run on it, on the active node only, started in this order. They are installed on both servers and not enabled there: hotpair starts and stops them.",
        ),
      stopTimeout: ownTime("100ms", "4s", "a hand-over is called off after 5s", "3s")
        .default("3s")
        .describe(
          "A service that has not stopped after this long is killed, as a crash would end it. All of them together must leave a hand-over its time.",
        ),
      checkWithin: ownTime("10ms", "1h", "a term of the estimate", "2s")
        .default("2s")
        .describe(
          "Longest check of the file system after a crash: replaying its journal. Your own word, a term of the estimate; nothing ends a check that takes longer.",
        ),
      startWithin: ownTime("10ms", "1h", "a term of the estimate", "5s")
        .default("5s")
        .describe(
          "Longest start of its services after a crash, recovery of their data included. Your own word, a term of the estimate.",
        ),
    }),
    "volumes",
    { min: 1, max: 16 },
  );

/** A prefix as AWS takes it, e.g. in a rule of a security group. */
const cloudPrefix = (example: string) => address(example);

/** `vpc-0123456789abcdef0`: eight hexadecimal digits in old accounts, seventeen since 2018. */
const cloudId = (kind: string, what: string) =>
  text({ what, example: `${kind}-0a1b2c3d4e5f60718`, pattern: new RegExp(`^${kind}-([0-9a-f]{8}|[0-9a-f]{17})$`) });

const reason = (example = REASON) =>
  text({
    what: "a reason in a sentence of 10 to 200 characters",
    example,
    pattern: /^[^\s][^\r\n]{8,198}[^\s]$/,
  });

const REASON = "the second zone of this region has no capacity of the type that we need";

const days = (min: string, because: string, example: string) =>
  duration({ min, max: "36500d", step: "1d", because, example });

const aws = (secret: Secret) =>
  keys({
    region: text({ what: "a region of AWS", example: "eu-central-1", pattern: /^[a-z]{2}(-[a-z]+)+-\d$/ }).describe(
      "Region in which everything is made.",
    ),
    zones: list(
      text({ what: "an availability zone", example: "eu-central-1a", pattern: /^[a-z]{2}(-[a-z]+)+-\d[a-z]$/ }),
      "availability zones",
      { min: 1, max: 2 },
    ).describe("Zone of the first node and of the second one; with one zone both are there, on different hardware."),
    vpc: keys({
      prefix: prefix("10.20.0.0/16").describe(
        "The VPC's IPv4 prefix. Every network of the pair lies in it; with two zones each network is cut in halves, the first one for the first node.",
      ),
      id: cloudId("vpc", "the id of a VPC")
        .optional()
        .describe("An existing VPC. Default: one is made, with an internet gateway."),
      routeTable: cloudId("rtb", "the id of a route table")
        .optional()
        .describe("The existing VPC's route table for the public subnets: it is what leads to clients and operators."),
    }).describe("The virtual network."),
    vip: keys({
      method: oneOf("secondary-ip", "elastic-ip", "route", "dns").describe(
        "How the address moves. `secondary-ip`: as a private address, within one zone. `elastic-ip`: a public address, associated with the active node. `route`: an address outside the VPC, in its route tables. `dns`: a record that names the active node.",
      ),
      within: duration({
        min: "100ms",
        max: "10m",
        step: "1ms",
        because: "the estimate counts milliseconds",
        example: "10s",
      })
        .default("10s")
        .describe(
          "Longest time from the call that moves the address to traffic at the new node. AWS promises none: the default is an assumption, until you have measured in your own account.",
        ),
      addresses: keys({
        a: plainAddress("10.20.0.12").describe("Of the first node."),
        b: plainAddress("10.20.0.140").describe("Of the second node."),
      })
        .optional()
        .describe(
          "For `elastic-ip`: a second address of each node on the public network, with which the Elastic IP is associated. The nodes' first ones belong to operators.",
        ),
      hostedZone: text({
        what: "the id of a hosted zone",
        example: "Z0123456789ABCDEFGHIJ",
        pattern: /^Z[A-Z0-9]{5,31}$/,
      })
        .optional()
        .describe("Route 53's hosted zone, for `dns`."),
      record: text({
        what: "a name in that zone",
        example: "shop.example.net",
        pattern: /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/,
      })
        .optional()
        .describe("The record that names the active node, for `dns`."),
      ttl: duration({
        min: "1s",
        max: "1h",
        step: "1s",
        because: "DNS counts whole seconds, RFC 1035 §3.2.1",
        example: "5s",
      })
        .default("5s")
        .describe("How long resolvers keep the record, for `dns`: every failover waits for it."),
    }).describe("The address that moves."),
    instance: keys({
      type: text({ what: "an instance type", example: "m7i.large", pattern: /^[a-z][a-z0-9-]*\.[a-z0-9-]+$/ }).describe(
        "Type of both servers. Burstable types stop serving when their credits are used up and are refused.",
      ),
      image: cloudId("ami", "the id of an image")
        .optional()
        .describe(
          "Image of both servers. Default: the newest Debian 13 when they are made; a later one replaces nothing.",
        ),
      spot: flag()
        .default(false)
        .describe("Servers that AWS may take away with two minutes' notice; refused without a reason."),
      terminationProtection: flag()
        .default(true)
        .describe("AWS refuses to terminate the servers. Set it to false, and run `up`, before `destroy`."),
    }).describe("The servers."),
    volume: keys({
      type: oneOf("gp3", "io2").default("gp3").describe("Type of the root volume, which is always encrypted."),
      size: size({
        min: "8GiB",
        max: "16TiB",
        step: "1GiB",
        because: "EBS counts whole GiB, and Debian's image has 8",
        example: "20GiB",
      })
        .default("20GiB")
        .describe("Its size."),
      iops: integer(100, 256_000, 3_000, "a number of operations per second")
        .optional()
        .describe("Operations per second. Default: the type's own; io2 has none and needs it."),
    })
      .prefault({})
      .describe("Each server's root volume."),
    ssh: keys({
      from: list(cloudPrefix("203.0.113.0/24"), "prefixes", { min: 1, max: 16 }).describe(
        "From where SSH is let in; never from everywhere.",
      ),
      publicKey: text({
        what: "an SSH public key, type base64",
        example: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…",
        pattern: /^(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/]{40,}={0,2}$/,
      }).describe("The operator's public key, for the image's own user (`admin` on Debian)."),
      elasticIps: keys({
        a: cloudId("eipalloc", "the allocation id of an Elastic IP").describe("Of the first node."),
        b: cloudId("eipalloc", "the allocation id of an Elastic IP").describe("Of the second node."),
      })
        .optional()
        .describe(
          "Elastic IPs that you have allocated, at which the nodes are reached (`ssh.host`). Default: the nodes are reached by their addresses in the VPC, through a VPN or a jump host.",
        ),
    }).describe("How operators get in."),
    clients: list(cloudPrefix("0.0.0.0/0"), "prefixes", { min: 1, max: 16 })
      .default(["0.0.0.0/0"])
      .describe("From where clients reach the ports that the services declare for them, and no others."),
    bucket: keys({
      name: text({
        what: "the name of a bucket",
        example: "shop-backups-eu",
        pattern: /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/,
      }).describe("Its name, unique in all of AWS."),
      objectLock: days("1d", "object lock counts days", "30d")
        .optional()
        .describe("Nobody can delete or overwrite a version for this long. Default: no lock."),
      infrequentAccess: days("30d", "S3 moves nothing to infrequent access earlier", "30d")
        .optional()
        .describe("Age at which objects move to infrequent access. Default: they do not."),
      glacier: days("1d", "S3 counts days", "90d").optional().describe("Age at which they move to Glacier."),
      deepArchive: days("1d", "S3 counts days", "365d").optional().describe("Age at which they move to Deep Archive."),
    })
      .optional()
      .describe("A bucket for backups: versioned, encrypted, closed to the public. Default: none."),
    backup: keys({
      role: text({
        what: "the ARN of a role",
        example: "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole",
        pattern: /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,128}$/,
      }).describe(
        "Role of AWS Backup, which must be there. AWS makes `AWSBackupDefaultServiceRole` when somebody first uses AWS Backup in its console.",
      ),
      at: text({
        what: "a time of day, hours and minutes",
        example: "03:00",
        pattern: /^([01]\d|2[0-3]):[0-5]\d$/,
      })
        .default("03:00")
        .describe("When a day's backup may begin, UTC. AWS begins within an hour."),
      keep: days("1d", "AWS Backup counts days", "35d").default("35d").describe("How long a backup is kept."),
    })
      .optional()
      .describe("A daily image of both servers with their volumes, by AWS Backup. Default: none."),
    budget: keys({
      monthly: integer(1, 1_000_000, 300, "a sum in US dollars").describe("What a month may cost, in US dollars."),
      email: list(mailbox("ops@example.net"), "mail addresses", { min: 1, max: 10 }).describe("Who is told."),
    })
      .optional()
      .describe(
        "Mail when AWS bills more than this for what carries the pair's tag, or expects to. Default: none. The tag `hotpair:pair` must be activated as a cost allocation tag.",
      ),
    tags: named(
      "the name of a tag, of at most 64 letters, digits and . _ : + = @ -",
      /^(?!aws:|hotpair:)[A-Za-z0-9._:+=@-]{1,64}$/,
      "owner",
      text({ what: "a text of at most 200 characters", example: "shop-team", pattern: /^[^\r\n]{1,200}$/ }),
    )
      .default({})
      .describe("Tags on everything that is made, beside hotpair's own."),
    accepted: keys({
      oneZone: reason().optional().describe("Why both servers are in one zone."),
      burstable: reason().optional().describe("Why the servers may run out of processor credits."),
      spot: reason().optional().describe("Why AWS may take the servers away."),
    })
      .default({})
      .describe("What is unusual on purpose, with the reason: it is then advised against and no longer refused."),
    hostKeys: keys({
      a: secret("hostKey").describe("The first node's, encrypted."),
      b: secret("hostKey").describe("The second node's, encrypted."),
    }).describe(
      "SSH host keys that the servers start with, so that the first connection is pinned. `hotpair cloud keys` makes them.",
    ),
  });

const base = () =>
  keys({
    persistentJournal: flag()
      .default(true)
      .describe("Keep the systemd journal on disk, so that the night can be read the morning after."),
    installPackages: flag()
      .default(true)
      .describe("Install missing packages. With false their absence is an error before anything is changed."),
    watchdog: duration({
      min: "2s",
      max: "10m",
      step: "1s",
      because: "what hardware watchdogs can count",
      example: "10s",
    })
      .optional()
      .describe(
        "The hardware watchdog (/dev/watchdog) resets a server whose systemd hangs for this long: its RuntimeWatchdogSec, from the next boot on. No effect where there is none. Default: left as the system has it.",
      ),
  });

const limit = (example: string, max = "10s") =>
  duration({ min: "0s", max, step: "1ms", because: "timers count milliseconds", example });

const limits = () =>
  keys({
    // The timers that these ask for stay within what their fields hold.
    roundTrip: limit("1ms", "1s")
      .default("1ms")
      .describe("Longest round trip between any two hosts of the pair. The default is one site's network."),
    jitter: limit("10ms", "5s").default("10ms").describe("How much longer a packet takes now and then."),
    pause: limit("50ms")
      .default("50ms")
      .describe(
        "Longest time for which a server does not run: a busy processor, a snapshot, a virtual machine that is moved. The default holds for servers of their own.",
      ),
    restore: limit("750ms", "50s")
      .default("750ms")
      .describe(
        "From systemd's start of a HAProxy that died until it serves. The default was measured in the lab, with room.",
      ),
  });

const targets = (what: string) =>
  keys({
    default: target.optional().describe(`${what} for every failure class that is not named. Default: the tier's.`),
    ...(Object.fromEntries(
      FAILURE_CLASS_IDS.map((id) => [id, target.optional().describe(`${what} when ${FAILURE_CLASSES[id]}.`)]),
    ) as Record<FailureClassId, ReturnType<typeof target.optional>>),
  });

/** Names of tiers that are described here; everybody's own stand in `objectives.tiers`. */
const tierName = () =>
  text({
    what: `${TIER_NAMES.join(", ")}, or the name of one of objectives.tiers`,
    example: "standard",
    pattern: /^[a-z][a-z0-9-]{0,31}$/,
  });

const yearly = duration({
  min: "1s",
  max: "365d",
  step: "1s",
  because: "a year is counted in seconds",
  example: "24h",
});

const objectives = () =>
  keys({
    tier: tierName()
      .default("standard")
      .describe(
        "`standard`: RTO 30s, RPO 5s. `critical`: RPO 0s, RTO 1s, or 3s with data. `extreme`: RTO 300ms, without data. `custom`: what `rto.default` and `rpo.default` say. Or one of `tiers`.",
      ),
    tiers: list(
      keys({
        name: label("the name of a tier", 32, "gold").describe("What `tier` calls it."),
        rto: target.describe("Recovery time objective for every class without a target of its own."),
        rpo: target.describe("Recovery point objective for every class without a target of its own."),
      }),
      "tiers",
      { max: 16 },
    )
      .default([])
      .describe("Tiers of your own, the same in every stack file of an organisation."),
    downtime: yearly
      .optional()
      .describe("Longest time without service in a year that may be expected, over all failures. Default: no budget."),
    redundancyLost: yearly
      .optional()
      .describe("Longest time in a year without a usable standby that may be expected. Default: no budget."),
    rto: targets("Recovery time objective")
      .prefault({})
      .describe("Longest time without service that a client may see, per failure class."),
    rpo: targets("Recovery point objective")
      .prefault({})
      .describe("Longest stretch of acknowledged data that may be lost, per failure class."),
  });

/** A day that there is: the 31st of June is none, and becomes the 1st of July when it is read. */
const isDay = (text: string): boolean => {
  const read = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(read.getTime()) && read.toISOString().startsWith(text);
};

const evidence = () =>
  keys({
    enforcement: oneOf("advisory", "mandatory")
      .default("advisory")
      .describe(
        "Whether evidence that is missing, failed, too old or of another configuration stops `up`, or is only said.",
      ),
    maxAge: duration({ min: "1d", max: "3650d", step: "1d", because: "age is counted in days", example: "90d" })
      .default("90d")
      .describe("Evidence that is older says nothing any more."),
    allowedSigners: text({
      what: "a path to a file",
      example: "stacks/allowed_signers",
      pattern: /^[^\s][^\r\n]*$/,
    })
      .optional()
      .describe(
        "File of those who may sign evidence (`ssh-keygen`'s ALLOWED SIGNERS), from the project. With it, evidence counts only when one of them signed it. Default: no signature is needed.",
      ),
    beforeDrill: keys({
      digest: text({
        what: "`sha256:` and the first 12 to 64 digits of the configuration's digest",
        example: "sha256:5f3c0d1e9a7b",
        pattern: /^sha256:[0-9a-f]{12,64}$/,
      }).describe("The configuration that may be applied; `hotpair check` names its digest."),
      until: text({
        what: "a day in quotes, YYYY-MM-DD",
        example: "2026-12-24",
        pattern: /^\d{4}-\d{2}-\d{2}$/,
        accepts: (value) => isDay(value),
      }).describe("The last day (UTC) on which it may."),
    })
      .optional()
      .describe(
        "With `enforcement: mandatory`, the one way to apply a configuration that was not drilled yet: this very one, until this day.",
      ),
  });

const failures = () =>
  list(
    keys({
      class: oneOf(...(FAILURE_CLASS_IDS as [FailureClassId, ...FailureClassId[]])).describe("The failure class."),
      rate: text({
        what: "how often it happens: a number per day, week, month or year",
        example: "0.5/year",
        accepts: (value) => parseRate(value) !== undefined,
      })
        .optional()
        .describe("How often it happens. Default: docs/estimate.md#a-year."),
      repair: yearly
        .optional()
        .describe(
          "From the failure until the pair is as it was, the night included. Default: docs/estimate.md#a-year.",
        ),
    }),
    "failure classes",
    { max: FAILURE_CLASS_IDS.length },
  );

const networks = () =>
  keys({
    public: keys({
      prefix: prefix("198.51.100.0/24"),
      gateway: plainAddress("198.51.100.1")
        .optional()
        .describe("Router on this network. A node that cannot reach it gives its VIPs up."),
    }).describe("Where clients and VIPs are."),
    heartbeat: keys({ prefix: prefix("198.18.1.0/24") }).describe(
      "Between the nodes, for VRRP; best a cable or VLAN of its own.",
    ),
    storage: keys({ prefix: prefix("198.18.2.0/24") })
      .optional()
      .describe("Between the nodes, for data; a second path for beacons."),
  });

/** What stands where a secret belongs: `{secure: …}` in a stack file, the decrypted text in the engine. */
type Secret = (what: SecretField) => z.ZodType<unknown>;

/** The whole input: the pair, with what is written under keys of their own (APART). */
const inputSchema = (secret: Secret) =>
  keys(
    {
      ...pairKeys(secret),
      witness: witness(secret)
        .optional()
        .describe("A third, small host that votes and never serves. Every pair that keeps data has one."),
      fencing: fencing(secret)
        .optional()
        .describe(
          "How the holder of the lease makes sure that the other node is off, where time alone does not prove it (a frozen machine that wakes up).",
        ),
      drbd: drbd(secret)
        .optional()
        .describe(
          "Replicated block devices (DRBD), promoted on the node that holds the lease. They need `hotpair:witness`, `authority` and `hotpair:volumes`.",
        ),
      volumes: volumes()
        .optional()
        .describe("File systems on replicated devices, and the services that run on them while a node is active."),
      aws: aws(secret)
        .optional()
        .describe("Where in AWS the servers are made, and what is made for them; with `target: aws` alone."),
    },
    APART,
  );

const pairKeys = (secret: Secret) =>
  ({
    name: label("a name", 32, "shop")
      .optional()
      .describe("Name of the pair, for labels and files on the servers. Default: the stack's name."),
    target: oneOf("onprem", "aws")
      .default("onprem")
      .describe(
        "How servers come to be: `onprem` are existing ones, reached over SSH; `aws` are made as `hotpair:aws` says.",
      ),
    networks: networks().describe("The networks that the nodes share. They must not overlap."),
    nodes: list(node(secret("sshKey")), "nodes", { min: 2, max: 2 }).describe("The two servers."),
    vips: list(vip(), "VIPs", { min: 1, max: 2 }).describe(
      "One or two virtual addresses. Two that prefer different nodes make an active/active pair.",
    ),
    vrrp: vrrp().prefault({}).describe("How keepalived decides who owns a VIP."),
    arbiter: arbiter().prefault({}).describe("Timing of hotpair-arbiter, which vetoes a second owner."),
    haproxy: haproxy()
      .optional()
      .describe("Load balancer in front of the services. Leave it out to manage only the VIP."),
    nginx: nginx().optional().describe("nginx as the backend service, on both nodes."),
    external: external()
      .optional()
      .describe("A service on both nodes that hotpair does not manage and only sends traffic to."),
    mariadb: mariadb(secret)
      .optional()
      .describe("A MariaDB primary and its semi-synchronous replica. It needs `hotpair:witness` and `authority`."),
    authority: authority(secret)
      .optional()
      .describe("Who may write: etcd on both nodes and the witness. It stands where `hotpair:witness` stands."),
    base: base().prefault({}).describe("The servers themselves."),
    objectives: objectives()
      .prefault({})
      .describe("What the pair promises; `hotpair check` compares it with the estimate."),
    evidence: evidence().prefault({}).describe("What drills must have shown before a configuration counts as proven."),
    failures: failures()
      .default([])
      .describe(
        "How often what happens here, where you know better than the defaults; `hotpair estimate` makes a year of it.",
      ),
    limits: limits()
      .prefault({})
      .describe(
        "What is ordinary on these networks and servers: no timer may take it for a fault. `hotpair tune` proposes timers for it.",
      ),
    beaconKey: secret("beaconKey").describe(
      "Encrypted key that authenticates the arbiters' beacons. `hotpair init` and `hotpair secrets rotate` make it.",
    ),
    previousBeaconKey: secret("beaconKey")
      .optional()
      .describe("The key before the last rotation, accepted until `hotpair secrets rotate --finish` drops it."),
  }) as const;

export type SecretField =
  | "beaconKey"
  | "sshKey"
  | "hostKey"
  | "authorityKey"
  | "replicationPassword"
  | "fencingSecret"
  | "sharedSecret";

const MAKE_AUTHORITY = "make it with `hotpair authority init`";

const SECRETS: Record<SecretField, { readonly what: string; readonly pattern: RegExp; readonly how: string }> = {
  beaconKey: {
    what: "a beacon key",
    pattern: /^[0-9a-f]{64}$/,
    how: "make one with `hotpair secrets rotate`",
  },
  sshKey: {
    what: "an SSH private key",
    pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
    how: "set it with `pulumi config set --path --secret`",
  },
  hostKey: {
    what: "an SSH host key",
    pattern: /^-----BEGIN OPENSSH PRIVATE KEY-----\n/,
    how: "make it with `hotpair cloud keys`",
  },
  authorityKey: {
    what: "a private key in PEM",
    pattern: /^-----BEGIN (EC )?PRIVATE KEY-----\n/,
    how: MAKE_AUTHORITY,
  },
  replicationPassword: {
    // CHANGE MASTER TO takes 32 characters for sure; longer ones have been cut.
    what: "a password of 20 to 32 letters and digits",
    pattern: /^[A-Za-z0-9]{20,32}$/,
    how: "make one with `hotpair secrets rotate`",
  },
  sharedSecret: {
    // shared-secret is at most 64 characters (drbd.conf(5)).
    what: "a secret of 20 to 64 letters and digits",
    pattern: /^[A-Za-z0-9]{20,64}$/,
    how: "set it with `pulumi config set --path --secret 'hotpair:drbd.sharedSecret'`",
  },
  fencingSecret: {
    what: "a text of one line",
    pattern: /^[\x20-\x7e]{1,200}$/,
    how: "set it with `pulumi config set --path --secret`",
  },
};

const encrypted = (field: SecretField): z.ZodType<unknown> => {
  const { what, how } = SECRETS[field];
  return z.strictObject(
    { secure: z.string().min(1).describe("Ciphertext, as Pulumi writes it.") },
    {
      error: ({ input }) => {
        if (input === undefined) return `is missing; expected ${what}, encrypted: ${how}`;
        if (typeof input === "string" && input !== "")
          return `holds a secret in plain text (not shown); treat it as published, and ${how}`;
        return `is not an encrypted value; expected ${what} as {secure: …}: ${how}`;
      },
    },
  );
};

const decrypted = (field: SecretField): z.ZodType<unknown> => {
  const { what, pattern, how } = SECRETS[field];
  const error = ({ input }: { readonly input?: unknown }) =>
    input === undefined
      ? `is missing; expected ${what}, encrypted: ${how}`
      : `does not decrypt to ${what} (value not shown); ${how}`;
  return z.string({ error }).regex(pattern, { error });
};

/** As a stack file says it: secrets are `{secure: …}`. */
export const fileSchema = inputSchema(encrypted);
/** As the Pulumi engine hands it to a program: secrets are decrypted texts. */
export const engineSchema = inputSchema(decrypted);

/** A valid configuration with the schema's own defaults; what is derived from several fields is still open. */
export type PairSettings = z.output<typeof fileSchema>;
