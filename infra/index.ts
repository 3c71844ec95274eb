// The Pulumi program: what the stack file says becomes two servers and their witness, made first where they are to be made.
// It reads from top to bottom; what each line does is in the room that it calls. What must not be applied is refused before
// the first resource is registered.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type AskOwner, refuseMovedServer } from "./components/moved.ts";
import { HotPair, type HotPairArgs } from "./components/pair.ts";
import { readInput, readPair, readStack, secretsOf } from "./config/index.ts";
import { proofOf } from "./drill/proof.ts";
import { resourceFindings } from "./model/aws-rules.ts";
import { UserError } from "./model/errors.ts";
import { type HostId, NODE_IDS, type NodeId, type Pair, type SecretRef } from "./model/pair.ts";
import { hostIdsOf, planPair, planWitness } from "./plan/plan.ts";
import { refuseMandatory } from "./plan/refuse.ts";
import { collectFindings } from "./services/findings.ts";
import { clientPorts, collectListeners } from "./services/listeners.ts";
import { privateKeyOf, sshTargetAt, sshTargetOf } from "./ssh/reach.ts";
import { connectionOf } from "./targets/onprem.ts";

export default async function program(): Promise<Record<string, unknown>> {
  try {
    return await deploy();
  } catch (error) {
    // The engine prints a RunError as it is, and everything else with a stack trace.
    if (error instanceof UserError) throw new pulumi.RunError([error.message, ...error.details].join("\n  - "));
    throw error;
  }
}

async function deploy(): Promise<Record<string, unknown>> {
  const stack = pulumi.getStack();
  refuseWrongFile(stack);
  const config = new pulumi.Config("hotpair");
  const input = readInput((key) => config.getObject<unknown>(key));
  const pair = readPair(input, { stack });
  refuseMandatory(stack, collectFindings(pair, proofOf(stack, pair)));
  const secrets = lookUp(secretsOf(input));
  const [a, b] = pair.nodes;
  const witness = planWitness(pair);
  const deployed = new HotPair("pair", {
    pair,
    plans: planPair(pair),
    witness:
      witness && pair.witness
        ? {
            plan: witness,
            connection: connectionOf(
              pair.witness,
              privateKeyOf(pair.witness, secrets),
              // Also in AWS it may be a host that exists.
              pair.aws?.witness === undefined ? "onprem" : "aws",
            ),
          }
        : undefined,
    connections: {
      a: connectionOf(a, privateKeyOf(a, secrets), pair.target),
      b: connectionOf(b, privateKeyOf(b, secrets), pair.target),
    },
    servers: await serversOf(stack, pair, secrets),
    secrets,
    first: await firstToChange(pair, secrets),
    leftOut: leftOut(pair),
    beforeUpdate: [refuseMovedServer(ownerAt, (process.env.HOTPAIR_REPLACED ?? "").split(" "))],
    rotateKey: process.env.HOTPAIR_ROTATE_KEY === "yes",
  });
  return { pair: pair.name, vips: deployed.vips };
}

/** What is made before the nodes can be reached. Only a stack in AWS loads what it takes. */
async function serversOf(
  stack: string,
  pair: Pair,
  secrets: (ref: SecretRef) => string,
): Promise<HotPairArgs["servers"]> {
  const { aws } = pair;
  if (aws === undefined) return { a: [], b: [], witness: [] };
  const [{ AwsServers }, { loadAwsClasses }, { declareAws, serverOf }, { awsPackage }] = await Promise.all([
    import("./components/aws.ts"),
    import("./components/aws-classes.ts"),
    import("./targets/aws.ts"),
    import("./toolchain/aws-package.ts"),
  ]);
  const cloud = { ...pair, aws };
  const declared = declareAws(cloud, collectListeners(pair));
  const ports = clientPorts(pair);
  refuseMandatory(stack, resourceFindings(declared, ports));
  const servers = { a: serverOf(cloud, "a"), b: serverOf(cloud, "b"), witness: serverOf(cloud, "witness") };
  const classes = loadAwsClasses(awsPackage());
  return new AwsServers("aws", { classes, region: aws.region, declared, servers, secrets, clientPorts: ports }).servers;
}

/** The engine hands over decrypted values: that a secret stands in plain text, and where, only the file itself tells. */
function refuseWrongFile(stack: string): void {
  const file = `stacks/Pulumi.${stack}.yaml`;
  const path = join(import.meta.dirname, "..", file);
  if (existsSync(path)) readStack(readFileSync(path, "utf8"), file, stack);
}

/** Names of resources (`node-a`, `witness`) that `hotpair up --only` touches; the others are dead. Without it: all. */
function leftOut(pair: Pair): readonly HostId[] {
  const only = (process.env.HOTPAIR_ONLY ?? "").split(" ").filter((name) => name !== "");
  const resource = (id: HostId) => (id === "witness" ? id : `node-${id}`);
  return only.length === 0 ? [] : hostIdsOf(pair).filter((id) => !only.includes(resource(id)));
}

/** In an update the standby goes first. Nobody is asked in a preview, nor when one node is left out because it is dead. */
async function firstToChange(pair: Pair, secrets: (ref: SecretRef) => string): Promise<NodeId | undefined> {
  if (pulumi.runtime.isDryRun() || leftOut(pair).some((id) => id !== "witness")) return undefined;
  // `hotpair up` has just asked.
  const known = NODE_IDS.find((id) => id === process.env.HOTPAIR_FIRST);
  if (known !== undefined) return known;
  const { firstToChange, rolesOf } = await import("./ssh/survey.ts");
  const [a, b] = pair.nodes;
  return firstToChange(await rolesOf({ a: sshTargetOf(a, secrets), b: sshTargetOf(b, secrets) }));
}

const ownerAt: AskOwner = async (connection, witnessOf) =>
  (await import("./ssh/survey.ts")).ownerOf(sshTargetAt(connection), witnessOf);

function lookUp(values: ReadonlyMap<string, string>): (ref: SecretRef) => string {
  return ({ secret }) => {
    const value = values.get(secret);
    if (value === undefined) throw new Error(`the configuration has no secret ${secret}`);
    return value;
  };
}
