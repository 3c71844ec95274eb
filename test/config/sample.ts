// The lab's own stack file, the configuration that every test in this room starts from.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readPair, readStackFile } from "../../infra/config/index.ts";
import { UserError } from "../../infra/model/errors.ts";

export const PROJECT = join(import.meta.dirname, "../..");
export const LAB_TEXT = readFileSync(join(PROJECT, "stacks/Pulumi.lab.yaml"), "utf8");

// biome-ignore lint/suspicious/noExplicitAny: tests break the input in ways that no type allows.
export type Input = any;

/** What stands under `hotpair:pair` in the lab's stack file, to be changed freely. */
export const labInput = (): Input => structuredClone(readStackFile(LAB_TEXT, "Pulumi.lab.yaml").pairInput);

export const CLOUD_TEXT = readFileSync(join(PROJECT, "stacks/Pulumi.cloud.yaml"), "utf8");

/** The example in AWS, as the one input that is checked, to be changed freely. */
export const cloudInput = (): Input => structuredClone(readStackFile(CLOUD_TEXT, "Pulumi.cloud.yaml").pairInput);

/** The form of a certificate around nothing, whole. */
export const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
const CIPHERTEXT = { secure: "v1:QUFB:QkJC" };

/** The lab's configuration with a database, a witness and fence agents, as the one input that is checked. */
export function statefulInput(): Input {
  const input = labInput();
  const member = { certificate: CERTIFICATE, key: CIPHERTEXT };
  const agent = (node: string, ip: string) => ({
    node,
    agent: "fence_ipmilan",
    options: { username: "fence", ip },
    secrets: { password: CIPHERTEXT },
  });
  input.nodes[0].site = "room-1";
  input.nodes[1].site = "room-2";
  input.haproxy.frontends = [{ name: "data", bind: "web:3306", mode: "tcp", backend: "data" }];
  input.haproxy.backends = [{ name: "data", mode: "tcp", service: "mariadb" }];
  delete input.nginx;
  input.mariadb = { replicationPassword: CIPHERTEXT };
  input.authority = {
    caCertificate: CERTIFICATE,
    caKey: CIPHERTEXT,
    members: { a: member, b: member, witness: member },
  };
  input.witness = {
    site: "room-3",
    ssh: {
      host: "198.18.0.13",
      hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICaOqP2bc+HHTO8OnM9ufMPGANssqR9mpY9i8Crp363B",
    },
    address: "198.18.0.13",
  };
  input.fencing = { agents: [agent("node-b", "198.18.3.12"), agent("node-a", "198.18.3.11")] };
  // Not one object in several places: a change of one is a change of one.
  return JSON.parse(JSON.stringify(input));
}

/** The lab's configuration with a replicated disk in place of the database. */
export function diskInput(): Input {
  const { mariadb: _, ...input } = statefulInput();
  input.haproxy.frontends = [{ name: "web", bind: "web:80", backend: "nginx" }];
  input.haproxy.backends = [{ name: "nginx", service: "nginx" }];
  input.nginx = {};
  input.authority.lease = { takeover: "2s" };
  input.drbd = {
    resources: [
      { name: "data", minor: 0, port: 7789, disks: { a: "/dev/disk/by-id/one", b: "/dev/disk/by-id/two" } },
      {
        name: "files",
        minor: 1,
        port: 7790,
        disks: { a: "/dev/vg/files", b: "/dev/vg/files" },
        metadata: { a: "/dev/vg/meta", b: "/dev/vg/meta" },
      },
    ],
    diskPerSecond: "200MiB",
    networkPerSecond: "110MiB",
    sharedSecret: CIPHERTEXT,
    accepted: { undrilled: "a trial on servers that hold nothing" },
  };
  input.volumes = [
    { device: "data", mountPoint: "/srv/data", units: ["shop-db.service", "shop.service"] },
    { device: "files", mountPoint: "/srv/files", fileSystem: "xfs" },
  ];
  return JSON.parse(JSON.stringify(input));
}

/** All mistakes of that configuration after a change. */
export function mistakesWithDisks(change: (input: Input) => void): readonly string[] {
  const input = diskInput();
  change(input);
  return mistakesIn(() => readPair(input, { stack: "lab", locate: () => undefined }));
}

/** The example in AWS with a database, and a witness that is somebody's host already. */
export function cloudDataInput(): Input {
  const { nginx: _, ...input } = cloudInput();
  const { witness, authority, mariadb, haproxy } = statefulInput();
  return {
    ...input,
    ...{ authority, mariadb },
    witness: { ...witness, address: "198.51.100.13", ssh: { ...witness.ssh, host: "198.51.100.13" } },
    haproxy: { ...haproxy, frontends: [{ ...haproxy.frontends[0], bind: "*:3307" }] },
  };
}

/** The same with a witness that is made with the servers. */
export function cloudWitnessInput(): Input {
  const { witness, aws, ...input } = cloudDataInput();
  const made = {
    zone: "eu-central-1c",
    prefix: "10.20.3.0/28",
    type: "m7g.medium",
    elasticIp: "eipalloc-0a1b2c3d4e5f60713",
  };
  return {
    ...input,
    witness: { ...witness, address: "10.20.3.10", ssh: { ...witness.ssh, host: "203.0.113.13", user: "admin" } },
    aws: { ...aws, witness: { ...made, hostKey: CIPHERTEXT } },
  };
}

/** The input as it stands in a stack file: what stands beside the pair under keys of its own. */
export function asWritten(input: Input): Input {
  const { witness, fencing, drbd, volumes, aws, ...pair } = input;
  return {
    "hotpair:pair": pair,
    ...(aws === undefined ? {} : { "hotpair:aws": aws }),
    ...(witness === undefined ? {} : { "hotpair:witness": witness }),
    ...(fencing === undefined ? {} : { "hotpair:fencing": fencing }),
    ...(drbd === undefined ? {} : { "hotpair:drbd": drbd }),
    ...(volumes === undefined ? {} : { "hotpair:volumes": volumes }),
  };
}

export const SSH_KEY =
  "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
const AUTHORITY_KEY = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

/** What stands behind the ciphertext at a place of the input. */
export function secretAt(path: string): string {
  if (path.endsWith("eaconKey")) return "c0ffee00".repeat(8);
  if (path.endsWith("ssh.key") || /^aws\.(hostKeys\.|witness\.hostKey$)/.test(path)) return SSH_KEY;
  if (path.startsWith("authority.")) return AUTHORITY_KEY;
  return path.startsWith("fencing.") ? "open sesame" : "aB3".repeat(9);
}

/** The input with something else in place of every ciphertext, e.g. the secret itself. */
export function withSecrets(input: Input, secret: (path: string) => unknown, path = ""): Input {
  if (typeof input !== "object" || input === null) return input;
  if (input.secure !== undefined) return secret(path);
  if (Array.isArray(input)) return input.map((each, index) => withSecrets(each, secret, `${path}[${index}]`));
  return Object.fromEntries(
    Object.entries(input).map(([key, value]) => [
      key,
      withSecrets(value, secret, path === "" ? key : `${path}.${key}`),
    ]),
  );
}

/** The input as the engine hands it over. */
export const asDecrypted = (input: Input): Input => withSecrets(JSON.parse(JSON.stringify(input)), secretAt);

/** All mistakes of that configuration after a change. */
export function mistakesWithData(change: (input: Input) => void): readonly string[] {
  const input = statefulInput();
  change(input);
  return mistakesIn(() => readPair(input, { stack: "lab", locate: () => undefined }));
}

/** All mistakes of the example in AWS after a change. */
export function mistakesInCloud(change: (input: Input) => void): readonly string[] {
  const input = cloudInput();
  change(input);
  return mistakesIn(() => readPair(input, { stack: "cloud", locate: () => undefined }));
}

/** All mistakes of the lab's configuration after a change; empty when it is still right. */
export function mistakesAfter(change: (pair: Input) => void): readonly string[] {
  const input = labInput();
  change(input);
  return mistakesIn(() => readPair(input, { stack: "lab", locate: () => undefined }));
}

export function mistakesIn(read: () => unknown): readonly string[] {
  try {
    read();
    return [];
  } catch (error) {
    if (error instanceof UserError) return error.details;
    throw error;
  }
}
