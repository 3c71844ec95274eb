// What the state of both nodes means for the person who looks at it: who is active, what the pair can survive right now,
// what to do next. Pure, over what the nodes say of themselves; asking them is the commands' business.

import type { FailureClassId } from "./failure.ts";
import { holdsState, type NetworkName, type NodeId, type Pair, storeOf } from "./pair.ts";
import { type AuthorityStatus, type NodeStatus, standsBy, type VipStatus } from "./status.ts";

/** What a node said, or why it said nothing. */
export type NodeAnswer = { readonly status: NodeStatus } | { readonly silent: string };

export interface Outlook {
  /** Per VIP, the names of the nodes that hold it: exactly one when all is well. */
  readonly owners: readonly {
    readonly vip: string;
    readonly address: string;
    readonly nodes: readonly string[];
    /** The other node is ready to take it over this instant. */
    readonly covered: boolean;
  }[];
  /** `parked`: in maintenance on purpose, nothing alarms. */
  readonly verdict: "healthy" | "degraded" | "down" | "two owners" | "parked" | "unknown";
  /** One line per thing that is not well, with the node's name. */
  readonly problems: readonly string[];
  readonly survives: readonly Survival[];
  /** What to do, most urgent first; empty when there is nothing to do. */
  readonly next: readonly string[];
}

export interface Survival {
  readonly failure: FailureClassId;
  readonly text: string;
  readonly survives: boolean;
  /** Why not; empty when it does. */
  readonly because: string;
}

/** Beacons come every few tens of milliseconds; a second without one is a cut network. */
const HEARD_MS = 1_000;
const NETWORKS: readonly NetworkName[] = ["heartbeat", "public", "storage"];

/** The observer reports at least every 100 ms and a lease is renewed as often; beyond this a member is not there. */
const MEMBER_MS = 2_000;

interface View {
  readonly id: NodeId;
  readonly name: string;
  readonly status: NodeStatus | undefined;
  readonly silent: string;
}

/** `answers` in the order of the pair's nodes. */
export function outlook(pair: Pair, answers: readonly [NodeAnswer, NodeAnswer]): Outlook {
  const views = pair.nodes.map((node, index): View => {
    const answer = answers[index] ?? { silent: "was not asked" };
    return "status" in answer
      ? { id: node.id, name: node.name, status: answer.status, silent: "" }
      : { id: node.id, name: node.name, status: undefined, silent: answer.silent };
  });
  const owners = pair.vips.map((vip) => {
    const nodes = views.filter(({ status }) => vipOf(status, vip.name)?.held === true);
    const others = views.filter((view) => !nodes.includes(view));
    const covered = nodes.length === 1 && others.every((view) => notReady(view, vip.name) === undefined);
    return { vip: vip.name, address: vip.address, nodes: nodes.map(({ name }) => name), covered };
  });
  const problems = views.flatMap((view) => problemsOf(pair, view).map((problem) => `${view.name}: ${problem}`));
  const survives = survivals(pair, views);
  const verdict = verdictOf(views, owners, problems);
  return { owners, verdict, problems, survives, next: nextSteps(pair, views, owners) };
}

function verdictOf(views: readonly View[], owners: Outlook["owners"], problems: readonly string[]): Outlook["verdict"] {
  if (owners.some(({ nodes }) => nodes.length > 1)) return "two owners";
  const silent = views.filter(({ status }) => status === undefined);
  if (silent.length === views.length) return "unknown";
  if (owners.some(({ nodes }) => nodes.length === 0)) return silent.length > 0 ? "unknown" : "down";
  if (problems.length > 0) return "degraded";
  return views.some(({ status }) => status?.maintenance === true) ? "parked" : "healthy";
}

const vipOf = (status: NodeStatus | undefined, name: string): VipStatus | undefined =>
  status?.vips.find((vip) => vip.name === name);

/** What is not well with a node; what follows from its being parked is not. */
function problemsOf(pair: Pair, { status, silent }: View): readonly string[] {
  if (status === undefined) return [silent];
  const problems: string[] = [];
  for (const daemon of status.daemons) {
    if (daemon.state === "running" || (status.maintenance && daemon.name === "keepalived")) continue;
    problems.push(`${daemon.name} is ${daemon.state}${daemon.detail === "" ? "" : ` (${daemon.detail})`}`);
  }
  if (status.arbiter === null)
    problems.push("its arbiter does not answer: a cut of the heartbeat network would now make two owners");
  if (!status.maintenance)
    for (const vip of status.vips) {
      if (standsBy(vip) && !vip.held) continue;
      if (vip.gate.closed)
        problems.push(`it keeps away from VIP ${vip.name}: ${vip.gate.reason || "its gate is closed"}`);
      else if (vip.state !== (vip.held ? "master" : "backup"))
        problems.push(`VRRP of VIP ${vip.name} is in state ${vip.state}`);
    }
  problems.push(...serverProblems(pair, status.backends));
  for (const network of deafNetworks(pair, status))
    problems.push(`it does not hear its peer on the ${network} network`);
  problems.push(
    ...authorityProblems(pair, status),
    ...fencingProblems(pair, status),
    ...addressProblems(pair, status),
    ...(status.database?.problems ?? []),
    ...managedProblems(status),
  );
  if (status.database === null) problems.push(`its ${storeOf(pair)} does not say how it is`);
  return problems;
}

/**
 * Servers that a node's HAProxy misses. Where it asks for a role, one of the two is up: the other one counts as down by
 * design.
 */
export function serverProblems(pair: Pair, servers: NodeStatus["backends"]): readonly string[] {
  const byRole = backendsByRole(pair);
  return [
    ...[...byRole].flatMap((name) => {
      const known = servers.filter((server) => server.backend === name);
      const up = known.filter((server) => server.up).length;
      return known.length === 0 || up === 1
        ? []
        : [`HAProxy sees ${up === 0 ? "no server" : "two servers"} of ${name} up`];
    }),
    ...servers
      .filter(({ backend, up }) => !up && !byRole.has(backend))
      .map(({ backend, server, detail }) => `HAProxy sees ${backend}/${server} down (${detail})`),
  ];
}

const backendsByRole = (pair: Pair): ReadonlySet<string> =>
  new Set(pair.haproxy?.backends.filter(({ role }) => role !== undefined).map(({ name }) => name));

const recent = (msAgo: number | null | undefined): boolean => typeof msAgo === "number" && msAgo <= MEMBER_MS;

function authorityProblems(pair: Pair, { authority }: NodeStatus): readonly string[] {
  if (pair.witness === undefined) return [];
  if (authority === undefined || authority === null)
    return ["its observer of the authority is silent: it does not know who may write"];
  if (!recent(authority.quorumMsAgo))
    return ["it reaches no quorum of the etcd members: it could neither renew the lease nor take it"];
  return [
    ...(recent(authority.witnessMsAgo) ? [] : [`it does not hear the witness ${pair.witness.name}`]),
    ...(memberAnswers(authority)
      ? []
      : ["its own etcd member does not answer: one loss more, and nobody has a quorum"]),
  ];
}

const memberAnswers = ({ memberMsAgo }: AuthorityStatus): boolean => memberMsAgo === undefined || recent(memberMsAgo);

/** Nodes whose own etcd member has no vote this instant: it is down, hung, learning, or of an epoch that is over. */
const withoutMember = (views: readonly View[]): readonly View[] =>
  views.filter(({ status }) => status?.authority && !memberAnswers(status.authority));

/** A shot counts until the peer was taken in again: then it runs, and nobody doubts that it had stopped. */
function fencingProblems(pair: Pair, { fencing, authority }: NodeStatus): readonly string[] {
  if (pair.fencing === undefined || fencing === undefined) return [];
  if (fencing === null) return ["its hotpair-fence does not answer: it could not shoot"];
  const { agent, last, test } = fencing;
  const alone = authority?.holding === true && authority.insync?.length === 1;
  if (alone && last?.outcome === "unconfirmed")
    return [`its peer is not confirmed off: ${last.detail}; a machine that wakes up may still write for a moment`];
  return test?.ok === false ? [`${agent} does not tell its peer's power: ${test.detail}`] : [];
}

/** What a node's networks lack, where hotpair sets them up. */
const managedProblems = ({ managed }: NodeStatus): readonly string[] =>
  managed === null
    ? ["its hotpair-network does not answer: it is not known how its bonds and VLANs are"]
    : (managed?.problems ?? []);

/** VIPs that a node holds while AWS sends their clients elsewhere, as far as the node knows. */
export function addressProblems(pair: Pair, { vips, address }: NodeStatus): readonly string[] {
  const held = vips.filter((vip) => vip.held);
  if (pair.aws === undefined || address === undefined || held.length === 0) return [];
  if (address === null) return ["its hotpair-address does not answer: it is not known where AWS sends clients"];
  const missing = held.filter(
    (vip) => address.state !== "here" || !address.vips.includes(vip.address.split("/")[0] ?? ""),
  );
  const why = address.error === null ? "" : ` (${address.error})`;
  return missing.map(({ name }) => `AWS does not send the clients of VIP ${name} here yet${why}`);
}

const deafNetworks = (pair: Pair, status: NodeStatus): readonly NetworkName[] =>
  status.arbiter === null
    ? []
    : NETWORKS.filter((network) => {
        const heard = status.peer?.heardMsAgo[network] ?? null;
        return pair.networks[network] !== undefined && (heard === null || heard > HEARD_MS);
      });

/** Why a node could not take this VIP over this instant; undefined when it could. */
function notReady({ name, status }: View, vip: string): string | undefined {
  if (status === undefined) return `${name} is silent`;
  if (status.maintenance) return `${name} is in maintenance`;
  const keepalived = status.daemons.find((daemon) => daemon.name === "keepalived");
  if (keepalived !== undefined && keepalived.state !== "running") return `keepalived on ${name} is ${keepalived.state}`;
  const state = vipOf(status, vip);
  if (state !== undefined && standsBy(state)) return undefined;
  if (state?.gate.closed === true) return `${name} keeps away from it: ${state.gate.reason || "its gate is closed"}`;
  if (state !== undefined && !state.held && state.state !== "backup" && state.state !== "unknown")
    return `VRRP on ${name} is in state ${state.state}`;
  return undefined;
}

/** What the nodes know of the authority, the freshest reading of a quorum first. */
const authoritiesOf = (views: readonly View[]): readonly AuthorityStatus[] =>
  views
    .flatMap(({ status }) => status?.authority ?? [])
    .toSorted((one, other) => (one.quorumMsAgo ?? Infinity) - (other.quorumMsAgo ?? Infinity));

/** Why the witness could not vote this instant, for a node that would need its vote; undefined: it could. */
function witnessAway(pair: Pair, views: readonly View[]): string | undefined {
  if (pair.witness === undefined) return "there is no witness";
  const heard = authoritiesOf(views).some(({ witnessMsAgo }) => recent(witnessMsAgo));
  return heard ? undefined : `the witness ${pair.witness.name} does not answer`;
}

const memberAway = ({ name }: View): string => `the etcd member of ${name} does not answer`;

/** Why nobody could be promoted with the data that the holder has acknowledged, if the holder were gone. */
function notPromotable(pair: Pair, views: readonly View[]): readonly string[] {
  const [known] = authoritiesOf(views);
  if (known === undefined || known.insync === null)
    return ["it is not known which nodes hold every acknowledged write"];
  const { holder, insync } = known;
  if (holder === null) return ["nobody holds the lease"];
  const others = views.filter(({ id }) => id !== holder);
  const behind = others.filter(({ id }) => !insync.includes(id));
  return [
    ...behind.map(({ name }) => `${name} is not in sync: it may lack acknowledged writes, and is not promoted`),
    ...[witnessAway(pair, others) ?? []].flat(),
    ...withoutMember(others).map(memberAway),
  ];
}

/** What a witness and data add: who could be promoted, and what still decides. */
function survivalsWithData(pair: Pair, views: readonly View[]): readonly Entry[] {
  const [known] = authoritiesOf(views);
  const silent = views.filter(({ status }) => status === undefined).map(({ name }) => `${name} is silent`);
  const missing = [...silent, ...withoutMember(views).map(memberAway)];
  return [
    {
      failure: "witness-loss",
      text: "loss of the witness",
      reasons: missing.length > 0 ? [...missing, "the other node would be left with one of three votes"] : [],
    },
    {
      failure: "witness-loss-then-power-cut",
      text: "loss of the witness and of the active node",
      reasons: ["one vote of three promotes nobody: the operator must decide"],
    },
    {
      failure: "member-isolation",
      text: "the active node's etcd member cut off",
      reasons: notPromotable(pair, views),
    },
    ...(pair.mariadb === undefined
      ? []
      : [
          {
            failure: "replica-loss" as const,
            text: "loss of the replica's database",
            reasons: known?.holder === null || known === undefined ? ["nobody is known to hold the lease"] : [],
          },
        ]),
    {
      failure: "quorum-loss",
      text: "loss of two etcd members",
      reasons:
        known?.insync?.length === 1 && known.insync[0] === known.holder
          ? []
          : ["with both nodes in sync the primary stops: it cannot know that the other was not promoted"],
    },
  ];
}

const haproxyDead = ({ status }: View): boolean =>
  status?.daemons.some((daemon) => daemon.name === "haproxy" && daemon.state !== "running") === true;

interface Entry {
  readonly failure: FailureClassId;
  readonly text: string;
  /** Why it would not be survived. */
  readonly reasons: readonly string[];
}

function survivals(pair: Pair, views: readonly View[]): readonly Survival[] {
  const withData = holdsState(pair);
  const vipless = pair.vips.flatMap((vip) => {
    const holders = views.filter(({ status }) => vipOf(status, vip.name)?.held === true);
    if (holders.length !== 1) return [`VIP ${vip.name} has ${holders.length === 0 ? "no owner" : "two owners"}`];
    return views.filter((view) => !holders.includes(view)).flatMap((view) => notReady(view, vip.name) ?? []);
  });
  const uncovered = withData ? [...vipless, ...notPromotable(pair, views)] : vipless;
  const ownerless = pair.vips.filter(
    (vip) => views.filter(({ status }) => vipOf(status, vip.name)?.held === true).length !== 1,
  );
  const noArbiter = views.filter(({ status }) => status === undefined || status.arbiter === null);
  const arbiters = noArbiter.map(({ name, status }) =>
    status === undefined ? `${name} is silent` : `the arbiter on ${name} does not answer`,
  );
  const both = views.flatMap(({ status }) => (status === undefined ? [] : [status]));
  const hears = (network: NetworkName): boolean =>
    both.length === 2 && both.every((status) => !deafNetworks(pair, status).includes(network));
  const beside = NETWORKS.filter((network) => pair.networks[network] !== undefined && network !== "heartbeat");
  const blind =
    arbiters.length > 0 || beside.some((network) => hears(network))
      ? arbiters
      : ["the nodes hear each other on no other network"];
  const dead = views.filter(haproxyDead).map(({ name }) => `HAProxy on ${name} does not answer`);
  const undecided =
    pair.witness === undefined
      ? ["two nodes without a witness cannot decide it: both would own the VIP"]
      : [witnessAway(pair, views) ?? []].flat();
  const entry = (failure: FailureClassId, text: string, reasons: readonly string[]): Survival => ({
    failure,
    text,
    survives: reasons.length === 0 && both.length > 0,
    because: both.length === 0 ? "neither node answers" : [...new Set(reasons)].join("; "),
  });
  const found = [
    entry("node-power-cut", "loss of the active node", uncovered),
    entry(
      "standby-power-cut",
      "loss of the standby node",
      ownerless.map(({ name }) => `VIP ${name} has not exactly one owner`),
    ),
    entry("public-link-loss", "loss of the active node's public link", uncovered),
    entry("heartbeat-link-loss", "a cut of the heartbeat network", blind),
    ...(pair.networks.storage === undefined
      ? []
      : [
          entry(
            "storage-link-loss",
            "a cut of the storage network",
            hears("heartbeat") || both.length < 2 ? [] : ["the heartbeat network is cut already"],
          ),
        ]),
    ...(pair.haproxy === undefined
      ? []
      : [entry("haproxy-hang", "a hung HAProxy on the active node", [...uncovered, ...arbiters, ...dead])]),
    ...(pair.haproxy === undefined
      ? []
      : [entry("backend-kill", "loss of one backend server", thinBackends(pair, views))]),
    entry("full-partition", "a cut of all networks between the nodes", undecided),
    ...(withData
      ? survivalsWithData(pair, views).map(({ failure, text, reasons }) => entry(failure, text, reasons))
      : []),
  ];
  return found;
}

/** Backends that the owner's HAProxy would have nobody for after one more loss. */
function thinBackends(pair: Pair, views: readonly View[]): readonly string[] {
  const owner = views.find(({ status }) => status?.vips.some((vip) => vip.held))?.status;
  const byRole = backendsByRole(pair);
  const names = [...new Set(owner?.backends.map(({ backend }) => backend) ?? [])].filter((name) => !byRole.has(name));
  return names.flatMap((name) => {
    const up = owner?.backends.filter((server) => server.backend === name && server.up).length ?? 0;
    return up >= 2 ? [] : [`backend ${name} has ${up === 1 ? "one server" : "no server"} left`];
  });
}

function nextSteps(pair: Pair, views: readonly View[], owners: Outlook["owners"]): readonly string[] {
  const steps: string[] = [];
  for (const { vip, nodes } of owners)
    if (nodes.length > 1)
      steps.push(
        `VIP ${vip} has two owners: find out which networks are cut between ${nodes.join(" and ")}; when none is, stop keepalived on one of them (systemctl stop keepalived)`,
      );
  for (const { name, status, silent } of views)
    if (status === undefined) steps.push(`${name}: ${silent}; look at its console, then: hotpair status`);
  for (const { name, status } of views) {
    if (status === undefined) continue;
    for (const daemon of status.daemons) {
      if (daemon.state === "running" || (status.maintenance && daemon.name === "keepalived")) continue;
      steps.push(
        `${name}: ${daemon.name} is ${daemon.state}: journalctl -u ${daemon.name} -n 50; systemctl restart ${daemon.name}`,
      );
    }
    const deaf = deafNetworks(pair, status);
    if (deaf.length > 0 && views.every((view) => view.status !== undefined))
      steps.push(`${name}: check cable, switch and firewall of the ${deaf.join(" and ")} network`);
    steps.push(...serverProblems(pair, status.backends).map((problem) => `${name}: ${problem}`));
    if (managedProblems(status).length > 0)
      steps.push(`${name}: /usr/lib/hotpair/hotpair-network status; journalctl -u systemd-networkd -n 50`);
    if (addressProblems(pair, status).length > 0) steps.push(`${name}: journalctl -u hotpair-address -n 50`);
    if (status.maintenance) steps.push(`${name} is parked; when the work is done: hotpair maintenance ${name} off`);
  }
  steps.push(...authoritySteps(pair, views));
  for (const { vip, nodes } of owners) {
    const asked = views.every(({ status }) => status !== undefined);
    if (nodes.length > 0 || !asked || steps.length > 0) continue;
    const gates = views.flatMap(({ name, status }) => {
      const gate = vipOf(status, vip)?.gate;
      return gate?.closed === true ? [`${name} keeps away: ${gate.reason}`] : [];
    });
    steps.push(
      `VIP ${vip} has no owner${gates.length > 0 ? ` (${gates.join("; ")})` : ""}: journalctl -u keepalived -u hotpair-arbiter`,
    );
  }
  return [...new Set(steps)];
}

function authoritySteps(pair: Pair, views: readonly View[]): readonly string[] {
  const { witness } = pair;
  if (witness === undefined) return [];
  const answering = views.filter(({ status }) => status !== undefined);
  const members = `hotpair-etcd-${pair.name}`;
  const steps: string[] = [];
  for (const { name, status } of answering)
    if (status?.authority === null || status?.authority === undefined)
      steps.push(`${name}: systemctl status hotpair-quorum; journalctl -u hotpair-quorum -n 50`);
  for (const view of answering)
    if (view.status !== undefined && fencingProblems(pair, view.status).length > 0)
      steps.push(`${view.name}: look at its peer's power controller, then: hotpair fence test`);
  const known = authoritiesOf(views);
  const quorate = known.some(({ quorumMsAgo }) => recent(quorumMsAgo));
  if (known.length > 0 && !quorate)
    steps.push(
      `no quorum: bring two of ${[...pair.nodes, witness].map(({ name }) => name).join(", ")} together again (on each: systemctl status ${members}); ` +
        `only if the other node is off and stays off: hotpair promote --node ${answering[0]?.name} --i-know-the-peer-is-down`,
    );
  else if (known.length > 0 && witnessAway(pair, views) !== undefined)
    steps.push(`${witness.name}: systemctl status ${members}; journalctl -u ${members} -n 50`);
  if (quorate)
    for (const { name } of withoutMember(answering))
      steps.push(`${name}: hotpair authority status; on it: journalctl -u ${members} -n 50`);
  const insync = known[0]?.insync;
  if (!holdsState(pair) || insync === undefined || insync === null) return steps;
  for (const { id, name, status } of answering)
    if (!insync.includes(id))
      steps.push(
        `${name} is not in sync${status?.database?.state === undefined ? "" : ` (${status.database.state})`}: it catches up by itself when replication runs; ` +
          `on it: /usr/lib/hotpair/${pair.drbd === undefined ? "hotpair-mariadb" : "hotpair-drbd"} status`,
      );
  return steps;
}
