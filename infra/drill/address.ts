// Where clients of a pair in AWS are sent, and by what address, from what both nodes say of themselves. Who holds the VIP on
// the servers is observed independently of them (owners.ts); of this only AWS itself could say more. Pure.

import type { MovedAddress } from "../evidence/schema.ts";
import { UserError } from "../model/errors.ts";
import { NODE_IDS, type Node, type NodeId, type Pair } from "../model/pair.ts";
import type { Answer } from "./health.ts";

const addressIn = (answer: Answer | undefined) =>
  answer === undefined || "error" in answer ? undefined : (answer.address ?? undefined);

/**
 * A VIP's address is where AWS has acknowledged it last: what an earlier owner says is of its own time. `offset`:
 * milliseconds by which a node's clock is ahead. undefined: the pair is not in AWS.
 */
export function whereMoved(
  { aws, vips }: Pick<Pair, "aws" | "vips">,
  answers: readonly Answer[],
  faultAt: number,
  offset: (node: NodeId) => number,
): MovedAddress | undefined {
  if (aws === undefined) return undefined;
  const moves = vips.map(({ name, address }): MovedAddress["moves"][number] => {
    const plain = address.split("/")[0] ?? "";
    const known = NODE_IDS.flatMap((node, index) => {
      const said = addressIn(answers[index]);
      if (said?.state !== "here" || !said.vips.includes(plain)) return [];
      const { at, elapsedMs: tookMs, attempts } = said;
      return [{ vip: name, node, atMs: at - offset(node) - faultAt, tookMs, attempts }];
    });
    const last = known.toSorted((one, other) => other.atMs - one.atMs)[0];
    return last ?? { vip: name, node: null, atMs: null, tookMs: 0, attempts: 0 };
  });
  return { method: aws.vip.method, moves };
}

/**
 * Name or address by which clients reach the pair, where that is not its VIP: the record, or the Elastic IP that leads to
 * the active node. Throws UserError when none does.
 */
export function reachedBy({ aws }: Pick<Pair, "aws">, active: Node, answers: readonly Answer[]): string | undefined {
  if (aws?.vip.record !== undefined) return aws.vip.record.name;
  if (aws?.vip.method !== "elastic-ip") return undefined;
  const reached = addressIn(answers[NODE_IDS.indexOf(active.id)])?.reached;
  if (reached === undefined || reached === null)
    throw new UserError(`no Elastic IP leads to ${active.name}, the active node: a drill has nothing to ask`, [
      "see why, on that server: journalctl -u hotpair-address",
    ]);
  return reached;
}
