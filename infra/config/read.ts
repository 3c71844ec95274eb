// From what somebody wrote to the Pair that everything below reads: check every field and how they fit, fill in what is
// derived from several of them, replace secrets by references. All mistakes are reported together.

import { type Duration, ms, parseDuration } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import type {
  Attachment,
  Authority,
  Aws,
  Backend,
  Drbd,
  Fencing,
  FencingAgent,
  Frontend,
  HostId,
  Mariadb,
  MariadbServer,
  NetworkName,
  Nfs,
  Node,
  NodeId,
  Pair,
  SecretRef,
  Ssh,
  Vip,
  Volume,
  Witness,
} from "../model/pair.ts";
import { NODE_IDS } from "../model/pair.ts";
import { parseRate } from "../model/rate.ts";
import { parseSize } from "../model/size.ts";
import { followingAdverts } from "../model/timers.ts";
import { isHostKey } from "./formats.ts";
import { formatProblem, type Locate, type Problem } from "./problem.ts";
import { problemsOf } from "./rules.ts";
import { engineSchema, fileSchema, type PairSettings } from "./schema.ts";
import { readStackFile, type StackFile } from "./stackfile.ts";

export interface ReadOptions {
  /** Name of the stack; the pair's name unless it has one of its own. */
  readonly stack: string;
  /** Given for what was read from a stack file, where secrets are `{secure: …}`; without it, they are decrypted texts. */
  readonly locate?: Locate;
}

/** Throws UserError with all mistakes. The same Pair comes from a stack file and from the engine. */
export function readPair(input: unknown, options: ReadOptions): Pair {
  const checked = checkPair(input, options);
  if (checked.pair === undefined) throw wrongConfiguration(options.stack, checked.problems);
  return checked.pair;
}

/** Throws UserError with all mistakes, those of the file itself first. */
export function readStack(
  text: string,
  file: string,
  stack: string,
): { readonly pair: Pair; readonly stackFile: StackFile } {
  const stackFile = readStackFile(text, file);
  const checked =
    stackFile.pairInput === undefined
      ? { pair: undefined, problems: [] }
      : checkPair(stackFile.pairInput, { stack, locate: stackFile.locate });
  if (checked.pair === undefined || stackFile.problems.length > 0)
    throw wrongConfiguration(stack, [...stackFile.problems, ...checked.problems]);
  return { pair: checked.pair, stackFile };
}

const wrongConfiguration = (stack: string, problems: readonly string[]): UserError =>
  new UserError(
    `the configuration of stack ${stack} has ${problems.length === 1 ? "a mistake" : `${problems.length} mistakes`}`,
    problems,
  );

function checkPair(
  input: unknown,
  { stack, locate }: ReadOptions,
): { pair: Pair | undefined; problems: readonly string[] } {
  const result = (locate === undefined ? engineSchema : fileSchema).safeParse(input);
  const problems: Problem[] = (result.error?.issues ?? []).flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.message
          .split("\n")
          .map((message, index) => ({ path: [...issue.path, issue.keys[index] ?? ""], message, at: "key" as const }))
      : { path: issue.path, message: issue.message },
  );
  problems.push(...problemsOf(input));
  const name = result.data?.name ?? stack;
  if (result.data !== undefined && !/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name))
    problems.push({
      path: ["name"],
      message: `is missing, and the stack's name "${name}" cannot stand in for it; expected at most 32 lower-case letters, digits and inner hyphens, e.g. shop`,
    });

  if (result.data !== undefined && problems.length === 0) return { pair: pairOf(result.data, name), problems: [] };
  const line = ({ path }: Problem) => locate?.(path)?.line ?? 0;
  const texts = problems.toSorted((one, other) => line(one) - line(other)).map((each) => formatProblem(each, locate));
  return { pair: undefined, problems: [...new Set(texts)] };
}

function pairOf(settings: PairSettings, name: string): Pair {
  const advert = time(settings.vrrp.advertInterval);
  const following = followingAdverts(advert);
  // What one fault takes in AWS is a zone. With one, it is the second node's as well.
  const zones = settings.aws?.zones ?? [];
  const nodes = settings.nodes.map((node, index) => nodeOf(node, index, zones[index] ?? zones[0])) as [Node, Node];
  const { networks, arbiter, haproxy, nginx, external, vrrp } = settings;
  return {
    name,
    target: settings.target,
    networks: {
      public: { prefix: networks.public.prefix, gateway: networks.public.gateway },
      heartbeat: { prefix: networks.heartbeat.prefix, gateway: undefined },
      ...(networks.storage === undefined ? {} : { storage: { prefix: networks.storage.prefix, gateway: undefined } }),
    },
    nodes,
    vips: settings.vips.map(
      (vip): Vip => ({ ...vip, preferred: nodes.find((node) => node.name === vip.preferred)?.id }),
    ),
    vrrp: {
      advertInterval: advert,
      priority: vrrp.priority,
      garp: { repeat: vrrp.garp.repeat, delay: time(vrrp.garp.delay), refresh: time(vrrp.garp.refresh) },
      notify: vrrp.notify,
      email: vrrp.email,
    },
    arbiter: {
      beaconInterval: timeOr(arbiter.beaconInterval, following["arbiter.beaconInterval"]),
      silence: timeOr(arbiter.silence, following["arbiter.silence"]),
      evidence: timeOr(arbiter.evidence, following["arbiter.evidence"]),
      hold: time(arbiter.hold),
      port: arbiter.port,
      serviceDead: time(arbiter.serviceDead),
    },
    haproxy: haproxy && {
      frontends: haproxy.frontends.map(frontendOf),
      backends: haproxy.backends.map((backend) => backendOf(backend, settings, nodes)),
      maxconn: haproxy.maxconn,
      timeouts: {
        connect: time(haproxy.timeouts.connect),
        client: time(haproxy.timeouts.client),
        server: time(haproxy.timeouts.server),
      },
      stats: haproxy.stats,
    },
    nginx,
    external,
    witness: witnessOf(settings),
    authority: authorityOf(settings.authority),
    mariadb: mariadbOf(settings),
    ...(settings.drbd === undefined ? {} : { drbd: drbdOf(settings.drbd, networks.storage === undefined) }),
    ...(settings.volumes === undefined ? {} : { volumes: settings.volumes.map(volumeOf) }),
    fencing: fencingOf(settings, nodes, name),
    ...(settings.aws === undefined ? {} : { aws: awsOf(settings.aws) }),
    base: {
      ...settings.base,
      watchdog: settings.base.watchdog === undefined ? undefined : time(settings.base.watchdog),
    },
    objectives: objectivesOf(settings.objectives),
    evidence: {
      enforcement: settings.evidence.enforcement,
      maxAge: time(settings.evidence.maxAge),
      allowedSigners: settings.evidence.allowedSigners,
      beforeDrill: settings.evidence.beforeDrill,
    },
    failures: settings.failures.map(({ class: failure, rate, repair }) => ({
      failure,
      rate: rate === undefined ? undefined : parseRate(rate),
      repair: repair === undefined ? undefined : time(repair),
    })),
    limits: {
      roundTrip: time(settings.limits.roundTrip),
      jitter: time(settings.limits.jitter),
      pause: time(settings.limits.pause),
      restore: time(settings.limits.restore),
      answer: time(settings.limits.answer),
    },
    secrets: {
      beaconKey: { secret: "beaconKey" },
      previousBeaconKey: settings.previousBeaconKey === undefined ? undefined : { secret: "previousBeaconKey" },
    },
  };
}

function time(text: string): Duration {
  const value = parseDuration(text);
  if (value === undefined) throw new Error(`the schema let "${text}" pass as a duration`);
  // 66766.001 s is not a whole number of milliseconds in binary; the microsecond is the finest unit that can be written.
  return ms(Math.round(value * 1_000) / 1_000);
}

const timeOr = (text: string | undefined, otherwise: Duration): Duration =>
  text === undefined ? otherwise : time(text);

function bytes(text: string): number {
  const value = parseSize(text);
  if (value === undefined) throw new Error(`the schema let "${text}" pass as a size`);
  return value;
}

function nodeOf(
  { name, site, ssh, networks }: PairSettings["nodes"][number],
  index: number,
  zone: string | undefined,
): Node {
  const id: NodeId = NODE_IDS[index === 0 ? 0 : 1];
  const attachments = Object.entries(networks).flatMap(([network, attachment]) =>
    attachment === undefined ? [] : [[network, attachmentOf(attachment)] as const],
  );
  return {
    id,
    name,
    site: site ?? zone,
    ssh: sshOf(ssh, `nodes[${index}].ssh`),
    networks: Object.fromEntries(attachments) as Record<NetworkName, Attachment>,
  };
}

function attachmentOf({
  managed,
  ...attachment
}: NonNullable<PairSettings["nodes"][number]["networks"]["storage"]>): Attachment {
  if (managed === undefined) return attachment;
  const { vlan, bond, overSsh } = managed;
  return {
    ...attachment,
    managed: {
      vlan,
      bond: bond && { members: bond.members, miimon: time(bond.miimon), primary: bond.primary },
      overSsh,
    },
  };
}

function sshOf(
  { host, port, user, hostKey, keyFile, key, jump }: PairSettings["nodes"][number]["ssh"],
  path: string,
): Ssh {
  const auth: Ssh["auth"] =
    key !== undefined
      ? { kind: "key", key: { secret: `${path}.key` } }
      : keyFile !== undefined
        ? { kind: "keyFile", file: keyFile }
        : { kind: "agent" };
  return { host, port, user, hostKey, auth, jump };
}

const witnessOf = ({ witness, aws }: PairSettings): Witness | undefined =>
  witness && {
    name: witness.name,
    site: witness.site ?? aws?.witness?.zone,
    ssh: sshOf(witness.ssh, "witness.ssh"),
    address: witness.address,
  };

function authorityOf(settings: PairSettings["authority"]): Authority | undefined {
  if (settings === undefined) return undefined;
  const { etcd, lease, members } = settings;
  const member = (id: HostId): Authority["members"][HostId] => ({
    certificate: members[id].certificate,
    key: { secret: `authority.members.${id}.key` },
  });
  return {
    etcd: {
      clientPort: etcd.clientPort,
      peerPort: etcd.peerPort,
      heartbeat: time(etcd.heartbeat),
      election: time(etcd.election),
      quota: bytes(etcd.quota),
    },
    lease: {
      renewal: time(lease.renewal),
      rpcTimeout: time(lease.rpcTimeout),
      deadline: time(lease.deadline),
      takeover: time(lease.takeover),
      watchdog: time(lease.watchdog),
      stopTimeout: time(lease.stopTimeout),
      drift: Number.parseInt(lease.drift, 10) / 1e6,
      margin: time(lease.margin),
    },
    caCertificate: settings.caCertificate,
    caKey: { secret: "authority.caKey" },
    previousCaCertificate: settings.previousCaCertificate,
    members: { a: member("a"), b: member("b"), witness: member("witness") },
  };
}

function mariadbOf({ mariadb: settings, networks }: PairSettings): Mariadb | undefined {
  if (settings === undefined) return undefined;
  const { replicaReads } = settings;
  return {
    ...mariadbServerOf(settings),
    rolePort: settings.rolePort,
    dataDirectory: settings.dataDirectory,
    replicationNetwork: settings.replicationNetwork ?? (networks.storage === undefined ? "heartbeat" : "storage"),
    replicaReads: replicaReads && { port: replicaReads.port, maxLag: time(replicaReads.maxLag) },
    adopt: settings.adopt,
    replicationPassword: { secret: "mariadb.replicationPassword" },
    previousReplicationPassword:
      settings.previousReplicationPassword === undefined
        ? undefined
        : { secret: "mariadb.previousReplicationPassword" },
  };
}

type MariadbServerSettings = Readonly<Record<"bufferPool" | "redoLog", string>> &
  Pick<MariadbServer, "port" | "maxConnections">;

const mariadbServerOf = ({ port, bufferPool, redoLog, maxConnections }: MariadbServerSettings): MariadbServer => ({
  port,
  bufferPool: bytes(bufferPool),
  redoLog: bytes(redoLog),
  maxConnections,
});

const drbdOf = (settings: NonNullable<PairSettings["drbd"]>, withoutStorage: boolean): Drbd => ({
  network: settings.network ?? (withoutStorage ? "heartbeat" : "storage"),
  protocol: settings.protocol,
  resources: settings.resources.map((resource) => ({ ...resource, metadata: resource.metadata })),
  pingInterval: time(settings.pingInterval),
  pingTimeout: time(settings.pingTimeout),
  diskPerSecond: bytes(settings.diskPerSecond),
  networkPerSecond: bytes(settings.networkPerSecond),
  crashResync: time(settings.crashResync),
  sendBuffer: bytes(settings.sendBuffer),
  onIoError: settings.onIoError === "pass-on" ? "pass_on" : "detach",
  checksum: settings.checksum,
  verify: settings.verify,
  sharedSecret: settings.sharedSecret === undefined ? undefined : { secret: "drbd.sharedSecret" },
  accepted: { undrilled: settings.accepted.undrilled },
});

const volumeOf = ({ device, ...settings }: NonNullable<PairSettings["volumes"]>[number]): Volume => ({
  resource: device,
  fileSystem: settings.fileSystem,
  mountPoint: settings.mountPoint,
  ...(settings.mariadb === undefined ? {} : { mariadb: mariadbServerOf(settings.mariadb) }),
  ...(settings.nfs === undefined ? {} : { nfs: nfsOf(settings.nfs) }),
  units: settings.units,
  stopTimeout: time(settings.stopTimeout),
  checkWithin: time(settings.checkWithin),
  startWithin: time(settings.startWithin),
});

const nfsOf = ({
  leaseTime,
  gracePeriod,
  ...settings
}: NonNullable<NonNullable<PairSettings["volumes"]>[number]["nfs"]>): Nfs => ({
  ...settings,
  leaseTime: time(leaseTime),
  gracePeriod: time(gracePeriod),
});

function fencingOf(
  { fencing: settings, aws }: PairSettings,
  nodes: readonly [Node, Node],
  pair: string,
): Fencing | undefined {
  if (settings === undefined) return undefined;
  const agentOf = (node: Node): FencingAgent => {
    const index = settings.agents.findIndex(({ node: name }) => name === node.name);
    const agent = settings.agents[index];
    if (agent === undefined) throw new Error(`the rules let ${node.name} pass without a fence agent`);
    const secrets = Object.keys(agent.secrets).map((name): [string, SecretRef] => [
      name,
      { secret: `fencing.agents[${index}].secrets.${name}` },
    ]);
    // What the stack makes in AWS it can name itself.
    const made = agent.agent === "aws" ? { pair, plug: node.id, region: aws?.region ?? "" } : {};
    // By name, whoever read the configuration: the engine sorts keys, a file does not.
    const options = [...Object.entries<string | SecretRef>({ ...made, ...agent.options }), ...secrets].toSorted(
      ([one], [other]) => (one < other ? -1 : 1),
    );
    return { agent: agent.agent, options: Object.fromEntries(options) };
  };
  return {
    agents: { a: agentOf(nodes[0]), b: agentOf(nodes[1]) },
    timeout: time(settings.timeout),
    required: settings.required,
  };
}

function awsOf(settings: NonNullable<PairSettings["aws"]>): Aws {
  const { region, zones, vpc, vip, instance, volume, ssh, witness, bucket, backup, budget } = settings;
  const [zone = ""] = zones;
  const inDays = (text: string | undefined) => (text === undefined ? undefined : time(text) / DAY);
  return {
    region,
    zones: { a: zone, b: zones[1] ?? zone },
    vpc: {
      prefix: vpc.prefix,
      existing:
        vpc.id === undefined || vpc.routeTable === undefined ? undefined : { id: vpc.id, routeTable: vpc.routeTable },
    },
    vip: {
      method: vip.method,
      addresses: vip.addresses,
      within: time(vip.within),
      record:
        vip.hostedZone === undefined || vip.record === undefined
          ? undefined
          : { hostedZone: vip.hostedZone, name: vip.record, ttl: time(vip.ttl) },
    },
    instance: { ...instance, image: instance.image },
    volume: { type: volume.type, size: bytes(volume.size), iops: volume.iops },
    ssh: { from: ssh.from, publicKey: ssh.publicKey, elasticIps: ssh.elasticIps },
    witness: witness && {
      zone: witness.zone,
      prefix: witness.prefix,
      type: witness.type,
      image: witness.image,
      elasticIp: witness.elasticIp,
      hostKey: { secret: "aws.witness.hostKey" },
    },
    clients: settings.clients,
    bucket: bucket && {
      name: bucket.name,
      objectLockDays: inDays(bucket.objectLock),
      infrequentAccessDays: inDays(bucket.infrequentAccess),
      glacierDays: inDays(bucket.glacier),
      deepArchiveDays: inDays(bucket.deepArchive),
    },
    backup: backup && { role: backup.role, at: backup.at, keepDays: time(backup.keep) / DAY },
    budget,
    tags: settings.tags,
    accepted: Object.fromEntries(Object.entries(settings.accepted).filter(([, reason]) => reason !== undefined)),
    hostKeys: { a: { secret: "aws.hostKeys.a" }, b: { secret: "aws.hostKeys.b" } },
  };
}

const DAY = 24 * 3_600_000;

type HaproxySettings = NonNullable<PairSettings["haproxy"]>;

function frontendOf({ name, bind, mode, certificate, backend }: HaproxySettings["frontends"][number]): Frontend {
  const colon = bind.lastIndexOf(":");
  return { name, bind: { vip: bind.slice(0, colon), port: Number(bind.slice(colon + 1)) }, mode, certificate, backend };
}

function backendOf(
  { name, mode, algorithm, service, servers, check, maxconn }: HaproxySettings["backends"][number],
  { nginx, external, ...settings }: PairSettings,
  nodes: readonly [Node, Node],
): Backend {
  const used = service ?? (nginx === undefined ? external?.name : "nginx");
  const mariadb = settings.mariadb ?? settings.volumes?.find((volume) => volume.mariadb !== undefined)?.mariadb;
  const database = servers === undefined && used === "mariadb" && mariadb !== undefined;
  const port = database ? mariadb.port : used === "nginx" ? nginx?.port : external?.port;
  const managed = servers === undefined && used === "nginx" && mode === "http";
  return {
    name,
    mode,
    algorithm,
    ...(database ? { role: "primary" as const } : {}),
    servers:
      servers ??
      nodes.map((node) => ({
        name: node.name,
        address: node.networks.public.address.split("/")[0] ?? "",
        port: port ?? 0,
      })),
    check: {
      path: check.path ?? (managed ? nginx?.healthPath : undefined),
      status: check.status,
      interval: time(check.interval),
      fastInterval: time(check.fastInterval),
      fall: check.fall,
      rise: check.rise,
      timeout: time(check.timeout),
    },
    maxconn,
  };
}

/** Only what is stated; what a tier promises for the rest is the estimate's to know. */
function objectivesOf({
  tier,
  tiers,
  rto,
  rpo,
  downtime,
  redundancyLost,
}: PairSettings["objectives"]): Pair["objectives"] {
  const stated = (targets: Readonly<Record<string, string | undefined>>) =>
    Object.fromEntries(Object.entries(targets).flatMap(([id, text]) => (text === undefined ? [] : [[id, time(text)]])));
  return {
    tier,
    rto: stated(rto),
    rpo: stated(rpo),
    ...(tiers.length === 0
      ? {}
      : { tiers: tiers.map(({ name, rto, rpo }) => ({ name, rto: time(rto), rpo: time(rpo) })) }),
    ...(downtime === undefined ? {} : { downtime: time(downtime) }),
    ...(redundancyLost === undefined ? {} : { redundancyLost: time(redundancyLost) }),
  };
}

/** Paths of the secrets that this pair's configuration holds, e.g. `beaconKey`, `nodes[0].ssh.key`, `witness.ssh.key`. */
export function secretPaths(pair: Pair): readonly string[] {
  const { nodes, witness, authority, mariadb, drbd, fencing, aws } = pair;
  const refs: readonly (SecretRef | undefined)[] = [
    pair.secrets.beaconKey,
    pair.secrets.previousBeaconKey,
    ...[...nodes, ...(witness === undefined ? [] : [witness])].map(({ ssh }) =>
      ssh.auth.kind === "key" ? ssh.auth.key : undefined,
    ),
    authority?.caKey,
    ...(authority === undefined ? [] : HOST_IDS.map((id) => authority.members[id].key)),
    mariadb?.replicationPassword,
    mariadb?.previousReplicationPassword,
    drbd?.sharedSecret,
    ...(fencing === undefined
      ? []
      : NODE_IDS.flatMap((id) =>
          Object.values(fencing.agents[id].options).map((value) => (typeof value === "string" ? undefined : value)),
        )),
    ...(aws === undefined ? [] : [...NODE_IDS.map((id) => aws.hostKeys[id]), aws.witness?.hostKey]),
  ];
  return refs.flatMap((ref) => (ref === undefined ? [] : [ref.secret]));
}

const HOST_IDS: readonly HostId[] = [...NODE_IDS, "witness"];

/** What stands at each place of a secret in an input that may be wrong; values only where they are readable. */
function secretFields(
  input: unknown,
): readonly { readonly path: string; readonly value: unknown; readonly required: boolean }[] {
  const pair = map(input);
  const nodes = Array.isArray(pair.nodes) ? (pair.nodes as readonly unknown[]) : [];
  const authority = map(pair.authority);
  const agents = map(pair.fencing).agents;
  const field = (path: string, value: unknown, required = false) => ({ path, value, required });
  return [
    field("beaconKey", pair.beaconKey, true),
    field("previousBeaconKey", pair.previousBeaconKey),
    ...nodes.map((node, index) => field(`nodes[${index}].ssh.key`, map(map(node).ssh).key)),
    field("witness.ssh.key", map(map(pair.witness).ssh).key),
    field("authority.caKey", authority.caKey, pair.witness !== undefined),
    ...HOST_IDS.map((id) =>
      field(`authority.members.${id}.key`, map(map(authority.members)[id]).key, pair.witness !== undefined),
    ),
    field("mariadb.replicationPassword", map(pair.mariadb).replicationPassword, pair.mariadb !== undefined),
    field("mariadb.previousReplicationPassword", map(pair.mariadb).previousReplicationPassword),
    field("drbd.sharedSecret", map(pair.drbd).sharedSecret),
    ...(Array.isArray(agents) ? (agents as readonly unknown[]) : []).flatMap((agent, index) =>
      Object.entries(map(map(agent).secrets)).map(([name, value]) =>
        field(`fencing.agents[${index}].secrets.${name}`, value),
      ),
    ),
    ...NODE_IDS.map((id) => field(`aws.hostKeys.${id}`, map(map(pair.aws).hostKeys)[id], pair.aws !== undefined)),
    field("aws.witness.hostKey", map(map(pair.aws).witness).hostKey, map(pair.aws).witness !== undefined),
  ];
}

const map = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** The secrets' values by path, from the object that the engine hands to a program. They belong into `pulumi.secret` at once. */
export const secretsOf = (input: unknown): ReadonlyMap<string, string> =>
  new Map(
    secretFields(input).flatMap(({ path, value }) => (typeof value === "string" ? [[path, value] as const] : [])),
  );

/** How the secrets of a stack file stand in it, also when it has mistakes. */
export function secretStates(
  input: unknown,
): readonly { path: string; state: "encrypted" | "plain text" | "missing" }[] {
  return secretFields(input)
    .filter(({ value, required }) => value !== undefined || required)
    .map(({ path, value }) => {
      if (value === undefined) return { path, state: "missing" };
      const secure = (value as { secure?: unknown } | null)?.secure;
      return { path, state: typeof secure === "string" ? "encrypted" : "plain text" };
    });
}

/**
 * A stack file's input as it will be once `hotpair scan` has pinned the host keys, and `hotpair authority init`, `hotpair
 * cloud keys` and `hotpair secrets rotate` have made what is theirs: missing places get something that opens nothing, so
 * that everything else can be checked before.
 */
export function withPlaceholders(input: unknown): unknown {
  let made = 0;
  const pinned = (ssh: unknown): unknown => {
    if (typeof ssh !== "object" || ssh === null) return ssh;
    const { hostKey, jump } = ssh as { hostKey?: unknown; jump?: unknown };
    return {
      ...ssh,
      hostKey: typeof hostKey === "string" && isHostKey(hostKey) ? hostKey : placeholderKey(made++),
      ...(jump === undefined ? {} : { jump: pinned(jump) }),
    };
  };
  const withPinned = (host: unknown): unknown =>
    typeof host === "object" && host !== null && "ssh" in host ? { ...host, ssh: pinned(host.ssh) } : host;
  if (typeof input !== "object" || input === null || Array.isArray(input)) return input;
  const { nodes, witness, authority, mariadb, aws } = input as Record<string, unknown>;
  const member = { certificate: PLACEHOLDER_CERTIFICATE, key: PLACEHOLDER_SECRET };
  return {
    ...input,
    ...(Array.isArray(nodes) ? { nodes: nodes.map(withPinned) } : {}),
    ...(witness === undefined
      ? {}
      : {
          witness: withPinned(witness),
          authority: {
            caCertificate: PLACEHOLDER_CERTIFICATE,
            caKey: PLACEHOLDER_SECRET,
            ...map(authority),
            members: { a: member, b: member, witness: member, ...map(map(authority).members) },
          },
        }),
    ...(typeof mariadb !== "object" || mariadb === null
      ? {}
      : { mariadb: { replicationPassword: PLACEHOLDER_SECRET, ...mariadb } }),
    ...(typeof aws !== "object" || aws === null ? {} : { aws: withHostKeys(map(aws)) }),
  };
}

const withHostKeys = (aws: Record<string, unknown>): Record<string, unknown> => ({
  ...aws,
  hostKeys: { a: PLACEHOLDER_SECRET, b: PLACEHOLDER_SECRET, ...map(aws.hostKeys) },
  ...(aws.witness === undefined ? {} : { witness: { hostKey: PLACEHOLDER_SECRET, ...map(aws.witness) } }),
});

const PLACEHOLDER_SECRET = { secure: "v1:placeholder:placeholder" };
/** An empty SEQUENCE: no parser but the form's takes it for a certificate. */
const PLACEHOLDER_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

const placeholderKey = (index: number): string => {
  const type = "ssh-ed25519";
  const blob = `\0\0\0${String.fromCharCode(type.length)}${type}\0\0\0 ${String.fromCharCode(index).repeat(32)}`;
  return `${type} ${btoa(blob)}`;
};
