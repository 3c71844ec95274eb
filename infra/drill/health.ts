// Whether a pair is whole: what must hold before a drill starts and again after its undo. Pure, over what both nodes say
// of themselves; a verdict on a drill never rests on it.

import { addressProblems, serverProblems } from "../model/outlook.ts";
import { holdsState, NODE_IDS, type Pair, storeOf } from "../model/pair.ts";
import { type NodeStatus, standsBy } from "../model/status.ts";

/** Beacons come every few tens of milliseconds; a second without one is a cut network. */
const HEARD_MS = 1_000;

/** What a node said, or why it said nothing. */
export type Answer = NodeStatus | { readonly error: string };

/** One line per thing that is not well; empty: the pair is whole. In the order of the stack file. */
export function unwell(pair: Pair, answers: readonly Answer[]): string[] {
  const problems = pair.nodes.flatMap((node, index) => {
    const answer = answers[index] ?? { error: "was not asked" };
    return nodeProblems(pair, answer).map((problem) => `${node.name}: ${problem}`);
  });
  for (const vip of pair.vips) {
    const owners = answers.filter((a) => !("error" in a) && a.vips.some((v) => v.name === vip.name && v.held)).length;
    if (owners !== 1) problems.push(`VIP ${vip.name} is held by ${owners === 0 ? "nobody" : "both nodes"}`);
    else if (vip.preferred !== undefined) {
      const home = answers[vip.preferred === "a" ? 0 : 1];
      const name = pair.nodes[vip.preferred === "a" ? 0 : 1].name;
      if (home !== undefined && !("error" in home) && !home.vips.some((one) => one.name === vip.name && one.held))
        problems.push(`VIP ${vip.name} has not gone home to ${name} yet`);
    }
  }
  if (pair.authority !== undefined) problems.push(...authorityProblems(pair, answers));
  return problems;
}

/**
 * VIPs that only wait to go home, since they came back soon after the last time, and the index of the node that has them;
 * empty unless that is all that keeps the pair from being whole.
 */
export function waitingToGoHome(pair: Pair, answers: readonly Answer[]): readonly { vip: string; node: number }[] {
  const anywhere = { ...pair, vips: pair.vips.map((vip) => ({ ...vip, preferred: undefined })) };
  if (unwell(anywhere, answers).length > 0) return [];
  return answers.flatMap((answer, node) =>
    "error" in answer
      ? []
      : answer.vips.flatMap(({ name, held, homeInMs }) =>
          held && homeInMs !== undefined ? [{ vip: name, node }] : [],
        ),
  );
}

/** The lease is held once, the whole authority answers, and both nodes hold every acknowledged write. */
function authorityProblems(pair: Pair, answers: readonly Answer[]): string[] {
  const problems: string[] = [];
  const names = pair.nodes.map((node) => node.name);
  const said = answers.map((answer) => ("error" in answer ? undefined : answer));
  const holding = said.filter((answer) => answer?.authority?.holding).length;
  if (holdsState(pair) && holding !== 1)
    problems.push(`the lease is held by ${holding === 0 ? "nobody" : "both nodes"}`);
  for (const [index, answer] of said.entries()) {
    const { authority, database } = answer ?? {};
    if (answer === undefined) continue;
    const name = names[index];
    const held = answer.vips.filter((vip) => vip.held).map((vip) => vip.name);
    if (holdsState(pair) && authority?.holding === false && held.length > 0)
      problems.push(`${name}: it has VIP ${held.join(" and ")} and not the lease`);
    if (authority === null || authority === undefined) problems.push(`${name}: its observer of the lease is silent`);
    else {
      if (ago(authority.quorumMsAgo)) problems.push(`${name}: it has no quorum`);
      if (ago(authority.witnessMsAgo)) problems.push(`${name}: it does not hear the witness`);
      if (authority.memberMsAgo !== undefined && ago(authority.memberMsAgo))
        problems.push(`${name}: its own etcd member does not answer`);
      const missing = NODE_IDS.filter((id) => !authority.insync?.includes(id));
      if (holdsState(pair) && missing.length > 0)
        problems.push(
          `${name}: insync does not list ${missing.map((id) => names[NODE_IDS.indexOf(id)]).join(" and ")}`,
        );
    }
    if (!holdsState(pair)) continue;
    const expected = authority?.holding ? "primary" : "replica";
    if (database === null || database === undefined) problems.push(`${name}: its ${storeOf(pair)} does not answer`);
    else if (database.state !== expected)
      problems.push(`${name}: its ${storeOf(pair)} is ${database.state}, not ${expected}`);
  }
  return problems;
}

const ago = (ms: number | null): boolean => ms === null || ms > HEARD_MS;

function nodeProblems(pair: Pair, answer: Answer): string[] {
  if ("error" in answer) return [answer.error];
  const problems: string[] = [];
  if (answer.arbiter === null) problems.push("its arbiter does not run");
  if (answer.maintenance) problems.push("it is parked for maintenance");
  for (const daemon of answer.daemons)
    if (daemon.state !== "running")
      problems.push(`${daemon.name} is ${daemon.state}${daemon.detail ? ` (${daemon.detail})` : ""}`);
  for (const vip of answer.vips) {
    const standby = !vip.held && standsBy(vip);
    if (!standby && vip.state !== (vip.held ? "master" : "backup"))
      problems.push(`VRRP instance ${vip.name} is in state ${vip.state}`);
    if (vip.gate.closed && !standby) problems.push(`the gate of ${vip.name} is closed (${vip.gate.reason})`);
  }
  problems.push(...addressProblems(pair, answer), ...serverProblems(pair, answer.backends));
  if (answer.arbiter !== null && answer.peer === null) problems.push("it has not heard its peer");
  if (answer.peer !== null) {
    if (!answer.peer.healthy) problems.push("its peer says that it is not well");
    for (const network of ["public", "heartbeat", "storage"] as const) {
      const heard = answer.peer.heardMsAgo[network];
      if (pair.networks[network] !== undefined && (heard === undefined || heard === null || heard > HEARD_MS))
        problems.push(`it does not hear its peer on the ${network} network`);
    }
  }
  return problems;
}
