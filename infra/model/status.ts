// What a node says of itself: the JSON that `hotpair-arbiter status` prints on a server and every reader above shares.
// Field names are the wire format; the arbiter (Python) writes exactly these.

import type { NetworkName, NodeId } from "./pair.ts";

export interface NodeStatus {
  readonly version: 1;
  readonly node: string;
  /** Unix milliseconds of the node's clock. */
  readonly at: number;
  readonly uptimeMs: number;
  readonly vips: readonly VipStatus[];
  readonly daemons: readonly DaemonStatus[];
  /** undefined on the wire is null: the arbiter does not run. */
  readonly arbiter: { readonly running: boolean; readonly sinceMs: number; readonly sharedDigest: string } | null;
  readonly peer: {
    /** Milliseconds since the last authentic beacon per network; null: never heard. */
    readonly heardMsAgo: Readonly<Partial<Record<NetworkName, number | null>>>;
    readonly advertMsAgo: Readonly<Record<string, number | null>>;
    readonly vips: readonly { readonly name: string; readonly held: boolean; readonly state: VrrpState }[];
    readonly healthy: boolean;
    readonly maintenance: boolean;
    /** Its own word that it holds the lease; null: it says nothing of it. Absent from older releases. */
    readonly lease?: boolean | null;
  } | null;
  readonly maintenance: boolean;
  /** The latest entries of the audit file, newest last. */
  readonly lastChanges: readonly StateChange[];
  /** HAProxy's view of its servers. */
  readonly backends: readonly {
    readonly backend: string;
    readonly server: string;
    readonly up: boolean;
    readonly detail: string;
  }[];
  readonly manifest: { readonly resource: string; readonly digest: string; readonly appliedAt: number } | null;
  /** What this node's observer of the authority reports; null: it is silent. Absent for a pair without a witness. */
  readonly authority?: AuthorityStatus | null;
  /** As `hotpair-mariadb status --json`, or `hotpair-drbd`'s, says it; null: it does not answer. Absent for a pair without data. */
  readonly database?: DatabaseStatus | null;
  /** As `hotpair-fence status --json` says it; null: it does not answer. Absent for a pair without fencing. */
  readonly fencing?: FencingStatus | null;
  /** As `hotpair-address status --json` says it; null: it does not answer. Absent for a pair that is not in AWS. */
  readonly address?: AddressStatus | null;
  /** As `hotpair-network status --json` says it; null: it does not answer. Absent where all networks are the server's own. */
  readonly managed?: { readonly problems: readonly string[] } | null;
}

export interface AuthorityStatus {
  /** This node may write right now: its own deadline is in the future. */
  readonly holding: boolean;
  /** Who holds the lease, as last read; null: nobody. */
  readonly holder: NodeId | null;
  /** Milliseconds since this node saw the lease renewed, read with a quorum, heard the witness's member; null: never. */
  readonly renewedMsAgo: number | null;
  readonly quorumMsAgo: number | null;
  readonly witnessMsAgo: number | null;
  /** The same of an answer of this node's own member, with a quorum; absent: the node runs a release that does not say. */
  readonly memberMsAgo?: number | null;
  /** Nodes that hold every acknowledged write; null: not known, or the pair is not enrolled yet. */
  readonly insync: readonly NodeId[] | null;
  readonly epoch: number | null;
  /** Why what holds state could not be promoted on this node now; null or absent: it could, or is. */
  readonly blocked?: string | null;
}

/** The fields that everybody above the server reads; it says more of itself (infra/node/mariadb/verbs.py). */
export interface DatabaseStatus {
  /** `primary`, `replica`, `read-only`, `not replicating`, `provisioning`, `new`, `down`, `handing over`, or what keeps it out. */
  readonly state: string;
  /** How far it is behind its primary; null: not measured. */
  readonly lagMs: number | null;
  /** One line each, with what to do. */
  readonly problems: readonly string[];
}

/** What this node knows of shooting its peer. */
export interface FencingStatus {
  /** e.g. `fence_ipmilan` */
  readonly agent: string;
  /** The last shot; null: it never shot. */
  readonly last: FencingShot | null;
  /** The last `hotpair fence test` from this node; null: never. */
  readonly test: FencingTest | null;
}

export interface FencingShot {
  /** `acknowledged`: not confirmed, and the operator said that the peer is down. */
  readonly outcome: "running" | "confirmed" | "unconfirmed" | "acknowledged";
  readonly by: "takeover" | "operator";
  readonly why: string;
  readonly detail: string;
  /** Unix milliseconds at which it began. */
  readonly at: number;
  readonly elapsedMs: number;
}

export interface FencingTest {
  readonly ok: boolean;
  /** Power of the peer; null: the agent does not tell. */
  readonly power: "on" | "off" | null;
  readonly at: number;
  readonly elapsedMs: number;
  readonly detail: string;
}

/** What this node has done to have clients in AWS sent to it. */
export interface AddressStatus {
  /** `moving` and `here`, acknowledged by AWS, are of this role alone; the others: it has nothing to do with the address. */
  readonly state: "never moved" | "moving" | "here" | "left";
  /** Unix milliseconds since when, by the node's clock; 0 while it never moved. */
  readonly at: number;
  /** Addresses that it moves, without prefix length. */
  readonly vips: readonly string[];
  /** Calls of this role until AWS acknowledged it, and the time from the first one on. */
  readonly attempts: number;
  readonly elapsedMs: number;
  /** Why the last call did not move it; null: it did. */
  readonly error: string | null;
  /** The Elastic IP that leads to this node; null: none does, it cannot be asked, or another method moves the address. */
  readonly reached: string | null;
}

export type VrrpState = "master" | "backup" | "fault" | "stopped" | "unknown";

export interface VipStatus {
  readonly name: string;
  readonly address: string;
  /** The address is on the interface: the fact that matters. */
  readonly held: boolean;
  readonly state: VrrpState;
  /** `standby`: closed for no other reason than that the peer is active, as it should be in a pair with a witness. */
  readonly gate: { readonly closed: boolean; readonly reason: string; readonly standby?: boolean };
  /** It belongs to the peer, and stays here this long at least: its last way home failed, or it was soon back. */
  readonly homeInMs?: number;
}

/** Its keepalived is ready to take this VIP: it stands by, or is kept away only for as long as the peer is active. */
export const standsBy = ({ state, gate }: VipStatus): boolean =>
  gate.closed ? gate.standby === true && (state === "fault" || state === "backup") : state === "backup";

export interface DaemonStatus {
  readonly name: string;
  readonly state: "running" | "stopped" | "failed" | "hung";
  readonly detail: string;
}

/** One line of /var/log/hotpair/audit.log: every state change, with its reason. */
export interface StateChange {
  /** Unix milliseconds. */
  readonly at: number;
  readonly vip: string;
  readonly from: VrrpState;
  readonly to: VrrpState;
  readonly reason: string;
}
