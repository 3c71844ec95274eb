// The one domain object: a pair of servers as its owner described it, with every default filled in. Plain JSON, no
// methods, secrets only as references. `infra/config` makes it; everything below reads it and asks no file again.

import type { Duration } from "./duration.ts";

/** Position in the stack file, not a name: a renamed server stays the same resource. */
export type NodeId = "a" | "b";
export const NODE_IDS: readonly [NodeId, NodeId] = ["a", "b"];
export const peerOf = (id: NodeId): NodeId => (id === "a" ? "b" : "a");

export type NetworkName = "public" | "heartbeat" | "storage";

/** Where a secret stands in the stack's configuration, e.g. `{ secret: "beaconKey" }` for `hotpair:pair.beaconKey`. Values join in `infra/components`. */
export interface SecretRef {
  readonly secret: string;
}

export interface Pair {
  /** Name of the pair, used for labels and file names on the servers; default: the stack's name. [a-z0-9-]{1,32} */
  readonly name: string;
  readonly target: "onprem";
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
  readonly base: Base;
  readonly objectives: Objectives;
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
  readonly ssh: Ssh;
  readonly networks: Readonly<Partial<Record<NetworkName, Attachment>> & { public: Attachment; heartbeat: Attachment }>;
}

export interface Attachment {
  readonly interface: string;
  /** Address with prefix length, e.g. `198.18.1.11/24`. */
  readonly address: string;
  /** Bytes; 1500 unless the network carries jumbo frames on every hop. */
  readonly mtu: number;
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

export interface Base {
  /** systemd journal kept on disk, so that the night can be read the morning after. */
  readonly persistentJournal: boolean;
  /** Install missing packages; false: their absence is an error before anything is changed. */
  readonly installPackages: boolean;
}

export interface Objectives {
  readonly tier: "standard" | "critical" | "custom" | undefined;
  /** Target per failure class id; `default` holds for every class without its own. */
  readonly rto: Readonly<Record<string, Duration>>;
  readonly rpo: Readonly<Record<string, Duration>>;
}
