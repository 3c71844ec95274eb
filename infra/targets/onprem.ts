// The target `onprem`: servers that exist, reached over SSH as the stack file says. Here their addresses are put in the
// words of Pulumi's command provider; what is done to them is the plan's business.

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { UserError } from "../model/errors.ts";
import type { Node, SecretRef } from "../model/pair.ts";

/** One hop, with the field names of the command provider. */
export interface Hop {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Pinned: without it the provider accepts whoever answers. */
  readonly hostKey: string;
  /** Text of a private key; undefined: the provider asks the agent at SSH_AUTH_SOCK, and no key is in the state. */
  readonly privateKey?: string;
  readonly dialErrorLimit: number;
  readonly perDialTimeout: number;
}

export interface Connection extends Hop {
  readonly proxy?: Hop;
}

// The provider's defaults (10 retries of 15 s) wait about three minutes for a server that is switched off.
const PATIENCE = { dialErrorLimit: 2, perDialTimeout: 5 };

/**
 * How the command provider reaches `node`. A key file is read here, since the provider wants its text.
 * @throws UserError when the file cannot be read.
 */
export function connectionOf(node: Node, secrets: (ref: SecretRef) => string): Connection {
  const { ssh } = node;
  const key = privateKey(node, secrets);
  const hop = (at: { host: string; port: number; user: string; hostKey: string }): Hop => ({
    host: at.host,
    port: at.port,
    user: at.user,
    hostKey: at.hostKey,
    ...(key === undefined ? {} : { privateKey: key }),
    ...PATIENCE,
  });
  return { ...hop(ssh), ...(ssh.jump ? { proxy: hop(ssh.jump) } : {}) };
}

function privateKey(node: Node, secrets: (ref: SecretRef) => string): string | undefined {
  const { auth } = node.ssh;
  if (auth.kind === "agent") return undefined;
  if (auth.kind === "key") return secrets(auth.key);
  const file = auth.file.replace(/^~(?=\/)/, homedir());
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : String(error);
    const place = `hotpair:pair.nodes[${node.id === "a" ? 0 : 1}].ssh`;
    throw new UserError(`${place}: the key file ${file} of ${node.name} ${reason}`, [
      "expected a private key that opens the server; name another file, or leave `keyFile` out to use the SSH agent",
    ]);
  }
}
