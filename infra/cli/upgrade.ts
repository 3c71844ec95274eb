// `hotpair upgrade`: operating system and daemons of a pair, one host after the other. Thin: the order and what has to hold
// between two steps is in infra/model/upgrade.ts and infra/drill/health.ts; what happens on a host in
// infra/node/hotpair-apply.

import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import { unwell } from "../drill/health.ts";
import { placeOf } from "../drill/host.ts";
import { versionsOf } from "../drill/runner.ts";
import { recordVersions } from "../evidence/records.ts";
import { evidenceDirectory } from "../evidence/store.ts";
import { FailedError, UserError } from "../model/errors.ts";
import { type NodeAnswer, outlook } from "../model/outlook.ts";
import { type HostId, NODE_IDS, type NodeId, type Pair, peerOf, type SecretRef } from "../model/pair.ts";
import type { HostPlan } from "../model/plan.ts";
import {
  authorityGaps,
  type HostNeeds,
  isDue,
  type LeaseAnswer,
  readNeeds,
  type UpgradeStep,
  upgradeSteps,
  withoutPreferences,
} from "../model/upgrade.ts";
import { upgradeCommand, upgradesCommand } from "../plan/commands.ts";
import { hostIdsOf, planHosts } from "../plan/plan.ts";
import { upgradeBundle } from "../plan/upgrade.ts";
import { disconnect, disconnectAll, type RunResult, run, SshError } from "../ssh/run.ts";
import { askBoth, handOver } from "./operate.ts";
import { patience } from "./patience.ts";
import { hostNamed, keyPathsOf, lastWord, nameOf, openSecrets, type Targets, targetOf, targetsOf } from "./servers.ts";
import { loadStack, stackOption } from "./stack.ts";
import { announce, paint } from "./terminal.ts";

const LEASE = "/usr/lib/hotpair/hotpair-lease";
/** Package lists of a slow mirror, and two minutes of waiting for another apt. */
const LOOK_DEADLINE_MS = 10 * 60_000;
/** Beyond this, hotpair-apply itself would have given up. */
const UPGRADE_DEADLINE_MS = 125 * 60_000;
const LEASE_DEADLINE_MS = 8_000;
const LOOK_EVERY_MS = 1_000;
/** The pair must be whole this many times in a row: daemons that refuse to live die in their first seconds. */
const LOOKS = 3;
const SAY_EVERY_MS = 10_000;
/** A pair that is well shows it at once; this long for a beacon that was late. */
const BEFORE_MS = 5_000;

interface Options {
  readonly stack?: string;
  readonly node?: string;
  readonly packages: readonly string[];
  readonly reboot: boolean;
  readonly dryRun: boolean;
  readonly wait: number;
  readonly json: boolean;
}

export function register(program: Command): void {
  program
    .command("upgrade")
    .description(
      "upgrade operating system and daemons, one host after the other: the standby, a hand-over, the other node, the witness",
    )
    .addOption(stackOption())
    .option("--node <server>", "this server alone; a node that is active hands over first")
    .option("--packages <names...>", "these packages alone; default: all that have newer versions", packageNames, [])
    .option("--reboot", "reboot every host that something is done on, or that wants a reboot", false)
    .option("--dry-run", "only say what would be done on which host", false)
    .option(
      "--wait <minutes>",
      "longest wait for the pair to be redundant again after a step",
      patience("minutes", 1_440),
      30,
    )
    .option("--json", "print as JSON", false)
    .action(upgrade);
}

function packageNames(name: string, before: readonly string[]): readonly string[] {
  if (!/^[a-z0-9][a-z0-9+.-]*$/.test(name)) throw new InvalidArgumentError("names of Debian packages");
  return [...before, name];
}

interface Work {
  readonly stack: string;
  readonly pair: Pair;
  readonly targets: Targets;
  readonly plans: ReadonlyMap<HostId, HostPlan>;
  readonly options: Options;
}

async function upgrade(options: Options): Promise<void> {
  const loaded = loadStack(options.stack);
  const { pair, stack } = loaded;
  const secrets = await openSecrets(loaded, keyPathsOf(pair));
  const targets = targetsOf(pair, secrets);
  const plans = new Map(planHosts(pair).map((plan) => [plan.node, plan]));
  const work: Work = { stack, pair, targets, plans, options };
  const chosen = options.node === undefined ? hostIdsOf(pair) : [hostNamed(pair, options.node)];
  try {
    announce(`${chosen.map((id) => nameOf(pair, id)).join(", ")}: looking for newer packages`);
    const needs = await lookAround(work, chosen, "fetch");
    const due = chosen.filter((id) => isDue(needsOf(needs, id), options.reboot));
    const answers = await askBoth(targets);
    const steps = upgradeSteps(pair, due, holdersOf(pair, answers));
    if (options.dryRun || due.length === 0) {
      show(work, chosen, needs, steps);
      return;
    }
    const began = Date.now();
    // Before the first step nothing is waited for: a pair that is not whole is repaired first.
    await redundant(work, BEFORE_MS, "nothing was upgraded");
    try {
      for (const step of steps) await carryOut(work, step, began);
    } finally {
      await tellEvidence(work, secrets);
    }
    finish(work, chosen, needs, due, await lookAround(work, chosen, "known"), began);
  } finally {
    disconnectAll();
  }
}

/** What was measured with other daemons proves nothing any more; also after an upgrade that got only half-way. */
async function tellEvidence({ stack, pair }: Work, secrets: (ref: SecretRef) => string): Promise<void> {
  try {
    const versions = await versionsOf(await placeOf(pair, secrets));
    recordVersions(evidenceDirectory(), stack, { versions, at: new Date().toISOString() });
  } catch (error) {
    // The next drill tells it, too.
    announce(`the new versions are not in the evidence's history: ${error instanceof Error ? error.message : error}`);
  }
}

const needsOf = (needs: ReadonlyMap<HostId, HostNeeds>, id: HostId): HostNeeds => {
  const found = needs.get(id);
  if (found === undefined) throw new Error(`${id} was not asked`);
  return found;
};

/** What every chosen host has to upgrade. Throws UserError when one cannot say. */
async function lookAround(
  work: Work,
  hosts: readonly HostId[],
  lists: "fetch" | "known",
): Promise<ReadonlyMap<HostId, HostNeeds>> {
  const { pair, options } = work;
  const asked = await Promise.all(
    hosts.map(async (id) => {
      const plan = planOf(work, id);
      const command = upgradesCommand(lists, options.packages, plan.witnessOf);
      const input = upgradeBundle(pair, plan);
      const said = await run(targetOf(work.targets, id), command, { input, timeoutMs: LOOK_DEADLINE_MS });
      return { id, said };
    }),
  );
  const silent = asked.filter(({ said }) => said.code !== 0);
  if (silent.length > 0)
    throw new UserError(
      "not every server can say what it has to upgrade; nothing was upgraded",
      silent.flatMap(({ id, said }) =>
        `${said.stderr}${said.stdout}`
          .trim()
          .split("\n")
          .map((line) => `${nameOf(pair, id)}: ${line.replace(/^hotpair-apply: /, "")}`),
      ),
    );
  const needs = new Map(asked.map(({ id, said }) => [id, readNeeds(said.stdout)]));
  const unknown = options.packages.filter((name) => hosts.every((id) => needsOf(needs, id).absent.includes(name)));
  if (unknown.length > 0)
    throw new UserError(`${unknown.join(", ")}: not installed on ${hosts.map((id) => nameOf(pair, id)).join(" or ")}`);
  return needs;
}

function planOf({ plans }: Work, id: HostId): HostPlan {
  const plan = plans.get(id);
  if (plan === undefined) throw new Error(`there is no plan for ${id}`);
  return plan;
}

function holdersOf(pair: Pair, answers: readonly NodeAnswer[]): Record<string, NodeId> {
  const held: Record<string, NodeId> = {};
  for (const { name } of pair.vips)
    for (const [index, id] of NODE_IDS.entries()) {
      const answer = answers[index];
      if (answer && "status" in answer && answer.status.vips.some((vip) => vip.name === name && vip.held))
        held[name] = id;
    }
  return held;
}

// --- between two steps -----------------------------------------------------------------------------------------------

/** What keeps the pair from losing a host now, and what to do about it. */
async function gaps(work: Work): Promise<{ readonly missing: readonly string[]; readonly next: readonly string[] }> {
  const { pair, targets } = work;
  const [answers, leases] = await Promise.all([
    askBoth(targets),
    pair.authority === undefined ? [] : Promise.all(NODE_IDS.map((id) => askLease(targets, id))),
  ]);
  const said = answers.map((answer) => ("status" in answer ? answer.status : { error: answer.silent }));
  const missing = [...new Set([...unwell(withoutPreferences(pair), said), ...authorityGaps(pair, leases)])];
  return { missing, next: outlook(pair, answers).next };
}

async function askLease(targets: Targets, id: NodeId): Promise<LeaseAnswer | { readonly silent: string }> {
  try {
    const said = await run(targets[id], `${LEASE} status --json`, { timeoutMs: LEASE_DEADLINE_MS, becomeRoot: true });
    if (said.code !== 0) return { silent: lastWord(said.stderr) };
    return JSON.parse(said.stdout) as LeaseAnswer;
  } catch (error) {
    if (error instanceof SshError) return { silent: "does not answer" };
    if (error instanceof SyntaxError) return { silent: "hotpair-lease answers, but not with its status" };
    throw error;
  }
}

/**
 * Waits until the pair could lose any one host. Throws UserError, with what is missing and what to do, when it does not
 * come to that in time; `state`: what the pair is like then.
 */
async function redundant(work: Work, withinMs: number, state: string): Promise<void> {
  const began = Date.now();
  let shown = "";
  let saidAt = began;
  let well = 0;
  for (;;) {
    const { missing, next } = await gaps(work);
    well = missing.length === 0 ? well + 1 : 0;
    if (well >= LOOKS) return;
    const now = Date.now();
    if (missing.length > 0) {
      if (now - began > withinMs)
        throw new UserError(`the pair ${work.pair.name} is not redundant: ${state}`, [
          ...missing.map((line) => `missing: ${line}`),
          ...next.map((line) => `to do: ${line}`),
          `then again: hotpair upgrade -s ${work.stack}`,
        ]);
      const text = missing.join("; ");
      if (text !== shown || now - saidAt > SAY_EVERY_MS) {
        announce(`  ${elapsed(began)} waiting: ${text}`);
        shown = text;
        saidAt = now;
      }
    }
    await sleep(LOOK_EVERY_MS);
  }
}

const elapsed = (since: number): string => `${((Date.now() - since) / 1_000).toFixed(0)} s`;

// --- steps -----------------------------------------------------------------------------------------------------------

async function carryOut(work: Work, step: UpgradeStep, began: number): Promise<void> {
  const { pair, options } = work;
  const say = (text: string) => announce(`[${elapsed(began)}] ${text}`);
  const serving = "the pair is in service, and what was done stays";
  if (step.kind === "upgrade") {
    say(`${nameOf(pair, step.host)}: upgrading`);
    await upgradeHost(work, step.host);
  } else {
    const to = peerOf(step.from);
    const vip = step.kind === "go-home" ? step.vip : undefined;
    say(`${nameOf(pair, step.from)} hands over ${vip === undefined ? "" : `VIP ${vip} `}to ${nameOf(pair, to)}`);
    const said = await handOver(work.targets[step.from], { vip, stay: step.kind === "hand-over" });
    if (!said.done) throw new FailedError(`${nameOf(pair, step.from)} does not hand over: ${said.text}`, [serving]);
    say(`${nameOf(pair, to)}: ${said.text}`);
  }
  const after = Date.now();
  await redundant(work, options.wait * 60_000, serving);
  say(`the pair is redundant again (${elapsed(after)})`);
}

async function upgradeHost(work: Work, id: HostId): Promise<void> {
  const { pair, options } = work;
  const target = targetOf(work.targets, id);
  const plan = planOf(work, id);
  const bootBefore = await bootOf(work, id);
  let reboots = false;
  const said = await run(target, upgradeCommand(options.packages, options.reboot, plan.witnessOf), {
    input: upgradeBundle(pair, plan),
    timeoutMs: UPGRADE_DEADLINE_MS,
    onLine: (line) => {
      reboots ||= /, reboots now$/.test(line);
      announce(`  ${nameOf(pair, id)}: ${line.replace(/^hotpair-apply: +/, "")}`);
    },
  }).catch((error: unknown): RunResult => {
    // It may take the connection with it.
    if (error instanceof SshError && reboots) return { code: 0, stdout: "", stderr: "" };
    throw error;
  });
  if (said.code !== 0)
    throw new FailedError(`${nameOf(pair, id)} was not upgraded to the end`, [
      lastWord(`${said.stdout}${said.stderr}`),
      "what it said is above, and in its journal: journalctl -t hotpair-apply",
    ]);
  if (options.reboot) await rebooted(work, id, bootBefore);
}

/** Its boot's id; undefined while it does not answer. */
async function bootOf({ targets }: Work, id: HostId): Promise<string | undefined> {
  try {
    const target = targetOf(targets, id);
    const said = await run(target, "cat /proc/sys/kernel/random/boot_id", { timeoutMs: 5_000 });
    return said.code === 0 ? said.stdout.trim() : undefined;
  } catch (error) {
    if (!(error instanceof SshError)) throw error;
    return undefined;
  }
}

async function rebooted(work: Work, id: HostId, before: string | undefined): Promise<void> {
  const { pair, targets, options } = work;
  const began = Date.now();
  let saidAt = began;
  for (;;) {
    // The connection that is shared by all commands may lead to the machine that is going down.
    disconnect(targetOf(targets, id));
    const boot = await bootOf(work, id);
    if (boot !== undefined && boot !== before) break;
    if (Date.now() - began > options.wait * 60_000)
      throw new FailedError(`${nameOf(pair, id)} did not come back from its reboot within ${options.wait} min`, [
        "look at its console; the pair is in service without it",
      ]);
    if (Date.now() - saidAt > SAY_EVERY_MS) {
      announce(`  ${elapsed(began)} waiting: ${nameOf(pair, id)} reboots`);
      saidAt = Date.now();
    }
    await sleep(LOOK_EVERY_MS);
  }
  announce(`  ${nameOf(pair, id)}: is back after ${elapsed(began)}`);
}

// --- what is shown ---------------------------------------------------------------------------------------------------

function show(
  work: Work,
  hosts: readonly HostId[],
  needs: ReadonlyMap<HostId, HostNeeds>,
  steps: readonly UpgradeStep[],
): void {
  const { pair, options } = work;
  if (options.json) {
    print(work, { done: true, dryRun: options.dryRun, hosts: described(work, hosts, needs), steps });
    return;
  }
  for (const id of hosts) console.log(describeNeeds(nameOf(pair, id), needsOf(needs, id)).join("\n"));
  if (steps.length === 0) {
    console.log("nothing to do");
    return;
  }
  console.log(paint("bold", "steps"));
  for (const step of steps) console.log(`  ${describeStep(pair, step)}`);
}

function describeStep(pair: Pair, step: UpgradeStep): string {
  if (step.kind === "upgrade") return `upgrade ${nameOf(pair, step.host)}`;
  const vip = step.kind === "go-home" ? `VIP ${step.vip} ` : "";
  return `hand ${vip}over from ${nameOf(pair, step.from)} to ${nameOf(pair, peerOf(step.from))}`;
}

/** A host's needs as a person reads them. */
export function describeNeeds(name: string, needs: HostNeeds): readonly string[] {
  const { packages, kept, restarts, reboot } = needs;
  const members = needs.others.filter((unit) => unit.startsWith("hotpair-"));
  const others = needs.others.filter((unit) => !members.includes(unit));
  const lines = [
    ...packages.map((each) => `${each.name} ${each.from ?? "(new)"} → ${each.to}`),
    ...restarts.map((unit) => `restart ${unit}: it runs on files that were replaced`),
    ...(kept.length > 0
      ? [`kept back, since others would have to go: ${kept.join(", ")} (apt-get dist-upgrade, by hand)`]
      : []),
    ...(members.length > 0
      ? [`of other pairs, and on replaced files: ${members.join(", ")} (hotpair upgrade with their stacks)`]
      : []),
    ...(others.length > 0
      ? [`not the pair's, and also on replaced files: ${others.join(", ")} (--reboot, or restart them)`]
      : []),
    ...(reboot === undefined ? [] : [`wants a reboot: ${reboot} (--reboot)`]),
  ];
  return [
    `${paint("bold", name)}: ${lines.length === 0 ? "up to date" : ""}`.trimEnd(),
    ...lines.map((line) => `  ${line}`),
  ];
}

function finish(
  work: Work,
  hosts: readonly HostId[],
  before: ReadonlyMap<HostId, HostNeeds>,
  due: readonly HostId[],
  after: ReadonlyMap<HostId, HostNeeds>,
  began: number,
): void {
  const { pair, options } = work;
  const left = hosts.filter((id) => isDue(needsOf(after, id), false));
  if (options.json)
    print(work, {
      done: left.length === 0,
      seconds: Math.round((Date.now() - began) / 1_000),
      hosts: described(work, due, before),
      left: described(work, hosts, after),
    });
  else {
    const count = due.reduce((sum, id) => sum + needsOf(before, id).packages.length, 0);
    console.log(`${due.map((id) => nameOf(pair, id)).join(", ")}: ${count} packages upgraded in ${elapsed(began)}`);
    for (const id of hosts) {
      const text = describeNeeds(nameOf(pair, id), needsOf(after, id));
      if (text.length > 1) console.log(text.join("\n"));
    }
  }
  if (left.length > 0) process.exitCode = 1;
}

const described = ({ pair }: Work, hosts: readonly HostId[], needs: ReadonlyMap<HostId, HostNeeds>) =>
  hosts.map((id) => ({ host: nameOf(pair, id), ...needsOf(needs, id), reboot: needsOf(needs, id).reboot ?? null }));

function print({ stack }: Work, found: Readonly<Record<string, unknown>>): void {
  console.log(JSON.stringify({ stack, ...found }, undefined, 2));
}
