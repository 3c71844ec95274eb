// The pair as Pulumi resources: a component for the pair, one per node below it, one remote command per node. Here secret
// references become secret values and nothing else happens: what the files say is the plan's business, how a server is
// reached the target's, who goes first the program's.

import * as pulumi from "@pulumi/pulumi";
import type { NodeId, Pair, SecretRef } from "../model/pair.ts";
import type { NodePlan } from "../model/plan.ts";
import type { Connection } from "../targets/onprem.ts";
import { PairNode } from "./node.ts";

export interface HotPairArgs {
  /** Plain JSON with references instead of secret values: the state and every policy pack see it as it is. */
  readonly pair: Pair;
  readonly plans: readonly [NodePlan, NodePlan];
  readonly connections: Readonly<Record<NodeId, Connection>>;
  readonly secrets: (ref: SecretRef) => string;
  /** The node that is changed first; the other is touched only after it succeeded. undefined: no order (a preview). */
  readonly first: NodeId | undefined;
  /** Called by the engine before a command runs again, e.g. to refuse a server that was exchanged unnoticed. */
  readonly beforeUpdate: readonly pulumi.ResourceHook[];
  /** Take a changed private key into the state; otherwise the key that made the resource stays (`hotpair key rotate`). */
  readonly rotateKey: boolean;
}

export class HotPair extends pulumi.ComponentResource {
  readonly nodes: Readonly<Record<NodeId, PairNode>>;
  /** What each VIP is, for scripts that read the stack's outputs. */
  readonly vips: pulumi.Output<readonly { readonly name: string; readonly address: string }[]>;

  constructor(name: string, args: HotPairArgs, opts?: pulumi.ComponentResourceOptions) {
    super("hotpair:index:Pair", name, { pair: args.pair }, opts);
    const [planA, planB] = args.plans;
    const node = (plan: NodePlan, after?: PairNode): PairNode =>
      new PairNode(
        `node-${plan.node}`,
        {
          plan,
          connection: args.connections[plan.node],
          secrets: args.secrets,
          digestKey: args.secrets(args.pair.secrets.beaconKey),
          after: after?.command,
          beforeUpdate: args.beforeUpdate,
          rotateKey: args.rotateKey,
        },
        { parent: this },
      );
    if (args.first === "b") {
      const b = node(planB);
      this.nodes = { a: node(planA, b), b };
    } else {
      const a = node(planA);
      this.nodes = { a, b: node(planB, args.first === "a" ? a : undefined) };
    }
    this.vips = pulumi.output(args.pair.vips.map((vip) => ({ name: vip.name, address: vip.address })));
    this.registerOutputs({ vips: this.vips });
  }
}
