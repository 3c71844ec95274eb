// Pairs to test with: the lab's, written out as the configuration room would hand it over, and variations of it. The one
// place where tests below the configuration get a Pair from.

import { days, ms, seconds } from "../../infra/model/duration.ts";
import type { Aws, Drbd, HostId, Pair, Volume } from "../../infra/model/pair.ts";

const hostKey = (letter: string): string => `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${letter.repeat(43)}`;

/** One VIP, HAProxy before nginx on both nodes, three networks. */
export const labPair: Pair = {
  name: "lab",
  target: "onprem",
  networks: {
    public: { prefix: "198.18.0.0/24", gateway: undefined },
    heartbeat: { prefix: "198.18.1.0/24", gateway: undefined },
    storage: { prefix: "198.18.2.0/24", gateway: undefined },
  },
  nodes: [
    {
      id: "a",
      name: "node-a",
      site: undefined,
      ssh: {
        host: "198.18.0.11",
        port: 22,
        user: "root",
        hostKey: hostKey("A"),
        auth: { kind: "keyFile", file: "~/.cache/hotpair/lab/default/id_ed25519" },
        jump: undefined,
      },
      networks: {
        public: { interface: "a-pub", address: "198.18.0.11/24", mtu: 1500 },
        heartbeat: { interface: "a-hb", address: "198.18.1.11/24", mtu: 1500 },
        storage: { interface: "a-st", address: "198.18.2.11/24", mtu: 1500 },
      },
    },
    {
      id: "b",
      name: "node-b",
      site: undefined,
      ssh: {
        host: "198.18.0.12",
        port: 22,
        user: "root",
        hostKey: hostKey("B"),
        auth: { kind: "keyFile", file: "~/.cache/hotpair/lab/default/id_ed25519" },
        jump: undefined,
      },
      networks: {
        public: { interface: "b-pub", address: "198.18.0.12/24", mtu: 1500 },
        heartbeat: { interface: "b-hb", address: "198.18.1.12/24", mtu: 1500 },
        storage: { interface: "b-st", address: "198.18.2.12/24", mtu: 1500 },
      },
    },
  ],
  vips: [{ name: "web", address: "198.18.0.100/24", preferred: undefined, mode: "ip", routerId: 51 }],
  vrrp: {
    advertInterval: ms(100),
    priority: 253,
    garp: { repeat: 5, delay: seconds(1), refresh: seconds(10) },
    notify: undefined,
    email: undefined,
  },
  arbiter: {
    beaconInterval: ms(20),
    silence: ms(150),
    evidence: ms(200),
    hold: seconds(45),
    port: 7788,
    serviceDead: seconds(2),
  },
  haproxy: {
    frontends: [
      { name: "web", bind: { vip: "web", port: 80 }, mode: "http", certificate: undefined, backend: "nginx" },
    ],
    backends: [
      {
        name: "nginx",
        mode: "http",
        algorithm: "roundrobin",
        servers: [
          { name: "node-a", address: "198.18.0.11", port: 8080 },
          { name: "node-b", address: "198.18.0.12", port: 8080 },
        ],
        check: {
          path: "/healthz",
          status: 200,
          interval: ms(100),
          fastInterval: ms(50),
          fall: 2,
          rise: 2,
          timeout: ms(250),
        },
        maxconn: 5_000,
      },
    ],
    maxconn: 20_000,
    timeouts: { connect: ms(50), client: seconds(30), server: seconds(30) },
    stats: { port: 8404 },
  },
  nginx: { port: 8080, healthPath: "/healthz", root: "/var/lib/hotpair/www" },
  external: undefined,
  witness: undefined,
  authority: undefined,
  mariadb: undefined,
  fencing: undefined,
  base: { persistentJournal: true, installPackages: true, watchdog: undefined },
  objectives: { tier: "standard", rto: {}, rpo: {} },
  failures: [],
  evidence: { enforcement: "advisory", maxAge: days(90), allowedSigners: undefined, beforeDrill: undefined },
  limits: { roundTrip: ms(1), jitter: ms(10), pause: ms(50), restore: ms(750), answer: ms(25) },
  secrets: { beaconKey: { secret: "beaconKey" }, previousBeaconKey: undefined },
};

const [labA, labB] = labPair.nodes;

/**
 * hotpair sets all networks up, and each in another way: a bond of cards that are known by their MAC address, a VLAN on a card,
 * and a VLAN with jumbo frames on a bond.
 */
export const managedPair: Pair = {
  ...labPair,
  name: "managed",
  networks: { ...labPair.networks, public: { prefix: "198.18.0.0/24", gateway: "198.18.0.254" } },
  nodes: [managed(labA, "a", "11"), managed(labB, "b", "12")],
};

function managed(node: Pair["nodes"][0], letter: string, octet: string): Pair["nodes"][0] {
  const cards = ["00", "10"].map((last) => `02:68:70:00:${octet}:${last}`);
  const bond = (members: readonly string[], primary?: string) => ({ members, miimon: ms(100), primary });
  return {
    ...node,
    networks: {
      public: {
        ...node.networks.public,
        interface: "bond1",
        managed: { vlan: undefined, bond: bond(cards, cards[0]), overSsh: "Somebody sits at the console." },
      },
      heartbeat: {
        ...node.networks.heartbeat,
        interface: `${letter}-hb.20`,
        managed: { vlan: 20, bond: undefined, overSsh: undefined },
      },
      storage: {
        interface: "bond0.10",
        address: `198.18.2.${octet}/24`,
        mtu: 9000,
        managed: { vlan: 10, bond: bond([`${letter}-st`, `${letter}-st2`]), overSsh: undefined },
      },
    },
  };
}

/** Two VIPs with crossed preferences: active/active. */
export const twoVips: Pair = {
  ...labPair,
  name: "crossed",
  vips: [
    { name: "web", address: "198.18.0.100/24", preferred: "a", mode: "ip", routerId: 51 },
    { name: "api", address: "198.18.0.101/24", preferred: "b", mode: "ip", routerId: 52 },
  ],
  haproxy: labPair.haproxy && {
    ...labPair.haproxy,
    frontends: [
      { name: "web", bind: { vip: "web", port: 80 }, mode: "http", certificate: undefined, backend: "nginx" },
      { name: "api", bind: { vip: "api", port: 80 }, mode: "http", certificate: undefined, backend: "nginx" },
    ],
  },
};

/** The VIP moves with the VRRP virtual MAC. */
export const virtualMac: Pair = {
  ...labPair,
  name: "vmac",
  vips: [{ name: "web", address: "198.18.0.100/24", preferred: undefined, mode: "vmac", routerId: 51 }],
};

/** TLS at HAProxy, clients pinned to a server by their address, a TCP service beside it. */
export const tls: Pair = {
  ...labPair,
  name: "shop",
  haproxy: labPair.haproxy && {
    ...labPair.haproxy,
    frontends: [
      {
        name: "web",
        bind: { vip: "web", port: 443 },
        mode: "http",
        certificate: "/etc/haproxy/certs/shop.pem",
        backend: "nginx",
      },
      { name: "mail", bind: { vip: "*", port: 25 }, mode: "tcp", certificate: undefined, backend: "mail" },
    ],
    backends: [
      ...labPair.haproxy.backends.map((backend) => ({ ...backend, algorithm: "source" as const })),
      {
        name: "mail",
        mode: "tcp",
        algorithm: "leastconn",
        servers: [
          { name: "node-a", address: "198.18.0.11", port: 2525 },
          { name: "node-b", address: "198.18.0.12", port: 2525 },
        ],
        check: {
          path: undefined,
          status: 200,
          interval: seconds(1),
          fastInterval: ms(200),
          fall: 3,
          rise: 2,
          timeout: ms(500),
        },
        maxconn: 200,
      },
    ],
  },
};

/** A service of the owner's own behind HAProxy, two networks, jumbo frames on the heartbeat. */
export const externalService: Pair = {
  ...labPair,
  name: "extern",
  networks: { public: labPair.networks.public, heartbeat: labPair.networks.heartbeat },
  nodes: [withoutStorage(labPair.nodes[0]), withoutStorage(labPair.nodes[1])],
  nginx: undefined,
  external: { name: "shop", port: 8080, units: ["shop.service"] },
  haproxy: labPair.haproxy && {
    ...labPair.haproxy,
    backends: labPair.haproxy.backends.map((backend) => ({ ...backend, name: "shop" })),
    frontends: labPair.haproxy.frontends.map((frontend) => ({ ...frontend, backend: "shop" })),
  },
};

/** Two zones, an Elastic IP that moves, a bucket: nothing that any rule has a word against. */
export const cloudPair: Pair & { readonly aws: Aws } = {
  ...labPair,
  name: "cloud",
  target: "aws",
  networks: {
    public: { prefix: "10.20.0.0/24", gateway: undefined },
    heartbeat: { prefix: "10.20.1.0/24", gateway: undefined },
    storage: { prefix: "10.20.2.0/24", gateway: undefined },
  },
  nodes: [cloudNode(labPair.nodes[0], 11), cloudNode(labPair.nodes[1], 139)],
  vips: [{ name: "web", address: "198.18.0.100/32", preferred: undefined, mode: "ip", routerId: 51 }],
  haproxy: labPair.haproxy && {
    ...labPair.haproxy,
    frontends: labPair.haproxy.frontends.map((frontend) => ({ ...frontend, bind: { vip: "*", port: 80 } })),
  },
  aws: {
    region: "eu-central-1",
    zones: { a: "eu-central-1a", b: "eu-central-1b" },
    vpc: { prefix: "10.20.0.0/16", existing: undefined },
    vip: {
      method: "elastic-ip",
      addresses: { a: "10.20.0.12", b: "10.20.0.140" },
      within: seconds(10),
      record: undefined,
    },
    instance: { type: "m7i.large", image: undefined, spot: false, terminationProtection: true },
    volume: { type: "gp3", size: 20 * 1024 ** 3, iops: undefined },
    ssh: {
      from: ["203.0.113.0/24"],
      publicKey: "ssh-ed25519 AAAA",
      elasticIps: { a: "eipalloc-0a1b2c3d4e5f60711", b: "eipalloc-0a1b2c3d4e5f60712" },
    },
    witness: undefined,
    clients: ["0.0.0.0/0"],
    bucket: {
      name: "cloud-backups",
      objectLockDays: 30,
      infrequentAccessDays: 30,
      glacierDays: 90,
      deepArchiveDays: 365,
    },
    backup: {
      role: "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole",
      at: "03:30",
      keepDays: 35,
    },
    budget: { monthly: 300, email: ["ops@example.net"] },
    tags: { owner: "shop-team" },
    accepted: {},
    hostKeys: { a: { secret: "aws.hostKeys.a" }, b: { secret: "aws.hostKeys.b" } },
  },
};

function cloudNode(node: Pair["nodes"][number], host: number): Pair["nodes"][number] {
  const at = (name: string, third: number) => ({ interface: name, address: `10.20.${third}.${host}/24`, mtu: 1500 });
  return {
    ...node,
    ssh: { ...node.ssh, host: `203.0.113.${host}`, user: "admin" },
    networks: { public: at("ens5", 0), heartbeat: at("ens6", 1), storage: at("ens7", 2) },
  };
}

const memberOf = (id: HostId) => ({
  certificate: `-----BEGIN CERTIFICATE-----\n${id}\n-----END CERTIFICATE-----\n`,
  key: { secret: `authority.members.${id}.key` },
});

/** A witness and an authority, and nothing yet that holds state: what etcd and the lease are tested with. */
export const witnessed: Pair = {
  ...labPair,
  name: "shop",
  witness: {
    name: "witness",
    site: undefined,
    ssh: {
      host: "198.18.0.13",
      port: 22,
      user: "root",
      hostKey: hostKey("W"),
      auth: { kind: "keyFile", file: "~/.cache/hotpair/lab/default/id_ed25519" },
      jump: undefined,
    },
    address: "198.18.0.13",
  },
  authority: {
    etcd: { clientPort: 2379, peerPort: 2380, heartbeat: ms(50), election: ms(300), quota: 64 * 1024 ** 2 },
    lease: {
      renewal: ms(100),
      rpcTimeout: ms(200),
      deadline: ms(800),
      takeover: ms(1_500),
      watchdog: ms(800),
      stopTimeout: ms(200),
      drift: 0.001,
      margin: ms(50),
    },
    caCertificate: "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----\n",
    caKey: { secret: "authority.caKey" },
    previousCaCertificate: undefined,
    members: { a: memberOf("a"), b: memberOf("b"), witness: memberOf("witness") },
  },
};

/** A MariaDB primary and its replica behind HAProxy, with witness and authority at sites of their own, and fence agents. */
export const statefulPair: Pair = {
  ...witnessed,
  nodes: [
    { ...labPair.nodes[0], site: "room-1" },
    { ...labPair.nodes[1], site: "room-2" },
  ],
  witness: witnessed.witness && { ...witnessed.witness, site: "room-3" },
  fencing: {
    agents: {
      a: {
        agent: "fence_ipmilan",
        options: { ip: "198.18.3.11", password: { secret: "fencing.agents[0].secrets.password" } },
      },
      b: {
        agent: "fence_ipmilan",
        options: { ip: "198.18.3.12", password: { secret: "fencing.agents[1].secrets.password" } },
      },
    },
    timeout: seconds(20),
    required: false,
  },
  nginx: undefined,
  haproxy: labPair.haproxy && {
    ...labPair.haproxy,
    frontends: [
      { name: "db", bind: { vip: "web", port: 3307 }, mode: "tcp", certificate: undefined, backend: "mariadb" },
    ],
    backends: [
      {
        name: "mariadb",
        mode: "tcp",
        algorithm: "leastconn",
        role: "primary",
        servers: [
          { name: "node-a", address: "198.18.0.11", port: 3306 },
          { name: "node-b", address: "198.18.0.12", port: 3306 },
        ],
        check: {
          path: undefined,
          status: 200,
          interval: ms(100),
          fastInterval: ms(50),
          fall: 2,
          rise: 1,
          timeout: ms(250),
        },
        maxconn: 500,
      },
    ],
  },
  mariadb: {
    port: 3306,
    rolePort: 3305,
    dataDirectory: "/var/lib/mysql",
    bufferPool: 128 * 1024 ** 2,
    redoLog: 96 * 1024 ** 2,
    maxConnections: 200,
    replicationNetwork: "storage",
    replicaReads: undefined,
    adopt: false,
    replicationPassword: { secret: "mariadb.replicationPassword" },
    previousReplicationPassword: undefined,
  },
};

/** A database in AWS, its nodes in two zones and its witness made in a third one. */
export const cloudDataPair: Pair & { readonly aws: Aws } = {
  ...cloudPair,
  nodes: [
    { ...cloudPair.nodes[0], site: "eu-central-1a" },
    { ...cloudPair.nodes[1], site: "eu-central-1b" },
  ],
  witness: statefulPair.witness && {
    ...statefulPair.witness,
    site: "eu-central-1c",
    address: "10.20.3.10",
    ssh: { ...statefulPair.witness.ssh, host: "203.0.113.13", user: "admin" },
  },
  authority: statefulPair.authority,
  mariadb: statefulPair.mariadb,
  nginx: undefined,
  haproxy: statefulPair.haproxy && {
    ...statefulPair.haproxy,
    frontends: statefulPair.haproxy.frontends.map((frontend) => ({ ...frontend, bind: { vip: "*", port: 3307 } })),
  },
  aws: {
    ...cloudPair.aws,
    witness: {
      zone: "eu-central-1c",
      prefix: "10.20.3.0/28",
      type: "m7g.medium",
      image: undefined,
      elasticIp: "eipalloc-0a1b2c3d4e5f60713",
      hostKey: { secret: "aws.witness.hostKey" },
    },
  },
};

/** Two replicated disks with a service on each, in place of the database; its owner says why it is used undrilled. */
export const diskPair: Pair & { readonly drbd: Drbd; readonly volumes: readonly Volume[] } = {
  ...statefulPair,
  name: "disks",
  mariadb: undefined,
  nginx: labPair.nginx,
  haproxy: labPair.haproxy,
  authority: statefulPair.authority && {
    ...statefulPair.authority,
    lease: { ...statefulPair.authority.lease, takeover: ms(2_000) },
  },
  drbd: {
    network: "storage",
    protocol: "C",
    resources: [
      {
        name: "data",
        minor: 0,
        port: 7789,
        disks: { a: "/dev/disk/by-id/one-part1", b: "/dev/disk/by-id/two-part1" },
        metadata: undefined,
      },
      {
        name: "files",
        minor: 1,
        port: 7790,
        disks: { a: "/dev/vg/files", b: "/dev/vg/files" },
        metadata: { a: "/dev/vg/files-meta", b: "/dev/vg/files-meta" },
      },
    ],
    pingInterval: seconds(1),
    pingTimeout: ms(500),
    diskPerSecond: 200 * 1024 ** 2,
    networkPerSecond: 110 * 1024 ** 2,
    crashResync: seconds(30),
    sendBuffer: 1024 ** 2,
    onIoError: "detach",
    checksum: "crc32c",
    verify: "weekly",
    sharedSecret: { secret: "drbd.sharedSecret" },
    accepted: { undrilled: "a trial on servers that hold nothing" },
  },
  volumes: [
    {
      resource: "data",
      fileSystem: "ext4",
      mountPoint: "/srv/data",
      units: ["shop-db.service", "shop.service"],
      stopTimeout: ms(1_500),
      checkWithin: seconds(2),
      startWithin: seconds(5),
    },
    {
      resource: "files",
      fileSystem: "xfs",
      mountPoint: "/srv/files",
      units: [],
      stopTimeout: ms(1_500),
      checkWithin: seconds(2),
      startWithin: seconds(5),
    },
  ],
};

/** The same with a database on the first disk, which clients reach as they reach one that replicates. */
export const databaseDiskPair: typeof diskPair = {
  ...diskPair,
  haproxy: statefulPair.haproxy,
  nginx: undefined,
  volumes: diskPair.volumes.map((volume) =>
    volume.resource === "data"
      ? {
          ...volume,
          mariadb: { port: 3306, bufferPool: 128 * 1024 ** 2, redoLog: 96 * 1024 ** 2, maxConnections: 200 },
          units: ["shop.service"],
        }
      : volume,
  ),
};

/** The same with an export of its second volume, whose clients come back later than the standard tier allows. */
export const exportPair: typeof diskPair = {
  ...diskPair,
  objectives: { tier: "custom", rto: {}, rpo: {} },
  volumes: diskPair.volumes.map((volume) =>
    volume.resource === "files"
      ? {
          ...volume,
          nfs: {
            clients: ["198.18.0.0/24", "192.0.2.7/32"],
            squash: "root",
            leaseTime: seconds(10),
            gracePeriod: seconds(15),
            threads: 16,
          },
        }
      : volume,
  ),
};

function withoutStorage(node: Pair["nodes"][number]): Pair["nodes"][number] {
  const { public: open, heartbeat } = node.networks;
  return { ...node, networks: { public: open, heartbeat: { ...heartbeat, mtu: 9000 } } };
}
