// What can be understood of a configuration that may be wrong elsewhere, so that one mistake does not hide the next: an
// unreadable value is left out, everything around it is still compared. Only rules.ts reads it.

import { type Duration, parseDuration } from "../model/duration.ts";
import { type Cidr, parseCidr, parseIpv4 } from "../model/ipv4.ts";
import type { Path } from "./problem.ts";

export interface DraftNetwork {
  readonly name: string;
  readonly path: Path;
  readonly prefix: Cidr | undefined;
  readonly gateway: number | undefined;
}

export interface DraftAttachment {
  readonly network: string;
  readonly path: Path;
  readonly interface: string | undefined;
  readonly address: Cidr | undefined;
  readonly mtu: number;
  readonly managed: DraftManaged | undefined;
}

export interface DraftManaged {
  readonly path: Path;
  readonly vlan: number | undefined;
  readonly bond:
    | {
        readonly members: readonly (string | undefined)[];
        readonly primary: string | undefined;
        readonly miimon: Duration | undefined;
      }
    | undefined;
  readonly overSsh: boolean;
}

export interface DraftNode {
  readonly path: Path;
  readonly name: string | undefined;
  readonly sshHost: string | undefined;
  readonly sshPort: number;
  readonly jumpHost: string | undefined;
  readonly hostKey: string | undefined;
  readonly hasKeyFile: boolean;
  readonly hasKey: boolean;
  readonly attachments: readonly DraftAttachment[];
}

export interface DraftVip {
  readonly path: Path;
  readonly name: string | undefined;
  readonly address: Cidr | undefined;
  readonly preferred: string | undefined;
  readonly routerId: number | undefined;
  readonly mode: string;
}

export interface DraftFrontend {
  readonly path: Path;
  readonly name: string | undefined;
  /** `*` or the name of a VIP. */
  readonly bindHost: string | undefined;
  readonly bindPort: number | undefined;
  readonly mode: string;
  readonly backend: string | undefined;
}

export interface DraftBackend {
  readonly path: Path;
  readonly name: string | undefined;
  readonly mode: string;
  readonly service: string | undefined;
  readonly servers:
    | readonly {
        readonly path: Path;
        readonly name: string | undefined;
        readonly address: number | undefined;
        readonly port: number | undefined;
      }[]
    | undefined;
  readonly checkPath: string | undefined;
  readonly hasStatus: boolean;
}

export interface DraftWitness {
  readonly name: string | undefined;
  readonly address: number | undefined;
  readonly sshHost: string | undefined;
  readonly hasKeyFile: boolean;
  readonly hasKey: boolean;
}

export interface DraftAuthority {
  readonly clientPort: number;
  readonly peerPort: number;
  /** Undefined where it cannot be read. */
  readonly heartbeat: Duration | undefined;
  readonly election: Duration | undefined;
}

export interface DraftMariadb {
  readonly port: number;
  readonly rolePort: number;
  readonly readPort: number | undefined;
  readonly replicationNetwork: string | undefined;
}

export interface DraftDrbd {
  readonly network: string | undefined;
  readonly resources: readonly {
    readonly path: Path;
    readonly name: string | undefined;
    readonly minor: number | undefined;
    readonly port: number | undefined;
    /** Every device that it uses, with the node ("a", "b") that has it. */
    readonly devices: readonly { readonly path: Path; readonly node: string; readonly device: string | undefined }[];
  }[];
  readonly pingInterval: Duration | undefined;
  readonly pingTimeout: Duration | undefined;
}

export interface DraftVolume {
  readonly path: Path;
  readonly device: string | undefined;
  readonly mountPoint: string | undefined;
  readonly mariadb: { readonly port: number } | undefined;
  readonly nfs:
    | {
        readonly path: Path;
        readonly clients: readonly (Cidr | undefined)[];
        readonly leaseTime: Duration | undefined;
        readonly gracePeriod: Duration | undefined;
      }
    | undefined;
  readonly units: readonly (string | undefined)[];
}

export interface DraftFencing {
  readonly agents: readonly {
    readonly path: Path;
    readonly node: string | undefined;
    readonly agent: string | undefined;
    readonly options: readonly string[];
    readonly secrets: readonly string[];
  }[];
}

export interface DraftAws {
  readonly region: string | undefined;
  readonly zones: readonly (string | undefined)[];
  readonly prefix: Cidr | undefined;
  readonly hasVpcId: boolean;
  readonly hasRouteTable: boolean;
  readonly method: string | undefined;
  /** Of the first node and of the second. */
  readonly addresses: readonly (number | undefined)[];
  readonly hasAddresses: boolean;
  readonly hasHostedZone: boolean;
  readonly hasRecord: boolean;
  readonly volumeType: string;
  readonly hasIops: boolean;
  readonly iops: number | undefined;
  readonly spot: boolean;
  readonly terminationProtection: boolean;
  readonly sshFrom: readonly (Cidr | undefined)[];
  readonly clients: readonly (Cidr | undefined)[];
  readonly hasElasticIps: boolean;
  /** Allocations at which operators reach a server, with where they stand, relative to `hotpair:aws`. */
  readonly elasticIps: readonly { readonly path: Path; readonly allocation: string | undefined }[];
  /** undefined: no witness is made. */
  readonly witness:
    | { readonly zone: string | undefined; readonly prefix: Cidr | undefined; readonly hasElasticIp: boolean }
    | undefined;
  /** Ages in milliseconds, in the order in which objects grow old. */
  readonly ages: readonly { readonly name: string; readonly age: Duration | undefined }[];
}

export interface Draft {
  readonly target: string;
  readonly aws: DraftAws | undefined;
  readonly networks: readonly DraftNetwork[];
  readonly nodes: readonly DraftNode[];
  readonly vips: readonly DraftVip[];
  readonly frontends: readonly DraftFrontend[];
  readonly backends: readonly DraftBackend[];
  readonly hasHaproxy: boolean;
  readonly statsPort: number | undefined;
  readonly nginxPort: number | undefined;
  readonly external: { readonly name: string | undefined; readonly port: number | undefined } | undefined;
  readonly witness: DraftWitness | undefined;
  readonly authority: DraftAuthority | undefined;
  readonly mariadb: DraftMariadb | undefined;
  readonly fencing: DraftFencing | undefined;
  readonly drbd: DraftDrbd | undefined;
  readonly volumes: readonly DraftVolume[] | undefined;
  readonly tier: string;
  /** The author's own tiers, and the failure classes under `failures`. */
  readonly tiers: readonly { readonly path: Path; readonly name: string | undefined }[];
  readonly failures: readonly { readonly path: Path; readonly failure: string | undefined }[];
  /** Failure classes that have a target of their own, with its path. */
  readonly targets: readonly { readonly path: Path; readonly failure: string }[];
  readonly hasDefaultRto: boolean;
  readonly hasDefaultRpo: boolean;
}

export const NETWORK_NAMES = ["public", "heartbeat", "storage"] as const;

export function draftOf(input: unknown): Draft {
  const pair = map(input);
  const networks = map(pair.networks);
  const haproxy = map(pair.haproxy);
  const objectives = map(pair.objectives);
  return {
    target: word(pair.target) ?? "onprem",
    aws: pair.aws === undefined ? undefined : draftAws(map(pair.aws)),
    networks: NETWORK_NAMES.filter((name) => networks[name] !== undefined).map((name) => ({
      name,
      path: ["networks", name],
      prefix: cidr(map(networks[name]).prefix),
      gateway: ipv4(map(networks[name]).gateway),
    })),
    nodes: items(pair.nodes).map((value, index) => draftNode(map(value), ["nodes", index])),
    vips: items(pair.vips).map((value, index) => ({
      path: ["vips", index],
      name: word(map(value).name),
      address: cidr(map(value).address),
      preferred: word(map(value).preferred),
      routerId: whole(map(value).routerId),
      mode: word(map(value).mode) ?? "ip",
    })),
    frontends: items(haproxy.frontends).map((value, index) =>
      draftFrontend(map(value), ["haproxy", "frontends", index]),
    ),
    backends: items(haproxy.backends).map((value, index) => draftBackend(map(value), ["haproxy", "backends", index])),
    hasHaproxy: pair.haproxy !== undefined,
    statsPort: pair.haproxy === undefined ? undefined : (whole(map(haproxy.stats).port) ?? 8404),
    nginxPort: pair.nginx === undefined ? undefined : (whole(map(pair.nginx).port) ?? 8080),
    external:
      pair.external === undefined
        ? undefined
        : { name: word(map(pair.external).name), port: whole(map(pair.external).port) },
    witness: pair.witness === undefined ? undefined : draftWitness(map(pair.witness)),
    authority: pair.authority === undefined ? undefined : draftAuthority(map(map(pair.authority).etcd)),
    mariadb: pair.mariadb === undefined ? undefined : draftMariadb(map(pair.mariadb)),
    fencing: pair.fencing === undefined ? undefined : draftFencing(map(pair.fencing)),
    drbd: pair.drbd === undefined ? undefined : draftDrbd(map(pair.drbd)),
    volumes: pair.volumes === undefined ? undefined : items(pair.volumes).map(draftVolume),
    tier: word(objectives.tier) ?? "standard",
    tiers: items(objectives.tiers).map((value, index) => ({
      path: ["objectives", "tiers", index],
      name: word(map(value).name),
    })),
    failures: items(pair.failures).map((value, index) => ({
      path: ["failures", index],
      failure: word(map(value).class),
    })),
    targets: (["rto", "rpo"] as const).flatMap((kind) =>
      Object.keys(map(objectives[kind])).map((failure) => ({ path: ["objectives", kind, failure], failure })),
    ),
    hasDefaultRto: map(objectives.rto).default !== undefined,
    hasDefaultRpo: map(objectives.rpo).default !== undefined,
  };
}

function draftNode(node: Record<string, unknown>, path: Path): DraftNode {
  const ssh = map(node.ssh);
  const networks = map(node.networks);
  return {
    path,
    name: word(node.name),
    sshHost: word(ssh.host),
    sshPort: whole(ssh.port) ?? 22,
    jumpHost: word(map(ssh.jump).host),
    hostKey: word(ssh.hostKey),
    hasKeyFile: ssh.keyFile !== undefined,
    hasKey: ssh.key !== undefined,
    attachments: NETWORK_NAMES.filter((name) => networks[name] !== undefined).map((name) => ({
      network: name,
      path: [...path, "networks", name],
      interface: word(map(networks[name]).interface),
      address: cidr(map(networks[name]).address),
      mtu: whole(map(networks[name]).mtu) ?? 1500,
      managed: draftManaged(map(networks[name]).managed, [...path, "networks", name, "managed"]),
    })),
  };
}

function draftManaged(value: unknown, path: Path): DraftManaged | undefined {
  if (value === undefined) return undefined;
  const { vlan, bond, overSsh } = map(value);
  return {
    path,
    vlan: whole(vlan),
    bond:
      bond === undefined
        ? undefined
        : {
            members: items(map(bond).members).map(word),
            primary: word(map(bond).primary),
            miimon: time(map(bond).miimon ?? "100ms"),
          },
    overSsh: overSsh !== undefined,
  };
}

function draftWitness(witness: Record<string, unknown>): DraftWitness {
  const ssh = map(witness.ssh);
  return {
    name: witness.name === undefined ? "witness" : word(witness.name),
    address: ipv4(witness.address),
    sshHost: word(ssh.host),
    hasKeyFile: ssh.keyFile !== undefined,
    hasKey: ssh.key !== undefined,
  };
}

const draftAuthority = (etcd: Record<string, unknown>): DraftAuthority => ({
  clientPort: whole(etcd.clientPort) ?? 2379,
  peerPort: whole(etcd.peerPort) ?? 2380,
  heartbeat: time(etcd.heartbeat ?? "50ms"),
  election: time(etcd.election ?? "300ms"),
});

const MARIADB_PORT = 3306;

const draftMariadb = (mariadb: Record<string, unknown>): DraftMariadb => ({
  port: whole(mariadb.port) ?? MARIADB_PORT,
  rolePort: whole(mariadb.rolePort) ?? 9200,
  readPort: whole(map(mariadb.replicaReads).port),
  replicationNetwork: word(mariadb.replicationNetwork),
});

const draftFencing = (fencing: Record<string, unknown>): DraftFencing => ({
  agents: items(fencing.agents).map((value, index) => ({
    path: ["fencing", "agents", index],
    node: word(map(value).node),
    agent: word(map(value).agent),
    options: Object.keys(map(map(value).options)),
    secrets: Object.keys(map(map(value).secrets)),
  })),
});

const draftDrbd = (drbd: Record<string, unknown>): DraftDrbd => ({
  network: word(drbd.network),
  resources: items(drbd.resources).map((value, index) => {
    const resource = map(value);
    const path = ["drbd", "resources", index];
    return {
      path,
      name: word(resource.name),
      minor: whole(resource.minor),
      port: whole(resource.port),
      devices: (["disks", "metadata"] as const).flatMap((kind) =>
        Object.entries(map(resource[kind])).map(([node, device]) => ({
          path: [...path, kind, node],
          node,
          device: word(device),
        })),
      ),
    };
  }),
  pingInterval: time(drbd.pingInterval ?? "1s"),
  pingTimeout: time(drbd.pingTimeout ?? "500ms"),
});

const draftNfs = (nfs: Record<string, unknown>, path: Path): NonNullable<DraftVolume["nfs"]> => ({
  path,
  clients: items(nfs.clients).map(cidr),
  leaseTime: time(nfs.leaseTime ?? "10s"),
  gracePeriod: time(nfs.gracePeriod ?? "15s"),
});

const draftVolume = (value: unknown, index: number): DraftVolume => ({
  path: ["volumes", index],
  device: word(map(value).device),
  mountPoint: word(map(value).mountPoint),
  mariadb: map(value).mariadb === undefined ? undefined : { port: whole(map(map(value).mariadb).port) ?? MARIADB_PORT },
  nfs: map(value).nfs === undefined ? undefined : draftNfs(map(map(value).nfs), ["volumes", index, "nfs"]),
  units: items(map(value).units).map(word),
});

/** The names of the bucket's ages in the order in which objects grow old. */
const AGES = ["infrequentAccess", "glacier", "deepArchive"] as const;

function draftAws(aws: Record<string, unknown>): DraftAws {
  const [vpc, vip, ssh, bucket] = [map(aws.vpc), map(aws.vip), map(aws.ssh), map(aws.bucket)];
  const witness = map(aws.witness);
  return {
    region: word(aws.region),
    zones: items(aws.zones).map(word),
    prefix: cidr(vpc.prefix),
    hasVpcId: vpc.id !== undefined,
    hasRouteTable: vpc.routeTable !== undefined,
    method: word(vip.method),
    addresses: ["a", "b"].map((id) => ipv4(map(vip.addresses)[id])),
    hasAddresses: vip.addresses !== undefined,
    hasHostedZone: vip.hostedZone !== undefined,
    hasRecord: vip.record !== undefined,
    volumeType: word(map(aws.volume).type) ?? "gp3",
    hasIops: map(aws.volume).iops !== undefined,
    iops: whole(map(aws.volume).iops),
    spot: map(aws.instance).spot === true,
    terminationProtection: map(aws.instance).terminationProtection !== false,
    sshFrom: items(ssh.from).map(cidr),
    clients: items(aws.clients).map(cidr),
    hasElasticIps: ssh.elasticIps !== undefined,
    elasticIps: [
      ...["a", "b"].map((id) => ({ path: ["ssh", "elasticIps", id], allocation: word(map(ssh.elasticIps)[id]) })),
      { path: ["witness", "elasticIp"], allocation: word(witness.elasticIp) },
    ],
    witness:
      aws.witness === undefined
        ? undefined
        : { zone: word(witness.zone), prefix: cidr(witness.prefix), hasElasticIp: witness.elasticIp !== undefined },
    ages: AGES.filter((name) => bucket[name] !== undefined).map((name) => ({ name, age: time(bucket[name]) })),
  };
}

function draftFrontend(frontend: Record<string, unknown>, path: Path): DraftFrontend {
  const bind = word(frontend.bind) ?? "";
  const colon = bind.lastIndexOf(":");
  const port = Number(bind.slice(colon + 1));
  const readable = colon > 0 && Number.isInteger(port) && port > 0;
  return {
    path,
    name: word(frontend.name),
    bindHost: readable ? bind.slice(0, colon) : undefined,
    bindPort: readable ? port : undefined,
    mode: word(frontend.mode) ?? "http",
    backend: word(frontend.backend),
  };
}

function draftBackend(backend: Record<string, unknown>, path: Path): DraftBackend {
  const servers = backend.servers;
  const check = map(backend.check);
  return {
    path,
    name: word(backend.name),
    mode: word(backend.mode) ?? "http",
    service: word(backend.service),
    servers:
      servers === undefined
        ? undefined
        : items(servers).map((value, index) => ({
            path: [...path, "servers", index],
            name: word(map(value).name),
            address: ipv4(map(value).address),
            port: whole(map(value).port),
          })),
    checkPath: word(check.path),
    hasStatus: check.status !== undefined,
  };
}

const map = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

const items = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** A text of one line: nothing that rules compare has more, and a message could not quote it. */
const word = (value: unknown): string | undefined =>
  typeof value === "string" && !/[\r\n]/.test(value) ? value : undefined;

const whole = (value: unknown): number | undefined => (Number.isInteger(value) ? (value as number) : undefined);

const time = (value: unknown): Duration | undefined => (typeof value === "string" ? parseDuration(value) : undefined);

const cidr = (value: unknown): Cidr | undefined => (typeof value === "string" ? parseCidr(value) : undefined);

const ipv4 = (value: unknown): number | undefined => (typeof value === "string" ? parseIpv4(value) : undefined);
