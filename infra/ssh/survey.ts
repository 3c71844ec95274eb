// Questions to the servers of a pair: who is active, and whose a server is. Answers come within a deadline or count as
// silence; nothing here changes a server.

import type { NodeId } from "../model/pair.ts";
import { run } from "./run.ts";
import type { SshTarget } from "./target.ts";

export type Role = "active" | "standby" | "silent";

const ROLE_DEADLINE_MS = 2_000;
const OWNER_DEADLINE_MS = 6_000;

/** Both nodes at once. A node that does not answer within 2 s, or has no arbiter yet, is `silent`. */
export async function rolesOf(targets: Readonly<Record<NodeId, SshTarget>>): Promise<Record<NodeId, Role>> {
  const [a, b] = await Promise.all([roleOf(targets.a), roleOf(targets.b)]);
  return { a, b };
}

async function roleOf(target: SshTarget): Promise<Role> {
  try {
    const options = { timeoutMs: ROLE_DEADLINE_MS, becomeRoot: true };
    const { code, stdout } = await run(target, "/usr/lib/hotpair/hotpair-arbiter role", options);
    if (code !== 0) return "silent";
    return stdout.trim() === "active" ? "active" : "standby";
  } catch {
    return "silent";
  }
}

/** The node to change first: the standby. A silent node counts as one, so that it is tried before the active is touched. */
export const firstToChange = (roles: Readonly<Record<NodeId, Role>>): NodeId =>
  roles.a === "active" && roles.b !== "active" ? "b" : "a";

/** The owner token in the server's manifest; undefined when hotpair has installed nothing there. Rejects with SshError. */
export async function ownerOf(target: SshTarget): Promise<string | undefined> {
  const options = { timeoutMs: OWNER_DEADLINE_MS, becomeRoot: true };
  const { stdout } = await run(target, "sed -n 's/^resource //p' /var/lib/hotpair/manifest", options);
  return stdout.trim() || undefined;
}
