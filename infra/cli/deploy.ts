// `hotpair setup | preview | up | destroy | replace | drift | key | pulumi`: what brings a stack file and two servers
// together. Thin: the engine runs the program (engine.ts), servers are asked and repaired over SSH (servers.ts), and the
// difference is made in infra/plan/changes.ts. docs/decisions/pulumi.md tells why it is split between engine and SSH.

import { type Command, Option } from "commander";
import { secretPaths } from "../config/index.ts";
import { proofOf } from "../drill/proof.ts";
import { UserError } from "../model/errors.ts";
import { type HostId, NODE_IDS, type NodeId, type Pair } from "../model/pair.ts";
import type { HostPlan } from "../model/plan.ts";
import { changesOf, isUnchanged, type NodeChanges, sha256 } from "../plan/changes.ts";
import { applyProgram, removeCommand } from "../plan/commands.ts";
import { hostIdsOf, planHosts } from "../plan/plan.ts";
import { refuseMandatory } from "../plan/refuse.ts";
import { collectFindings } from "../services/findings.ts";
import { sshTargetAt } from "../ssh/reach.ts";
import { run } from "../ssh/run.ts";
import { firstToChange, ownerOf, readFiles } from "../ssh/survey.ts";
import { findToolchain } from "../toolchain/find.ts";
import { inspectToolchain } from "../toolchain/inspect.ts";
import {
  COMMAND_TYPE,
  deadLocks,
  type Engine,
  hostOf,
  makesServer,
  type Outcome,
  openEngine,
  openedState,
  resourceOf,
  type Step,
  tokenIn,
  urnsOf,
} from "./engine.ts";
import {
  type Answer,
  hostNamed,
  hostOfPair,
  indented,
  keyPathsOf,
  lastWord,
  nameOf,
  openSecrets,
  repair,
  surveyPair,
  type Targets,
  targetOf,
  targetsOf,
} from "./servers.ts";
import { diffLines, showChanges } from "./show-changes.ts";
import { chooseStack, type LoadedStack, loadStack } from "./stack.ts";
import { announce, confirm, paint } from "./terminal.ts";
import { unifiedDiff } from "./unified-diff.ts";

interface Named {
  readonly stack?: string;
}

interface Applying extends Named {
  readonly only: readonly string[];
  readonly policyPack: readonly string[];
  readonly full: boolean;
}

export function register(program: Command): void {
  program
    .command("preview")
    .description("which files a change would touch on which server, and how; touches nothing")
    .addOption(stackOption())
    .addOption(onlyOption())
    .addOption(policyOption())
    .option("--full", "show new files and hotpair's own programs whole", false)
    .option("--json", "print as JSON", false)
    .action(async (options: Applying & { json: boolean }) => {
      const work = await compare(options);
      if (options.json) printPreview(work);
      else showPreview(work, options.full);
    });

  program
    .command("up")
    .description("bring the servers into the state that the stack file describes: the witness first, then the standby")
    .addOption(stackOption())
    .addOption(onlyOption())
    .option("--yes", "do not ask", false)
    .addOption(policyOption())
    .option("--full", "show new files and hotpair's own programs whole", false)
    .action(async (options: Applying & { yes: boolean }) => {
      const work = await compare(options);
      await apply(work, options);
    });

  program
    .command("drift")
    .description(
      "what was changed by hand on the servers; exit code 3 when something was, 1 when a server cannot be asked",
    )
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(drift);

  program
    .command("destroy")
    .description("give the servers back as they were before hotpair")
    .addOption(stackOption())
    .option("--abandon <server>", "forget this server without touching it, because it is dead")
    .option("--purge-packages", "also uninstall the packages that hotpair installed", false)
    .option("--yes", "do not ask", false)
    .action(destroy);

  program
    .command("replace")
    .description("after the stack file names another server for a node: give the old one back, set the new one up")
    .argument("<server>", "its name")
    .addOption(stackOption())
    .option("--old-is-off", "the old server is switched off and stays so; nobody can ask it", false)
    .option("--yes", "do not ask", false)
    .action(replace);

  program
    .command("key")
    .description("the private key by which Pulumi reaches the servers")
    .command("rotate")
    .description("take the key that the stack file names now into the stack's state")
    .addOption(stackOption())
    .option("--yes", "do not ask", false)
    .action(rotateKey);

  program
    .command("pulumi")
    .description("the plain Pulumi CLI with hotpair's toolchain, passphrase and stack")
    .usage("[options] -- <arguments...>")
    .argument("<words...>", "arguments of the CLI")
    .addOption(stackOption())
    .passThroughOptions()
    .action(async (words: string[], options: Named) => {
      const engine = await openEngine(chooseStack(options.stack));
      process.exitCode = await engine.handOver(words[0] === "--" ? words.slice(1) : words);
    });

  program
    .command("setup")
    .description("make a working Pulumi ready: found, downloaded or built")
    .option("--check", "only say what is there, from where, and what is missing", false)
    .option("--json", "print as JSON", false)
    .action(setup);
}

const stackOption = (): Option =>
  new Option("-s, --stack <name>", "default: PULUMI_STACK, or the only stack that there is");

const onlyOption = (): Option =>
  new Option("--only <server>", "leave the others out, because they are dead; may be given again")
    .argParser((name: string, all: readonly string[]) => [...all, name])
    .default([]);

const policyOption = (): Option =>
  new Option("--policy-pack <path>", "a policy pack beside hotpair's own; may be given again")
    .argParser((path: string, all: readonly string[]) => [...all, path])
    .default([]);

// --- preview and up --------------------------------------------------------------------------------------------------

/** Everything that is known before a change: what the engine would do, what stands on the servers, how they differ. */
interface Work {
  readonly stack: LoadedStack;
  readonly engine: Engine;
  /** The servers that are meant, with their plans, the witness first. */
  readonly hosts: readonly HostId[];
  readonly plans: ReadonlyMap<HostId, HostPlan>;
  readonly targets: Targets;
  readonly outcome: Outcome;
  readonly answers: ReadonlyMap<HostId, Answer>;
  readonly changes: ReadonlyMap<HostId, NodeChanges>;
  readonly before: ReadonlyMap<HostId, ReadonlyMap<string, string>>;
  /** When the servers said what is here, on Date.now()'s clock. */
  readonly askedAt: number;
}

/** Roles that were learned longer ago are asked again by the program: somebody thought about the question for long. */
const ROLES_LAST_MS = 30_000;

/** Throws UserError for mistakes in the stack file and for mandatory findings; prints what the engine refused. */
async function compare(options: Applying, env: Record<string, string> = {}): Promise<Work> {
  const stack = loadStack(options.stack);
  const { pair } = stack;
  const findings = collectFindings(pair, proofOf(stack.stack, pair));
  refuseMandatory(stack.stack, findings);
  const engine = await openEngine(stack.stack, stack.stackFile, stack.pair.target);
  const only = options.only.map((name) => hostNamed(pair, name));
  const hosts = hostIdsOf(pair).filter((id) => only.length === 0 || only.includes(id));
  const targets = await targetsOfStack(stack);
  const plans = new Map(planHosts(pair).map((plan) => [plan.node, plan]));
  const chosen = hosts.map((id) => planOf(plans, id));
  const askedAt = Date.now();
  const [outcome, answers] = await Promise.all([
    engine.operate("preview", { policyPacks: options.policyPack, ...leavingOut(stack, hosts, env) }),
    surveyPair(targets, chosen),
  ]);
  // Where the engine would run a command, a secret may be new: then its value is compared, not what was applied last.
  const secrets = hosts.some((id) => engineTouches(outcome, id))
    ? await openSecrets(stack, secretPaths(pair))
    : undefined;
  const changes = new Map<HostId, NodeChanges>();
  const before = new Map<HostId, ReadonlyMap<string, string>>();
  for (const id of hosts) {
    const answer = answers.get(id);
    if (answer === undefined || !("state" in answer)) continue;
    const found = changesOf(planOf(plans, id), answer.state, secrets);
    changes.set(id, found);
    const shown = found.files.filter(({ kind, secret }) => kind === "change" && !secret);
    before.set(
      id,
      await readFiles(
        targetOf(targets, id),
        shown.map(({ path }) => path),
      ),
    );
  }
  return { stack, engine, hosts, plans, targets, outcome, answers, changes, before, askedAt };
}

function planOf(plans: Work["plans"], id: HostId): HostPlan {
  const plan = plans.get(id);
  if (plan === undefined) throw new Error(`there is no plan for ${id}`);
  return plan;
}

/** Only a private key that is itself a Pulumi secret must be opened to reach the servers. */
async function targetsOfStack(stack: LoadedStack): Promise<Targets> {
  return targetsOf(stack.pair, await openSecrets(stack, keyPathsOf(stack.pair)));
}

/** What the engine and its program need to touch these servers alone. */
function leavingOut({ stack, pair }: LoadedStack, hosts: readonly HostId[], env: Record<string, string>) {
  const others = hostIdsOf(pair).filter((id) => !hosts.includes(id));
  if (others.length === 0) return { env, args: [] };
  return {
    env: { ...env, HOTPAIR_ONLY: hosts.map(resourceOf).join(" ") },
    args: others.flatMap((id) => urnsOf(stack, id)).flatMap((urn) => ["--exclude", urn]),
  };
}

const isUndone = (work: Work): boolean => engineSteps(work.outcome).length > 0 || repairs(work).length > 0;

/** What the engine would do to a server or to the pair's resources. */
const engineSteps = ({ steps }: Outcome): readonly Step[] =>
  steps.filter(({ op, type }) => op !== "same" && type !== "pulumi:pulumi:Stack");

/** Servers that differ from the plan although their command would not run: changed by hand, or by a failed apply. */
function repairs({ hosts, outcome, changes }: Work): readonly HostId[] {
  const touched = new Set(
    engineSteps(outcome)
      .filter(({ type, op }) => type === COMMAND_TYPE && op !== "delete")
      .map(({ urn }) => hostOf(urn)),
  );
  return hosts.filter((id) => {
    const found = changes.get(id);
    return found !== undefined && !isUnchanged(found) && !touched.has(id);
  });
}

function showPreview(work: Work, full: boolean): void {
  const { stack, hosts, answers, changes, before, outcome } = work;
  reportOutcome(outcome);
  if (!outcome.succeeded) {
    process.exitCode = 1;
    return;
  }
  for (const id of hosts) {
    const answer = answers.get(id);
    const found = changes.get(id);
    if (answer === undefined) continue;
    if (id !== "witness" && makesServer(outcome, id))
      console.log(`${paint("bold", nameOf(stack.pair, id))}: is made first, and set up when it answers`);
    else if (!("state" in answer)) {
      console.log(`${paint("bold", nameOf(stack.pair, id))}: ${paint("red", "could not be asked")}`);
      console.log(indented([answer.silent.message, ...answer.silent.details].join("\n")));
    } else if (found !== undefined) {
      const { role, manifest } = answer.state;
      const running = id === "witness" ? "witness" : role === "silent" ? "no arbiter runs" : role;
      const state = manifest.resource === null ? "not set up yet" : running;
      const shown = { name: nameOf(stack.pair, id), state, changes: found, before: before.get(id) ?? new Map() };
      console.log(showChanges(shown, full).join("\n"));
    }
  }
  const inAws = engineSteps(outcome).filter(({ type }) => type.startsWith("aws:"));
  if (inAws.length > 0) console.log(["", paint("bold", "AWS"), ...inAws.map(resourceLine)].join("\n"));
  if (hosts.some((id) => !changes.has(id) && !(id !== "witness" && makesServer(outcome, id)))) process.exitCode = 1;
  else if (!isUndone(work))
    console.log(`no change: ${stack.pair.witness === undefined ? "both" : "all"} servers are as described`);
}

/** e.g. `  create  ec2/instance  instance-a`. */
const resourceLine = ({ op, type, urn }: Step): string =>
  `  ${op}  ${type.replace(/^aws:([^:]+):.*$/, "$1")}  ${urn.split("::").at(-1)}`;

function printPreview({ stack, hosts, answers, changes, before, outcome }: Work): void {
  const described = hosts.map((id) => {
    const answer = answers.get(id);
    const found = changes.get(id);
    const name = nameOf(stack.pair, id);
    if (answer === undefined || !("state" in answer) || found === undefined)
      return { node: id, name, silent: silence(answer) };
    const files = found.files.map(({ after, ...facts }) => {
      const diff = after === undefined ? [] : unifiedDiff(before.get(id)?.get(facts.path) ?? "", after);
      return { ...facts, ...(facts.kind === "change" && !facts.secret ? { diff } : {}) };
    });
    return { node: id, name, role: answer.state.role, setUp: answer.state.manifest.resource !== null, ...found, files };
  });
  const { violations, diagnostics, succeeded } = outcome;
  const resources = engineSteps(outcome).map(({ op, urn }) => ({ op, urn }));
  console.log(
    JSON.stringify(
      { stack: stack.stack, succeeded, nodes: described, resources, violations, diagnostics },
      undefined,
      2,
    ),
  );
  const missing = described.filter(({ node }) => node === "witness" || !makesServer(outcome, node));
  if (!succeeded || missing.some((node) => "silent" in node)) process.exitCode = 1;
}

const engineTouches = ({ steps }: Outcome, id: HostId): boolean =>
  steps.some(({ type, op, urn }) => type === COMMAND_TYPE && op !== "same" && hostOf(urn) === id);

/** Violations, warnings and errors of an operation. Advisory findings are policy violations too. */
function reportOutcome({ violations, diagnostics, said, succeeded }: Outcome): void {
  for (const { policy, level, message } of violations)
    announce(`${level === "mandatory" ? paint("red", "policy") : paint("yellow", "advice")} ${policy}: ${message}`);
  const shown = new Set<string>();
  for (const { severity, message, urn } of diagnostics) {
    const host = hostOf(urn);
    const text = `${host ?? ""} ${message}`;
    // The engine closes every failure with a line that says that there was one.
    if (shown.has(text) || /^(update|preview|destroy) failed$/.test(message)) continue;
    shown.add(text);
    announce(
      `${paint(severity === "error" ? "red" : "yellow", severity)}${host ? ` ${resourceOf(host)}` : ""}: ${readable(message)}`,
    );
  }
  if (!succeeded && said !== "") announce(said);
}

/** Without the text of the command, which the provider puts before what the command said. */
const readable = (message: string): string =>
  message.replace(/^(Process exited with status \d+)[^:]*: running "(?:[^"\\]|\\.)*":\n/, "");

async function apply(
  work: Work,
  options: Applying & { readonly yes: boolean },
  env: Record<string, string> = {},
): Promise<void> {
  showPreview(work, options.full);
  if (!work.outcome.succeeded) return;
  const { stack, engine, hosts, answers, targets } = work;
  if (!isUndone(work)) return;
  const made = (id: HostId) => id !== "witness" && makesServer(work.outcome, id);
  const silent = hosts.filter((id) => engineTouches(work.outcome, id) && !work.changes.has(id) && !made(id));
  if (silent.length > 0) {
    const living = hosts.filter((id) => work.changes.has(id)).map((id) => nameOf(stack.pair, id));
    throw new UserError(`${silent.map((id) => nameOf(stack.pair, id)).join(" and ")} cannot be changed; nothing was`, [
      ...(living.length > 0
        ? [
            `to change ${living.join(" and ")} alone: hotpair up -s ${stack.stack} ${living.map((name) => `--only ${name}`).join(" ")}`,
          ]
        : []),
    ]);
  }
  const roles = Object.fromEntries(NODE_IDS.map((id) => [id, roleIn(answers.get(id))])) as Record<
    NodeId,
    ReturnType<typeof roleIn>
  >;
  const first = firstToChange(roles);
  // The witness first: without it, the nodes' members of the authority can make no majority at a first set-up.
  const byRole: readonly HostId[] = ["witness", first, first === "a" ? "b" : "a"];
  const order = byRole.filter((id) => hosts.includes(id));
  const names = order.map((id) => nameOf(stack.pair, id)).join(", then ");
  if (!(await confirm(`Apply this to ${names}?`, options.yes))) {
    announce("nothing was changed");
    process.exitCode = 1;
    return;
  }
  const known =
    NODE_IDS.every((id) => hosts.includes(id)) &&
    Object.values(roles).includes("active") &&
    Date.now() - work.askedAt < ROLES_LAST_MS;
  const asked: Record<string, string> = known ? { ...env, HOTPAIR_FIRST: first } : env;
  if (engineSteps(work.outcome).length > 0) {
    const succeeded = await operate(engine, "up", stack.pair, options.yes, {
      policyPacks: options.policyPack,
      ...leavingOut(stack, hosts, asked),
    });
    if (!succeeded) {
      process.exitCode = 1;
      return;
    }
  }
  const drifted = order.filter((id) => repairs(work).includes(id));
  if (drifted.length === 0) return;
  const secrets = await openSecrets(stack, secretPaths(stack.pair));
  for (const id of drifted) {
    announce(`${nameOf(stack.pair, id)}: repairing`);
    const owner = work.outcome.steps.find(({ type, urn }) => type === COMMAND_TYPE && hostOf(urn) === id);
    if (!(await repair(targetOf(targets, id), planOf(work.plans, id), secrets, owner && tokenIn(owner.oldInputs)))) {
      process.exitCode = 1;
      return;
    }
  }
}

const manifestIn = (answer: Answer | undefined) => (answer && "state" in answer ? answer.state.manifest : undefined);

const roleIn = (answer: Answer | undefined) => (answer && "state" in answer ? answer.state.role : "silent");

/** Runs the engine, telling of each server; takes a dead process's lock away once, when the user agrees. */
async function operate(
  engine: Engine,
  verb: "up" | "destroy",
  pair: Pair | undefined,
  yes: boolean,
  options: Parameters<Engine["operate"]>[1],
): Promise<boolean> {
  const known = (id: HostId) => pair !== undefined && (id !== "witness" || pair.witness !== undefined);
  const name = (id: HostId) => (pair && known(id) ? nameOf(pair, id) : resourceOf(id));
  const attempt = () =>
    engine.operate(verb, {
      ...options,
      onStart: ({ type, op, urn }) => {
        const id = hostOf(urn);
        if (type === COMMAND_TYPE && op !== "same" && id) announce(`${name(id)}: ${WORDS[op] ?? op}`);
      },
      onDone: ({ type, op, urn, outputs }) => {
        const id = hostOf(urn);
        // What a deletion says does not come through the engine.
        if (type === COMMAND_TYPE && op === "delete" && id) announce(`${name(id)}: given back`);
        if (type === COMMAND_TYPE && op !== "same" && op !== "replace" && id && outputs.stdout)
          announce(`${name(id)}: ${lastWord(String(outputs.stdout))}`);
      },
    });
  let outcome = await attempt();
  const dead = deadLocks(outcome.said);
  if (!outcome.succeeded && dead.length > 0) {
    const holders = dead.map(({ pid, since }) => `process ${pid} of ${since}, which is gone`).join("; ");
    if (await confirm(`The stack is locked by ${holders}. Take the lock away?`, yes)) {
      await engine.ask(["cancel", "--yes", "--stack", engine.stack]);
      outcome = await attempt();
    }
  }
  // Advice was given with the preview.
  reportOutcome({ ...outcome, violations: outcome.violations.filter(({ level }) => level === "mandatory") });
  return outcome.succeeded;
}

const WORDS: Readonly<Record<string, string>> = {
  create: "applying",
  update: "applying",
  "create-replacement": "applying as a new resource",
  delete: "giving the server back",
  "delete-replaced": "letting go of the old resource",
};

// --- drift -----------------------------------------------------------------------------------------------------------

async function drift(options: Named & { json: boolean }): Promise<void> {
  const stack = loadStack(options.stack);
  const targets = await targetsOfStack(stack);
  const plans = planHosts(stack.pair);
  const answers = await surveyPair(targets, plans);
  const report = await Promise.all(
    plans.map(async (plan) => {
      const answer = answers.get(plan.node);
      if (answer === undefined || !("state" in answer))
        return { node: plan.name, silent: answer?.silent.message ?? "was not asked", text: indented(silence(answer)) };
      const { drift: found, manifest } = answer.state;
      const changed = found.files.filter(({ secret, differences }) => !secret && differences.includes("content"));
      const present = await readFiles(
        targetOf(targets, plan.node),
        changed.map(({ path }) => path),
      );
      const text = found.files.flatMap(({ path, secret, differences, expected, found: now }) => {
        const planned = plan.files.find((file) => file.path === path)?.content;
        // What was applied is known as a text only while the stack file still says the same.
        const applied = typeof planned === "string" && sha256(planned) === expected.sha256 ? planned : undefined;
        const head = `  ${paint("yellow", "~")} ${path}: ${differences.join(", ")}`;
        const more = [
          ...(differences.includes("mode") ? [`      mode ${now.mode}, was ${expected.mode}`] : []),
          ...(differences.includes("owner")
            ? [`      ${now.owner}:${now.group}, was ${expected.owner}:${expected.group}`]
            : []),
        ];
        const text = present.get(path);
        if (secret || applied === undefined || text === undefined) return [head, ...more];
        return [head, ...more, ...diffLines(applied, text)];
      });
      const units = found.units.map(
        (unit) => `  ${paint("yellow", "~")} ${unit.name}: ${unit.found}, should be ${unit.expected}`,
      );
      const unfinished = found.unfinished ? ["  an interrupted apply waits to be undone: hotpair up"] : [];
      return {
        node: plan.name,
        setUp: manifest.resource !== null,
        ...found,
        text: [...text, ...units, ...unfinished].join("\n"),
      };
    }),
  );
  const silent = report.some((entry) => "silent" in entry);
  const drifted = report.some(
    (entry) => "files" in entry && (entry.files.length > 0 || entry.units.length > 0 || entry.unfinished),
  );
  if (options.json) {
    console.log(
      JSON.stringify(
        report.map(({ text: _, ...facts }) => facts),
        undefined,
        2,
      ),
    );
  } else {
    for (const entry of report) {
      const state =
        "silent" in entry
          ? "could not be asked"
          : !entry.setUp
            ? "not set up yet"
            : entry.text === ""
              ? "no drift"
              : "changed by hand";
      console.log(`${paint("bold", entry.node)}: ${state}${entry.text === "" ? "" : `\n${entry.text}`}`);
    }
    if (drifted) console.log(`hotpair up -s ${stack.stack} puts it back`);
  }
  process.exitCode = silent ? 1 : drifted ? 3 : 0;
}

const silence = (answer: Answer | undefined): string =>
  answer && "silent" in answer ? [answer.silent.message, ...answer.silent.details].join("\n") : "";

// --- destroy, replace, key -------------------------------------------------------------------------------------------

interface StateResource {
  readonly urn: string;
  readonly type: string;
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

async function destroy(options: Named & { abandon?: string; purgePackages: boolean; yes: boolean }): Promise<void> {
  const stack = loadStack(options.stack);
  const { pair } = stack;
  const abandoned = options.abandon === undefined ? undefined : hostNamed(pair, options.abandon);
  const engine = await openEngine(stack.stack, stack.stackFile, stack.pair.target);
  const state = await stateOf(engine);
  const commands = commandsIn(state);
  const made = (state?.deployment.resources ?? []).filter(({ type }) => type.startsWith("aws:")).length;
  if (state === undefined || (commands.size === 0 && made === 0)) {
    announce(`stack ${stack.stack} has nothing deployed`);
    return;
  }
  if (made > 0 && pair.aws?.instance.terminationProtection === true)
    throw new UserError(`the servers of stack ${stack.stack} are protected, so nothing was changed`, [
      `set hotpair:aws.instance.terminationProtection to false, then run: hotpair up -s ${stack.stack}`,
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
  const gone = made === 0 ? "" : ` ${made} resources in AWS are deleted, the servers and their volumes among them.`;
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

async function replace(word: string, options: Named & { oldIsOff: boolean; yes: boolean }): Promise<void> {
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

async function rotateKey(options: Named & { yes: boolean }): Promise<void> {
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

// --- setup -----------------------------------------------------------------------------------------------------------

async function setup(options: { check: boolean; json: boolean }): Promise<void> {
  if (!options.check) await findToolchain({ onStep: announce });
  const { toText, ...report } = await inspectToolchain();
  console.log(options.json ? JSON.stringify(report, undefined, 2) : toText());
  if (report.missing.length > 0) process.exitCode = 1;
}
