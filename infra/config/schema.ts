// What may be written under `hotpair:pair` and the keys beside it (`hotpair:witness`, `hotpair:drbd`, …), put together from
// the schema-*.ts beside this file: every field with its meaning, unit, default and limits. The JSON Schema, the annotated
// example and docs/configuration.md are made from it. How fields must fit together is in rules.ts.

import type { z } from "zod";
import { keys, label, list, oneOf } from "./formats.ts";
import { APART } from "./problem.ts";
import { arbiter, vip, vrrp } from "./schema-address.ts";
import { aws } from "./schema-aws.ts";
import { authority, fencing, mariadb } from "./schema-data.ts";
import { drbd, volumes } from "./schema-drbd.ts";
import { evidence, failures, limits, objectives } from "./schema-promises.ts";
import { decrypted, encrypted, type Secret } from "./schema-secrets.ts";
import { base, networks, node, witness } from "./schema-servers.ts";
import { external, haproxy, nginx } from "./schema-services.ts";

/** The whole input: the pair, with what is written under keys of their own (APART). */
const inputSchema = (secret: Secret) =>
  keys(
    {
      ...pairKeys(secret),
      witness: witness(secret)
        .optional()
        .describe("A third, small host that votes and never serves. Every pair that keeps data has one."),
      fencing: fencing(secret)
        .optional()
        .describe(
          "How the holder of the lease makes sure that the other node is off, where time alone does not prove it (a frozen machine that wakes up).",
        ),
      drbd: drbd(secret)
        .optional()
        .describe(
          "Replicated block devices (DRBD), promoted on the node that holds the lease. They need `hotpair:witness`, `authority` and `hotpair:volumes`.",
        ),
      volumes: volumes()
        .optional()
        .describe("File systems on replicated devices, and the services that run on them while a node is active."),
      aws: aws(secret)
        .optional()
        .describe("Where in AWS the servers are made, and what is made for them; with `target: aws` alone."),
    },
    APART,
  );

const pairKeys = (secret: Secret) =>
  ({
    name: label("a name", 32, "shop")
      .optional()
      .describe("Name of the pair, for labels and files on the servers. Default: the stack's name."),
    target: oneOf("onprem", "aws")
      .default("onprem")
      .describe(
        "How servers come to be: `onprem` are existing ones, reached over SSH; `aws` are made as `hotpair:aws` says.",
      ),
    networks: networks().describe("The networks that the nodes share. They must not overlap."),
    nodes: list(node(secret("sshKey")), "nodes", { min: 2, max: 2 }).describe("The two servers."),
    vips: list(vip(), "VIPs", { min: 1, max: 2 }).describe(
      "One or two virtual addresses. Two that prefer different nodes make an active/active pair.",
    ),
    vrrp: vrrp().prefault({}).describe("How keepalived decides who owns a VIP."),
    arbiter: arbiter().prefault({}).describe("Timing of hotpair-arbiter, which vetoes a second owner."),
    haproxy: haproxy()
      .optional()
      .describe("Load balancer in front of the services. Leave it out to manage only the VIP."),
    nginx: nginx().optional().describe("nginx as the backend service, on both nodes."),
    external: external()
      .optional()
      .describe("A service on both nodes that hotpair does not manage and only sends traffic to."),
    mariadb: mariadb(secret)
      .optional()
      .describe(
        "A MariaDB primary and its semi-synchronous replica. It needs `hotpair:witness` and `authority`. The other way to keep a database is a volume: `hotpair:volumes[].mariadb`.",
      ),
    authority: authority(secret)
      .optional()
      .describe("Who may write: etcd on both nodes and the witness. It stands where `hotpair:witness` stands."),
    base: base().prefault({}).describe("The servers themselves."),
    objectives: objectives()
      .prefault({})
      .describe("What the pair promises; `hotpair check` compares it with the estimate."),
    evidence: evidence().prefault({}).describe("What drills must have shown before a configuration counts as proven."),
    failures: failures()
      .default([])
      .describe(
        "How often what happens here, where you know better than the defaults; `hotpair estimate` makes a year of it.",
      ),
    limits: limits()
      .prefault({})
      .describe(
        "What is ordinary on these networks and servers: no timer may take it for a fault. `hotpair tune` proposes timers for it.",
      ),
    beaconKey: secret("beaconKey").describe(
      "Encrypted key that authenticates the arbiters' beacons. `hotpair init` and `hotpair secrets rotate` make it.",
    ),
    previousBeaconKey: secret("beaconKey")
      .optional()
      .describe("The key before the last rotation, accepted until `hotpair secrets rotate --finish` drops it."),
  }) as const;

/** As a stack file says it: secrets are `{secure: …}`. */
export const fileSchema = inputSchema(encrypted);

/** As the Pulumi engine hands it to a program: secrets are decrypted texts. */
export const engineSchema = inputSchema(decrypted);

/** A valid configuration with the schema's own defaults; what is derived from several fields is still open. */
export type PairSettings = z.output<typeof fileSchema>;
