// One server of the pair, a node or the witness: a component that shows which files it gets, and the one command that
// applies them over SSH.

import { createHmac, randomBytes } from "node:crypto";
import type { remote } from "@pulumi/command";
import { Command } from "@pulumi/command/remote/command.js";
import * as pulumi from "@pulumi/pulumi";
import type { SecretRef } from "../model/pair.ts";
import type { HostPlan } from "../model/plan.ts";
import { makeBundle, text } from "../plan/bundle.ts";
import { sha256 } from "../plan/changes.ts";
import { applyCommand, removeCommand } from "../plan/commands.ts";
import type { Connection } from "../targets/onprem.ts";

export interface PairHostArgs {
  readonly plan: HostPlan;
  readonly connection: Connection;
  readonly secrets: (ref: SecretRef) => string;
  /** A long random secret, under which the digests of secret files are made. */
  readonly digestKey: string;
  /** Servers that must be as planned before this one is touched. */
  readonly after: readonly pulumi.Resource[];
  readonly beforeUpdate: readonly pulumi.ResourceHook[];
  readonly rotateKey: boolean;
}

export class PairHost extends pulumi.ComponentResource {
  readonly command: remote.Command;

  constructor(args: PairHostArgs, opts: pulumi.ComponentResourceOptions) {
    const { plan, connection } = args;
    // A position in the stack file, so that a renamed server stays the same resource.
    const name = plan.node === "witness" ? "witness" : `node-${plan.node}`;
    const { host, port, user, hostKey } = connection;
    super(
      plan.node === "witness" ? "hotpair:index:Witness" : "hotpair:index:Node",
      name,
      { name: plan.name, ssh: { host, port, user, hostKey }, files: shown(args) },
      opts,
    );

    // A token of its own for each resource instance, never derived from content: the server's manifest records whose it
    // is, and a delete acts only for its owner. The engine keeps ignored inputs through every update and takes the new
    // ones for a replacement, so the token lasts exactly as long as the resource; a rename without alias or `--replace`
    // applies under a new token first, and the old resource's delete then finds a server that is no longer its own.
    const token = randomBytes(16).toString("hex");
    this.command = new Command(
      name,
      {
        connection: { ...connection },
        create: applyCommand(token, plan.witnessOf),
        delete: removeCommand(token, { witnessOf: plan.witnessOf }),
        stdin: pulumi.secret(makeBundle(plan, args.secrets)),
        // Without `update` the provider runs `create` again: one text for both.
        logging: "none",
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        dependsOn: [...args.after],
        ignoreChanges: ["create", "delete", ...(args.rotateKey ? [] : keyPaths(connection))],
        ...(args.beforeUpdate.length > 0 ? { hooks: { beforeUpdate: [...args.beforeUpdate] } } : {}),
      },
    ) as remote.Command;
    this.registerOutputs({ applied: this.command.stdout });
  }
}

/** The private key stays out of comparisons: two operators with keys of their own are not two configurations. */
const keyPaths = (connection: Connection): string[] => [
  ...(connection.privateKey === undefined ? [] : ["connection.privateKey"]),
  ...(connection.proxy?.privateKey === undefined ? [] : ["connection.proxy.privateKey"]),
];

/** Path to content, for a diff that a person can read; of a secret file and of hotpair's own programs only that it changed. */
function shown({ plan, secrets, digestKey }: PairHostArgs): Record<string, string> {
  return Object.fromEntries(
    plan.files.map((file) => {
      if (!file.secret && typeof file.content === "string")
        return [file.path, file.path.startsWith("/usr/lib/hotpair/") ? `sha256 ${sha256(file.content)}` : file.content];
      // Under a key: the state is readable to many, and a bare digest of a short secret can be guessed.
      const digest = createHmac("sha256", digestKey).update(`${file.path}\0${text(file.content, secrets)}`);
      return [file.path, `secret, hmac-sha256 ${digest.digest("hex")}`];
    }),
  );
}
