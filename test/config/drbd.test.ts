// Replicated disks and what runs on them, as they are written: what that means, every way in which they can be wrong, and the
// exact words about it.

import fc from "fast-check";
import { expect, test } from "vitest";
import { readPair, secretPaths, secretStates, secretsOf } from "../../infra/config/index.ts";
import { UserError } from "../../infra/model/errors.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { asDecrypted, diskInput, type Input, mistakesWithData, mistakesWithDisks } from "./sample.ts";

const read = (input: Input) => readPair(input, { stack: "lab", locate: () => undefined });

test("defaults, units and names become numbers, bytes and references", () => {
  const { drbd, volumes } = read(diskInput());
  expect(drbd).toEqual({
    network: "storage",
    protocol: "C",
    resources: [
      {
        name: "data",
        minor: 0,
        port: 7789,
        disks: { a: "/dev/disk/by-id/one", b: "/dev/disk/by-id/two" },
        metadata: undefined,
      },
      {
        name: "files",
        minor: 1,
        port: 7790,
        disks: { a: "/dev/vg/files", b: "/dev/vg/files" },
        metadata: { a: "/dev/vg/meta", b: "/dev/vg/meta" },
      },
    ],
    pingInterval: 1_000,
    pingTimeout: 500,
    diskPerSecond: 200 * 2 ** 20,
    networkPerSecond: 110 * 2 ** 20,
    crashResync: 30_000,
    sendBuffer: 2 ** 20,
    onIoError: "detach",
    checksum: "crc32c",
    verify: "weekly",
    sharedSecret: { secret: "drbd.sharedSecret" },
    accepted: { undrilled: "a trial on servers that hold nothing" },
  });
  expect(volumes).toEqual([
    {
      resource: "data",
      fileSystem: "ext4",
      mountPoint: "/srv/data",
      units: ["shop-db.service", "shop.service"],
      stopTimeout: 3_000,
      checkWithin: 2_000,
      startWithin: 5_000,
    },
    {
      resource: "files",
      fileSystem: "xfs",
      mountPoint: "/srv/files",
      units: [],
      stopTimeout: 3_000,
      checkWithin: 2_000,
      startWithin: 5_000,
    },
  ]);
});

test("without a storage network replication uses the heartbeat", () => {
  const input = diskInput();
  delete input.networks.storage;
  for (const node of input.nodes) delete node.networks.storage;
  expect(read(input).drbd?.network).toBe("heartbeat");
});

test("the shared secret is a reference, and its value is found by it", () => {
  const input = asDecrypted(diskInput());
  const pair = readPair(input, { stack: "lab" });
  expect(secretPaths(pair)).toContain("drbd.sharedSecret");
  const value = secretsOf(input).get("drbd.sharedSecret") ?? "";
  expect(value).not.toBe("");
  expect(JSON.stringify(pair)).not.toContain(value);
  expect(secretStates(diskInput())).toContainEqual({ path: "drbd.sharedSecret", state: "encrypted" });
});

test("with its owner's reason there is no mandatory finding; without one the pair is refused", () => {
  const mandatory = (input: Input) =>
    collectFindings(read(input))
      .filter(({ level, rule }) => level === "mandatory" && rule !== "rto-within-target")
      .map(({ rule }) => rule);
  expect(mandatory(diskInput())).toEqual([]);
  const { accepted: _, ...undrilled } = diskInput().drbd;
  expect(mandatory({ ...diskInput(), drbd: undrilled })).toEqual(["drbd-drilled"]);
});

test("a database on a volume is what service: mariadb leads to, with the sizes that every MariaDB server has", () => {
  const input = diskInput();
  input.volumes[0].mariadb = { redoLog: "512MiB" };
  input.haproxy.backends.push({ name: "data", mode: "tcp", service: "mariadb" });
  const pair = read(input);
  expect(pair.volumes?.[0]?.mariadb).toEqual({
    port: 3306,
    bufferPool: 128 * 2 ** 20,
    redoLog: 512 * 2 ** 20,
    maxConnections: 151,
  });
  expect(pair.volumes?.[1]).not.toHaveProperty("mariadb");
  expect(pair.mariadb).toBeUndefined();
  expect(pair.haproxy?.backends[1]).toMatchObject({
    role: "primary",
    servers: [
      { name: "node-a", port: 3306 },
      { name: "node-b", port: 3306 },
    ],
  });
});

test("a pair with replicated disks and no witness can be read, so that the policy can refuse it", () => {
  const { witness: _, fencing: __, authority: ___, ...input } = diskInput();
  expect(collectFindings(read(input))).toContainEqual(
    expect.objectContaining({ rule: "state-has-witness", message: expect.stringContaining("(hotpair:drbd)") }),
  );
});

const CASES: Record<string, [change: (input: Input) => void, expected: readonly string[]]> = {
  "devices that nothing is mounted from": [
    (input) => delete input.volumes,
    [
      "hotpair:volumes: is missing: hotpair:drbd describes devices, and nothing says where they are mounted; describe one volume for each",
    ],
  ],
  "volumes without devices": [
    (input) => delete input.drbd,
    [
      "hotpair:drbd: is missing: hotpair:volumes stands on replicated devices, and none is described; describe them, or remove volumes",
    ],
  ],
  "a database that replicates beside them": [
    (input) => {
      input.mariadb = { replicationPassword: { secure: "v1:QUFB:QkJC" } };
    },
    [
      "hotpair:pair.mariadb: replicates beside hotpair:drbd, and the pair can keep one list of who has every write; remove one of them, or run the database on a volume (hotpair:volumes[].mariadb)",
    ],
  ],
  "a network that is not there": [
    (input) => {
      delete input.networks.storage;
      for (const node of input.nodes) delete node.networks.storage;
      input.drbd.network = "storage";
    },
    ['hotpair:drbd.network: "storage" is not described; add networks.storage, or write heartbeat or public'],
  ],
  "a test that outlasts the interval of tests": [
    (input) => {
      input.drbd.pingTimeout = "2s";
    },
    [
      "hotpair:drbd.pingTimeout: 2s is more than pingInterval (1s): the next test would be due before this one is over; write 1s or less",
    ],
  ],
  "two resources with one name, one number and one port": [
    (input) => {
      Object.assign(input.drbd.resources[1], { name: "data", minor: 0, port: 7789 });
      input.volumes.pop();
    },
    [
      "hotpair:drbd.resources[1].port: port 7789 is taken by drbd.resources[0] (drbd.resources[0].port); only one of them could start, choose another port",
      'hotpair:drbd.resources[1].name: "data" is the name of drbd.resources[0] too; give each its own',
      "hotpair:drbd.resources[1].minor: 0 is the minor number of drbd.resources[0] too: both would be /dev/drbd0; write e.g. 2",
    ],
  ],
  "a port that somebody has": [
    (input) => {
      input.drbd.resources[0].port = 8080;
    },
    [
      "hotpair:drbd.resources[0].port: port 8080 is taken by nginx (nginx.port); only one of them could start, choose another port",
    ],
  ],
  "one disk for two things": [
    (input) => {
      input.drbd.resources[1].metadata.b = "/dev/disk/by-id/two";
    },
    [
      'hotpair:drbd.resources[1].metadata.b: "/dev/disk/by-id/two" is drbd.resources[0].disks.b too: each would write over the other; every device has one use',
    ],
  ],
  "a device made of itself": [
    (input) => {
      input.drbd.resources[0].disks.a = "/dev/drbd0";
    },
    [
      'hotpair:drbd.resources[0].disks.a: "/dev/drbd0" is made by DRBD and not what it is made of; write a disk, a partition or a logical volume',
    ],
  ],
  "a disk that is no device": [
    (input) => {
      input.drbd.resources[0].disks.a = "/srv/disk.img";
    },
    [
      'hotpair:drbd.resources[0].disks.a: "/srv/disk.img" is not a block device: a path below /dev of letters, digits and . _ - + @ : /; expected e.g. /dev/disk/by-id/nvme-one-part1',
    ],
  ],
  "a volume on a resource that is misspelt": [
    (input) => {
      input.volumes[0].device = "dat";
    },
    [
      'hotpair:volumes[0].device: "dat" is not a resource of hotpair:drbd; did you mean "data"?',
      'hotpair:drbd.resources[0].name: "data" is used by no volume; add one to hotpair:volumes, or remove it',
    ],
  ],
  "two file systems on one device": [
    (input) => {
      input.volumes.push({ device: "data", mountPoint: "/srv/more" });
    },
    ['hotpair:volumes[2].device: "data" carries volumes[0] already; each device has one file system'],
  ],
  "a mount point of the system's": [
    (input) => {
      input.volumes[0].mountPoint = "/usr/local";
      input.volumes[1].mountPoint = "/var/lib/hotpair/data";
    },
    [
      'hotpair:volumes[0].mountPoint: "/usr/local" is the system\'s own; write a directory for this volume, e.g. /srv/data',
      'hotpair:volumes[1].mountPoint: "/var/lib/hotpair/data" is the system\'s own; write a directory for this volume, e.g. /srv/data',
    ],
  ],
  "a mount point that systemd would write otherwise": [
    (input) => {
      input.volumes[0].mountPoint = "/srv/shop-data";
    },
    [
      'hotpair:volumes[0].mountPoint: "/srv/shop-data" is not a directory on the servers: an absolute path of letters, digits, _ and inner dots (systemd names the mount by it); expected e.g. /srv/data',
    ],
  ],
  "mount points within each other": [
    (input) => {
      input.volumes[1].mountPoint = "/srv/data/files";
    },
    [
      'hotpair:volumes[1].mountPoint: "/srv/data/files" and volumes[0].mountPoint ("/srv/data") lie within each other; give each its own directory',
    ],
  ],
  "units that hotpair needs itself, and one twice": [
    (input) => {
      input.volumes[0].units = ["hotpair-lease.service", "shop.service"];
      input.volumes[1].units = ["shop.service"];
    },
    [
      'hotpair:volumes[0].units[0]: "hotpair-lease.service" is not a service that runs on a volume: hotpair or the system needs it on both nodes; remove it',
      'hotpair:volumes[1].units[0]: "shop.service" is in volumes[0].units already; a service is started once',
    ],
  ],
  "a unit that is no service": [
    (input) => {
      input.volumes[0].units = ["shop.timer"];
    },
    [
      'hotpair:volumes[0].units[0]: "shop.timer" is not the full name of a systemd service, a plain one and no template; expected e.g. app.service',
    ],
  ],
  "a database on each of two volumes, a second server, and a port that somebody has": [
    (input) => {
      input.volumes[0].mariadb = { port: 8080 };
      input.volumes[1].mariadb = {};
      input.volumes[1].units = ["mysql.service"];
    },
    [
      "hotpair:volumes[0].mariadb.port: port 8080 is taken by nginx (nginx.port); only one of them could start, choose another port",
      "hotpair:volumes[1].mariadb: stands beside volumes[0].mariadb, and a pair runs one server; keep one of them with all databases in it, or run the second by a unit of your own",
      'hotpair:volumes[1].units[0]: "mysql.service" would be a second server beside volumes[0].mariadb, which hotpair runs by a unit of its own; remove one of them',
    ],
  ],
  "a backend for a database that is not there": [
    (input) => {
      input.haproxy.backends.push({ name: "data", service: "mariadb", mode: "tcp" });
    },
    ['hotpair:pair.haproxy.backends[1].service: "mariadb" is not a service of this pair; expected one of nginx'],
  ],
  "a backend of the database that speaks http": [
    (input) => {
      input.volumes[0].mariadb = {};
      input.haproxy.backends.push({ name: "data", service: "mariadb" });
    },
    [
      "hotpair:pair.haproxy.backends[1].mode: must be tcp for the service mariadb, which speaks its own protocol; write mode: tcp",
    ],
  ],
  "a size that MariaDB does not take": [
    (input) => {
      input.volumes[0].mariadb = { redoLog: "1MiB" };
    },
    [
      'hotpair:volumes[0].mariadb.redoLog: "1MiB" is outside 4MiB to 512GiB (InnoDB\'s log comes in blocks of 4 KiB); expected e.g. 512MiB',
    ],
  ],
  "a service that may stop for longer than a hand-over": [
    (input) => {
      input.volumes[0].stopTimeout = "10s";
    },
    [
      'hotpair:volumes[0].stopTimeout: "10s" is outside 100ms to 4s (a hand-over is called off after 5s); expected e.g. 3s',
    ],
  ],
  "the secret in plain text": [
    (input) => {
      input.drbd.sharedSecret = "aB3aB3aB3aB3aB3aB3aB3";
    },
    [
      "hotpair:drbd.sharedSecret: holds a secret in plain text (not shown); treat it as published, and set it with `pulumi config set --path --secret 'hotpair:drbd.sharedSecret'`",
    ],
  ],
  "a reason that is none": [
    (input) => {
      input.drbd.accepted.undrilled = "yes";
    },
    [
      'hotpair:drbd.accepted.undrilled: "yes" is not a reason in a sentence of 10 to 200 characters; expected e.g. a trial on servers that hold nothing anybody needs',
    ],
  ],
  "a failure of databases": [
    (input) => {
      input.failures = [{ class: "replica-lag", rate: "1/year" }];
      input.objectives.rto = { "database-kill": "5s" };
    },
    [
      "hotpair:pair.failures[0].class: only a pair whose MariaDB replicates can have replica-lag; this pair has none, remove it",
      "hotpair:pair.objectives.rto.database-kill: is a target for a failure that only a pair with MariaDB can have; this pair has none, remove it",
    ],
  ],
  "the tier of pairs without data": [
    (input) => {
      input.objectives.tier = "extreme";
    },
    [
      "hotpair:pair.objectives.tier: extreme is for pairs that keep no data: with data the lease must run out first, for more than its 300ms; write critical",
    ],
  ],
};

test.each(Object.entries(CASES))("%s", (_, [change, expected]) => {
  expect(mistakesWithDisks(change)).toEqual(expected);
});

test("a failure of replicated disks, where there are none", () => {
  expect(
    mistakesWithData((input) => {
      input.failures = [{ class: "split-brain", rate: "1/year" }];
    }),
  ).toEqual([
    "hotpair:pair.failures[0].class: only a pair with replicated disks can have split-brain; this pair has no hotpair:drbd, remove it",
  ]);
});

test("servers in AWS have no second disk", () => {
  expect(
    mistakesWithDisks((input) => {
      input.target = "aws";
    }),
  ).toContain(
    "hotpair:drbd: stands beside target: aws, where no second disk is made for a server; use target: onprem with servers of your own",
  );
});

const word = fc.constantFrom("data", "files", "db", "a".repeat(32), "Data", "", "x y");
const path = fc.constantFrom("/dev/vg/one", "/dev/vg/two", "/dev/sdb", "/dev/drbd0", "/srv/disk", "sdb", "/dev/../sda");
const arbitraryDisks = fc.record(
  {
    resources: fc.array(
      fc.record(
        {
          name: word,
          minor: fc.integer({ min: -1, max: 300 }),
          port: fc.constantFrom(7789, 7790, 22, 8080, 0),
          disks: fc.record({ a: path, b: path }, { requiredKeys: ["a"] }),
          metadata: fc.record({ a: path, b: path }),
        },
        { requiredKeys: ["name", "minor", "port", "disks"] },
      ),
      { maxLength: 3 },
    ),
    protocol: fc.constantFrom("A", "B", "C", "D"),
    network: fc.constantFrom("public", "heartbeat", "storage", "moon"),
    pingInterval: fc.constantFrom("1s", "120s", "0s", "1.5s"),
    pingTimeout: fc.constantFrom("100ms", "500ms", "30s", "50ms"),
    diskPerSecond: fc.constantFrom("1MiB", "200MiB", "64GiB", "1KiB", "fast"),
    networkPerSecond: fc.constantFrom("1MiB", "110MiB", "64GiB"),
    crashResync: fc.constantFrom("1s", "30s", "1h", "1d"),
    sendBuffer: fc.constantFrom("64KiB", "10MiB", "1TiB"),
    onIoError: fc.constantFrom("detach", "pass-on", "panic"),
    verify: fc.constantFrom("never", "weekly", "hourly"),
    accepted: fc.constantFrom({}, { undrilled: "a trial on servers that hold nothing" }, { undrilled: 1 }),
  },
  { requiredKeys: ["resources", "diskPerSecond", "networkPerSecond"] },
);
const arbitraryVolumes = fc.array(
  fc.record(
    {
      device: word,
      fileSystem: fc.constantFrom("ext4", "xfs", "ntfs"),
      mountPoint: fc.constantFrom("/srv/data", "/srv/data/more", "/srv/b", "/", "/srv/a-b", "/var/lib/mysql"),
      units: fc.array(fc.constantFrom("a.service", "b.service", "a.timer", "haproxy.service", "a b"), { maxLength: 3 }),
      mariadb: fc.record(
        { port: fc.constantFrom(3306, 8080, 0), redoLog: fc.constantFrom("96MiB", "1MiB") },
        { requiredKeys: [] },
      ),
      stopTimeout: fc.constantFrom("100ms", "4s", "5s"),
    },
    { requiredKeys: ["device", "mountPoint"] },
  ),
  { maxLength: 3 },
);

test("whatever somebody writes is refused cleanly, or planned for and estimated", () => {
  let planned = 0;
  fc.assert(
    fc.property(arbitraryDisks, arbitraryVolumes, fc.boolean(), (disks, volumes, usual) => {
      const input = { ...diskInput(), ...(usual ? {} : { volumes }), drbd: disks };
      // Now and then what fits together, with every other setting drawn.
      if (usual) input.drbd = { ...disks, resources: diskInput().drbd.resources };
      try {
        const pair = read(input);
        estimate(pair);
        collectFindings(pair);
        planPair(pair);
        planned += 1;
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        for (const detail of error.details)
          expect(detail).toMatch(/^hotpair:(pair|drbd|volumes|witness)[^\n]*: [^\n]+$/);
      }
    }),
    { numRuns: 400, seed: 20_261_121 },
  );
  expect(planned).toBeGreaterThan(5);
});

test("all mistakes at once", () => {
  const found = mistakesWithDisks((input) => {
    input.drbd.protocol = "D";
    input.drbd.resources[0].disks.a = "sdb";
    input.volumes[0].device = "nothing";
    input.volumes[1].mountPoint = "/";
  });
  expect(found.length).toBeGreaterThanOrEqual(4);
});
