// A node, or a witness, that points to another server. To Pulumi a changed host is an ordinary update of the command, which would leave
// the old server live, with the VIP in its configuration and nobody who knows of it. So the engine asks here first,
// in the preview as well.

import * as pulumi from "@pulumi/pulumi";
import type { Connection } from "../targets/onprem.ts";

/**
 * Whose a server is by its manifest: a token, `undefined` when nobody's; `witnessOf` names the pair among those of a
 * witness. Rejects when the server does not answer.
 */
export type AskOwner = (connection: Connection, witnessOf: string | undefined) => Promise<string | undefined>;

interface CommandInputs {
  readonly connection: Connection;
  /** Carries the owner token, the same in old and new inputs (node.ts). */
  readonly delete: string;
}

/** `replaced` are the names of resources (`node-a`) whose old server is known to be gone: `hotpair replace` says so. */
export const refuseMovedServer = (ask: AskOwner, replaced: readonly string[]): pulumi.ResourceHook =>
  new pulumi.ResourceHook(
    "hotpair-same-server",
    async ({ name, oldInputs, newInputs }) => {
      if (replaced.includes(name)) return;
      const problem = await movedServer(await known(oldInputs), await known(newInputs), ask);
      if (problem === undefined) return;
      throw new Error(
        `${name} points to another server, ${problem}. Nothing was changed. Run: hotpair replace ${name}`,
      );
    },
    { onDryRun: true },
  );

/** Why the node may not become another server just like that; undefined when it may. */
export async function movedServer(
  before: CommandInputs,
  after: CommandInputs,
  ask: AskOwner,
): Promise<string | undefined> {
  const [from, to] = [address(before.connection), address(after.connection)];
  if (from === to) return undefined;
  const token = /--resource ([A-Za-z0-9]+)/.exec(before.delete)?.[1];
  const witnessOf = /--pair ([a-z0-9-]+)/.exec(before.delete)?.[1];
  const owner = (connection: Connection) => ask(connection, witnessOf).catch(() => "silent" as const);
  const [old, present] = await Promise.all([owner(before.connection), owner(after.connection)]);
  // The same machine under another address, or an old one that was given back already.
  if (present === token || (old !== token && old !== "silent")) return undefined;
  return old === "silent"
    ? `${to}, and the one at ${from} that it was until now does not answer: it may be alive and ${witnessOf === undefined ? "hold the VIP" : "vote"}`
    : `${to}, and the one at ${from} that it was until now is alive and configured as this ${witnessOf === undefined ? "node" : "witness"}`;
}

const address = ({ host, port, proxy }: Connection): string =>
  `${host}:${port}${proxy ? ` (by way of ${proxy.host}:${proxy.port})` : ""}`;

/** Marks a special object on the wire (specialSigKey in @pulumi/pulumi/runtime/rpc.ts). */
const ENVELOPE = "4dabf18193072939515e22adb298388d";

/** Inputs as the SDK hands them to a hook: an output as soon as one of them is a secret. */
const known = (inputs: unknown): Promise<CommandInputs> =>
  new Promise((resolve) =>
    (pulumi.output(inputs) as pulumi.Output<unknown>).apply((values) => resolve(opened(values) as CommandInputs)),
  );

/** Takes off the envelopes of secrets, which the SDK leaves on where one stands inside another. */
function opened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(opened);
  if (typeof value !== "object" || value === null) return value;
  if (ENVELOPE in value && "value" in value) return opened(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, opened(inner)]));
}
