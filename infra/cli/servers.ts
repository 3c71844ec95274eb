// The servers of a stack as commands meet them: asked all at once, changed one after the other, the witness first and then
// the standby.

import { secretPaths } from "../config/index.ts";
import { UserError } from "../model/errors.ts";
import { type HostId, NODE_IDS, type Node, type NodeId, type Pair, type SecretRef, type Ssh } from "../model/pair.ts";
import type { HostPlan } from "../model/plan.ts";
import type { ServerState } from "../model/server.ts";
import { makeBundle } from "../plan/bundle.ts";
import { applyCommand } from "../plan/commands.ts";
import { hostIdsOf } from "../plan/plan.ts";
import { sshTargetOf } from "../ssh/reach.ts";
import { run, type SshTarget } from "../ssh/run.ts";
import { surveyServer } from "../ssh/survey.ts";
import { secretStore } from "./secrets.ts";
import type { LoadedStack } from "./stack.ts";
import { announce } from "./terminal.ts";

/** What a server said, or why it could not be asked. */
export type Answer = { readonly state: ServerState } | { readonly silent: UserError };

export const manifestIn = (answer: Answer | undefined) =>
  answer && "state" in answer ? answer.state.manifest : undefined;

export const roleIn = (answer: Answer | undefined) => (answer && "state" in answer ? answer.state.role : "silent");

/** Why a server could not be asked; empty when it could. */
export const silence = (answer: Answer | undefined): string =>
  answer && "silent" in answer ? [answer.silent.message, ...answer.silent.details].join("\n") : "";

export type Secrets = (ref: SecretRef) => string;

/** An apply may install packages; beyond this, hotpair-apply itself would have given up. */
const APPLY_DEADLINE_MS = 35 * 60_000;

export const nodeOfPair = (pair: Pair, id: NodeId): Node => pair.nodes[id === "a" ? 0 : 1];

/** A node's or the witness's name and way in. */
export function hostOfPair(pair: Pair, id: HostId): { readonly name: string; readonly ssh: Ssh } {
  const host = id === "witness" ? pair.witness : nodeOfPair(pair, id);
  if (host === undefined) throw new Error(`the pair ${pair.name} has no witness`);
  return host;
}

/** As `nodeNamed`, and also the witness, by its name or as `witness`. */
export function hostNamed(pair: Pair, word: string): HostId {
  const found = hostIdsOf(pair).find((id) =>
    [hostOfPair(pair, id).name, ...(id === "witness" ? [id] : [`node-${id}`, id])].includes(word),
  );
  if (found !== undefined) return found;
  throw new UserError(`the pair ${pair.name} has no server ${word}`, [
    `its servers are ${hostIdsOf(pair)
      .map((id) => nameOf(pair, id))
      .join(", ")}`,
  ]);
}

/** The node that a command line means: by its name, or by its place as `a`, `node-a`. Throws UserError. */
export function nodeNamed(pair: Pair, word: string): NodeId {
  const found = NODE_IDS.find((id) => [nodeOfPair(pair, id).name, `node-${id}`, id].includes(word));
  if (found !== undefined) return found;
  throw new UserError(`the pair ${pair.name} has no node ${word}`, [
    `its nodes are ${pair.nodes.map(({ name }) => name).join(" and ")}`,
  ]);
}

export const nameOf = (pair: Pair, id: HostId): string => hostOfPair(pair, id).name;

export type Targets = Readonly<Record<NodeId, SshTarget>> & { readonly witness: SshTarget | undefined };

export function targetOf(targets: Targets, id: HostId): SshTarget {
  const target = targets[id];
  if (target === undefined) throw new Error("the pair has no witness");
  return target;
}

/** Asks every given server what stands in the files of its plan. */
export async function surveyPair(targets: Targets, plans: readonly HostPlan[]): Promise<ReadonlyMap<HostId, Answer>> {
  const answers = plans.map(async (plan): Promise<[HostId, Answer]> => {
    const paths = plan.files.map(({ path }) => path);
    const target = targetOf(targets, plan.node);
    try {
      return [plan.node, { state: await surveyServer(target, paths, plan.packages, plan.witnessOf) }];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return [plan.node, { silent: error }];
    }
  });
  return new Map(await Promise.all(answers));
}

/** Paths of the secrets that reaching the servers takes: private keys that stand in the stack file. */
export const keyPathsOf = (pair: Pair): readonly string[] =>
  secretPaths(pair).filter((path) => path.endsWith("ssh.key"));

export function targetsOf(pair: Pair, secrets: Secrets): Targets {
  const [a, b] = pair.nodes;
  const { witness } = pair;
  return { a: sshTargetOf(a, secrets), b: sshTargetOf(b, secrets), witness: witness && sshTargetOf(witness, secrets) };
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
  plan: HostPlan,
  secrets: Secrets,
  owner: string | undefined,
): Promise<boolean> {
  const { code, stdout, stderr } = await run(target, applyCommand(owner, plan.witnessOf), {
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
