// What a change would do to a stack's servers, and doing it: the engine's preview beside what the servers themselves say, then
// the engine for what it would touch, and SSH for what was changed by hand. Which commands do that is deploy.ts and
// destroy.ts; docs/decisions/pulumi.md tells why it is split between engine and SSH.

import { secretPaths } from "../config/index.ts";
import { proofOf } from "../drill/proof.ts";
import { UserError } from "../model/errors.ts";
import { type HostId, NODE_IDS, type NodeId, type Pair } from "../model/pair.ts";
import type { HostPlan } from "../model/plan.ts";
import { changesOf, isUnchanged, type NodeChanges } from "../plan/changes.ts";
import { hostIdsOf, planHosts } from "../plan/plan.ts";
import { refuseMandatory } from "../plan/refuse.ts";
import { collectFindings } from "../services/findings.ts";
import { firstToChange, readFiles } from "../ssh/survey.ts";
import {
  COMMAND_TYPE,
  deadLocks,
  type Engine,
  hostOf,
  makesAnew,
  makesServer,
  type Outcome,
  openEngine,
  resourceOf,
  runsCommand,
  type Step,
  tokenIn,
  typeThatRuns,
  urnsOf,
} from "./engine.ts";
import {
  type Answer,
  hostNamed,
  indented,
  keyPathsOf,
  lastWord,
  nameOf,
  openSecrets,
  repair,
  roleIn,
  silence,
  surveyPair,
  type Targets,
  targetOf,
  targetsOf,
} from "./servers.ts";
import { showChanges } from "./show-changes.ts";
import { type LoadedStack, loadStack, type Named } from "./stack.ts";
import { announce, confirm, paint } from "./terminal.ts";
import { unifiedDiff } from "./unified-diff.ts";

export interface Applying extends Named {
  readonly only: readonly string[];
  readonly policyPack: readonly string[];
  readonly full: boolean;
}

/** Everything that is known before a change: what the engine would do, what stands on the servers, how they differ. */
export interface Work {
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
export async function compare(options: Applying, env: Record<string, string> = {}): Promise<Work> {
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
  const secrets = hosts.some((id) => runsCommand(outcome, id))
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
export async function targetsOfStack(stack: LoadedStack): Promise<Targets> {
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

export function showPreview(work: Work, full: boolean): void {
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
    if (makesServer(outcome, id))
      console.log(
        `${paint("bold", nameOf(stack.pair, id))}: ${makesAnew(outcome, id) ? `is made anew; when it answers, the next hotpair up -s ${stack.stack} sets it up` : "is made first, and set up when it answers"}`,
      );
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
  for (const { id, runs, wanted } of otherTypes(work))
    console.log(
      `${paint("bold", nameOf(stack.pair, id))}: ${paint("yellow", `runs as ${runs}`)}, and the stack file says ${wanted}; no change stops a server for that (docs/aws.md#what-no-change-does)`,
    );
  const inAws = engineSteps(outcome).filter(({ type }) => type.startsWith("aws:"));
  if (inAws.length > 0) console.log(["", paint("bold", "AWS"), ...inAws.map(resourceLine)].join("\n"));
  if (hosts.some((id) => !changes.has(id) && !makesServer(outcome, id))) process.exitCode = 1;
  else if (!isUndone(work))
    console.log(`no change: ${stack.pair.witness === undefined ? "both" : "all"} servers are as described`);
}

/** Servers in AWS that run as another type than the stack file says. */
function otherTypes({ stack, hosts, outcome }: Work) {
  const { aws } = stack.pair;
  return hosts.flatMap((id) => {
    const wanted = id === "witness" ? aws?.witness?.type : aws?.instance.type;
    const runs = typeThatRuns(outcome, id);
    return runs === undefined || wanted === undefined || runs === wanted ? [] : [{ id, runs, wanted }];
  });
}

/** e.g. `  create  ec2/instance  instance-a`. */
const resourceLine = ({ op, type, urn }: Step): string =>
  `  ${op}  ${type.replace(/^aws:([^:]+):.*$/, "$1")}  ${urn.split("::").at(-1)}`;

export function printPreview(work: Work): void {
  const { stack, hosts, answers, changes, before, outcome } = work;
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
      {
        stack: stack.stack,
        succeeded,
        nodes: described,
        resources,
        otherTypes: otherTypes(work),
        violations,
        diagnostics,
      },
      undefined,
      2,
    ),
  );
  const missing = described.filter(({ node }) => !makesServer(outcome, node));
  if (!succeeded || missing.some((node) => "silent" in node)) process.exitCode = 1;
}

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

export async function apply(
  work: Work,
  options: Applying & { readonly yes: boolean },
  env: Record<string, string> = {},
): Promise<void> {
  showPreview(work, options.full);
  if (!work.outcome.succeeded) return;
  const { stack, engine, hosts, answers, targets } = work;
  if (!isUndone(work)) return;
  const unasked = hosts.filter((id) => runsCommand(work.outcome, id) && !work.changes.has(id));
  const silent = unasked.filter((id) => !makesServer(work.outcome, id));
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
  const anew = hosts.filter((id) => makesAnew(work.outcome, id)).map((id) => nameOf(stack.pair, id));
  if (anew.length > 0)
    announce(`${anew.join(" and ")}: made anew; when it answers, run again: hotpair up -s ${stack.stack}`);
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

/** Runs the engine, telling of each server; takes a dead process's lock away once, when the user agrees. */
export async function operate(
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
