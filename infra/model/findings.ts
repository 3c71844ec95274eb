// What is unsafe in a pair as a whole, whichever service is concerned: its networks, its keys, its timers, its targets.
// One function per rule, each pure; a rule has the name of the policy that carries it (`infra/policy/<rule>.ts`).

import { type Bound, type Duration, formatDuration, ms, UNBOUNDED } from "./duration.ts";
import { type Estimate, showBound } from "./estimate.ts";
import type { Finding } from "./finding.ts";
import type { NetworkName, Node, Pair } from "./pair.ts";
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
];

/** Smallest advert interval whose fast gate closed in time in every run (docs/arbitration.md#measured). */
export const SMALLEST_SAFE_ADVERT: Duration = ms(100);
/** From a beacon's arrival to keepalived having read the gate; measured at most (docs/arbitration.md#measured). */
export const GATE_REACTION: Duration = ms(30);

const found = (rule: string, level: Level, path: string, message: string, fix: string): Finding => ({
  rule,
  level,
  path: `hotpair:pair.${path}`,
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

/** A skew beyond this share of the advert interval only delays every failover: RFC 9568 needs it to break ties, no more. */
const SKEW_SHARE = 0.25;

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
  const keys = pair.nodes.flatMap((node, index) => [
    { path: `nodes[${index}].ssh.hostKey`, host: node.ssh.host, key: node.ssh.hostKey },
    ...(node.ssh.jump === undefined
      ? []
      : [{ path: `nodes[${index}].ssh.jump.hostKey`, host: node.ssh.jump.host, key: node.ssh.jump.hostKey }]),
  ]);
  const unpinned = keys
    .filter(({ key }) => typeof key !== "string" || !HOST_KEY.test(key.trim()))
    .map(({ path, host }) =>
      found(
        "host-keys-pinned",
        "mandatory",
        path,
        `the host key of ${host} is not pinned: anybody who answers at that address would get the configuration and its secrets`,
        `run "hotpair scan", compare the fingerprint with the server's console, and set hotpair:pair.${path}`,
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
  const plain = (path: string): Finding =>
    found(
      "no-plain-secrets",
      "mandatory",
      path,
      "a secret stands here in plain text: it would be kept readable in the state and its history",
      `move it below the stack's secrets: pulumi config set --secret --path 'hotpair:pair.${path}', and replace the secret itself, it has been seen`,
    );
  const references = [
    ["beaconKey", pair.secrets.beaconKey] as const,
    ["previousBeaconKey", pair.secrets.previousBeaconKey] as const,
    ...pair.nodes.map((node, index) => {
      const { auth } = node.ssh;
      return [`nodes[${index}].ssh.auth.key`, auth.kind === "key" ? auth.key : undefined] as const;
    }),
  ];
  const notReferences = references.filter(([, value]) => value !== undefined && !isReference(value));
  const paths = new Set([
    ...notReferences.map(([path]) => path),
    ...strings(pair).flatMap(([path, text]) => (LOOKS_SECRET.test(text) ? [path] : [])),
  ]);
  return [...paths].sort().map(plain);
}

const isReference = (value: unknown): boolean =>
  typeof value === "object" && value !== null && typeof (value as { secret?: unknown }).secret === "string";

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
  const findings: Finding[] = [
    found(
      rule,
      "advisory",
      "networks",
      `if ${NETWORKS.filter((name) => pair.networks[name] !== undefined).join(", ")} are all cut between two living nodes, both own the VIP ` +
        "until one network is back: two nodes without a witness cannot decide this; the pair keeps no state, so nothing is lost",
      "keep the networks on separate switches and power; nothing in the configuration removes this case",
    ),
  ];
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

/** Targets that the estimate misses, classes that it cannot bound, and a pair without any target. */
export function estimateFindings(estimates: readonly Estimate[]): readonly Finding[] {
  const findings: Finding[] = [];
  for (const { failure, description, rto, terms, beyond } of estimates) {
    if (rto.verdict === "missed" && rto.target !== undefined) {
      const largest = [...terms].sort((one, other) => weight(other.upper) - weight(one.upper))[0];
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
            : `set hotpair:pair.objectives.rto.${failure} to ${upTo(rto.upper)}, or shorten its largest term, ` +
              `${largest?.name} (${largest?.formula})`,
      });
    }
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

const weight = (bound: Bound): number => (bound === UNBOUNDED ? Number.POSITIVE_INFINITY : bound);

/** A target that holds the bound with nothing to spare, rounded up to a tenth of a second. */
const upTo = (bound: Bound): string => (bound === UNBOUNDED ? bound : showBound(ms(Math.ceil(bound / 100) * 100)));
