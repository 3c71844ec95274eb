// `hotpair destroy | replace | key rotate`: servers that leave a stack, and the keys by which Pulumi reaches them. What is
// applied to those that stay is in apply.ts.

import { UserError } from "../model/errors.ts";
import type { HostId } from "../model/pair.ts";
import { applyProgram, removeCommand } from "../plan/commands.ts";
import { hostIdsOf, planHosts } from "../plan/plan.ts";
import { sshTargetAt } from "../ssh/reach.ts";
import { run } from "../ssh/run.ts";
import { ownerOf } from "../ssh/survey.ts";
import { apply, compare, operate, targetsOfStack } from "./apply.ts";
import { COMMAND_TYPE, type Engine, hostOf, openEngine, openedState, resourceOf, tokenIn, urnsOf } from "./engine.ts";
import {
  hostNamed,
  hostOfPair,
  indented,
  lastWord,
  manifestIn,
  nameOf,
  roleIn,
  silence,
  surveyPair,
  targetOf,
} from "./servers.ts";
import { loadStack, type Named } from "./stack.ts";
import { announce, confirm } from "./terminal.ts";

interface StateResource {
  readonly urn: string;
  readonly type: string;
  readonly protect?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly dependencies?: readonly string[];
  readonly propertyDependencies?: Readonly<Record<string, readonly string[] | null>>;
}

interface StackState {
  readonly version: number;
  readonly deployment: {
    readonly resources?: readonly StateResource[];
    readonly pending_operations?: readonly { readonly resource: StateResource }[];
  };
}

/** The stack's state; undefined when the backend does not know the stack. Secrets stay ciphertexts unless asked for. */
async function stateOf(engine: Engine, secrets = false): Promise<StackState | undefined> {
  try {
    const args = ["stack", "export", "--stack", engine.stack, ...(secrets ? ["--show-secrets"] : [])];
    return JSON.parse(await engine.ask(args)) as StackState;
  } catch (error) {
    if (error instanceof UserError && error.details.some((detail) => /no stack named/.test(detail))) return undefined;
    throw error;
  }
}

const commandsIn = (state: StackState | undefined): ReadonlyMap<HostId, StateResource> =>
  new Map(
    (state?.deployment.resources ?? []).flatMap((resource) => {
      const id = resource.type === COMMAND_TYPE ? hostOf(resource.urn) : undefined;
      return id === undefined ? [] : [[id, resource] as const];
    }),
  );

export async function destroy(
  options: Named & { abandon?: string; purgePackages: boolean; yes: boolean },
): Promise<void> {
  const stack = loadStack(options.stack);
  const { pair } = stack;
  const abandoned = options.abandon === undefined ? undefined : hostNamed(pair, options.abandon);
  const engine = await openEngine(stack.stack, stack.stackFile, stack.pair.target);
  const state = await stateOf(engine);
  const commands = commandsIn(state);
  const made = (state?.deployment.resources ?? []).filter(({ type }) => type.startsWith("aws:"));
  if (state === undefined || (commands.size === 0 && made.length === 0)) {
    announce(`stack ${stack.stack} has nothing deployed`);
    return;
  }
  const willStay = made.length > 0 && pair.aws?.instance.terminationProtection === true;
  // As long as no `up` has lifted it, engine and AWS would refuse in the middle, with the network gone already.
  if (willStay || made.some(({ protect }) => protect === true))
    throw new UserError(`the servers of stack ${stack.stack} are protected, so nothing was changed`, [
      `${willStay ? "set hotpair:aws.instance.terminationProtection to false, then run" : "its file says false by now; run"}: hotpair up -s ${stack.stack}`,
    ]);
  const hosts = hostIdsOf(pair).filter((id) => commands.has(id) && id !== abandoned);
  const targets = await targetsOfStack(stack);
  const plans = planHosts(pair).filter(({ node }) => hosts.includes(node));
  const answers = await surveyPair(targets, plans);
  const silent = hosts.filter((id) => manifestIn(answers.get(id)) === undefined);
  if (silent.length > 0) {
    const names = silent.map((id) => nameOf(pair, id));
    throw new UserError(`${names.join(" and ")} cannot be reached, so nothing was changed`, [
      ...silent.map((id) => silence(answers.get(id))),
      `if it is gone for good: hotpair destroy -s ${stack.stack} --abandon ${names[0]}`,
    ]);
  }
  const own = hosts.filter((id) => manifestIn(answers.get(id))?.resource === tokenIn(commands.get(id)?.inputs ?? {}));
  const role = (id: HostId) => (id === "witness" ? id : roleIn(answers.get(id)));
  const what = hosts.map((id) => `${nameOf(pair, id)} (${role(id)})`).join(" and ");
  const forgotten = abandoned === undefined ? "" : ` ${nameOf(pair, abandoned)} is forgotten as it is.`;
  const gone =
    made.length === 0 ? "" : ` ${made.length} resources in AWS are deleted, the servers and their volumes among them.`;
  const question = `Give ${what || "no server"} back as before hotpair? The service of pair ${pair.name} ends.${gone}${forgotten}`;
  for (const id of own) {
    const packages = manifestIn(answers.get(id))?.installedPackages ?? [];
    if (packages.length > 0)
      announce(
        `${nameOf(pair, id)}: ${packages.join(", ")}, installed by hotpair, ${options.purgePackages ? "will be uninstalled" : "will stay (--purge-packages uninstalls them)"}`,
      );
  }
  if (!(await confirm(question, options.yes))) {
    announce("nothing was changed");
    process.exitCode = 1;
    return;
  }
  // Without this, the active server would refuse: nobody is left to hand over to.
  for (const id of own) {
    const program = applyProgram(plans.find(({ node }) => node === id)?.witnessOf);
    const retire = `${program} retire${options.purgePackages ? " --purge-packages" : ""}`;
    const { code, stdout, stderr } = await run(targetOf(targets, id), retire, { timeoutMs: 30_000, becomeRoot: true });
    if (code !== 0)
      throw new UserError(`${nameOf(pair, id)} does not prepare for its removal`, [`${stdout}${stderr}`.trim()]);
  }
  if (abandoned !== undefined) await forget(engine, state, abandoned);
  if (!(await operate(engine, "destroy", pair, options.yes, {}))) process.exitCode = 1;
}

/** Takes a server out of the state without running its command: it cannot be reached. */
async function forget(engine: Engine, state: StackState, id: HostId): Promise<void> {
  const gone = new Set(urnsOf(engine.stack, id));
  const without = (resource: StateResource): StateResource => ({
    ...resource,
    ...(resource.dependencies ? { dependencies: resource.dependencies.filter((urn) => !gone.has(urn)) } : {}),
  });
  const { resources = [], pending_operations: pending = [], ...rest } = state.deployment;
  const deployment = {
    ...rest,
    resources: resources.filter(({ urn }) => !gone.has(urn)).map(without),
    pending_operations: pending.filter(({ resource }) => !gone.has(resource.urn)),
  };
  await engine.ask(["stack", "import", "--stack", engine.stack], JSON.stringify({ ...state, deployment }));
}

export async function replace(word: string, options: Named & { oldIsOff: boolean; yes: boolean }): Promise<void> {
  const stack = loadStack(options.stack);
  const id = hostNamed(stack.pair, word);
  const { name, ssh } = hostOfPair(stack.pair, id);
  const witnessOf = id === "witness" ? stack.pair.name : undefined;
  const engine = await openEngine(stack.stack, stack.stackFile, stack.pair.target);
  const inputs = commandsIn(await stateOf(engine, true)).get(id)?.inputs;
  if (inputs === undefined)
    throw new UserError(`${name} was never set up`, [`set it up with: hotpair up -s ${stack.stack}`]);
  const before = openedState(inputs.connection) as Parameters<typeof sshTargetAt>[0];
  const token = tokenIn(inputs) ?? "";
  const address = `${before.host}:${before.port}`;
  if (before.host === ssh.host && before.port === ssh.port)
    throw new UserError(`${name} is ${address} in the stack file too: there is nothing to replace`, [
      "write the new server's address and host key into the stack file first (hotpair scan fetches the key)",
      `the same address after a reinstallation needs only its new host key and: hotpair up -s ${stack.stack}`,
    ]);
  const old = sshTargetAt(before);
  const owner = await ownerOf(old, witnessOf).catch(() => "silent" as const);
  const stays = (): void => {
    announce("nothing was changed");
    process.exitCode = 1;
  };
  if (owner === "silent") {
    const danger =
      witnessOf === undefined
        ? "If it is alive, it and the new server may both hold the VIP."
        : "If it is alive, it goes on voting as the pair's third member.";
    const question = `The server at ${address} does not answer. ${danger} Is it switched off, and stays so?`;
    if (!(await confirm(question, options.oldIsOff, "--old-is-off"))) return stays();
  } else if (owner === token) {
    if (!(await confirm(`Give the server at ${address} back as before hotpair?`, options.yes))) return stays();
    const { code, stdout, stderr } = await run(old, removeCommand(token, { witnessOf }), { timeoutMs: 10 * 60_000 });
    announce(code === 0 ? `${address}: ${lastWord(stdout)}` : `${address} failed:\n${indented(`${stdout}${stderr}`)}`);
    if (code !== 0) {
      process.exitCode = 1;
      return;
    }
  } else {
    announce(`${address} no longer belongs to this pair`);
  }
  const applying = { ...options, only: [], policyPack: [], full: false };
  const env = { HOTPAIR_REPLACED: resourceOf(id) };
  await apply(await compare(applying, env), applying, env);
}

export async function rotateKey(options: Named & { yes: boolean }): Promise<void> {
  const { pair } = loadStack(options.stack);
  if (hostIdsOf(pair).every((id) => hostOfPair(pair, id).ssh.auth.kind === "agent")) {
    announce("the servers are reached through the SSH agent: no key is in the state, there is nothing to rotate");
    return;
  }
  const applying = { ...options, only: [], policyPack: [], full: false };
  const env = { HOTPAIR_ROTATE_KEY: "yes" };
  const work = await compare(applying, env);
  // The new key must open every server before the old one is forgotten.
  for (const [id, answer] of work.answers)
    if ("silent" in answer)
      throw new UserError(`${nameOf(pair, id)} is not opened by the new key; nothing was changed`, [
        answer.silent.message,
        ...answer.silent.details,
      ]);
  await apply(work, applying, env);
}
