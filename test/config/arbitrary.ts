// Configurations by the thousand, as input objects in a stack file's form: right ones that reach into every corner of the
// schema, and slightly broken ones. Interfaces, programs and certificates come from fixed lists, so that a test can make
// them exist for the daemons' own parsers.

import fc from "fast-check";
import { FAILURE_CLASS_IDS, whyNot } from "../../infra/model/failure.ts";
import { formatIpv4 } from "../../infra/model/ipv4.ts";
import { CERTIFICATE, type Input } from "./sample.ts";

export const INTERFACES = [
  "eth0",
  "eth1",
  "ens18",
  "enp0s31f6",
  "bond0.100",
  "br-heartbeat",
  "vlan_7",
  "exactly-15-byte",
];
export const PROGRAMS = ["/usr/local/sbin/vip-changed", "/opt/site@2/notify+mail.sh"];
export const CERTIFICATES = ["/etc/ssl/private/shop.pem", "/etc/haproxy/certs/a_b-c.pem"];

const HOST_KEYS = [
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINtLcb2a5ZBymEOsVUO27p/g4VDw6SpepxeSWQWiRErO",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOGKNBJIlIppepBxm7kcB+zGBpP9ohu58ZOXuZaXOYfh",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8a9JG8fH5HKGmSTKtrwAIUmhcXj5v4ewZWoCfH2wJN",
] as const;

const secret = (): Input => ({ secure: "v1:bm90IGEgc2VjcmV0:bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGU=" });

export interface Generated {
  readonly input: Input;
  /** What was broken, in words; empty: the configuration must be accepted. */
  readonly broken: readonly string[];
}

/** About half of them right. */
export const arbitraryStack = (): fc.Arbitrary<Generated> =>
  fc
    .tuple(arbitraryPair(), fc.oneof(fc.constant([]), fc.array(arbitraryDamage(), { minLength: 1, maxLength: 3 })))
    .map(([input, damages]) => {
      const broken = damages.map((damage) => damage(input));
      return { input, broken };
    });

/** Keywords of the daemons are names, too. */
const label = (longest: number) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.stringMatching(new RegExp(`^[a-z0-9]([a-z0-9-]{0,${longest - 2}}[a-z0-9])?$`)) },
    {
      weight: 2,
      arbitrary: fc
        .constantFrom(
          "default",
          "defaults",
          "global",
          "listen",
          "stats",
          "all",
          "none",
          "if",
          "0",
          "1",
          "localhost",
          "server",
          "upstream",
          "http",
          "on",
          "off",
          "yes",
          "null",
          "true",
          "web",
          "nginx-2",
          "backup",
          "static",
          "end",
          "unix",
        )
        .filter((name) => name.length <= longest),
    },
  );

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

/** `150ms`, `2s`, `3m` and the like: a multiple of `step` between the bounds, all in milliseconds. */
const duration = (min: number, max: number, step = 1) =>
  fc
    .tuple(fc.integer({ min: Math.ceil(min / step), max: Math.floor(max / step) }), fc.boolean())
    .map(([steps, short]) => {
      const ms = steps * step;
      if (short && ms % 60_000 === 0) return `${ms / 60_000}m`;
      return short && ms >= 1_000 ? `${ms / 1_000}s` : `${ms}ms`;
    });

interface Networks {
  readonly prefixes: Record<string, string>;
  readonly at: (network: string, index: number) => string;
}

/** Three networks that do not overlap, with room for at least 14 hosts each. */
const arbitraryNetworks = (): fc.Arbitrary<Networks> =>
  fc
    .tuple(
      fc.uniqueArray(fc.integer({ min: 1, max: 254 }), { minLength: 3, maxLength: 3 }),
      fc.array(fc.integer({ min: 16, max: 28 }), { minLength: 3, maxLength: 3 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 14 }), { minLength: 6, maxLength: 6 }),
    )
    .map(([seconds, lengths, hosts]) => {
      const names = ["public", "heartbeat", "storage"];
      const base = (network: string) => 10 * 2 ** 24 + (seconds[names.indexOf(network)] ?? 0) * 2 ** 16;
      const bits = (network: string) => lengths[names.indexOf(network)] ?? 24;
      return {
        prefixes: Object.fromEntries(names.map((name) => [name, `${formatIpv4(base(name))}/${bits(name)}`])),
        at: (network, index) => `${formatIpv4(base(network) + (hosts[index] ?? 1))}/${bits(network)}`,
      };
    });

const plain = (address: string): string => address.split("/")[0] ?? "";

const arbitraryPair = (): fc.Arbitrary<Input> =>
  fc
    .record({
      networks: arbitraryNetworks(),
      storage: fc.boolean(),
      gateway: fc.boolean(),
      name: fc.option(label(32), { nil: undefined }),
      nodeNames: fc.uniqueArray(label(63), { minLength: 2, maxLength: 2 }),
      interfaces: fc.tuple(
        ...[0, 1].map(() => fc.uniqueArray(fc.constantFrom(...INTERFACES), { minLength: 3, maxLength: 3 })),
      ),
      mtu: optional(fc.integer({ min: 1280, max: 9216 })),
      ssh: fc.constantFrom("agent", "keyFile", "key", "jump"),
      vips: fc.uniqueArray(
        fc.record({
          name: label(16),
          mode: optional(fc.constantFrom("ip", "vmac")),
          routerId: fc.integer({ min: 1, max: 255 }),
          preferred: optional(fc.integer({ min: 0, max: 1 })),
          alone: fc.boolean(),
        }),
        { minLength: 1, maxLength: 2, selector: (vip) => vip.name },
      ),
      vrrp: optional(arbitraryVrrp()),
      arbiter: optional(arbitraryArbiter()),
      ports: fc.uniqueArray(fc.integer({ min: 23, max: 65_535 }), { minLength: 12, maxLength: 12 }),
      sites: fc.tuple(...[0, 1].map(() => optional(label(63)))),
      witness: optional(arbitraryWitness()),
      mariadb: optional(arbitraryMariadb()),
      balancer: optional(arbitraryBalancer()),
      nginx: fc.boolean(),
      nginxPaths: fc.record({
        healthPath: optional(urlPath()),
        root: optional(fc.constantFrom("/srv/www", "/var/www/my-site_2")),
      }),
      external: optional(
        fc.record({
          name: label(32).filter((name) => name !== "nginx" && name !== "mariadb"),
          units: fc.subarray(["app.service", "app@1.socket"]),
        }),
      ),
      base: optional(fc.record({ persistentJournal: fc.boolean(), installPackages: fc.boolean() })),
      objectives: optional(arbitraryObjectives()),
      limits: optional(
        fc.record(
          {
            roundTrip: duration(0, 200, 1),
            jitter: duration(0, 100, 1),
            pause: duration(0, 2_000, 1),
            restore: duration(0, 50_000, 1),
            answer: duration(0, 1_000, 1),
          },
          { requiredKeys: [] },
        ),
      ),
      previous: fc.boolean(),
    })
    .map((drawn) => assemble(drawn));

const urlPath = () => fc.stringMatching(/^\/[A-Za-z0-9._~/-]{0,20}$/);

const arbitraryVrrp = () =>
  fc.record(
    {
      advertInterval: duration(10, 40_950, 10),
      priority: fc.integer({ min: 1, max: 254 }),
      garp: fc.record(
        {
          repeat: fc.integer({ min: 1, max: 100 }),
          delay: duration(1_000, 60_000, 1_000),
          refresh: duration(1_000, 3_600_000, 1_000),
        },
        { requiredKeys: [] },
      ),
      notify: fc.constantFrom(...PROGRAMS),
      email: fc.record({
        to: fc.uniqueArray(fc.constantFrom("ops@example.net", "on-call+pair@example.org"), { minLength: 1 }),
        from: fc.constant("hotpair@example.net"),
        smtpServer: fc.constantFrom("192.0.2.25", "127.0.0.1"),
      }),
    },
    { requiredKeys: [] },
  );

const arbitraryArbiter = () =>
  fc.record(
    {
      beaconInterval: duration(1, 1_000),
      silence: duration(1, 60_000),
      evidence: duration(1, 60_000),
      hold: duration(1, 600_000),
      port: fc.integer({ min: 1, max: 65_535 }),
      serviceDead: duration(1, 60_000),
    },
    { requiredKeys: [] },
  );

const haproxyTime = () => duration(1, 86_400_000);

const arbitraryBalancer = () =>
  fc.record({
    backends: fc.uniqueArray(
      fc.record({
        name: label(32),
        mode: fc.constantFrom("http", "tcp"),
        algorithm: optional(fc.constantFrom("roundrobin", "leastconn", "source")),
        servers: optional(
          fc.uniqueArray(
            fc.record({ name: label(32), address: fc.ipV4(), port: fc.integer({ min: 1, max: 65_535 }) }),
            { minLength: 1, maxLength: 5, selector: (server) => server.name },
          ),
        ),
        path: optional(urlPath()),
        status: optional(fc.integer({ min: 100, max: 599 })),
        check: fc.record(
          {
            interval: haproxyTime(),
            fastInterval: haproxyTime(),
            fall: fc.integer({ min: 1, max: 100 }),
            rise: fc.integer({ min: 1, max: 100 }),
            timeout: haproxyTime(),
          },
          { requiredKeys: [] },
        ),
        maxconn: optional(fc.integer({ min: 1, max: 1_000_000 })),
      }),
      { minLength: 1, maxLength: 3, selector: (backend) => backend.name },
    ),
    frontends: fc.uniqueArray(
      fc.record({
        name: label(32),
        bind: fc.integer({ min: 0, max: 2 }),
        backend: fc.nat(2),
        certificate: optional(fc.constantFrom(...CERTIFICATES)),
      }),
      { minLength: 1, maxLength: 4, selector: (frontend) => frontend.name },
    ),
    maxconn: optional(fc.integer({ min: 1, max: 100_000 })),
    timeouts: optional(
      fc.record({ connect: haproxyTime(), client: haproxyTime(), server: haproxyTime() }, { requiredKeys: [] }),
    ),
  });

const size = (unit: "KiB" | "MiB" | "GiB", min: number, max: number) =>
  fc.integer({ min, max }).map((count) => `${count}${unit}`);

/** A witness with its authority and, perhaps, fence agents. */
const arbitraryWitness = () =>
  fc.record({
    name: optional(label(63)),
    site: optional(label(63)),
    beyond: fc.boolean(),
    key: fc.boolean(),
    etcd: optional(
      fc
        .record({
          heartbeat: fc.integer({ min: 10, max: 1_000 }),
          factor: fc.integer({ min: 5, max: 20 }),
          quota: optional(fc.oneof(size("MiB", 16, 8_192), size("GiB", 1, 8))),
        })
        .map(({ heartbeat, factor, quota }) => ({
          heartbeat: `${heartbeat}ms`,
          election: `${heartbeat * factor}ms`,
          quota,
        })),
    ),
    lease: optional(
      fc.record(
        {
          renewal: duration(10, 300_000),
          rpcTimeout: duration(10, 300_000),
          deadline: duration(50, 300_000),
          takeover: duration(100, 300_000),
          watchdog: duration(50, 300_000),
          stopTimeout: duration(10, 300_000),
          drift: fc.integer({ min: 0, max: 100_000 }).map((ppm) => `${ppm}ppm`),
          margin: duration(1, 300_000),
        },
        { requiredKeys: [] },
      ),
    ),
    rotating: fc.boolean(),
    fencing: optional(
      fc.record({
        swapped: fc.boolean(),
        agent: fc.constantFrom("fence_ipmilan", "fence_redfish", "fence_aws", "lab"),
        options: fc.dictionary(
          fc
            .stringMatching(/^[a-z][a-z0-9_]{4,12}$/)
            .filter((name) => !/^false$|passw|secret|token|private_key|community/.test(name)),
          fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/),
          { maxKeys: 4 },
        ),
        timeout: optional(duration(1_000, 300_000, 1_000)),
      }),
    ),
  });

const arbitraryMariadb = () =>
  fc.record({
    dataDirectory: optional(fc.constantFrom("/var/lib/mysql", "/srv/data_1/mysql@2")),
    bufferPool: optional(fc.oneof(size("MiB", 8, 9_999), size("GiB", 1, 9_999))),
    redoLog: optional(
      fc.oneof(
        size("KiB", 1_024, 9_999).map((text) => `${4 * Number.parseInt(text, 10)}KiB`),
        size("GiB", 1, 512),
      ),
    ),
    maxConnections: optional(fc.integer({ min: 10, max: 100_000 })),
    replicationNetwork: optional(fc.constantFrom("public", "heartbeat")),
    maxLag: optional(duration(10, 3_600_000)),
    replicaReads: fc.boolean(),
    adopt: optional(fc.boolean()),
    previous: fc.boolean(),
    served: fc.boolean(),
  });

const arbitraryObjectives = () =>
  fc.record({
    tier: fc.constantFrom("standard", "critical", "custom"),
    rto: fc
      .tuple(duration(0, 86_400_000), fc.constantFrom(...FAILURE_CLASS_IDS), duration(0, 86_400_000))
      .map(([all, id, own]): Input => ({ default: all, [id]: own })),
    rpo: duration(0, 86_400_000).map((all) => ({ default: all })),
  });

/** Puts the drawn parts together so that they fit: addresses in their networks, ports free, names known. */
function assemble(drawn: Input): Input {
  const { networks, storage, ports, vips, witness } = drawn;
  // Data without a witness is read, and refused by a policy before anything is planned.
  const mariadb = witness && drawn.mariadb;
  const balancer = drawn.balancer && withDatabase(drawn.balancer, mariadb);
  const objectives = withPossibleClasses(drawn.objectives, mariadb);
  const names = ["public", "heartbeat", ...(storage ? ["storage"] : [])];
  const nginx = drawn.nginx || (balancer !== undefined && drawn.external === undefined);
  const [nginxPort, externalPort, statsPort, clientPort, peerPort, dataPort, rolePort, readPort, ...frontendPorts] =
    ports;
  return clean({
    name: drawn.name,
    networks: Object.fromEntries(
      names.map((name) => [
        name,
        {
          prefix: networks.prefixes[name],
          gateway: drawn.gateway && name === "public" ? plain(networks.at("public", 4)) : undefined,
        },
      ]),
    ),
    nodes: [0, 1].map((index) => ({
      name: drawn.nodeNames[index],
      site: drawn.sites[index],
      ssh: {
        host: plain(networks.at("public", index)),
        hostKey: HOST_KEYS[index],
        ...(drawn.ssh === "keyFile" || drawn.ssh === "jump" ? { keyFile: "~/.ssh/id_ed25519", user: "ops" } : {}),
        ...(drawn.ssh === "key" ? { key: secret() } : {}),
        ...(drawn.ssh === "jump" ? { jump: { host: "bastion.example.net", port: 2222, hostKey: HOST_KEYS[2] } } : {}),
      },
      networks: Object.fromEntries(
        names.map((name, position) => [
          name,
          { interface: drawn.interfaces[index][position], address: networks.at(name, index), mtu: drawn.mtu },
        ]),
      ),
    })),
    vips: vips.map((vip: Input, index: number) => ({
      name: vip.name,
      address: vip.alone ? `${plain(networks.at("public", 2 + index))}/32` : networks.at("public", 2 + index),
      mode: vip.mode,
      routerId: index === 1 && vip.routerId === vips[0].routerId ? (vip.routerId % 255) + 1 : vip.routerId,
      preferred: vip.preferred === undefined ? undefined : drawn.nodeNames[vip.preferred],
    })),
    vrrp: drawn.vrrp,
    arbiter: drawn.arbiter,
    haproxy: balancer && {
      frontends: balancer.frontends.map((frontend: Input, index: number) => {
        const backend = balancer.backends[frontend.backend % balancer.backends.length];
        const vip = vips[frontend.bind];
        return {
          name: frontend.name,
          bind: `${vip === undefined ? "*" : vip.name}:${frontendPorts[index]}`,
          mode: backend.mode,
          certificate: frontend.certificate,
          backend: backend.name,
        };
      }),
      backends: balancer.backends.map((backend: Input) => ({
        name: backend.name,
        mode: backend.mode,
        algorithm: backend.algorithm,
        service: backend.service,
        servers: backend.servers,
        check: {
          ...backend.check,
          ...(backend.mode === "http" ? { path: backend.path, status: backend.status } : {}),
        },
        maxconn: backend.maxconn,
      })),
      maxconn: balancer.maxconn,
      timeouts: balancer.timeouts,
      stats: { port: statsPort },
    },
    nginx: nginx ? { port: nginxPort, ...drawn.nginxPaths } : undefined,
    external: drawn.external && { ...drawn.external, port: externalPort },
    mariadb: mariadb && {
      port: dataPort,
      rolePort,
      dataDirectory: mariadb.dataDirectory,
      bufferPool: mariadb.bufferPool,
      redoLog: mariadb.redoLog,
      maxConnections: mariadb.maxConnections,
      replicationNetwork: mariadb.replicationNetwork,
      replicaReads: mariadb.replicaReads && balancer ? { port: readPort, maxLag: mariadb.maxLag } : undefined,
      adopt: mariadb.adopt,
      replicationPassword: secret(),
      previousReplicationPassword: mariadb.previous ? secret() : undefined,
    },
    authority: witness && {
      etcd: { ...witness.etcd, clientPort, peerPort },
      lease: witness.lease,
      caCertificate: CERTIFICATE,
      caKey: secret(),
      previousCaCertificate: witness.rotating ? CERTIFICATE : undefined,
      members: Object.fromEntries(["a", "b", "witness"].map((id) => [id, { certificate: CERTIFICATE, key: secret() }])),
    },
    witness: witness && {
      name: [witness.name ?? "witness", "third", "fourth", "fifth"].find((name) => !drawn.nodeNames.includes(name)),
      site: witness.site,
      ssh: { host: "witness.example.net", hostKey: HOST_KEYS[2], ...(witness.key ? { key: secret() } : {}) },
      address: witness.beyond ? "192.0.2.13" : plain(networks.at("public", 5)),
    },
    fencing: witness?.fencing && {
      agents: (witness.fencing.swapped ? [1, 0] : [0, 1]).map((index) => ({
        node: drawn.nodeNames[index],
        agent: witness.fencing.agent,
        options: witness.fencing.options,
        secrets: { password: secret() },
      })),
      timeout: witness.fencing.timeout,
    },
    base: drawn.base,
    objectives,
    limits: drawn.limits,
    beaconKey: secret(),
    previousBeaconKey: drawn.previous ? secret() : undefined,
  });
}

/** With a backend for the database and a frontend that leads to it, under names that are free. */
function withDatabase(balancer: Input, mariadb: Input): Input {
  if (mariadb === undefined || !mariadb.served) return balancer;
  const free = (taken: Input[]) =>
    ["data", "data-2", "data-3", "data-4", "data-5"].find((name) => !taken.some((each) => each.name === name));
  const backend = { name: free(balancer.backends), mode: "tcp", service: "mariadb", check: {} };
  const backends = [...balancer.backends.slice(0, 2), backend];
  const frontend = { name: free(balancer.frontends), bind: 0, backend: backends.length - 1 };
  return { ...balancer, backends, frontends: [...balancer.frontends.slice(0, 3), frontend] };
}

/** Targets for failures that a pair cannot have, without data or without replicated disks, are mistakes. */
function withPossibleClasses(objectives: Input, mariadb: Input): Input {
  if (objectives === undefined) return undefined;
  const has = { mariadb, drbd: undefined };
  const rto = Object.fromEntries(Object.entries(objectives.rto).filter(([id]) => whyNot(id, has) === undefined));
  return { ...objectives, rto };
}

/** Without the keys that were not drawn. */
const clean = (value: Input): Input => JSON.parse(JSON.stringify(value));

/** Values that have broken a configuration language before. */
const NASTY = [
  null,
  true,
  -1,
  0,
  1e9,
  0.5,
  "",
  " ",
  "0",
  "yes",
  "x".repeat(300),
  'a"b',
  "a'b",
  "a b",
  "a\nb",
  "}",
  "{",
  "#",
  ";",
  "$x",
  "`x`",
  "{{name}}",
  "../../etc/passwd",
  "/etc/../etc/passwd",
  "%s",
  "ä",
  "\u0000",
  "-",
  "--",
  "10.0.0.1",
  "10.0.0.0/24",
  "0.0.0.0/0",
  "255.255.255.255/32",
  "1s",
  "0ms",
  "99999d",
  "1e3ms",
  "*:1",
  "*:0",
  "web:99999",
  [],
  {},
  ["a"],
  { secure: "v1:a:b" },
];

/** Changes an input at some place and says how. */
const arbitraryDamage = (): fc.Arbitrary<(input: Input) => string> =>
  fc
    .tuple(fc.constantFrom("replace", "remove", "rename", "copy"), fc.nat(), fc.nat(), fc.constantFrom(...NASTY))
    .map(([kind, first, second, value]) => (input) => {
      const places = placesIn(input);
      const place = places[first % places.length];
      const other = places[second % places.length];
      if (place === undefined || other === undefined) return "nothing";
      const { parent, key, path } = place;
      if (kind === "remove" && Array.isArray(parent)) parent.splice(Number(key), 1);
      else if (kind === "remove") delete parent[key];
      else if (kind === "rename" && !Array.isArray(parent)) {
        parent[`${String(key)}x`] = parent[key];
        delete parent[key];
      } else if (kind === "copy") parent[key] = structuredClone(other.parent[other.key]);
      else parent[key] = structuredClone(value);
      return `${kind} ${path}${kind === "replace" ? ` by ${JSON.stringify(value)}` : kind === "copy" ? ` from ${other.path}` : ""}`;
    });

interface Spot {
  readonly parent: Input;
  readonly key: string | number;
  readonly path: string;
}

function placesIn(value: Input, path = ""): readonly Spot[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.keys(value).flatMap((name) => {
    const key = Array.isArray(value) ? Number(name) : name;
    const here = `${path}/${name}`;
    return [{ parent: value, key, path: here }, ...placesIn(value[key], here)];
  });
}
