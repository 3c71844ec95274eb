// What the state of both nodes means for the person who looks at it: who is active, what the pair can survive right now,
// what to do next. Pure, over what the nodes say of themselves; asking them is the commands' business.

import type { FailureClassId } from "./failure.ts";
import type { NetworkName, Pair } from "./pair.ts";
import type { NodeStatus, VipStatus } from "./status.ts";

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

interface View {
  readonly name: string;
  readonly status: NodeStatus | undefined;
  readonly silent: string;
}

/** `answers` in the order of the pair's nodes. */
export function outlook(pair: Pair, answers: readonly [NodeAnswer, NodeAnswer]): Outlook {
  const views = pair.nodes.map((node, index): View => {
    const answer = answers[index] ?? { silent: "was not asked" };
    return "status" in answer
      ? { name: node.name, status: answer.status, silent: "" }
      : { name: node.name, status: undefined, silent: answer.silent };
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
      if (vip.gate.closed)
        problems.push(`it keeps away from VIP ${vip.name}: ${vip.gate.reason || "its gate is closed"}`);
      else if (vip.state !== (vip.held ? "master" : "backup"))
        problems.push(`VRRP of VIP ${vip.name} is in state ${vip.state}`);
    }
  for (const server of status.backends)
    if (!server.up) problems.push(`HAProxy sees ${server.backend}/${server.server} down (${server.detail})`);
  for (const network of deafNetworks(pair, status))
    problems.push(`it does not hear its peer on the ${network} network`);
  return problems;
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
  if (state?.gate.closed === true) return `${name} keeps away from it: ${state.gate.reason || "its gate is closed"}`;
  if (state !== undefined && !state.held && state.state !== "backup" && state.state !== "unknown")
    return `VRRP on ${name} is in state ${state.state}`;
  return undefined;
}

const haproxyDead = ({ status }: View): boolean =>
  status?.daemons.some((daemon) => daemon.name === "haproxy" && daemon.state !== "running") === true;

function survivals(pair: Pair, views: readonly View[]): readonly Survival[] {
  const uncovered = pair.vips.flatMap((vip) => {
    const holders = views.filter(({ status }) => vipOf(status, vip.name)?.held === true);
    if (holders.length !== 1) return [`VIP ${vip.name} has ${holders.length === 0 ? "no owner" : "two owners"}`];
    return views.filter((view) => !holders.includes(view)).flatMap((view) => notReady(view, vip.name) ?? []);
  });
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
    ...(pair.haproxy === undefined ? [] : [entry("backend-kill", "loss of one backend server", thinBackends(views))]),
    entry("full-partition", "a cut of all networks between the nodes", [
      "two nodes without a witness cannot decide it: both would own the VIP",
    ]),
  ];
  return found;
}

/** Backends that the owner's HAProxy would have nobody for after one more loss. */
function thinBackends(views: readonly View[]): readonly string[] {
  const owner = views.find(({ status }) => status?.vips.some((vip) => vip.held))?.status;
  const names = [...new Set(owner?.backends.map(({ backend }) => backend) ?? [])];
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
    for (const server of status.backends)
      if (!server.up) steps.push(`${name}: its HAProxy sees ${server.backend}/${server.server} down: ${server.detail}`);
    if (status.maintenance) steps.push(`${name} is parked; when the work is done: hotpair maintenance ${name} off`);
  }
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
