// The target `onprem`: servers that exist, reached over SSH as the stack file says. Here their addresses are put in the
// words of Pulumi's command provider; what is done to them is the plan's business.

import type { Pair, Ssh } from "../model/pair.ts";

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
/** They are right for one that was made a moment ago and boots for the first time. */
const NEW_SERVER = { dialErrorLimit: 10, perDialTimeout: 15 };

/** How the command provider reaches a server, by way of its jump host if it has one: both know the same key. */
export function connectionOf(
  { ssh }: { readonly ssh: Ssh },
  privateKey: string | undefined,
  target: Pair["target"] = "onprem",
): Connection {
  const hop = ({ host, port, user, hostKey }: Pick<Hop, "host" | "port" | "user" | "hostKey">): Hop => ({
    ...{ host, port, user, hostKey },
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(target === "aws" ? NEW_SERVER : PATIENCE),
  });
  return { ...hop(ssh), ...(ssh.jump ? { proxy: hop(ssh.jump) } : {}) };
}
