// Whether a pair is whole: what must hold before a drill starts and again after its undo. Pure, over what both nodes say
// of themselves; a verdict on a drill never rests on it.

import type { Pair } from "../model/pair.ts";
import type { NodeStatus } from "../model/status.ts";

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
  return problems;
}

function nodeProblems(pair: Pair, answer: Answer): string[] {
  if ("error" in answer) return [answer.error];
  const problems: string[] = [];
  if (answer.arbiter === null) problems.push("its arbiter does not run");
  if (answer.maintenance) problems.push("it is parked for maintenance");
  for (const daemon of answer.daemons)
    if (daemon.state !== "running")
      problems.push(`${daemon.name} is ${daemon.state}${daemon.detail ? ` (${daemon.detail})` : ""}`);
  for (const vip of answer.vips) {
    if (!vip.held && standsBy(vip)) continue;
    if (vip.state !== (vip.held ? "master" : "backup"))
      problems.push(`VRRP instance ${vip.name} is in state ${vip.state}`);
    if (vip.gate.closed) problems.push(`the gate of ${vip.name} is closed (${vip.gate.reason})`);
  }
  for (const server of answer.backends)
    if (!server.up) problems.push(`HAProxy sees ${server.backend}/${server.server} down (${server.detail})`);
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
