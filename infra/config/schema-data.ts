// What a pair that keeps data has besides: the authority with its lease, the database, fencing. Replicated disks are
// schema-drbd.ts.

import {
  absolutePath,
  certificate,
  duration,
  flag,
  integer,
  keys,
  label,
  list,
  named,
  oneOf,
  port,
  size,
  text,
} from "./formats.ts";
import { MAKE_AUTHORITY, type Secret } from "./schema-secrets.ts";

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

export const authority = (secret: Secret) =>
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

/** What every MariaDB server has, whoever copies its data to the other node. */
export const mariadbServer = () => ({
  port: port(3306).default(3306).describe("TCP port on the nodes' own addresses."),
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
});

export const mariadb = (secret: Secret) => {
  const { port: serverPort, ...sizes } = mariadbServer();
  return keys({
    port: serverPort,
    rolePort: port(9200)
      .default(9200)
      .describe(
        "TCP port on the nodes' public addresses that tells HAProxy the role: 200 on the writable primary only.",
      ),
    dataDirectory: absolutePath("a directory on the servers", "/var/lib/mysql")
      .default("/var/lib/mysql")
      .describe("Where the data lies; its file system must keep what it was told to sync."),
    ...sizes,
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
};

/** What fence-agents read on standard input, `name=value` (their man pages, STDIN PARAMETERS). */
const OPTION_NAME = /^[a-z][a-z0-9_]{0,39}$/;

export const fencing = (secret: Secret) =>
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
