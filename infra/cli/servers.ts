// The two servers of a stack as commands meet them: asked both at once, changed one after the other, the standby first.

import { UserError } from "../model/errors.ts";
import { NODE_IDS, type Node, type NodeId, type Pair, type SecretRef } from "../model/pair.ts";
import type { NodePlan } from "../model/plan.ts";
import type { ServerState } from "../model/server.ts";
import { makeBundle } from "../plan/bundle.ts";
import { applyCommand } from "../plan/commands.ts";
import { sshTargetOf } from "../ssh/reach.ts";
import { run, type SshTarget } from "../ssh/run.ts";
import { surveyServer } from "../ssh/survey.ts";
import { secretStore } from "./secrets.ts";
import type { LoadedStack } from "./stack.ts";
import { announce } from "./terminal.ts";

/** What a server said, or why it could not be asked. */
export type Answer = { readonly state: ServerState } | { readonly silent: UserError };

export type Secrets = (ref: SecretRef) => string;

/** An apply may install packages; beyond this, hotpair-apply itself would have given up. */
const APPLY_DEADLINE_MS = 35 * 60_000;

export const nodeOfPair = (pair: Pair, id: NodeId): Node => pair.nodes[id === "a" ? 0 : 1];

/** The node that a command line means: by its name, or by its place as `a`, `node-a`. Throws UserError. */
export function nodeNamed(pair: Pair, word: string): NodeId {
  const found = NODE_IDS.find((id) => [nodeOfPair(pair, id).name, `node-${id}`, id].includes(word));
  if (found !== undefined) return found;
  throw new UserError(`the pair ${pair.name} has no node ${word}`, [
    `its nodes are ${pair.nodes.map(({ name }) => name).join(" and ")}`,
  ]);
}

export const nameOf = (pair: Pair, id: NodeId): string => nodeOfPair(pair, id).name;

/** Asks every given node what stands in the files of its plan. */
export async function surveyPair(
  targets: Readonly<Record<NodeId, SshTarget>>,
  plans: readonly NodePlan[],
): Promise<ReadonlyMap<NodeId, Answer>> {
  const answers = plans.map(async (plan): Promise<[NodeId, Answer]> => {
    const paths = plan.files.map(({ path }) => path);
    try {
      return [plan.node, { state: await surveyServer(targets[plan.node], paths, plan.packages) }];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return [plan.node, { silent: error }];
    }
  });
  return new Map(await Promise.all(answers));
}

export function targetsOf(pair: Pair, secrets: Secrets): Readonly<Record<NodeId, SshTarget>> {
  const [a, b] = pair.nodes;
  return { a: sshTargetOf(a, secrets), b: sshTargetOf(b, secrets) };
}

/** Values of the stack's secrets. Throws UserError when the passphrase is missing or wrong. */
export async function openSecrets(stack: LoadedStack, paths: readonly string[]): Promise<Secrets> {
  if (paths.length === 0) return noSecrets;
  const store = await secretStore(stack);
  const values = new Map<string, string>();
  for (const path of paths) values.set(path, await store.decrypt(path, cipherAt(stack.stackFile.pairInput, path)));
  return ({ secret }) => {
    const value = values.get(secret);
    if (value === undefined) throw new Error(`the secret ${secret} was not opened`);
    return value;
  };
}

export const noSecrets: Secrets = ({ secret }) => {
  throw new Error(`the secret ${secret} was not opened`);
};

/** Ciphertext of `beaconKey` or `nodes[0].ssh.key` in a stack file's object. */
function cipherAt(input: unknown, path: string): string {
  const found = path
    .split(/[.[\]]+/)
    .filter((part) => part !== "")
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined)?.[part], input);
  return String((found as { secure?: unknown } | undefined)?.secure ?? "");
}

/**
 * Applies a plan outside the engine, with the same bundle and under the same lock: what was changed by hand on a server,
 * unchanged inputs cannot repair. `owner` is the token of the node's resource. Says how it went; false when it failed.
 */
export async function repair(
  target: SshTarget,
  plan: NodePlan,
  secrets: Secrets,
  owner: string | undefined,
): Promise<boolean> {
  const { code, stdout, stderr } = await run(target, applyCommand(owner), {
    input: makeBundle(plan, secrets),
    timeoutMs: APPLY_DEADLINE_MS,
  });
  const said = `${stdout}${stderr}`;
  announce(code === 0 ? `${plan.name}: ${lastWord(said)}` : `${plan.name} failed:\n${indented(said)}`);
  return code === 0;
}

/** The result line of hotpair-apply, without its name. */
export const lastWord = (said: string): string =>
  (said.trim().split("\n").at(-1) ?? "").replace(/^hotpair-apply: /, "");

export const indented = (said: string): string =>
  said
    .trim()
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");
