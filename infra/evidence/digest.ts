// The digest of a configuration as far as it decides recovery times and safety: evidence measured under one digest says
// nothing about another. What is left out is named here, one by one: whatever a pair gains later counts until somebody
// has decided that it does not (docs/evidence.md#what-the-digest-covers). Pure.

import { createHash } from "node:crypto";
import type { Aws, Pair } from "../model/pair.ts";

/** `sha256:` and 64 hexadecimal digits. */
export function configDigest(pair: Pair): string {
  return `sha256:${createHash("sha256")
    .update(canonical(relevant(pair)))
    .digest("hex")}`;
}

/** The parts that matter, in the words of the Pair. */
function relevant(pair: Pair): unknown {
  // Labels, promises, what must be proven, what is taken for ordinary or expected, and where secrets stand: none of them
  // changes what happens in a failure.
  const {
    name: _name,
    objectives,
    evidence,
    limits: _limits,
    failures,
    secrets,
    nodes,
    vips,
    haproxy,
    nginx,
    external,
    base,
    ...rest
  } = pair;
  const { vrrp, witness, authority, mariadb, drbd, volumes, fencing, aws, ...parts } = rest;
  const { notify, email, ...timing } = vrrp;
  return {
    ...parts,
    aws: aws && cloud(aws),
    // Names, failure domains and logins are the administrator's; interfaces and addresses are the topology.
    nodes: nodes.map(({ name, site, ssh, ...node }) => node),
    vips: vips.map(({ name, ...vip }) => vip),
    vrrp: timing,
    haproxy: haproxy && balancing(pair, haproxy),
    nginx: without(nginx, "root"),
    external: without(external, "name", "units"),
    witness: without(witness, "name", "site", "ssh"),
    authority: authority && { etcd: without(authority.etcd, "quota"), lease: authority.lease },
    mariadb: without(mariadb, "adopt", "replicationPassword", "previousReplicationPassword"),
    // What it is made of may be another disk, and the owner's words are no settings.
    drbd: drbd && {
      ...without(drbd, "resources", "sharedSecret", "accepted"),
      resources: drbd.resources.map(({ disks, metadata, ...resource }) => ({
        ...without(resource, "name"),
        metadata: metadata === undefined ? "internal" : "external",
      })),
    },
    volumes: volumes?.map((volume) => without(volume, "resource", "checkWithin", "startWithin")),
    // Which device shoots whom matters; that a password of it was changed does not.
    fencing: fencing && {
      ...fencing,
      agents: Object.values(fencing.agents).map(({ agent, options }) => ({
        agent,
        // What follows from the pair says nothing more of it.
        options: Object.entries(agent === "aws" ? {} : options).map(([name, value]) => [
          name,
          typeof value === "string" ? value : "secret",
        ]),
      })),
    },
    base: without(base, "persistentJournal", "installPackages"),
  };
}

/** Where the servers are made and what of, and how the address moves; not who may reach them, and what they are called. */
function cloud({
  vip,
  instance,
  ssh,
  clients,
  bucket,
  backup,
  budget,
  tags,
  accepted,
  hostKeys,
  witness,
  ...place
}: Aws): unknown {
  return {
    ...place,
    // How long AWS may take is expected of it, and set nowhere; a record is found by its name, and waited for by its TTL.
    vip: { ...without(vip, "within"), record: without(vip.record, "hostedZone", "name") },
    instance: without(instance, "terminationProtection"),
    witness: without(witness, "elasticIp", "hostKey"),
  };
}

/**
 * HAProxy by what a client meets: each frontend with the backend that it leads to. Names are labels, the order in which
 * they are written means nothing, a backend that nobody leads to serves nobody, and the statistics page serves no client.
 */
function balancing({ vips }: Pair, { frontends, backends, stats, ...limits }: NonNullable<Pair["haproxy"]>): unknown {
  const met = frontends.map(({ name, bind, certificate, backend: wanted, ...frontend }) => {
    const { name: label, ...backend } = backends.find((one) => one.name === wanted) ?? { name: "", servers: [] };
    return {
      ...frontend,
      bind: { port: bind.port, vip: bind.vip === "*" ? "*" : vips.findIndex((vip) => vip.name === bind.vip) },
      encrypted: certificate !== undefined,
      backend: { ...backend, servers: backend.servers.map(({ address, port }) => ({ address, port })) },
    };
  });
  return { ...limits, frontends: met.map(canonical).sort() };
}

function without<Part extends object, Name extends keyof Part>(
  part: Part | undefined,
  ...names: readonly Name[]
): Omit<Part, Name> | undefined {
  if (part === undefined) return undefined;
  const left = { ...part };
  for (const name of names) delete left[name];
  return left;
}

/** JSON with sorted keys and without what is undefined: the same value gives the same text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .toSorted(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`)
      .join(",")}}`;
  return JSON.stringify(value) ?? "null";
}
