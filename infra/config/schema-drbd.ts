// Replicated disks and the volumes on them: `hotpair:drbd` and `hotpair:volumes`.

import { duration, integer, keys, label, list, oneOf, port, reason, size, text } from "./formats.ts";
import { mariadbServer } from "./schema-data.ts";
import { nfsExport } from "./schema-nfs.ts";
import type { Secret } from "./schema-secrets.ts";

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

export const drbd = (secret: Secret) =>
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
          "Why DRBD is used although hotpair has drilled it on emulated machines alone. Without a reason it is refused.",
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

export const volumes = () =>
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
      mariadb: keys(mariadbServer())
        .optional()
        .describe(
          "A MariaDB server whose data lies here, in the directory `mariadb` of the mount point: hotpair runs it on the active node, before `units`. The volume is its copy on the other node, nothing replicates. One in a pair; clients come by a backend with `service: mariadb`.",
        ),
      nfs: nfsExport()
        .optional()
        .describe(
          "Exports it by NFS over the VIP, with its clients' locks kept over a failover (docs/nfs.md). One in a pair.",
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
          "Longest start of `units` after a crash, recovery of their data included. Your own word, a term of the estimate. A `mariadb` counts with this, too, unless the recovery of its `redoLog` may take longer.",
        ),
    }),
    "volumes",
    { min: 1, max: 16 },
  );
