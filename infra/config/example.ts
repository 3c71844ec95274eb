// A configuration that says everything that can be said: the annotated example is written from it, with each field's
// description from the schema above it. A test holds it complete and valid. Its keys and ciphertexts open nothing.

const HOST_KEYS = [
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINtLcb2a5ZBymEOsVUO27p/g4VDw6SpepxeSWQWiRErO",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOGKNBJIlIppepBxm7kcB+zGBpP9ohu58ZOXuZaXOYfh",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8a9JG8fH5HKGmSTKtrwAIUmhcXj5v4ewZWoCfH2wJN",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICaOqP2bc+HHTO8OnM9ufMPGANssqR9mpY9i8Crp363B",
] as const;
/** The form of a certificate around a text that is none. */
const CERTIFICATE =
  "-----BEGIN CERTIFICATE-----\nMCJub3QgYSBjZXJ0aWZpY2F0ZSwgb25seSBhbiBleGFtcGxl\n-----END CERTIFICATE-----\n";
const CIPHERTEXT = { secure: "v1:bm90IGEgc2VjcmV0:bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGU=" };

/** Everything that can be said of a pair in AWS; its servers and networks stand where every pair's do. */
export const AWS_EXAMPLE = {
  region: "eu-central-1",
  zones: ["eu-central-1a", "eu-central-1b"],
  vpc: { prefix: "10.20.0.0/16", id: "vpc-0a1b2c3d4e5f60718", routeTable: "rtb-0a1b2c3d4e5f60718" },
  vip: {
    method: "dns",
    within: "10s",
    hostedZone: "Z0123456789ABCDEFGHIJ",
    record: "shop.example.net",
    ttl: "5s",
  },
  instance: { type: "m7i.large", image: "ami-0a1b2c3d4e5f60718", spot: false, terminationProtection: true },
  volume: { type: "io2", size: "50GiB", iops: 6000 },
  ssh: {
    from: ["203.0.113.0/24"],
    publicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8a9JG8fH5HKGmSTKtrwAIUmhcXj5v4ewZWoCfH2wJN",
    elasticIps: { a: "eipalloc-0a1b2c3d4e5f60711", b: "eipalloc-0a1b2c3d4e5f60712" },
  },
  witness: {
    zone: "eu-central-1c",
    prefix: "10.20.3.0/28",
    type: "m7g.medium",
    image: "ami-0a1b2c3d4e5f60719",
    elasticIp: "eipalloc-0a1b2c3d4e5f60713",
    hostKey: CIPHERTEXT,
  },
  clients: ["0.0.0.0/0"],
  bucket: {
    name: "shop-backups-eu",
    objectLock: "30d",
    infrequentAccess: "30d",
    glacier: "90d",
    deepArchive: "365d",
  },
  backup: {
    role: "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole",
    at: "03:00",
    keep: "35d",
  },
  budget: { monthly: 300, email: ["ops@example.net"] },
  tags: { owner: "shop-team" },
  accepted: {
    oneZone: "the second zone of this region has no capacity of our type",
    burstable: "a demonstration that nobody depends on",
    spot: "a demonstration that nobody depends on",
  },
  hostKeys: { a: CIPHERTEXT, b: CIPHERTEXT },
};

/** Everything that can be said of replicated disks and what runs on them, in place of a database. */
export const DRBD_EXAMPLE = {
  drbd: {
    resources: [
      {
        name: "data",
        minor: 0,
        port: 7789,
        disks: { a: "/dev/disk/by-id/nvme-one-part1", b: "/dev/disk/by-id/nvme-two-part1" },
        metadata: { a: "/dev/vg/data-meta", b: "/dev/vg/data-meta" },
      },
    ],
    protocol: "C",
    network: "storage",
    pingInterval: "1s",
    pingTimeout: "500ms",
    diskPerSecond: "200MiB",
    networkPerSecond: "110MiB",
    crashResync: "30s",
    sendBuffer: "1MiB",
    onIoError: "detach",
    checksum: "crc32c",
    verify: "weekly",
    sharedSecret: CIPHERTEXT,
    accepted: { undrilled: "a trial on servers that hold nothing anybody needs" },
  },
  volumes: [
    {
      device: "data",
      fileSystem: "ext4",
      mountPoint: "/srv/data",
      mariadb: { port: 3306, bufferPool: "4GiB", redoLog: "512MiB", maxConnections: 500 },
      nfs: { clients: ["198.51.100.0/24"], squash: "root", leaseTime: "10s", gracePeriod: "15s", threads: 16 },
      units: ["app.service"],
      stopTimeout: "3s",
      checkWithin: "2s",
      startWithin: "5s",
    },
  ],
};

export const EXAMPLE = {
  name: "shop",
  target: "onprem",
  networks: {
    public: { prefix: "198.51.100.0/24", gateway: "198.51.100.1" },
    heartbeat: { prefix: "198.18.1.0/24" },
    storage: { prefix: "198.18.2.0/24" },
  },
  nodes: [
    {
      name: "node-a",
      site: "room-1",
      ssh: {
        host: "198.51.100.11",
        port: 22,
        user: "root",
        hostKey: HOST_KEYS[0],
        keyFile: "~/.ssh/id_ed25519",
        jump: { host: "bastion.example.net", port: 22, user: "jump", hostKey: HOST_KEYS[2] },
      },
      networks: {
        public: { interface: "eth0", address: "198.51.100.11/24", mtu: 1500 },
        heartbeat: { interface: "eth1", address: "198.18.1.11/24", mtu: 1500 },
        storage: {
          interface: "bond0.10",
          address: "198.18.2.11/24",
          mtu: 9000,
          managed: {
            vlan: 10,
            bond: { members: ["eth2", "eth3"], miimon: "100ms", primary: "eth2" },
            overSsh: "SSH goes over it until the other cards are in.",
          },
        },
      },
    },
    {
      name: "node-b",
      site: "room-2",
      ssh: { host: "198.51.100.12", hostKey: HOST_KEYS[1], key: CIPHERTEXT },
      networks: {
        public: { interface: "eth0", address: "198.51.100.12/24" },
        heartbeat: { interface: "eth1", address: "198.18.1.12/24" },
        storage: {
          interface: "bond0.10",
          address: "198.18.2.12/24",
          mtu: 9000,
          managed: { vlan: 10, bond: { members: ["02:00:5e:00:53:02", "02:00:5e:00:53:03"] } },
        },
      },
    },
  ],
  vips: [{ name: "web", address: "198.51.100.100/24", preferred: "node-a", mode: "ip", routerId: 51 }],
  vrrp: {
    advertInterval: "100ms",
    priority: 253,
    garp: { repeat: 5, delay: "1s", refresh: "10s" },
    notify: "/usr/local/sbin/vip-changed",
    email: { to: ["ops@example.net"], from: "hotpair@example.net", smtpServer: "mail.example.net" },
  },
  arbiter: {
    beaconInterval: "20ms",
    silence: "150ms",
    evidence: "200ms",
    hold: "45s",
    port: 7788,
    serviceDead: "2s",
  },
  haproxy: {
    frontends: [
      { name: "web", bind: "web:443", mode: "http", certificate: "/etc/ssl/private/shop.pem", backend: "pages" },
      { name: "queue", bind: "*:5672", mode: "tcp", backend: "queue" },
      { name: "data", bind: "web:3306", mode: "tcp", backend: "data" },
    ],
    backends: [
      {
        name: "pages",
        mode: "http",
        algorithm: "leastconn",
        service: "nginx",
        check: {
          path: "/healthz",
          status: 200,
          interval: "250ms",
          fastInterval: "100ms",
          fall: 2,
          rise: 2,
          timeout: "250ms",
        },
        maxconn: 5000,
      },
      { name: "queue", mode: "tcp", servers: [{ name: "queue-1", address: "198.51.100.21", port: 5672 }] },
      { name: "data", mode: "tcp", service: "mariadb" },
    ],
    maxconn: 20_000,
    timeouts: { connect: "250ms", client: "30s", server: "30s" },
    stats: { port: 8404 },
  },
  nginx: { port: 8080, healthPath: "/healthz", root: "/srv/www" },
  external: { name: "app", port: 9000, units: ["app.service"] },
  mariadb: {
    port: 3306,
    rolePort: 9200,
    dataDirectory: "/var/lib/mysql",
    bufferPool: "4GiB",
    redoLog: "512MiB",
    maxConnections: 500,
    replicationNetwork: "storage",
    replicaReads: { port: 3307, maxLag: "1s" },
    adopt: false,
    replicationPassword: CIPHERTEXT,
    previousReplicationPassword: CIPHERTEXT,
  },
  authority: {
    etcd: { clientPort: 2379, peerPort: 2380, heartbeat: "50ms", election: "300ms", quota: "64MiB" },
    lease: {
      renewal: "100ms",
      rpcTimeout: "200ms",
      deadline: "800ms",
      takeover: "1.5s",
      watchdog: "800ms",
      stopTimeout: "200ms",
      drift: "1000ppm",
      margin: "50ms",
    },
    caCertificate: CERTIFICATE,
    caKey: CIPHERTEXT,
    previousCaCertificate: CERTIFICATE,
    members: {
      a: { certificate: CERTIFICATE, key: CIPHERTEXT },
      b: { certificate: CERTIFICATE, key: CIPHERTEXT },
      witness: { certificate: CERTIFICATE, key: CIPHERTEXT },
    },
  },
  base: { persistentJournal: true, installPackages: true, watchdog: "10s" },
  objectives: {
    tier: "gold",
    tiers: [{ name: "gold", rto: "10s", rpo: "0s" }],
    downtime: "8h",
    redundancyLost: "48h",
    rto: { default: "10s", "node-power-cut": "5s" },
    rpo: { default: "1s" },
  },
  evidence: {
    enforcement: "advisory",
    maxAge: "90d",
    allowedSigners: "stacks/allowed_signers",
    beforeDrill: { digest: "sha256:5f3c0d1e9a7b", until: "2026-12-24" },
  },
  failures: [{ class: "node-power-cut", rate: "0.5/year", repair: "4h" }],
  limits: { roundTrip: "1ms", jitter: "10ms", pause: "50ms", restore: "750ms", answer: "25ms" },
  beaconKey: CIPHERTEXT,
  previousBeaconKey: CIPHERTEXT,
  witness: {
    name: "witness",
    site: "room-3",
    ssh: {
      host: "198.51.100.13",
      port: 22,
      user: "root",
      hostKey: HOST_KEYS[3],
      keyFile: "~/.ssh/id_ed25519",
      jump: { host: "bastion.example.net", port: 22, user: "jump", hostKey: HOST_KEYS[2] },
    },
    address: "198.51.100.13",
  },
  fencing: {
    agents: [
      {
        node: "node-a",
        agent: "fence_ipmilan",
        options: { ip: "198.18.3.11", username: "fence", lanplus: "1" },
        secrets: { password: CIPHERTEXT },
      },
      {
        node: "node-b",
        agent: "fence_ipmilan",
        options: { ip: "198.18.3.12", username: "fence", lanplus: "1" },
        secrets: { password: CIPHERTEXT },
      },
    ],
    timeout: "20s",
    required: false,
  },
};
