// A rolling upgrade as decisions: what each host needs, in which order the hosts take their turns, and whether the pair
// could lose one of them at this moment. Pure, over what the hosts say of themselves; asking and doing is the commands'
// business.

import { type HostId, holdsState, NODE_IDS, type NodeId, type Pair, peerOf } from "./pair.ts";

/** What one host has to upgrade: `hotpair-apply upgrades` says it, a line each. */
export interface HostNeeds {
  /** `from` is undefined for a package that comes new with another one. */
  readonly packages: readonly { readonly name: string; readonly from: string | undefined; readonly to: string }[];
  /** Newer, but not without removing or replacing others: somebody has to decide. */
  readonly kept: readonly string[];
  /** Named on the command line and not installed on this host. */
  readonly absent: readonly string[];
  /** Units of the pair that run on files which were replaced. */
  readonly restarts: readonly string[];
  /** Other services that do; on a witness also the members of other pairs. */
  readonly others: readonly string[];
  /** Why the host wants a reboot. */
  readonly reboot: string | undefined;
}

/** Reads the answer of `hotpair-apply upgrades`. Throws Error for a line that it does not know. */
export function readNeeds(said: string): HostNeeds {
  const lines = said.split("\n").filter((line) => line !== "");
  const of = (kind: string): readonly string[] =>
    lines.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(kind.length + 1));
  const unknown = lines.find((line) => !/^(package|kept|absent|restart|other|reboot) ./.test(line));
  if (unknown !== undefined) throw new Error(`hotpair-apply upgrades answers "${unknown}"`);
  return {
    packages: of("package").map((line) => {
      const [name = "", from = "", to = ""] = line.split(" ");
      return { name, from: from === "-" ? undefined : from, to };
    }),
    kept: of("kept"),
    absent: of("absent"),
    restarts: of("restart"),
    others: of("other"),
    reboot: of("reboot")[0],
  };
}

/** Whether there is anything to do on this host. A wanted reboot counts only when reboots are asked for. */
export const isDue = (needs: HostNeeds, reboot: boolean): boolean =>
  needs.packages.length > 0 || needs.restarts.length > 0 || (reboot && needs.reboot !== undefined);

export type UpgradeStep =
  | { readonly kind: "hand-over"; readonly from: NodeId }
  | { readonly kind: "upgrade"; readonly host: HostId }
  /** A VIP that was at its preferred node goes back there. */
  | { readonly kind: "go-home"; readonly vip: string; readonly from: NodeId };

/**
 * The whole upgrade, in its order: the node that holds nothing first, then a hand-over to it, then the other node; the
 * witness last, when both nodes are well again. `due`: hosts with something to do; `holder` of each VIP by its name.
 */
export function upgradeSteps(
  pair: Pair,
  due: readonly HostId[],
  holders: Readonly<Record<string, NodeId>>,
): readonly UpgradeStep[] {
  const now: Record<string, NodeId> = { ...holders };
  const held = (id: NodeId) => Object.values(holders).filter((holder) => holder === id).length;
  const nodes = NODE_IDS.filter((id) => due.includes(id)).toSorted((one, other) => held(one) - held(other));
  const steps: UpgradeStep[] = [];
  for (const id of nodes) {
    if (Object.values(now).includes(id)) {
      steps.push({ kind: "hand-over", from: id });
      for (const vip of Object.keys(now)) now[vip] = peerOf(id);
    }
    steps.push({ kind: "upgrade", host: id });
  }
  for (const { name, preferred } of pair.vips) {
    const at = now[name];
    if (preferred !== undefined && at !== undefined && at !== preferred && holders[name] === preferred)
      steps.push({ kind: "go-home", vip: name, from: at });
  }
  if (due.includes("witness")) steps.push({ kind: "upgrade", host: "witness" });
  return steps;
}

/** What a node says of the authority: `hotpair-lease status --json`, as far as it matters here. */
export interface LeaseAnswer {
  /** It read with a majority. */
  readonly quorum: boolean;
  /** By member; `error` is empty for one that answers a linearizable read. */
  readonly members: Readonly<Record<string, { readonly host: string; readonly error: string }>>;
  /** Nodes that hold every acknowledged write, with the incarnation that does; null: not known, or not enrolled yet. */
  readonly insync: Readonly<Record<string, string>> | null;
  /** Of this node's data; null: it has none. */
  readonly incarnation: string | null;
}

/**
 * Why the authority would not outlast the loss of one host now, one line each. Stricter than what a node's status shows: a
 * replica that was restarted is listed for a moment more, by an incarnation that is gone.
 */
export function authorityGaps(pair: Pair, answers: readonly (LeaseAnswer | { readonly silent: string })[]): string[] {
  if (pair.authority === undefined) return [];
  const gaps = new Set<string>();
  for (const [index, id] of NODE_IDS.entries()) {
    const name = pair.nodes[id === "a" ? 0 : 1].name;
    const answer = answers[index] ?? { silent: "was not asked" };
    if ("silent" in answer) {
      gaps.add(`${name}: ${answer.silent}`);
      continue;
    }
    if (!answer.quorum) gaps.add(`${name}: it reaches no quorum of the etcd members`);
    for (const { host, error } of Object.values(answer.members))
      if (error !== "") gaps.add(`the etcd member on ${host} is not healthy (${error})`);
    if (!holdsState(pair)) continue;
    if (answer.incarnation === null || answer.insync?.[id] !== answer.incarnation)
      gaps.add(`${name}: its data is not in sync: it may lack acknowledged writes`);
  }
  return [...gaps];
}

/** The pair without wishes of where a VIP should be: while it is upgraded, it is where it has to be. */
export const withoutPreferences = (pair: Pair): Pair => ({
  ...pair,
  vips: pair.vips.map((vip) => ({ ...vip, preferred: undefined })),
});
