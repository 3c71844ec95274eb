// What is unsafe in a pair as a whole, whichever service is concerned: its networks, its keys, its timers, its targets.
// One function per rule, each pure; a rule has the name of the policy that carries it (`infra/policy/<rule>.ts`).

import { availabilityOf, type Share, showYearly } from "./availability.ts";
import { type Bound, type Duration, formatDuration, ms, UNBOUNDED } from "./duration.ts";
import { type Estimate, showBound } from "./estimate.ts";
import type { FailureClassId } from "./failure.ts";
import type { Finding } from "./finding.ts";
import { deadlineRule, type Inequality, shortestTakeover, stopChain, takeoverRule, watchdogRule } from "./lease.ts";
import { type Authority, databaseOf, holdsState, type NetworkName, type Node, type Pair } from "./pair.ts";
import { formatRate } from "./rate.ts";
import { demandsOf, GATE_REACTION, meets, SKEW_SHARE, SMALLEST_SAFE_ADVERT, shownTimer } from "./timers.ts";
import type { Tuning } from "./tuning.ts";
import { masterDownFormula, masterDownInterval, skewTime } from "./vrrp.ts";

type Level = Finding["level"];

/** Rules that need nothing but the pair. */
export const pairFindings = (pair: Pair): readonly Finding[] => [
  ...advertInterval(pair),
  ...vrrpSkew(pair),
  ...gratuitousArp(pair),
  ...arbiterSilence(pair),
  ...heartbeatOwnNetwork(pair),
  ...heartbeatSecondPath(pair),
  ...hostKeysPinned(pair),
  ...noPlainSecrets(pair),
  ...vipOwnershipSafe(pair),
  ...stateHasWitness(pair),
  ...stateOneVip(pair),
  ...witnessOwnSite(pair),
  ...threeMembers(pair),
  ...leaseTiming(pair),
  ...timersAgree(pair),
  ...fencingAgentsDistinct(pair),
  ...mariadbCheck(pair),
];

const found = (rule: string, level: Level, path: string, message: string, fix: string): Finding => ({
  rule,
  level,
  path: path.startsWith("hotpair:") ? path : `hotpair:pair.${path}`,
  message,
  fix,
});

function advertInterval(pair: Pair): readonly Finding[] {
  const { advertInterval: advert } = pair.vrrp;
  if (advert >= SMALLEST_SAFE_ADVERT) return [];
  return [
    found(
      "advert-interval",
      "mandatory",
      "vrrp.advertInterval",
      `adverts every ${formatDuration(advert)} leave the arbiter too little time to veto a second owner after a heartbeat cut; ` +
        `${formatDuration(SMALLEST_SAFE_ADVERT)} is the shortest interval measured safe`,
      `set hotpair:pair.vrrp.advertInterval to ${formatDuration(SMALLEST_SAFE_ADVERT)}`,
    ),
  ];
}

function vrrpSkew(pair: Pair): readonly Finding[] {
  const { advertInterval: advert, priority } = pair.vrrp;
  const skew = skewTime(advert, priority);
  if (skew <= advert * SKEW_SHARE) return [];
  return [
    found(
      "vrrp-skew",
      "advisory",
      "vrrp.priority",
      `priority ${priority} makes every failover wait a skew of (256 − ${priority}) × ${formatDuration(advert)} / 256 = ${formatDuration(skew)} beyond 3 adverts`,
      "set hotpair:pair.vrrp.priority to 253",
    ),
  ];
}

function gratuitousArp(pair: Pair): readonly Finding[] {
  if (pair.target === "aws") return [];
  const { repeat, refresh } = pair.vrrp.garp;
  const moves = pair.vips.some((vip) => vip.mode === "ip");
  const findings: Finding[] = [];
  if (repeat < 2)
    findings.push(
      found(
        "gratuitous-arp",
        repeat < 1 && moves ? "mandatory" : "advisory",
        "vrrp.garp.repeat",
        repeat < 1
          ? "no gratuitous ARP is sent after a takeover: neighbours keep the dead node's address until their own caches expire (minutes)"
          : "one gratuitous ARP is sent after a takeover; if it is lost, neighbours keep the dead node's address",
        "set hotpair:pair.vrrp.garp.repeat to 5",
      ),
    );
  if (refresh === 0)
    findings.push(
      found(
        "gratuitous-arp",
        "advisory",
        "vrrp.garp.refresh",
        "the owner never repeats its gratuitous ARP: a neighbour that missed it, or learnt another host's claim, stays wrong",
        "set hotpair:pair.vrrp.garp.refresh to 10s",
      ),
    );
  return findings;
}

/** The fast gate must close before VRRP's own timer ends: silence + beacon + reaction < 3 × advert + skew. */
function arbiterSilence(pair: Pair): readonly Finding[] {
  const { silence, beaconInterval } = pair.arbiter;
  const { advertInterval: advert, priority } = pair.vrrp;
  const closes = ms(silence + beaconInterval + GATE_REACTION);
  const ends = masterDownInterval(advert, priority);
  const findings: Finding[] = [];
  if (closes >= ends) {
    const room = ms(Math.max(0, Math.floor(ends - beaconInterval - GATE_REACTION - 1)));
    findings.push(
      found(
        "arbiter-silence",
        "mandatory",
        "arbiter.silence",
        `after a heartbeat cut the gate closes ${formatDuration(silence)} + ${formatDuration(beaconInterval)} + ` +
          `${formatDuration(GATE_REACTION)} = ${formatDuration(closes)} after the last advert, but VRRP takes over after ` +
          `${masterDownFormula(advert, priority)} = ${formatDuration(ends)}: two owners`,
        room > advert
          ? `set hotpair:pair.arbiter.silence to ${formatDuration(ms(Math.min(1.5 * advert, room)))}`
          : `set hotpair:pair.arbiter.beaconInterval to ${formatDuration(ms(advert / 5))} and hotpair:pair.arbiter.silence to ${formatDuration(ms(1.5 * advert))}`,
      ),
    );
  }
  if (silence <= advert)
    findings.push(
      found(
        "arbiter-silence",
        "mandatory",
        "arbiter.silence",
        `the heartbeat counts as silent after ${formatDuration(silence)}, within one advert interval of ${formatDuration(advert)}: every ordinary pause would`,
        `set hotpair:pair.arbiter.silence to ${formatDuration(ms(1.5 * advert))}`,
      ),
    );
  return findings;
}

const NETWORKS = ["public", "heartbeat", "storage"] as const;

/** `eth0.100` and `eth0:1` run over `eth0`'s cable. */
const cableOf = (name: string): string => name.split(/[.:]/)[0] ?? name;

function sharesCable(node: Node, one: NetworkName, other: NetworkName): boolean {
  const [here, there] = [node.networks[one], node.networks[other]];
  return here !== undefined && there !== undefined && cableOf(here.interface) === cableOf(there.interface);
}

function heartbeatOwnNetwork(pair: Pair): readonly Finding[] {
  const prefixes: readonly Finding[] =
    pair.networks.heartbeat.prefix === pair.networks.public.prefix
      ? [
          found(
            "heartbeat-own-network",
            "mandatory",
            "networks.heartbeat.prefix",
            `heartbeat and public network are both ${pair.networks.public.prefix}: one fault cuts clients and heartbeat together`,
            "give hotpair:pair.networks.heartbeat a prefix of its own, e.g. a direct cable or a VLAN on other switches",
          ),
        ]
      : [];
  const cables = pair.nodes.flatMap((node, index) =>
    sharesCable(node, "public", "heartbeat")
      ? [
          found(
            "heartbeat-own-network",
            "mandatory",
            `nodes[${index}].networks.heartbeat.interface`,
            `${node.name}: ${node.networks.heartbeat.interface} runs over the cable of ${node.networks.public.interface}: ` +
              "pulling it cuts clients and heartbeat together",
            `set hotpair:pair.nodes[${index}].networks.heartbeat.interface to an interface with a cable of its own`,
          ),
        ]
      : [],
  );
  return [...prefixes, ...cables];
}

/** Evidence that the peer lives must have a way that does not end where the clients' and the heartbeat's ways end. */
function heartbeatSecondPath(pair: Pair): readonly Finding[] {
  if (pair.networks.storage === undefined)
    return [
      found(
        "heartbeat-second-path",
        "advisory",
        "networks.storage",
        "beacons have only the public network beside the heartbeat: when both are cut between the nodes, nobody can say who lives",
        "add a third network as hotpair:pair.networks.storage, with an interface on each node",
      ),
    ];
  return pair.nodes.flatMap((node, index) => {
    const shared = (["public", "heartbeat"] as const).find((other) => sharesCable(node, "storage", other));
    if (shared === undefined) return [];
    return [
      found(
        "heartbeat-second-path",
        shared === "heartbeat" ? "mandatory" : "advisory",
        `nodes[${index}].networks.storage.interface`,
        `${node.name}: ${node.networks.storage?.interface} runs over the cable of the ${shared} network: a second path that fails with the first`,
        `set hotpair:pair.nodes[${index}].networks.storage.interface to an interface with a cable of its own`,
      ),
    ];
  });
}

/** `type base64`, as in known_hosts (sshd(8)). */
const HOST_KEY = /^(ssh-[a-z0-9-]+|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]{40,}={0,2}$/;

function hostKeysPinned(pair: Pair): readonly Finding[] {
  const hosts = [
    ...pair.nodes.map(({ ssh }, index) => ({ at: `hotpair:pair.nodes[${index}].ssh`, ssh })),
    ...(pair.witness === undefined ? [] : [{ at: "hotpair:witness.ssh", ssh: pair.witness.ssh }]),
  ];
  const keys = hosts.flatMap(({ at, ssh }) => [
    { path: `${at}.hostKey`, host: ssh.host, key: ssh.hostKey },
    ...(ssh.jump === undefined ? [] : [{ path: `${at}.jump.hostKey`, host: ssh.jump.host, key: ssh.jump.hostKey }]),
  ]);
  const unpinned = keys
    .filter(({ key }) => typeof key !== "string" || !HOST_KEY.test(key.trim()))
    .map(({ path, host }) =>
      found(
        "host-keys-pinned",
        "mandatory",
        path,
        `the host key of ${host} is not pinned: anybody who answers at that address would get the configuration and its secrets`,
        `run "hotpair scan", compare the fingerprint with the server's console, and set ${path}`,
      ),
    );
  const [a, b] = pair.nodes;
  if (unpinned.length > 0 || a.ssh.hostKey !== b.ssh.hostKey) return unpinned;
  return [
    found(
      "host-keys-pinned",
      "mandatory",
      "nodes[1].ssh.hostKey",
      `${a.name} and ${b.name} have the same host key: cloned machines, each could pass for the other`,
      `on ${b.name}: rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh; then run "hotpair scan"`,
    ),
  ];
}

/** What a private key or a generated secret looks like when it stands where only a reference may. */
const LOOKS_SECRET = /-----BEGIN [A-Z ]*PRIVATE KEY-----|^[0-9a-f]{64}$|^AGE-SECRET-KEY-/;

function noPlainSecrets(pair: Pair): readonly Finding[] {
  const plain = (path: string): Finding => {
    const written = /^(witness|fencing|drbd|volumes|aws)\b/.test(path) ? `hotpair:${path}` : `hotpair:pair.${path}`;
    return found(
      "no-plain-secrets",
      "mandatory",
      written,
      "a secret stands here in plain text: it would be kept readable in the state and its history",
      `move it below the stack's secrets: pulumi config set --secret --path '${written}', and replace the secret itself, it has been seen`,
    );
  };
  const { witness, authority, mariadb, drbd, aws } = pair;
  const references: readonly (readonly [string, unknown])[] = [
    ["beaconKey", pair.secrets.beaconKey] as const,
    ["previousBeaconKey", pair.secrets.previousBeaconKey] as const,
    ...pair.nodes.map((node, index) => [`nodes[${index}].ssh.auth.key`, keyOf(node.ssh)] as const),
    ["witness.ssh.auth.key", witness === undefined ? undefined : keyOf(witness.ssh)],
    ["authority.caKey", authority?.caKey],
    ...(["a", "b", "witness"] as const).map(
      (id) => [`authority.members.${id}.key`, authority?.members[id].key] as const,
    ),
    ["mariadb.replicationPassword", mariadb?.replicationPassword],
    ["mariadb.previousReplicationPassword", mariadb?.previousReplicationPassword],
    ["drbd.sharedSecret", drbd?.sharedSecret],
    ["aws.hostKeys.a", aws?.hostKeys.a],
    ["aws.hostKeys.b", aws?.hostKeys.b],
    ["aws.witness.hostKey", aws?.witness?.hostKey],
  ];
  const notReferences = references.filter(([, value]) => value !== undefined && !isReference(value));
  const paths = new Set([
    ...notReferences.map(([path]) => path),
    ...strings(pair).flatMap(([path, text]) => (LOOKS_SECRET.test(text) ? [path] : [])),
  ]);
  return [...paths].sort().map(plain);
}

const keyOf = ({ auth }: Pair["nodes"][0]["ssh"]): unknown => (auth.kind === "key" ? auth.key : undefined);

const isReference = (value: unknown): boolean =>
  typeof value === "object" && value !== null && typeof (value as { secret?: unknown }).secret === "string";

/** A copied agent shoots the wrong machine; an address of the pair's own dies with the machine that it belongs to. */
function fencingAgentsDistinct(pair: Pair): readonly Finding[] {
  const { fencing } = pair;
  if (fencing === undefined) return [];
  const rule = "fencing-agents-distinct";
  const [a, b] = pair.nodes;
  const plain = (id: "a" | "b"): string => {
    const { agent, options } = fencing.agents[id];
    return JSON.stringify([agent, ...Object.entries(options).filter(([, value]) => typeof value === "string")]);
  };
  const copied =
    plain("a") === plain("b")
      ? [
          found(
            rule,
            "mandatory",
            "hotpair:fencing.agents",
            `the agents of ${a.name} and ${b.name} have the same options, so both switch the same machine off`,
            `give each its own, e.g. another ip or plug; then prove it: hotpair fence test`,
          ),
        ]
      : [];
  const owners = new Map([
    ...pair.nodes.flatMap((node) =>
      Object.values(node.networks).map(({ address }) => [address.split("/")[0] ?? "", node.name] as const),
    ),
    ...pair.vips.map((vip) => [vip.address.split("/")[0] ?? "", `VIP ${vip.name}`] as const),
  ]);
  const inside = pair.nodes.flatMap((node) => {
    const at = fencing.agents[node.id].options.ip;
    const owner = typeof at === "string" ? owners.get(at) : undefined;
    if (owner === undefined) return [];
    return [
      found(
        rule,
        "mandatory",
        "hotpair:fencing.agents",
        `the agent of ${node.name} asks ${at}, which is ${owner}'s own address: a power controller has one that answers when the server does not`,
        `set the option ip of ${node.name}'s agent to its power controller`,
      ),
    ];
  });
  return [...copied, ...inside];
}

/** Every text in a value with its path, e.g. `nodes[0].ssh.user`. */
function strings(value: unknown, path = ""): readonly (readonly [string, string])[] {
  if (typeof value === "string") return [[path, value]];
  if (Array.isArray(value)) return value.flatMap((entry, index) => strings(entry, `${path}[${index}]`));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, entry]) => strings(entry, path === "" ? key : `${path}.${key}`));
}

/** Never two owners: what contradicts it stops the program; what two nodes cannot decide is declared. */
function vipOwnershipSafe(pair: Pair): readonly Finding[] {
  const { evidence, beaconInterval } = pair.arbiter;
  const rule = "vip-ownership-safe";
  const [one, other] = pair.vips;
  const undecidable = found(
    rule,
    "advisory",
    "networks",
    `if ${NETWORKS.filter((name) => pair.networks[name] !== undefined).join(", ")} are all cut between two living nodes, both own the VIP ` +
      "until one network is back: two nodes without a witness cannot decide this; the pair keeps no state, so nothing is lost",
    "keep the networks on separate switches and power, or describe a third host as hotpair:witness, which decides it",
  );
  const findings: Finding[] = pair.authority === undefined ? [undecidable] : [];
  if (one !== undefined && other !== undefined && one.routerId === other.routerId)
    findings.push(
      found(
        rule,
        "mandatory",
        "vips[1].routerId",
        `both VIPs have virtual router id ${one.routerId}: their elections would be mixed up`,
        `set hotpair:pair.vips[1].routerId to ${one.routerId === 255 ? 254 : one.routerId + 1}`,
      ),
    );
  if (evidence < 2 * beaconInterval)
    findings.push(
      found(
        rule,
        "mandatory",
        "arbiter.evidence",
        `a veto ends ${formatDuration(evidence)} after the last beacon, with beacons every ${formatDuration(beaconInterval)}: one lost beacon would make two owners during a heartbeat cut`,
        `set hotpair:pair.arbiter.evidence to ${formatDuration(ms(Math.max(200, 10 * beaconInterval)))}`,
      ),
    );
  return findings;
}

/** Two nodes cannot tell a dead peer from a cut network; with data behind the VIP both would write. */
function stateHasWitness(pair: Pair): readonly Finding[] {
  if (!holdsState(pair) || pair.witness !== undefined) return [];
  const data = pair.mariadb === undefined ? "hotpair:drbd" : "hotpair:pair.mariadb";
  return [
    found(
      "state-has-witness",
      "mandatory",
      "hotpair:witness",
      `the pair keeps data (${data}) and has no witness: after a cut between the nodes both would accept writes, and one side's would be lost`,
      `describe a third, small host as hotpair:witness, then run: hotpair authority init; or remove ${data}`,
    ),
  ];
}

/** One lease, one writer, one address that leads to it. */
function stateOneVip(pair: Pair): readonly Finding[] {
  const second = pair.vips[1];
  if (!holdsState(pair) || second === undefined) return [];
  return [
    found(
      "state-one-vip",
      "mandatory",
      "vips[1]",
      `the pair keeps data and has two VIPs: "${second.name}" could stand on the node that must not write, with nothing behind it`,
      "remove hotpair:pair.vips[1], and bind its frontends to the VIP that is left; a second address that may stand apart is a pair of its own",
    ),
  ];
}

/** Whatever takes a node and the witness together takes two of three votes. */
function witnessOwnSite(pair: Pair): readonly Finding[] {
  const { witness, nodes } = pair;
  if (witness === undefined) return [];
  const rule = "witness-own-site";
  const shared = nodes.find(({ site }) => site !== undefined && site === witness.site);
  if (shared !== undefined)
    return [
      found(
        rule,
        "mandatory",
        "hotpair:witness.site",
        `the witness stands in ${witness.site}, where ${shared.name} stands: one fault there takes two of three votes, and nobody may be promoted`,
        "move the witness to a third site (a small rented host will do), and set hotpair:witness.site to it",
      ),
    ];
  const unstated = [
    ...(witness.site === undefined ? ["hotpair:witness.site"] : []),
    ...nodes.flatMap(({ site }, index) => (site === undefined ? [`hotpair:pair.nodes[${index}].site`] : [])),
  ];
  if (unstated.length === 0) return [];
  return [
    found(
      rule,
      "advisory",
      unstated[0] ?? "hotpair:witness.site",
      "it is not stated where all three hosts stand: whether one fault can take a node and the witness together is not known",
      `set ${unstated.join(", ")} to the room, rack or zone`,
    ),
  ];
}

/** Two votes on one machine are one vote. */
function threeMembers(pair: Pair): readonly Finding[] {
  const { witness, nodes, vips } = pair;
  if (witness === undefined) return [];
  const state = (path: string, message: string, fix: string) =>
    found("three-members", "mandatory", `hotpair:witness.${path}`, message, fix);
  const hostOf = (address: string | undefined): string | undefined => address?.split("/")[0];
  const addressed = nodes.find((node) =>
    Object.values(node.networks).some((attachment) => hostOf(attachment?.address) === witness.address),
  );
  const reached = nodes.find(
    ({ ssh }) =>
      (ssh.host === witness.ssh.host && ssh.port === witness.ssh.port && ssh.jump?.host === witness.ssh.jump?.host) ||
      ssh.hostKey === witness.ssh.hostKey,
  );
  const vip = vips.find(({ address }) => hostOf(address) === witness.address);
  const third =
    "is a member of its own only on a third host: with two machines etcd stands still as soon as one is gone";
  return [
    ...(addressed === undefined
      ? []
      : [
          state(
            "address",
            `${witness.address} is an address of ${addressed.name}: the witness ${third}`,
            "set hotpair:witness.address to the address of a third host",
          ),
        ]),
    ...(vip === undefined
      ? []
      : [
          state(
            "address",
            `${witness.address} is VIP "${vip.name}", so the witness would be whichever node holds it: it ${third}`,
            "set hotpair:witness.address to the address of a third host",
          ),
        ]),
    ...(reached === undefined
      ? []
      : [
          state(
            "ssh.host",
            `${witness.ssh.host} is ${reached.name}, by its address or its host key: the witness ${third}`,
            'set hotpair:witness.ssh.host to a third host, then run "hotpair scan"',
          ),
        ]),
  ];
}

/** The old holder has stopped before the new one starts, and the loss of etcd's leader ends nobody. */
function leaseTiming(pair: Pair): readonly Finding[] {
  const { authority } = pair;
  if (authority === undefined) return [];
  const timed = { ...pair, authority };
  const at = "hotpair:pair.authority";
  const findings: Finding[] = [];
  const takeover = takeoverRule(timed);
  if (!takeover.holds) {
    const units = stopChain(timed).map(({ unit }) => unit);
    findings.push(
      found(
        "lease-timing",
        "mandatory",
        `${at}.lease.takeover`,
        `the other node may write ${takeover.leftFormula} after the last renewal that it saw, but the old holder is certain to have stopped only after ` +
          `max(deadline, rpcTimeout + watchdog) + S + margin = ${takeover.rightFormula} (S: ${units.join(", ")}): two writers`,
        `set ${at}.lease.takeover to ${formatDuration(shortestTakeover(timed))} or more`,
      ),
    );
  }
  const ends = (name: "deadline" | "watchdog", rule: Inequality, what: string) => {
    if (rule.holds) return;
    findings.push(
      found(
        "lease-timing",
        "mandatory",
        `${at}.lease.${name}`,
        `${what} after ${rule.leftFormula} without an acknowledged renewal, but an election of etcd may take ` +
          `2 × election + renewal = ${rule.rightFormula}: the loss of its leader would stop the database`,
        longer(timed, name, rule),
      ),
    );
  };
  ends("deadline", deadlineRule(timed), "the holder stops writing");
  ends("watchdog", watchdogRule(timed), "systemd kills the holder");
  return findings;
}

/** The smallest change that makes a deadline outlast an election: a longer one, and a later takeover where that needs it. */
function longer(
  pair: Pair & { readonly authority: Authority },
  name: "deadline" | "watchdog",
  { right }: Inequality,
): string {
  const at = "hotpair:pair.authority.lease";
  const enough = ms(Math.floor(right) + 1);
  const lease = { ...pair.authority.lease, [name]: enough };
  const changed = { ...pair, authority: { ...pair.authority, lease } };
  const text = `set ${at}.${name} to ${formatDuration(enough)} or more`;
  return takeoverRule(changed).holds || !takeoverRule(pair).holds
    ? text
    : `${text}, and with it ${at}.takeover to ${formatDuration(shortestTakeover(changed))} or more`;
}

/** Where MariaDB replicates, a port that is open says nothing of who may write; only the role responder does. */
function mariadbCheck(pair: Pair): readonly Finding[] {
  const { mariadb, haproxy } = pair;
  if (databaseOf(pair) === undefined) return [];
  const rule = "mariadb-check";
  const backends = haproxy?.backends ?? [];
  const own = new Set(
    pair.nodes.flatMap((node) => Object.values(node.networks).map((attachment) => attachment?.address.split("/")[0])),
  );
  const blind = backends.flatMap((backend, index) => {
    if (backend.role !== undefined || mariadb === undefined) return [];
    if (!backend.servers.some(({ address, port }) => port === mariadb.port && own.has(address))) return [];
    return [
      found(
        rule,
        "mandatory",
        `haproxy.backends[${index}]`,
        `backend "${backend.name}" leads to MariaDB's port ${mariadb.port} and would take the replica, which is up and read-only, for a primary`,
        `in hotpair:pair.haproxy.backends[${index}] write service: mariadb in place of servers`,
      ),
    ];
  });
  const slow = backends.flatMap((backend, index) => {
    const { interval, fall, rise, fastInterval } = backend.check;
    const noticed = ms(interval + Math.max(fall, rise) * fastInterval);
    if (backend.role === undefined || noticed <= SLOWEST_ROLE_CHECK) return [];
    return [
      found(
        rule,
        "advisory",
        `haproxy.backends[${index}].check`,
        `a promotion is noticed only after interval ${formatDuration(interval)} + ${Math.max(fall, rise)} × fastInterval ` +
          `${formatDuration(fastInterval)} = ${formatDuration(noticed)}: every failover and every switch is longer by that`,
        `set hotpair:pair.haproxy.backends[${index}].check.interval to 100ms, .fastInterval to 50ms, .fall to 2 and .rise to 2`,
      ),
    ];
  });
  const reached = backends.some(({ role }) => role !== undefined);
  const unreached = reached
    ? []
    : [
        found(
          rule,
          "advisory",
          "haproxy.backends",
          "no backend is for the service mariadb: clients cannot reach the primary through the VIP",
          "add a backend with service: mariadb and mode: tcp, and a frontend with mode: tcp that leads to it",
        ),
      ];
  return [...blind, ...slow, ...(blind.length > 0 ? [] : unreached)];
}

/** Half of the shortest takeover of a lease that is sensible; beyond it the check, and not the lease, decides the RTO. */
const SLOWEST_ROLE_CHECK: Duration = ms(500);

/** Pairs of timers that contradict each other, or what the limits call ordinary, where no other rule says so. */
function timersAgree(pair: Pair): readonly Finding[] {
  return demandsOf(pair).flatMap((demand) => {
    const { rule, level, path, contradiction, bound, set, value } = demand;
    if (contradiction === undefined || meets(pair, demand)) return [];
    return [
      found(
        rule,
        level,
        path,
        contradiction,
        `set hotpair:pair.${path} to ${shownTimer(path, set ?? value)} or ${bound === "at least" ? "more" : "less"}; ` +
          "what is ordinary here is hotpair:pair.limits, and hotpair tune proposes a whole set",
      ),
    ];
  });
}

/**
 * Targets that the estimate misses, classes that it cannot bound, and a pair without any target. `tuned` says which timers
 * would keep the target of a class.
 */
export function estimateFindings(
  estimates: readonly Estimate[],
  tuned: (failure: FailureClassId) => Tuning,
): readonly Finding[] {
  const findings: Finding[] = [];
  for (const { failure, description, rto, rpo, beyond } of estimates) {
    if (rto.verdict === "missed" && rto.target !== undefined) {
      findings.push({
        rule: "rto-within-target",
        level: "mandatory",
        path: rto.target.path,
        message:
          `when ${description} (${failure}), service is back within ${showBound(rto.upper)} at worst, the target is ` +
          `${formatDuration(rto.target.value)}: ${rto.formula}`,
        fix:
          beyond !== undefined
            ? `remove ${rto.target.path}: ${beyond}`
            : keepTarget(failure, rto.upper, tuned(failure)),
      });
    }
    if (rpo.verdict === "missed" && rpo.target !== undefined)
      findings.push({
        rule: "rpo-within-target",
        level: "mandatory",
        path: rpo.target.path,
        message: `when ${description} (${failure}), as much as ${showBound(rpo.upper)} of acknowledged data can be lost, the target is ${formatDuration(rpo.target.value)}: ${rpo.formula}`,
        fix: `remove ${rpo.target.path}: it cannot be promised`,
      });
  }
  if (estimates.every(({ rto }) => rto.target === undefined))
    findings.push(
      found(
        "rto-within-target",
        "advisory",
        "objectives",
        "no recovery target is stated: nothing can be promised, compared or measured against",
        "set hotpair:pair.objectives.tier to standard, or hotpair:pair.objectives.rto.default to e.g. 5s",
      ),
    );
  return findings;
}

/** A year that is expected to cost more than its budgets; the largest share, and the repair that would keep them. */
export function yearlyFindings(pair: Pair, estimates: readonly Estimate[]): readonly Finding[] {
  const { downtime, redundancyLost } = pair.objectives;
  const year = availabilityOf(pair, estimates);
  const over = (
    rule: string,
    field: string,
    what: string,
    [expected, budget]: readonly [Duration, Duration | undefined],
    of: (share: Share) => Duration,
  ): readonly Finding[] => {
    if (budget === undefined || expected <= budget) return [];
    const shares = year.shares.filter((share) => of(share) > 0).sort((one, other) => of(other) - of(one));
    const sum = shares
      .slice(0, 3)
      .map(
        (share) =>
          `${share.failure} ${formatRate(share.rate)} × ${showYearly(ms(of(share) / share.rate))} = ${showYearly(of(share))}`,
      );
    const rest = shares.length > 3 ? `, and ${shares.length - 3} classes more` : "";
    return [
      found(
        rule,
        "mandatory",
        `objectives.${field}`,
        `a year is expected to have ${showYearly(expected)} ${what}, its budget is ${showYearly(budget)}: ${sum.join(", ")}${rest}`,
        quickerRepair(shares, ms(expected - budget), of) ??
          `set hotpair:pair.objectives.${field} to ${formatDuration(ms(Math.ceil(expected / 60_000) * 60_000))}: no single repair that is quicker keeps it`,
      ),
    ];
  };
  return [
    ...over(
      "redundancy-budget",
      "redundancyLost",
      "without a usable standby",
      [year.redundancyLost, redundancyLost],
      (share) => share.redundancyLost,
    ),
    ...over(
      "downtime-budget",
      "downtime",
      "without service at worst",
      [year.downtime.upper, downtime],
      (share) => share.downtime.upper,
    ),
  ];
}

/** The repair of the largest share, where it alone is enough and decides that share. */
function quickerRepair(shares: readonly Share[], excess: Duration, of: (share: Share) => Duration): string | undefined {
  const [largest] = shares;
  if (largest === undefined || of(largest) !== largest.rate * largest.repair) return undefined;
  const enough = Math.floor((of(largest) - excess) / largest.rate / 60_000) * 60_000;
  if (enough < 60_000) return undefined;
  return (
    `repair ${largest.failure} within ${formatDuration(ms(enough))} in place of ${formatDuration(largest.repair)}, ` +
    "and say so with its class, rate and repair in hotpair:pair.failures"
  );
}

/** The timers that keep the target, each with its value; or the target that can be kept, and the term that stands in the way. */
function keepTarget(failure: FailureClassId, present: Bound, { changes, kept, unmet }: Tuning): string {
  const [missed] = unmet;
  const timers = changes.map(({ path, to }) => `hotpair:pair.${path} to ${shownTimer(path, to)}`);
  if (missed === undefined) {
    const terms = kept.find((each) => each.failure === failure)?.terms ?? [];
    return `set ${timers.join(", ")} (hotpair tune --write does): it keeps the target by a shorter "${terms.join('", "')}"`;
  }
  const { name, formula, why } = missed.irreducible;
  return (
    `set hotpair:pair.objectives.rto.${failure} to ${upTo(present)}: no set of timers is faster than ` +
    `${showBound(missed.shortest)}, for its largest term stays, ${name} (${formula}): ${why}`
  );
}

/** A target that holds the bound with nothing to spare, rounded up to a tenth of a second. */
const upTo = (bound: Bound): string => (bound === UNBOUNDED ? bound : showBound(ms(Math.ceil(bound / 100) * 100)));
