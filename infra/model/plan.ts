// What each node must look like: pure data, made by the services, read by components, render, drift and policy.

import type { Finding } from "./finding.ts";
import type { HostId, NetworkName, NodeId, Pair, SecretRef } from "./pair.ts";
import type { TimingTerm } from "./timing.ts";

/** Text with secrets as references; the values join in `infra/components` and nowhere else. */
export type Content = string | readonly (string | SecretRef)[];

/** What a changed file needs before the daemon uses it. `unit` is a systemd unit name. */
export type OnChange = { readonly action: "none" } | { readonly action: "reload" | "restart"; readonly unit: string };

export interface PlannedFile {
  /** Absolute path below /etc, /usr/lib/hotpair, /usr/lib/systemd or /var/lib/hotpair. */
  readonly path: string;
  readonly owner: string;
  readonly group: string;
  /** Four octal digits, e.g. `0644`. */
  readonly mode: string;
  readonly content: Content;
  /** Secret files are shown as "changed", never with their content. */
  readonly secret: boolean;
  readonly onChange: OnChange;
}

/** A real parser that must accept the staged files before one of them is installed. It sees them at their final paths. */
export interface Validator {
  readonly name: string;
  /** Runs only when the plan carries a file with one of these path prefixes. */
  readonly covers: readonly string[];
  /** POSIX shell command; exit code 0 accepts. Its output is the error text that the user reads. */
  readonly command: string;
}

/** Must hold within its deadline after a change, or the change is rolled back. */
export interface HealthCheck {
  readonly name: string;
  readonly command: string;
  readonly deadlineSeconds: number;
}

/** A systemd unit that must be enabled and running (or, with `running: false`, enabled only). */
export interface PlannedUnit {
  readonly name: string;
  readonly running: boolean;
  /** A restart of this unit moves the active role: hand over to the peer first. */
  readonly holdsRole: boolean;
  /** Whatever a change needs of this unit interrupts the node's networks: the active node hands over before it. */
  readonly interrupts?: true;
  /**
   * Shell command that must succeed before this unit is restarted; its output says why not. Asked before anything is
   * changed and again right before the restart.
   */
  readonly guard?: string;
}

export interface Contribution {
  readonly packages: readonly string[];
  readonly files: readonly PlannedFile[];
  readonly units: readonly PlannedUnit[];
  readonly validators: readonly Validator[];
  readonly health: readonly HealthCheck[];
  /** Directories and files below /var/lib/hotpair that its daemons write and that go with it when the server is given back. */
  readonly state?: readonly string[];
}

/** A port that a service opens on the nodes, and for whom: what a firewall around them must let in, and nothing else. */
export interface Listener {
  /** What listens, e.g. `HAProxy's frontend web`. */
  readonly what: string;
  readonly network: NetworkName;
  /** `clients`: whoever may use the service. `peer`: the other node. `members`: the other node and the witness. */
  readonly from: "clients" | "peer" | "members";
  readonly protocol: "tcp" | "udp" | "vrrp" | "icmp";
  /** undefined for protocols without ports. */
  readonly port: number | undefined;
}

export interface Service {
  readonly name: string;
  /** undefined when the pair does not use the service. */
  plan(pair: Pair, node: NodeId): Contribution | undefined;
  /** What the witness gets; absent for services that it does not run. */
  witness?(pair: Pair): Contribution | undefined;
  /** What it adds to detection, decision and recovery, per failure class. */
  timing(pair: Pair): readonly TimingTerm[];
  findings(pair: Pair): readonly Finding[];
  /** Absent for services that nobody reaches over a network. */
  listeners?(pair: Pair): readonly Listener[];
}

/** Everything about one host, in the order in which it is applied. Paths are unique and sorted. */
export interface HostPlan extends Contribution {
  readonly node: HostId;
  readonly name: string;
  /** Addresses whose presence makes this host active; none on a witness. */
  readonly vips: readonly { readonly name: string; readonly address: string; readonly interface: string }[];
  readonly installPackages: boolean;
  /** On a witness, the pair's name: it may serve several pairs, each with books and programs of its own. */
  readonly witnessOf?: string;
}

export interface NodePlan extends HostPlan {
  readonly node: NodeId;
}
