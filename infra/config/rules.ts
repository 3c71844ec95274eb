// How the fields of a configuration must fit together: one function per rule, each mistake with its reason and its fix.
// What a single field may hold is in schema.ts; what is unsafe rather than wrong is found by the services.

import { formatDuration, ms } from "../model/duration.ts";
import { TIER_NAMES } from "../model/estimate.ts";
import { whyNot } from "../model/failure.ts";
import {
  broadcastOf,
  type Cidr,
  contains,
  formatCidr,
  formatIpv4,
  hostIn,
  networkOf,
  overlap,
  parseCidr,
} from "../model/ipv4.ts";
import { hasDatabase } from "../model/pair.ts";
import { NFS_PORT } from "../model/volume.ts";
import { type Draft, type DraftNode, draftOf } from "./draft.ts";
import { configPath, formatPath, type Path, type Problem, suggest } from "./problem.ts";
import { AWS_RULES, type Rule, vipIsInNetwork } from "./rules-aws.ts";
import { DRBD_RULES } from "./rules-drbd.ts";
import { NETWORK_RULES } from "./rules-network.ts";

/** Every rule's problems, as far as the input can be understood. */
export const problemsOf = (input: unknown): readonly Problem[] => {
  const draft = draftOf(input);
  return RULES.flatMap((rule) => [...rule(draft)]);
};

const problem = (path: Path, message: string): Problem => ({ path, message });

function* nodesAreDifferent({ nodes: [one, other] }: Draft): Generator<Problem> {
  if (one === undefined || other === undefined) return;
  const same = <T>(get: (node: DraftNode) => T | undefined): boolean =>
    get(one) !== undefined && get(one) === get(other);
  if (same((node) => node.name))
    yield problem([...other.path, "name"], `"${other.name}" is the name of nodes[0] too; give each node its own`);
  if (same((node) => node.sshHost) && one.sshPort === other.sshPort && one.jumpHost === other.jumpHost)
    yield problem(
      [...other.path, "ssh", "host"],
      `"${other.sshHost}" port ${other.sshPort} is nodes[0] too: a pair is two servers; write the second one's address`,
    );
  else if (same((node) => node.hostKey))
    yield problem(
      [...other.path, "ssh", "hostKey"],
      "is nodes[0]'s host key too: it is the same server, or a clone that could pass for it; on a clone run `rm /etc/ssh/ssh_host_* && ssh-keygen -A`, then `hotpair scan`",
    );
}

function* sshHasOneKey({ nodes, witness }: Draft): Generator<Problem> {
  for (const { path, hasKeyFile, hasKey } of [
    ...nodes,
    ...(witness === undefined ? [] : [{ ...witness, path: ["witness"] }]),
  ])
    if (hasKeyFile && hasKey)
      yield problem([...path, "ssh", "key"], "stands beside keyFile; keep one of the two, or none for the SSH agent");
}

/** RFC 6890: this-network, loopback, multicast and reserved addresses are nobody's network. */
const UNUSABLE = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"].map((text) => parseCidr(text) as Cidr);

function* networksAreNetworks({ networks }: Draft): Generator<Problem> {
  for (const { path, prefix, gateway } of networks) {
    if (prefix === undefined) continue;
    const at = [...path, "prefix"];
    const text = formatCidr(prefix);
    const unusable = UNUSABLE.find((range) => overlap(range, prefix));
    if (prefix.bits < 8 || prefix.bits > 30)
      yield problem(
        at,
        `"${text}" is a prefix of ${prefix.bits} bits; expected 8 to 30, e.g. ${formatIpv4(networkOf({ ...prefix, bits: 24 }))}/24`,
      );
    else if (networkOf(prefix) !== prefix.address)
      yield problem(
        at,
        `"${text}" is an address inside a network; write the network, ${formatIpv4(networkOf(prefix))}/${prefix.bits}`,
      );
    else if (unusable !== undefined)
      yield problem(
        at,
        `"${text}" overlaps ${formatCidr(unusable)}, which no server can have addresses of (RFC 6890); write the network's real prefix`,
      );
    else if (gateway !== undefined)
      yield* addressFits([...path, "gateway"], formatIpv4(gateway), gateway, prefix, formatPath(path));
  }
}

function* networksDoNotOverlap({ networks }: Draft): Generator<Problem> {
  for (const [index, other] of networks.entries())
    for (const one of networks.slice(0, index))
      if (one.prefix !== undefined && other.prefix !== undefined && overlap(one.prefix, other.prefix))
        yield problem(
          [...other.path, "prefix"],
          `"${formatCidr(other.prefix)}" overlaps ${formatPath(one.path)} (${formatCidr(one.prefix)}): replies would leave on the wrong interface; give each network its own prefix`,
        );
}

function* nodesAreOnEveryNetwork({ networks, nodes }: Draft): Generator<Problem> {
  const storage = networks.some(({ name }) => name === "storage");
  for (const { path, attachments } of nodes) {
    const attached = attachments.find(({ network }) => network === "storage");
    if (storage && attached === undefined)
      yield problem(
        [...path, "networks", "storage"],
        "is missing: networks.storage is described; attach this node, or remove that network",
      );
    if (!storage && attached !== undefined)
      yield problem(
        attached.path,
        "attaches to a network that is not described; add networks.storage.prefix, or remove this",
      );
  }
}

function* attachmentsFit({ networks, nodes }: Draft): Generator<Problem> {
  const seen = new Map<number, string>();
  for (const { attachments } of nodes)
    for (const { network: name, path, address } of attachments) {
      if (address === undefined) continue;
      const at = [...path, "address"];
      const text = formatCidr(address);
      const network = networks.find((candidate) => candidate.name === name);
      const prefix = network?.prefix;
      const fitting = [
        ...(prefix === undefined ? [] : addressFits(at, text, address.address, prefix, `networks.${name}`)),
      ];
      yield* fitting;
      if (prefix !== undefined && fitting.length === 0 && address.bits !== prefix.bits)
        yield problem(
          at,
          `"${text}" has another prefix length than networks.${name} (${formatCidr(prefix)}); write ${formatIpv4(address.address)}/${prefix.bits}`,
        );
      if (network?.gateway === address.address)
        yield problem(at, `"${text}" is the gateway of networks.${name}; write the node's own address`);
      const holder = seen.get(address.address);
      if (holder !== undefined) yield problem(at, `"${text}" is ${holder} too; every address belongs to one interface`);
      else seen.set(address.address, formatPath(at));
    }
}

function* addressFits(at: Path, text: string, address: number, network: Cidr, name: string): Generator<Problem> {
  const example = `${formatIpv4(hostIn(network, 11))}/${network.bits}`;
  if (!contains(network, address))
    yield problem(
      at,
      `"${text}" is outside ${name} (${formatCidr(network)}); expected e.g. ${at.at(-1) === "gateway" ? formatIpv4(hostIn(network, 1)) : example}`,
    );
  else if (address === networkOf(network) || address === broadcastOf(network))
    yield problem(
      at,
      `"${text}" is the ${address === networkOf(network) ? "network" : "broadcast"} address of ${name} (${formatCidr(network)}); no server can have it, expected e.g. ${at.at(-1) === "gateway" ? formatIpv4(hostIn(network, 1)) : example}`,
    );
}

function* interfacesAreDifferent({ nodes }: Draft): Generator<Problem> {
  for (const { attachments } of nodes)
    for (const [index, other] of attachments.entries()) {
      const one = attachments.slice(0, index).find((candidate) => candidate.interface === other.interface);
      if (one !== undefined && other.interface !== undefined)
        yield problem(
          [...other.path, "interface"],
          `"${other.interface}" is this node's ${one.network} interface too: one cable would be both networks; write the ${other.network} one`,
        );
    }
}

function* mtusAgree({ nodes: [one, other] }: Draft): Generator<Problem> {
  for (const mine of other?.attachments ?? []) {
    const theirs = one?.attachments.find(({ network }) => network === mine.network);
    if (theirs !== undefined && theirs.mtu !== mine.mtu)
      yield problem(
        [...mine.path, "mtu"],
        `${mine.mtu} differs from ${formatPath(theirs.path)}.mtu (${theirs.mtu}): large packets would vanish; write the same on both nodes`,
      );
  }
}

function* vipsFit({ aws, networks, nodes, vips }: Draft): Generator<Problem> {
  const network = networks.find(({ name }) => name === "public");
  const attachments = nodes.flatMap((node) => node.attachments);
  for (const { path, address } of vips) {
    if (address === undefined || !vipIsInNetwork(aws)) continue;
    const at = [...path, "address"];
    const text = formatCidr(address);
    const holder = attachments.find((attachment) => attachment.address?.address === address.address);
    if (holder !== undefined)
      yield problem(
        at,
        `"${text}" is ${formatPath([...holder.path, "address"])} too; a VIP is an address that no node has of its own`,
      );
    else if (network?.gateway === address.address)
      yield problem(at, `"${text}" is the gateway of networks.public; choose a free address`);
    else if (network?.prefix !== undefined) {
      const fitting = [...addressFits(at, text, address.address, network.prefix, "networks.public")];
      yield* fitting;
      if (fitting.length === 0 && address.bits !== network.prefix.bits && address.bits !== 32)
        yield problem(
          at,
          `"${text}" has another prefix length than networks.public (${formatCidr(network.prefix)}); write ${formatIpv4(address.address)}/${network.prefix.bits}`,
        );
    }
  }
}

function* vipsAreDifferent({ vips }: Draft): Generator<Problem> {
  const [one, other] = vips;
  if (one === undefined || other === undefined) return;
  if (one.name !== undefined && one.name === other.name)
    yield problem([...other.path, "name"], `"${other.name}" is the name of vips[0] too; give each VIP its own`);
  if (one.address !== undefined && one.address.address === other.address?.address)
    yield problem(
      [...other.path, "address"],
      `"${formatCidr(other.address)}" is vips[0] too; give each VIP its own address`,
    );
  if (one.routerId !== undefined && one.routerId === other.routerId)
    yield problem(
      [...other.path, "routerId"],
      `${other.routerId} is the virtual router id of vips[0] too: each would take the other's advertisements for its own; write e.g. ${other.routerId === 255 ? 1 : (other.routerId ?? 0) + 1}`,
    );
}

function* preferredNodesExist({ nodes, vips }: Draft): Generator<Problem> {
  const names = nodes.flatMap(({ name }) => name ?? []);
  if (names.length < nodes.length) return;
  for (const { path, preferred } of vips)
    if (preferred !== undefined && !names.includes(preferred))
      yield problem([...path, "preferred"], unknown(preferred, "a node", names));
}

function unknown(name: string, what: string, known: readonly string[]): string {
  const meant = suggest(name, known);
  const hint = meant === undefined ? `expected one of ${known.join(", ")}` : `did you mean "${meant}"?`;
  return `"${name}" is not ${what}; ${hint}`;
}

function* frontendsLeadSomewhere({ vips, frontends, backends }: Draft): Generator<Problem> {
  const vipNames = vips.flatMap(({ name }) => name ?? []);
  const backendNames = backends.flatMap(({ name }) => name ?? []);
  for (const { path, bindHost, mode, backend } of frontends) {
    if (bindHost !== undefined && bindHost !== "*" && vipNames.length === vips.length && !vipNames.includes(bindHost))
      yield problem([...path, "bind"], unknown(bindHost, "the name of a VIP", [...vipNames, "*"]));
    if (backend === undefined || backendNames.length < backends.length) continue;
    const target = backends.find(({ name }) => name === backend);
    if (target === undefined) yield problem([...path, "backend"], unknown(backend, "a backend", backendNames));
    else if (target.mode !== mode)
      yield problem(
        [...path, "mode"],
        `"${mode}" differs from ${formatPath(target.path)}.mode ("${target.mode}"); HAProxy needs the same mode on both sides`,
      );
  }
}

function* namesAreUnique({ frontends, backends }: Draft): Generator<Problem> {
  const lists = [frontends, backends, ...backends.map(({ servers }) => servers ?? [])];
  for (const entries of lists)
    for (const [index, other] of entries.entries()) {
      const one = entries.slice(0, index).find(({ name }) => name !== undefined && name === other.name);
      if (one !== undefined)
        yield problem(
          [...other.path, "name"],
          `"${other.name}" is the name of ${formatPath(one.path)} too; give each its own`,
        );
    }
}

function* backendsHaveServers(draft: Draft): Generator<Problem> {
  const { nginxPort, external, backends } = draft;
  const database = hasDatabase(draft);
  const services = [
    ...(nginxPort === undefined ? [] : ["nginx"]),
    ...(database ? ["mariadb"] : []),
    ...(external === undefined ? [] : [external.name ?? ""]),
  ];
  if (services.includes("")) return;
  for (const { path, mode, service, servers } of backends) {
    if (service === "mariadb" && database && servers === undefined && mode !== "tcp")
      yield problem(
        [...path, "mode"],
        "must be tcp for the service mariadb, which speaks its own protocol; write mode: tcp",
      );
    if (service !== undefined && servers !== undefined)
      yield problem([...path, "servers"], "stands beside service; keep one of the two");
    else if (service !== undefined && !services.includes(service))
      yield problem(
        [...path, "service"],
        services.length > 0
          ? unknown(service, "a service of this pair", services)
          : `"${service}" is not a service of this pair; add nginx or external, or name the servers`,
      );
    else if (service === undefined && servers === undefined && nginxPort === undefined && external === undefined)
      yield problem(
        path,
        database
          ? "has no servers: it does not say which service it is for; write service: mariadb (with mode: tcp), or name the servers"
          : "has no servers: neither nginx nor external is configured; add one of them, or name the servers",
      );
  }
}

function* externalIsNotOurs(draft: Draft): Generator<Problem> {
  const name = draft.external?.name;
  if (name === "nginx" || (name === "mariadb" && hasDatabase(draft)))
    yield problem(
      ["external", "name"],
      `"${name}" is the name of the service that hotpair manages; choose another name`,
    );
}

function* checksFitTheMode({ backends }: Draft): Generator<Problem> {
  for (const { path, mode, checkPath, hasStatus } of backends) {
    if (mode !== "tcp") continue;
    if (checkPath !== undefined)
      yield problem(
        [...path, "check", "path"],
        "needs mode http; in mode tcp a TCP connect is the check: remove it, or write mode: http",
      );
    if (hasStatus)
      yield problem(
        [...path, "check", "status"],
        "needs mode http; in mode tcp a TCP connect is the check: remove it, or write mode: http",
      );
  }
}

function* serversAreNotVips({ vips, backends }: Draft): Generator<Problem> {
  for (const { servers } of backends)
    for (const { path, address } of servers ?? []) {
      const vip = vips.find((candidate) => address !== undefined && candidate.address?.address === address);
      if (vip !== undefined && address !== undefined)
        yield problem(
          [...path, "address"],
          `"${formatIpv4(address)}" is ${formatPath(vip.path)}: HAProxy would send requests to itself; write the server's own address`,
        );
    }
}

/** Who listens where on a node: `*` is every address, so it clashes with everybody on the same port. */
function* portsAreFree(draft: Draft): Generator<Problem> {
  interface Listener {
    readonly path: Path;
    readonly what: string;
    readonly host: string;
    readonly port: number | undefined;
  }
  const listeners: Listener[] = [
    ...draft.nodes.map(({ path, sshPort }) => ({
      path: [...path, "ssh", "port"],
      what: "sshd",
      host: "*",
      port: sshPort,
    })),
    { path: ["nginx", "port"], what: "nginx", host: "node", port: draft.nginxPort },
    { path: ["external", "port"], what: "external", host: "node", port: draft.external?.port },
    ...(draft.authority === undefined
      ? []
      : (["clientPort", "peerPort"] as const).map((name) => ({
          path: ["authority", "etcd", name],
          what: name === "clientPort" ? "etcd's clients" : "etcd's members",
          host: "node",
          port: draft.authority?.[name],
        }))),
    ...(draft.mariadb === undefined
      ? []
      : [
          { path: ["mariadb", "port"], what: "MariaDB", host: "node", port: draft.mariadb.port },
          {
            path: ["mariadb", "rolePort"],
            what: "MariaDB's role responder",
            host: "node",
            port: draft.mariadb.rolePort,
          },
          // On the VIP, wherever it is: whoever listens on every address is in its way.
          ...draft.vips.map(({ name }) => ({
            path: ["mariadb", "replicaReads", "port"],
            what: "reads from the replica",
            host: name ?? "",
            port: draft.mariadb?.readPort,
          })),
        ]),
    ...(draft.volumes ?? []).map(({ path, mariadb }) => ({
      path: [...path, "mariadb", "port"],
      what: "MariaDB",
      host: "node",
      port: mariadb?.port,
    })),
    // On the VIP, wherever it is; a second export is another rule's business.
    ...(draft.volumes ?? [])
      .flatMap(({ nfs }) => nfs ?? [])
      .slice(0, 1)
      .flatMap(({ path }) => draft.vips.map(({ name }) => ({ path, what: "NFS", host: name ?? "", port: NFS_PORT }))),
    ...(draft.drbd?.resources ?? []).map(({ path, port }) => ({
      path: [...path, "port"],
      what: formatPath(path),
      host: "node",
      port,
    })),
    { path: ["haproxy", "stats", "port"], what: "HAProxy's statistics page", host: "localhost", port: draft.statsPort },
    ...draft.frontends.map(({ path, bindHost = "", bindPort }) => ({
      path: [...path, "bind"],
      what: formatPath(path),
      host: bindHost,
      port: bindPort,
    })),
  ];
  for (const [index, other] of listeners.entries()) {
    if (other.port === undefined || other.what === "sshd") continue;
    const one = listeners
      .slice(0, index)
      .find(({ host, port }) => port === other.port && (host === other.host || host === "*" || other.host === "*"));
    if (one !== undefined)
      yield problem(
        other.path,
        `port ${other.port} is taken by ${one.what} (${formatPath(one.path)}); only one of them could start, choose another port`,
      );
  }
}

function* customTargetsAreStated({ tier, hasDefaultRto, hasDefaultRpo }: Draft): Generator<Problem> {
  if (tier !== "custom") return;
  if (!hasDefaultRto)
    yield problem(["objectives", "rto", "default"], "is missing: tier custom has no target of its own; write e.g. 30s");
  if (!hasDefaultRpo)
    yield problem(["objectives", "rpo", "default"], "is missing: tier custom has no target of its own; write e.g. 5s");
}

function* tierIsKnown({ tier, tiers, mariadb, drbd }: Draft): Generator<Problem> {
  const own = tiers.flatMap(({ name }) => name ?? []);
  if (!TIER_NAMES.includes(tier) && !own.includes(tier))
    yield problem(["objectives", "tier"], unknown(tier, "a tier", [...TIER_NAMES, ...own]));
  if (tier === "extreme" && (mariadb !== undefined || drbd !== undefined))
    yield problem(
      ["objectives", "tier"],
      "extreme is for pairs that keep no data: with data the lease must run out first, for more than its 300ms; write critical",
    );
  for (const [index, { path, name }] of tiers.entries()) {
    if (name === undefined) continue;
    if (TIER_NAMES.includes(name))
      yield problem([...path, "name"], `"${name}" has a meaning of its own, docs/estimate.md; choose another name`);
    if (tiers.findIndex((other) => other.name === name) < index)
      yield problem([...path, "name"], `"${name}" is the name of a tier before it; each is described once`);
  }
}

function* failuresApply({ failures, ...draft }: Draft): Generator<Problem> {
  for (const [index, { path, failure }] of failures.entries()) {
    if (failure === undefined) continue;
    if (failures.findIndex((other) => other.failure === failure) < index)
      yield problem([...path, "class"], `${failure} stands there already; each class is described once`);
    const without = whyNot(failure, draft);
    if (without !== undefined)
      yield problem([...path, "class"], `only ${without.only} can have ${failure}; ${without.lacks}, remove it`);
  }
}

function* witnessIsAnotherHost({ nodes, witness }: Draft): Generator<Problem> {
  if (witness === undefined) return;
  const same = nodes.find(({ name }) => name !== undefined && name === witness.name);
  if (same !== undefined)
    yield problem(
      ["witness", "name"],
      `"${witness.name}" is the name of ${formatPath(same.path)} too; give it its own`,
    );
  if (witness.address !== undefined && UNUSABLE.some((range) => contains(range, witness.address ?? 0)))
    yield problem(
      ["witness", "address"],
      `"${formatIpv4(witness.address)}" is no address that another host can reach (RFC 6890); write the witness's own`,
    );
}

/** An authority is its three members: without the third host there is none, and without certificates no member. */
function* authorityHasWitness({ witness, authority, fencing }: Draft): Generator<Problem> {
  if (witness !== undefined && authority === undefined)
    yield problem(
      ["authority"],
      "is missing: hotpair:witness is described, and its member needs certificates; make them with `hotpair authority init`",
    );
  if (witness === undefined && authority !== undefined)
    yield problem(
      ["witness"],
      "is missing: hotpair:pair.authority is described, and two members cannot outvote each other; describe a third host, or remove authority",
    );
  if (witness === undefined && fencing !== undefined)
    yield problem(
      ["fencing"],
      "stands without hotpair:witness: only the holder of the lease may shoot, and without a witness there is no lease; describe a witness, or remove it",
    );
}

/** etcd refuses to start below five heartbeats (its tuning guide, and the check in its configuration). */
function* electionOutlastsHeartbeats({ authority }: Draft): Generator<Problem> {
  const { heartbeat, election } = authority ?? {};
  if (heartbeat === undefined || election === undefined || election >= 5 * heartbeat) return;
  yield problem(
    ["authority", "etcd", "election"],
    `${formatDuration(election)} is less than 5 × the heartbeat of ${formatDuration(heartbeat)}, and etcd would not start; write ${formatDuration(ms(6 * heartbeat))}`,
  );
}

function* replicationHasItsNetwork({ networks, mariadb }: Draft): Generator<Problem> {
  const name = mariadb?.replicationNetwork;
  if (name === "storage" && !networks.some((network) => network.name === name))
    yield problem(
      ["mariadb", "replicationNetwork"],
      '"storage" is not described; add networks.storage, or write heartbeat or public',
    );
}

function* readsGoThroughHaproxy({ mariadb, hasHaproxy }: Draft): Generator<Problem> {
  if (mariadb?.readPort !== undefined && !hasHaproxy)
    yield problem(
      ["mariadb", "replicaReads"],
      "needs haproxy, which knows how far the replica is behind; add haproxy, or remove it",
    );
}

/** Options of fence agents that nobody should read (their man pages: password, passwd, snmp_priv_passwd, secret_key, token …). */
const SECRET_OPTION = /passw(or)?d$|secret|token|private_key|community/;

function* agentsShootNodes({ nodes, fencing }: Draft): Generator<Problem> {
  const names = nodes.flatMap(({ name }) => name ?? []);
  const agents = fencing?.agents ?? [];
  for (const [index, { path, node, options, secrets }] of agents.entries()) {
    if (node !== undefined && names.length === nodes.length && !names.includes(node))
      yield problem([...path, "node"], unknown(node, "a node", names));
    const same = agents.slice(0, index).find((other) => node !== undefined && other.node === node);
    if (same !== undefined)
      yield problem([...path, "node"], `"${node}" has ${configPath(same.path)} already; each node has one agent`);
    for (const option of options) {
      if (secrets.includes(option))
        yield problem([...path, "options", option], "stands under secrets, too; keep one of the two");
      else if (SECRET_OPTION.test(option))
        yield problem(
          [...path, "options", option],
          `is a secret, in plain text (not shown); treat it as published, and set a new one with \`pulumi config set --path --secret '${configPath([...path, "secrets", option])}'\``,
        );
    }
  }
}

function* targetsApply({ targets, ...draft }: Draft): Generator<Problem> {
  for (const { path, failure } of targets) {
    const without = whyNot(failure, draft);
    if (without !== undefined)
      yield problem(path, `is a target for a failure that only ${without.only} can have; ${without.lacks}, remove it`);
  }
}

const RULES: readonly Rule[] = [
  nodesAreDifferent,
  sshHasOneKey,
  networksAreNetworks,
  networksDoNotOverlap,
  nodesAreOnEveryNetwork,
  attachmentsFit,
  interfacesAreDifferent,
  mtusAgree,
  ...NETWORK_RULES,
  vipsFit,
  vipsAreDifferent,
  preferredNodesExist,
  frontendsLeadSomewhere,
  namesAreUnique,
  backendsHaveServers,
  externalIsNotOurs,
  checksFitTheMode,
  serversAreNotVips,
  portsAreFree,
  witnessIsAnotherHost,
  authorityHasWitness,
  electionOutlastsHeartbeats,
  replicationHasItsNetwork,
  readsGoThroughHaproxy,
  agentsShootNodes,
  customTargetsAreStated,
  tierIsKnown,
  failuresApply,
  targetsApply,
  ...DRBD_RULES,
  ...AWS_RULES,
];
