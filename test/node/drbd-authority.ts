// Who may write, decided by a test: stands in place of etcd and hotpair-lease for two virtual machines, with the same rules. One
// JSON line in, one out (drbd-lease.py asks).

import { createServer, type Server } from "node:net";
import { createInterface } from "node:readline";

type NodeId = "a" | "b";

interface Request {
  readonly node: NodeId;
  readonly verb: "hold" | "status" | "alone" | "together" | "release" | "offer" | "offered" | "enroll";
  readonly argument: string;
}

export interface DrbdAuthority {
  readonly port: number;
  /** Nodes that `insync` lists, in their order. */
  insync(): readonly NodeId[];
  holder(): NodeId | undefined;
  stop(): void;
}

/** T: another node takes over this long after the last renewal that was seen, by this process's clock. */
export async function startAuthority(address: string, takeoverMs: number): Promise<DrbdAuthority> {
  let holder: NodeId | undefined;
  let renewedAt = 0;
  let seq = 0;
  let insync: Partial<Record<NodeId, string>> | undefined;
  const offers: Partial<Record<NodeId, string>> = {};
  const peerOf = (node: NodeId): NodeId => (node === "a" ? "b" : "a");

  function answer({ node, verb, argument }: Request): object {
    const now = performance.now();
    const holds = holder === node;
    if (verb === "hold") {
      if (!holds && holder !== undefined && now - renewedAt < takeoverMs) return { granted: false };
      // Whoever is not listed would hold it for nothing.
      if (insync?.[node] === undefined) return { granted: false };
      holder = node;
      renewedAt = now;
      seq += 1;
      return { granted: true };
    }
    if (verb === "status") return { quorum: true, holder: holder ?? null, seq, insync: insync ?? null };
    if (verb === "offer") {
      offers[node] = argument;
      return {};
    }
    if (verb === "offered") return { said: offers[peerOf(node)] ?? "" };
    if (verb === "enroll") {
      insync ??= { [node]: argument };
      return { said: `the list insync begins with node ${node}` };
    }
    if (!holds) return { error: `node ${node} does not hold the lease` };
    if (verb === "release") holder = undefined;
    if (verb === "alone") insync = { [node]: insync?.[node] ?? "" };
    if (verb === "together") insync = { ...insync, [peerOf(node)]: argument };
    return {};
  }

  const server: Server = createServer((socket) => {
    const lines = createInterface(socket);
    // A node that loses power resets its connection; the interface hands that on as an error of its own.
    for (const each of [socket, lines]) each.on("error", () => undefined);
    lines.once("line", (line) => socket.end(`${JSON.stringify(answer(JSON.parse(line) as Request))}\n`));
  });
  await new Promise<void>((resolve) => server.listen({ host: address, port: 0 }, resolve));
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("the authority listens nowhere");
  return {
    port: bound.port,
    insync: () => (["a", "b"] as const).filter((node) => insync?.[node] !== undefined),
    holder: () => holder,
    stop: () => void server.close(),
  };
}
