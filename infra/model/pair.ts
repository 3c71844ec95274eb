// The one domain object: a pair of servers as its owner described it, with every default filled in. Plain JSON, no
// methods, secrets only as references. `infra/config` makes it; everything below reads it and asks no file again.

import type { Duration } from "./duration.ts";
import type { FailureClassId } from "./failure.ts";
import type { Rate } from "./rate.ts";

/** Position in the stack file, not a name: a renamed server stays the same resource. */
export type NodeId = "a" | "b";
export const NODE_IDS: readonly [NodeId, NodeId] = ["a", "b"];
export const peerOf = (id: NodeId): NodeId => (id === "a" ? "b" : "a");

/** Every host that gets a plan: the two nodes, and the witness where the pair has one. */
export type HostId = NodeId | "witness";

export type NetworkName = "public" | "heartbeat" | "storage";

/** Where a secret stands in the stack's configuration, e.g. `{ secret: "beaconKey" }` for `hotpair:pair.beaconKey`. Values join in `infra/components`. */
export interface SecretRef {
  readonly secret: string;
}

export interface Pair {
  /** Name of the pair, used for labels and file names on the servers; default: the stack's name. [a-z0-9-]{1,32} */
  readonly name: string;
  /** How servers come to be: `onprem` are existing ones. */
  readonly target: "onprem" | "aws";
  /** Defined exactly when `target` is `aws`. */
  readonly aws?: Aws;
  /** `storage` is absent when the pair has no third network. */
  readonly networks: Readonly<Partial<Record<NetworkName, Network>> & { public: Network; heartbeat: Network }>;
  readonly nodes: readonly [Node, Node];
  /** One or two. Two with crossed preferences are an active/active pair. */
  readonly vips: readonly Vip[];
  readonly vrrp: Vrrp;
  readonly arbiter: Arbiter;
  readonly haproxy: Haproxy | undefined;
  readonly nginx: Nginx | undefined;
  /** A service on the nodes that hotpair does not manage and only sends traffic to (through a HAProxy backend). */
  readonly external: External | undefined;
  /** Defined for every pair that holds state. */
  readonly witness: Witness | undefined;
  /** Defined exactly when `witness` is. */
  readonly authority: Authority | undefined;
  readonly mariadb: Mariadb | undefined;
  /** A second way to hold state, never beside MariaDB's replication: `insync` speaks for one copy of the data. */
  readonly drbd?: Drbd;
  /** File systems on those devices, with what runs on them while the node is active. Defined exactly when `drbd` is. */
  readonly volumes?: readonly Volume[];
  readonly fencing: Fencing | undefined;
  readonly base: Base;
  readonly objectives: Objectives;
  readonly evidence: EvidenceRules;
  readonly limits: Limits;
  readonly failures: readonly FailureHistory[];
  /**
   * A beacon key's value is 64 hexadecimal digits. The previous one is there while a rotation is under way; the arbiters
   * accept both and agree on the newest.
   */
  readonly secrets: { readonly beaconKey: SecretRef; readonly previousBeaconKey: SecretRef | undefined };
}

export interface Network {
  /** IPv4 prefix, e.g. `198.18.0.0/24`. */
  readonly prefix: string;
  /** Router on this network; when stated on `public`, its reachability is tracked. */
  readonly gateway: string | undefined;
}

export interface Node {
  readonly id: NodeId;
  /** Host name, [a-z0-9-]{1,63}; unlike `id` it may change. */
  readonly name: string;
  /** Failure domain (room, rack, zone); undefined: not stated. */
  readonly site: string | undefined;
  readonly ssh: Ssh;
  readonly networks: Readonly<Partial<Record<NetworkName, Attachment>> & { public: Attachment; heartbeat: Attachment }>;
}

export interface Attachment {
  readonly interface: string;
  /** Address with prefix length, e.g. `198.18.1.11/24`. */
  readonly address: string;
  /** Bytes; 1500 unless the network carries jumbo frames on every hop. */
  readonly mtu: number;
  /** Absent: `interface` is its owner's, with its address and MTU. Otherwise hotpair sets it up (docs/network.md). */
  readonly managed?: Managed;
}

/** What hotpair sets up of an attachment, beside its address and MTU. */
export interface Managed {
  /** Then `interface` is called CARRIER.ID, e.g. `bond0.10`; otherwise it is the carrier itself. */
  readonly vlan: number | undefined;
  /** Defined: the carrier is this bond. Otherwise it is a card. */
  readonly bond: Bond | undefined;
  /** Why it may be changed although SSH comes over it. */
  readonly overSsh: string | undefined;
}

/** Several cards of which one carries, and another when its link is lost (mode active-backup). */
export interface Bond {
  /** Names of interfaces, or permanent MAC addresses in lower case. */
  readonly members: readonly string[];
  /** How often the driver looks at the links of the members. */
  readonly miimon: Duration;
  /** The member that carries as long as nothing else is the case; undefined: whichever does, does. */
  readonly primary: string | undefined;
}

export interface Ssh {
  readonly host: string;
  readonly port: number;
  /** root, or a sudoer without password prompt. */
  readonly user: string;
  /** `type base64` as in known_hosts; required: an unpinned host key would let anybody be the server. */
  readonly hostKey: string;
  readonly auth:
    | { readonly kind: "agent" }
    | { readonly kind: "keyFile"; readonly file: string }
    | { readonly kind: "key"; readonly key: SecretRef };
  readonly jump:
    | { readonly host: string; readonly port: number; readonly user: string; readonly hostKey: string }
    | undefined;
}

export interface Vip {
  /** [a-z0-9-]{1,16}; names the VRRP instance, the gate and the report's rows. */
  readonly name: string;
  /** Address with prefix length, inside the public network. */
  readonly address: string;
  /** The node that gets this VIP back when both are well; undefined: it stays where it is (no preemption). */
  readonly preferred: NodeId | undefined;
  /** `ip`: address moves, neighbours learn by gratuitous ARP. `vmac`: the VRRP virtual MAC moves with it (macvlan). */
  readonly mode: "ip" | "vmac";
  /** VRRP virtual router id, 1 to 255, unique on the heartbeat network (RFC 9568 §5.2.3). */
  readonly routerId: number;
}

export interface Vrrp {
  /** 10 ms to 40.95 s in centiseconds (RFC 9568 §5.2.7: 12 bits). Default 100 ms, the smallest measured safe with the fast gate. */
  readonly advertInterval: Duration;
  /** Base priority of both nodes, 1 to 254; near 254 keeps the skew small (RFC 9568 §6.1). Default 253. */
  readonly priority: number;
  /** Gratuitous ARP: repeats at once, delay of the second burst, refresh while master. */
  readonly garp: { readonly repeat: number; readonly delay: Duration; readonly refresh: Duration };
  /** Absolute path of a program on the servers, run at each state change as `PROGRAM INSTANCE NAME STATE PRIORITY` (keepalived.conf(5) notify). */
  readonly notify: string | undefined;
  readonly email: { readonly to: readonly string[]; readonly from: string; readonly smtpServer: string } | undefined;
}

/** Timing of hotpair-arbiter's fast gate. Relations are checked by findings: `silence + beacon + reaction < 3 × advert + skew`. */
export interface Arbiter {
  /** Time between beacons on every network. Default 20 ms (measured). */
  readonly beaconInterval: Duration;
  /** VRRP counts as blind after this long without an advert. Default 1.5 × advert interval. */
  readonly silence: Duration;
  /** A veto lasts no longer than this after the last evidence. Default 200 ms. */
  readonly evidence: Duration;
  /** At boot and after a link comes up the gate stays closed this long, or until the peer is heard. Default 45 s (spanning tree, slow bonds). */
  readonly hold: Duration;
  /** UDP port of the beacons on every network. Default 7788. */
  readonly port: number;
  /** HAProxy counts as lastingly dead after this long without an answer; then the VIP moves if the peer's answers. Default 2 s. */
  readonly serviceDead: Duration;
}

export interface Haproxy {
  readonly frontends: readonly Frontend[];
  readonly backends: readonly Backend[];
  readonly maxconn: number;
  readonly timeouts: { readonly connect: Duration; readonly client: Duration; readonly server: Duration };
  /** Statistics page, bound to localhost only. */
  readonly stats: { readonly port: number };
}

export interface Frontend {
  readonly name: string;
  /** `*` or the name of a VIP, with port. */
  readonly bind: { readonly vip: string | "*"; readonly port: number };
  readonly mode: "http" | "tcp";
  /** Absolute path on the servers of a PEM file with certificate and key; hotpair does not carry it. */
  readonly certificate: string | undefined;
  readonly backend: string;
}

export interface Backend {
  readonly name: string;
  readonly mode: "http" | "tcp";
  readonly algorithm: "roundrobin" | "leastconn" | "source";
  /**
   * Set for `service: mariadb`: of its two servers only the primary gets traffic. Where MariaDB replicates, that is whom the
   * responder at `mariadb.rolePort` calls so, whatever ports are open; on a volume, whoever runs. Absent for every other backend.
   */
  readonly role?: "primary";
  /** `host:port` pairs; by default both nodes' public addresses at the backend service's port. */
  readonly servers: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly check: {
    /** HTTP path; undefined in tcp mode: a TCP connect. */
    readonly path: string | undefined;
    readonly status: number;
    readonly interval: Duration;
    readonly fastInterval: Duration;
    readonly fall: number;
    readonly rise: number;
    readonly timeout: Duration;
  };
  readonly maxconn: number;
}

export interface Nginx {
  /** Port on the node's public address. */
  readonly port: number;
  /** Answers 200 while nginx serves. */
  readonly healthPath: string;
  /** Document root; hotpair writes an index page only when it manages the root itself (default /var/lib/hotpair/www). */
  readonly root: string;
}

export interface External {
  readonly name: string;
  readonly port: number;
  /** systemd units that hotpair looks at (never starts or stops) for status. */
  readonly units: readonly string[];
}

/** A pair whose nodes keep data: who may write is decided by the lease, and who may be promoted by `insync`. */
export const holdsState = (pair: Stateful): boolean => pair.mariadb !== undefined || pair.drbd !== undefined;

/** What makes a pair hold state; that it is there counts, not what it says. */
export interface Stateful {
  readonly mariadb?: unknown;
  readonly drbd?: unknown;
  readonly volumes?: readonly { readonly mariadb?: unknown }[] | undefined;
}

/** Whether it has a database: one that replicates, or one on a volume. */
export const hasDatabase = ({ mariadb, volumes = [] }: Stateful): boolean =>
  mariadb !== undefined || volumes.some((volume) => volume.mariadb !== undefined);

/** What a node's data is kept in, as messages call it. */
export const storeOf = ({ drbd }: Stateful): string => (drbd === undefined ? "database" : "replicated disk");

/** The server that `service: mariadb` means: replicated, or on a volume; never both. */
export const databaseOf = ({ mariadb, volumes = [] }: Pick<Pair, "mariadb" | "volumes">): MariadbServer | undefined =>
  mariadb ?? volumes.find((volume) => volume.mariadb !== undefined)?.mariadb;

/** A third, small host that votes and never serves: one etcd member per pair that it is a witness of. */
export interface Witness {
  readonly name: string;
  readonly site: string | undefined;
  readonly ssh: Ssh;
  /** Plain IPv4 address at which both nodes reach it, on or beyond the network that clients use. */
  readonly address: string;
}

/** The authority for state: three etcd members, and the lease that one node at a time holds (docs/lease.md). */
export interface Authority {
  readonly etcd: {
    /** TCP ports on every member; on a witness of several pairs each pair has its own. */
    readonly clientPort: number;
    readonly peerPort: number;
    /** etcd's heartbeat interval and election timeout. Defaults 50 ms and 300 ms (measured). */
    readonly heartbeat: Duration;
    readonly election: Duration;
    /** Largest size of a member's database, in bytes. */
    readonly quota: number;
  };
  readonly lease: {
    /** R: time between renewals. */
    readonly renewal: Duration;
    /** Longest wait for one answer of etcd. */
    readonly rpcTimeout: Duration;
    /** D: the holder stops this long after it *sent* its last acknowledged renewal. */
    readonly deadline: Duration;
    /** T: a challenger takes over this long after it *saw* the last renewal. */
    readonly takeover: Duration;
    /** systemd's watchdog on the holder, fed by acknowledged renewals only. */
    readonly watchdog: Duration;
    /** Longest stop of one unit of the chain; S is the sum over the chain. */
    readonly stopTimeout: Duration;
    /** Largest difference in speed of the two nodes' clocks, e.g. 0.001 for 1 ms per second. */
    readonly drift: number;
    readonly margin: Duration;
  };
  /** PEM of the pair's own certificate authority; its key stays in the stack file and goes to no server. */
  readonly caCertificate: string;
  readonly caKey: SecretRef;
  /** While a rotation is under way: the authority before, still trusted. */
  readonly previousCaCertificate: string | undefined;
  /** One certificate per member, for both sides of TLS. */
  readonly members: Readonly<Record<HostId, { readonly certificate: string; readonly key: SecretRef }>>;
}

/** What every MariaDB server has, whoever copies its data to the other node. */
export interface MariadbServer {
  /** Port of the servers, on the nodes' own addresses; clients come by a HAProxy frontend on the VIP. */
  readonly port: number;
  /** InnoDB buffer pool and redo log, in bytes; the redo log bounds crash recovery. */
  readonly bufferPool: number;
  readonly redoLog: number;
  readonly maxConnections: number;
}

/** A MariaDB primary and its semi-synchronous replica (reference: docs/mariadb.md). */
export interface Mariadb extends MariadbServer {
  /** Port of the responder that HAProxy asks for the role: 200 on the writable primary only. */
  readonly rolePort: number;
  readonly dataDirectory: string;
  /** Network that replication uses: `storage` where there is one. */
  readonly replicationNetwork: NetworkName;
  /** TCP port on the VIP for reads from the replica while it lags less than `maxLag`; undefined: no reads there. */
  readonly replicaReads: { readonly port: number; readonly maxLag: Duration } | undefined;
  /** First provisioning takes over a server that already has data, instead of refusing it. */
  readonly adopt: boolean;
  readonly replicationPassword: SecretRef;
  /** While a rotation is under way. */
  readonly previousReplicationPassword: SecretRef | undefined;
}

/** Block devices that both nodes have, written on one of them at a time (docs/drbd.md). */
export interface Drbd {
  readonly network: NetworkName;
  /** `C`: a write is on both disks when it is acknowledged. `B`: on one and in the other's memory. `A`: on one, and on its way. */
  readonly protocol: "A" | "B" | "C";
  readonly resources: readonly DrbdResource[];
  /** Whole seconds; a peer that is silent for it is asked, and lost when it does not answer within `pingTimeout`. */
  readonly pingInterval: Duration;
  readonly pingTimeout: Duration;
  /** What a disk writes and the network carries, in bytes per second, as the owner states it. */
  readonly diskPerSecond: number;
  readonly networkPerSecond: number;
  /** Longest resync after a crash of the primary that the owner accepts; it sets the activity log. */
  readonly crashResync: Duration;
  /** Bytes that protocol A may have acknowledged and not sent. */
  readonly sendBuffer: number;
  /** A disk with errors is given up, and the peer's serves; or the file system is told. */
  readonly onIoError: "detach" | "pass_on";
  /** Of verification and of resyncs, a digest of the kernel's. */
  readonly checksum: "crc32c" | "sha1" | "sha256";
  /** How often both copies are compared; systemd's own words (systemd.time(7)). */
  readonly verify: "never" | "daily" | "weekly" | "monthly";
  /** Both sides prove that they know it before they connect; letters and digits. */
  readonly sharedSecret: SecretRef | undefined;
  readonly accepted: {
    /** Why it is used although no drill has broken it yet. */
    readonly undrilled: string | undefined;
  };
}

export interface DrbdResource {
  /** [a-z0-9-]{1,32} */
  readonly name: string;
  /** /dev/drbd<minor> on both nodes. */
  readonly minor: number;
  /** TCP port of its connection, on `Drbd.network`. */
  readonly port: number;
  readonly disks: Readonly<Record<NodeId, string>>;
  /** A device of its own for DRBD's metadata; undefined: at the end of the disk. */
  readonly metadata: Readonly<Record<NodeId, string>> | undefined;
}

/** A file system on a replicated device, mounted on the active node, and the units that run on it there. */
export interface Volume {
  /** Name of a resource; a volume has its name. */
  readonly resource: string;
  readonly fileSystem: "ext4" | "xfs";
  readonly mountPoint: string;
  /** A server whose data lies on it and that runs on the active node alone; at most one in a pair. */
  readonly mariadb?: MariadbServer;
  /** Exports it over the VIP; absent: it is not exported. One volume of a pair at most. */
  readonly nfs?: Nfs;
  /** Service units in the order in which they start; each is stopped before the device goes. */
  readonly units: readonly string[];
  /** A unit that has not stopped after this long is killed. */
  readonly stopTimeout: Duration;
  /** Longest check of the file system after a crash, and longest start of the units: the owner's own words, terms of the estimate. */
  readonly checkWithin: Duration;
  readonly startWithin: Duration;
}

/** An export of the kernel's NFS server, protocol 4.1 and later. */
export interface Nfs {
  /** Prefixes from which it may be mounted. */
  readonly clients: readonly string[];
  /** `root`: root on a client is nobody here. */
  readonly squash: "root" | "none";
  /** A silent client's locks may go to others after this long. Whole seconds, 10 to 3600. */
  readonly leaseTime: Duration;
  /** After a start, clients may claim what they had for this long, and nothing else is opened or locked. Whole seconds, 10 to 3600. */
  readonly gracePeriod: Duration;
  readonly threads: number;
}

/** How the holder of the lease makes sure that the peer is off, where time alone does not prove it. */
export interface Fencing {
  /** One per node: what shoots that node. */
  readonly agents: Readonly<Record<NodeId, FencingAgent>>;
  readonly timeout: Duration;
  /** A promotion after an unclean end waits until the peer is confirmed off; otherwise the peer is shot beside it. */
  readonly required: boolean;
}

export interface FencingAgent {
  /** Program of the fence-agents project, e.g. `fence_ipmilan`; `aws` stops an instance; `lab` kills a machine of the lab. */
  readonly agent: string;
  /** The agent's own options, on its standard input as `name=value`. */
  readonly options: Readonly<Record<string, string | SecretRef>>;
}

/** How the address moves in a VPC, where no neighbour listens to gratuitous ARP (docs/aws.md#the-address-that-moves). */
export type VipMethod = "secondary-ip" | "elastic-ip" | "route" | "dns";

/** What is unusual on purpose, each with its owner's reason: a mandatory finding becomes an advisory one that quotes it. */
export type Accepted = "oneZone" | "burstable" | "spot";

/** Where in AWS the two servers are made, and what is made for them. */
export interface Aws {
  readonly region: string;
  /** Availability zone of each node; the same one twice where the pair has only one. */
  readonly zones: Readonly<Record<NodeId, string>>;
  readonly vpc: {
    /** Every network of the pair lies in it. */
    readonly prefix: string;
    /** undefined: the VPC is made, with an internet gateway. Otherwise `routeTable` serves the public subnets. */
    readonly existing: { readonly id: string; readonly routeTable: string } | undefined;
  };
  readonly vip: {
    readonly method: VipMethod;
    /**
     * Defined exactly for `elastic-ip`: a second address of each node's public interface, with which the Elastic IP is
     * associated (the first has the operators' own; a private address has one Elastic IP).
     */
    readonly addresses: Readonly<Record<NodeId, string>> | undefined;
    /** Longest time from the call that moves the address to traffic at the new node. AWS promises none. */
    readonly within: Duration;
    /** Defined exactly for `dns`. */
    readonly record: { readonly hostedZone: string; readonly name: string; readonly ttl: Duration } | undefined;
  };
  readonly instance: {
    readonly type: string;
    /** undefined: the newest Debian 13 at the time when the servers are made; a later one replaces nothing. */
    readonly image: string | undefined;
    readonly spot: boolean;
    readonly terminationProtection: boolean;
  };
  /** The encrypted root volume; `iops` undefined: the type's own. Size in bytes. */
  readonly volume: { readonly type: "gp3" | "io2"; readonly size: number; readonly iops: number | undefined };
  readonly ssh: {
    /** Prefixes from which SSH is let in. */
    readonly from: readonly string[];
    /** The operator's public key, `type base64`. */
    readonly publicKey: string;
    /** Allocations of Elastic IPs at which the nodes are reached for SSH; undefined: by their addresses in the VPC. */
    readonly elasticIps: Readonly<Record<NodeId, string>> | undefined;
  };
  /**
   * The pair's witness, made in a zone and a subnet of its own; undefined: it exists, or the pair has none. `elasticIp`
   * where the nodes have theirs.
   */
  readonly witness:
    | {
        readonly zone: string;
        readonly prefix: string;
        readonly type: string;
        /** undefined: the newest Debian 13 when it is made. */
        readonly image: string | undefined;
        readonly elasticIp: string | undefined;
        readonly hostKey: SecretRef;
      }
    | undefined;
  /** Prefixes from which clients reach what the services declare for them. */
  readonly clients: readonly string[];
  /** Ages in days, each counted from an object's creation; object lock keeps versions that long. */
  readonly bucket:
    | {
        readonly name: string;
        readonly objectLockDays: number | undefined;
        readonly infrequentAccessDays: number | undefined;
        readonly glacierDays: number | undefined;
        readonly deepArchiveDays: number | undefined;
      }
    | undefined;
  /** Daily images of both servers. `role` is AWS Backup's own, `at` a time of day as HH:MM, UTC. */
  readonly backup: { readonly role: string; readonly at: string; readonly keepDays: number } | undefined;
  /** US dollars a month, and who is told when they are spent, or are going to be. */
  readonly budget: { readonly monthly: number; readonly email: readonly string[] } | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly accepted: Readonly<Partial<Record<Accepted, string>>>;
  /** SSH host keys, made beforehand so that the first connection is pinned; the public halves are the nodes' `ssh.hostKey`. */
  readonly hostKeys: Readonly<Record<NodeId, SecretRef>>;
}

export interface Base {
  /** systemd journal kept on disk, so that the night can be read the morning after. */
  readonly persistentJournal: boolean;
  /** Install missing packages; false: their absence is an error before anything is changed. */
  readonly installPackages: boolean;
  /** The hardware watchdog resets a machine whose systemd hangs for this long; undefined: it is not used. */
  readonly watchdog: Duration | undefined;
}

/** What drills must have shown before a configuration counts as proven (docs/evidence.md). */
export interface EvidenceRules {
  /** Whether missing, failed, old or foreign evidence stops the program, or is only said. */
  readonly enforcement: "advisory" | "mandatory";
  /** Older evidence says nothing any more. Default 90 days. */
  readonly maxAge: Duration;
  /** File of those whose signature makes evidence count (ssh-keygen(1), ALLOWED SIGNERS), from the project; undefined: none is needed. */
  readonly allowedSigners: string | undefined;
  /**
   * The one way in which a configuration may be applied before it was drilled while `enforcement` is mandatory: its digest
   * (`sha256:` and at least 12 digits) and the last day, `YYYY-MM-DD` in UTC, on which this holds.
   */
  readonly beforeDrill: { readonly digest: string; readonly until: string } | undefined;
}

export interface Objectives {
  /** `standard`, `critical`, `extreme`, `custom`, or the name of one of `tiers`; undefined: only what is stated below. */
  readonly tier: string | undefined;
  /** Tiers of the user's own; absent: none. */
  readonly tiers?: readonly { readonly name: string; readonly rto: Duration; readonly rpo: Duration }[];
  /** Target per failure class id; `default` holds for every class without its own. */
  readonly rto: Readonly<Record<string, Duration>>;
  readonly rpo: Readonly<Record<string, Duration>>;
  /** Budgets of a year: without service, and without a usable standby; absent: none. */
  readonly downtime?: Duration;
  readonly redundancyLost?: Duration;
}

/** How often a class happens here and how long its repair takes, where that is known better than by the defaults. */
export interface FailureHistory {
  readonly failure: FailureClassId;
  readonly rate: Rate | undefined;
  readonly repair: Duration | undefined;
}

/** What is ordinary on this pair's networks and servers: no timer may take it for a fault (docs/tuning.md#limits). */
export interface Limits {
  /** Longest round trip between any two hosts of the pair while all is well. */
  readonly roundTrip: Duration;
  /** How much longer a packet takes now and then. */
  readonly jitter: Duration;
  /** Longest time for which a host does not run: a busy processor, a snapshot, a virtual machine that is moved. */
  readonly pause: Duration;
  /** From systemd's start of a daemon that was killed until it serves. */
  readonly restore: Duration;
  /** Longest time that a client's request takes while all is well. */
  readonly answer: Duration;
}
