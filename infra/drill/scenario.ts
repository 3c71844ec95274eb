// What a drill is made of: set-up, fault, expectation, undo, as data. How an action is carried out is executor.ts; which
// scenarios there are is scenarios.ts.

import type { FailureClassId } from "../model/failure.ts";
import type { NetworkName, Node, Pair, Vip } from "../model/pair.ts";
import type { Movement } from "./verdict.ts";

/** The nodes by the part that they play when the drill starts; they keep these names whatever the fault does. */
export type Role = "active" | "standby";

/** What a scenario's texts and commands are made from. */
export interface Stage {
  readonly pair: Pair;
  readonly active: Node;
  readonly standby: Node;
  /** The VIPs that the active node holds; at least one. */
  readonly vips: readonly Vip[];
}

export type Action =
  /** POSIX shell as root on the server. `mayFail`: its exit code says nothing (a reload that must be refused, a reboot). */
  | {
      readonly kind: "run";
      readonly node: Role;
      readonly command: (stage: Stage) => string;
      readonly mayFail?: boolean;
      /** Another fault may have taken the node down: then there is nothing to do. */
      readonly mayBeDown?: boolean;
    }
  /** Power off without warning. On a server that hotpair has no plug of: an immediate reset by the kernel (sysrq b). */
  | {
      readonly kind: "power-cut";
      readonly node: Role;
      /** In the lab: when its power comes back, and how much later its cables do. A server comes back by itself. */
      readonly backAfterMs: number;
      readonly networkLateMs?: number;
      /** In the lab: another fault may have cut it already. */
      readonly mayBeDown?: boolean;
    }
  /** The link of one node on these networks loses its carrier. */
  | { readonly kind: "link-down"; readonly node: Role; readonly networks: readonly NetworkName[] }
  /** Everything that this node sends to the other one on these networks is lost. */
  | { readonly kind: "drop-from"; readonly node: Role; readonly networks: readonly NetworkName[] }
  /** The whole node stops where it is, as a paused virtual machine does, and goes on after this time. */
  | {
      readonly kind: "freeze";
      readonly node: Role;
      /** Milliseconds, or what follows from the pair's timers. */
      readonly forMs: number | ((pair: Pair) => number);
      /** As for a command: then there is nothing to do. */
      readonly mayBeDown?: boolean;
    }
  /** The node's disk fails: reads and writes end with an I/O error, until its power was cut. */
  | { readonly kind: "disk-failure"; readonly node: Role }
  /** The node's kernel panics, and boots again by itself (sysrq c; `panic=` on the kernel's command line). */
  | { readonly kind: "panic"; readonly node: Role }
  /** The node has this much memory from now on and no more, until the scenario's time is over. */
  | { readonly kind: "memory-limit"; readonly node: Role; readonly mebibytes: number }
  /** The witness loses power, and has it back after this time. */
  | { readonly kind: "witness-power-cut"; readonly backAfterMs: number }
  /** Everything between this node and the witness is lost, in both directions. */
  | { readonly kind: "cut-witness"; readonly node: Role }
  /** POSIX shell as root on the witness. */
  | { readonly kind: "run-witness"; readonly command: (stage: Stage) => string; readonly mayFail?: boolean }
  /** What an operator types: `hotpair WORDS -s STACK`. */
  | { readonly kind: "operator"; readonly words: (stage: Stage) => readonly string[] }
  /** Each list in its own order, all lists at the same time. */
  | { readonly kind: "together"; readonly each: readonly (readonly Action[])[] }
  /** A third host on the public network takes the VIP's address and says so by gratuitous ARP. */
  | { readonly kind: "claim-vip" }
  /** Waits until the pair is whole again, as between two steps of an upgrade; the drill breaks off when it is not in time. */
  | { readonly kind: "whole"; readonly withinMs: number }
  | { readonly kind: "wait"; readonly ms: number };

export interface Scenario {
  /** [a-z0-9-]+ as on the command line. */
  readonly name: string;
  readonly failure: FailureClassId;
  /** One sentence each, for people. */
  readonly fault: string;
  readonly expectation: string;
  readonly undo: string;
  /** `lab`: it could hurt a production pair and runs only in the lab. */
  readonly place: "lab" | "anywhere";
  /** In the lab: the servers need a kernel and clocks of their own. */
  readonly ownKernel?: boolean;
  /** Why the scenario says nothing about this pair; undefined: it applies. */
  readonly inapplicable?: (pair: Pair) => string | undefined;
  /** Brought about before the fault and not measured. */
  readonly setUp?: readonly Action[];
  /** The set-up hands the role over, which may cost a request; otherwise none may fail before the fault. */
  readonly setUpMovesRole?: boolean;
  readonly actions: readonly Action[];
  /** Per node, POSIX shell that is armed on the server before the set-up; idempotent, also right after a boot. */
  readonly undoOnServer?: Readonly<Partial<Record<Role, (stage: Stage) => string>>>;
  /**
   * Hosts whose etcd members the operator takes in again (`hotpair authority restore`), after the pair has its power back:
   * armed on this machine before the set-up, for an epoch that a person began is not ended by time.
   */
  readonly restores?: (stage: Stage) => readonly string[];
  /** How long the fault lasts. Its undo is armed with this deadline before it begins. */
  readonly holdMs: number;
  readonly movement: Movement;
  /** A pair with state: nobody may take over the database, so no write may be acknowledged until the undo. */
  readonly noPromotion?: boolean;
  /** After the undo the pair must be whole again within this time. */
  readonly healWithinMs: number;
}

/** What a drill's servers are: real ones, or the lab's. */
export type Ground = "servers" | "containers" | "machines";

const CONTAINERS_ONLY: Readonly<Partial<Record<Action["kind"], string>>> = {
  "disk-failure": "a virtual machine's root disk cannot be made to fail",
  "memory-limit": "a virtual machine has the memory that it was made with",
};

/** Why the scenario cannot be run, or says nothing; undefined: it can. */
export function unfit(scenario: Scenario, pair: Pair, ground: Ground): string | undefined {
  const why = scenario.inapplicable?.(pair);
  if (why !== undefined) return why;
  if (ground === "servers") return scenario.place === "lab" ? "it runs in the lab only" : undefined;
  if (ground === "containers")
    return scenario.ownKernel ? "it takes hosts with kernels of their own: hotpair lab up --machines" : undefined;
  return [...(scenario.setUp ?? []), ...scenario.actions].map(({ kind }) => CONTAINERS_ONLY[kind]).find(Boolean);
}
