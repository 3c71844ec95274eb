// The pair as Pulumi resources: a component for the pair, one per server below it, one remote command per server. Here secret
// references become secret values and nothing else happens: what the files say is the plan's business, how a server is
// reached the target's, who goes first the program's.

import * as pulumi from "@pulumi/pulumi";
import type { HostId, NodeId, Pair, SecretRef } from "../model/pair.ts";
import type { HostPlan, NodePlan } from "../model/plan.ts";
import type { Connection } from "../targets/onprem.ts";
import { PairHost } from "./node.ts";

export interface HotPairArgs {
  /** Plain JSON with references instead of secret values: the state and every policy pack see it as it is. */
  readonly pair: Pair;
  readonly plans: readonly [NodePlan, NodePlan];
  /** Defined exactly when the pair has a witness. */
  readonly witness: { readonly plan: HostPlan; readonly connection: Connection } | undefined;
  readonly connections: Readonly<Record<NodeId, Connection>>;
  /** What must be made before a host can be reached; nothing for servers that exist. */
  readonly servers: Readonly<Record<HostId, readonly pulumi.Resource[]>>;
  readonly secrets: (ref: SecretRef) => string;
  /** The node that is changed first; the other is touched only after it succeeded. undefined: no order (a preview). */
  readonly first: NodeId | undefined;
  /** Servers that this run leaves out because they are dead: nobody waits for them. */
  readonly leftOut: readonly HostId[];
  /** Called by the engine before a command runs again, e.g. to refuse a server that was exchanged unnoticed. */
  readonly beforeUpdate: readonly pulumi.ResourceHook[];
  /** Take a changed private key into the state; otherwise the key that made the resource stays (`hotpair key rotate`). */
  readonly rotateKey: boolean;
}

export class HotPair extends pulumi.ComponentResource {
  readonly nodes: Readonly<Record<NodeId, PairHost>>;
  readonly witness: PairHost | undefined;
  /** What each VIP is, for scripts that read the stack's outputs. */
  readonly vips: pulumi.Output<readonly { readonly name: string; readonly address: string }[]>;

  constructor(name: string, args: HotPairArgs, opts?: pulumi.ComponentResourceOptions) {
    super("hotpair:index:Pair", name, { pair: args.pair }, opts);
    const [planA, planB] = args.plans;
    const host = (
      plan: HostPlan,
      connection: Connection,
      after: readonly (PairHost | undefined)[],
      servers: readonly pulumi.Resource[] = [],
    ): PairHost =>
      new PairHost(
        {
          plan,
          connection,
          secrets: args.secrets,
          digestKey: args.secrets(args.pair.secrets.beaconKey),
          after: [...servers, ...after.flatMap((one) => (one === undefined ? [] : [one.command]))],
          beforeUpdate: args.beforeUpdate,
          rotateKey: args.rotateKey,
        },
        { parent: this },
      );
    this.witness = args.witness && host(args.witness.plan, args.witness.connection, [], args.servers.witness);
    // The first member of an authority has nobody to be healthy with; and no two members are interrupted at the same time.
    const before = args.leftOut.includes("witness") ? undefined : this.witness;
    const node = (plan: NodePlan, other?: PairHost): PairHost =>
      host(plan, args.connections[plan.node], [before, other], args.servers[plan.node]);
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
