// `hotpair status`, `switch` and `maintenance`: the pair in operation. Thin: the nodes answer for themselves
// (hotpair-arbiter on each), what their answers mean is in infra/model/outlook.ts.

import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import { UserError } from "../model/errors.ts";
import { type NodeAnswer, type Outlook, outlook } from "../model/outlook.ts";
import { NODE_IDS, type NodeId, type Pair, peerOf } from "../model/pair.ts";
import { type AuthorityStatus, type NodeStatus, standsBy } from "../model/status.ts";
import { disconnectAll, type RunResult, run, SshError, type SshTarget } from "../ssh/run.ts";
import { patience } from "./patience.ts";
import { keyPathsOf, nameOf, nodeNamed, openSecrets, targetsOf } from "./servers.ts";
import { loadStack, type Named, stackOption } from "./stack.ts";
import { announce, confirm, paint } from "./terminal.ts";

const ARBITER = "/usr/lib/hotpair/hotpair-arbiter";
/** A node that says nothing for this long is shown as silent. */
const STATUS_DEADLINE_MS = 10_000;
/** A hand-over takes milliseconds; the rest is SSH and systemd. */
const ACT_DEADLINE_MS = 90_000;
const WATCH_INTERVAL_MS = 1_000;
const LAST_CHANGES = 6;

export function register(program: Command): void {
  program
    .command("status")
    .description("who is active, what is healthy, what the pair can survive right now, and what to do next")
    .addOption(stackOption())
    .option("-w, --watch", "again every second until interrupted", false)
    .option(
      "--wait <seconds>",
      "first until the pair is well, at most this long: data may still be copied",
      patience("seconds", 86_400),
    )
    .option("--json", "print as JSON (with --watch: one line each)", false)
    .action(status);

  program
    .command("switch")
    .description("move the active role to a node: planned, within milliseconds, only if it is fit for it")
    .addOption(stackOption())
    .requiredOption("--to <node>", "the node that is to be active")
    .option("--vip <name>", "only this VIP; default: all")
    .option("--wait <seconds>", "call it off after this long", wholeSeconds, 5)
    .option("--json", "print as JSON", false)
    .action(switchTo);

  program
    .command("maintenance")
    .description("park a node: it hands over, nothing is promoted there, nothing alarms; or take it back")
    .argument("<node>", "a node's name, or `pair` for both")
    .argument("<on|off>", "park, or take back", onOrOff)
    .addOption(stackOption())
    .option("--yes", "do not ask before the whole pair is parked", false)
    .action(maintenance);
}

function wholeSeconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0 || value > 60) throw new InvalidArgumentError("seconds, 1 to 60");
  return value;
}

function onOrOff(text: string): "on" | "off" {
  if (text !== "on" && text !== "off") throw new InvalidArgumentError("on or off");
  return text;
}

interface Reached {
  readonly pair: Pair;
  readonly targets: Readonly<Record<NodeId, SshTarget>>;
}

/** The stack's servers, with the secrets that reaching them needs. */
async function reach(stack: string | undefined): Promise<Reached> {
  const loaded = loadStack(stack);
  const secrets = await openSecrets(loaded, keyPathsOf(loaded.pair));
  return { pair: loaded.pair, targets: targetsOf(loaded.pair, secrets) };
}

// ---- status

async function status(options: Named & { watch: boolean; wait?: number; json: boolean }): Promise<void> {
  const { pair, targets } = await reach(options.stack);
  const began = Date.now();
  let waitedFor = "";
  try {
    for (;;) {
      const answers = await askBoth(targets);
      const view = outlook(pair, answers);
      const well = view.verdict === "healthy" || view.verdict === "parked";
      if (!well && !options.watch && Date.now() - began < (options.wait ?? 0) * 1_000) {
        const problem = view.problems[0] ?? view.verdict;
        if (problem !== waitedFor) announce(`waiting (${Math.round((Date.now() - began) / 1_000)} s): ${problem}`);
        waitedFor = problem;
        await sleep(WATCH_INTERVAL_MS);
        continue;
      }
      if (options.json) {
        const nodes = answers.map((answer, index) => ({ name: pair.nodes[index]?.name, ...answer }));
        console.log(JSON.stringify({ pair: pair.name, ...view, nodes }, undefined, options.watch ? undefined : 2));
      } else {
        const screen = describe(pair, answers, view, Date.now());
        // Home and clear what follows, instead of clearing first: no flicker.
        process.stdout.write(options.watch && process.stdout.isTTY ? `\u001b[H${screen}\n\u001b[J` : `${screen}\n`);
      }
      if (!options.watch) {
        if (!well) process.exitCode = 1;
        return;
      }
      await sleep(WATCH_INTERVAL_MS);
    }
  } finally {
    disconnectAll();
  }
}

/** What both nodes say of themselves now, in the stack file's order. */
export async function askBoth(targets: Readonly<Record<NodeId, SshTarget>>): Promise<[NodeAnswer, NodeAnswer]> {
  return Promise.all([askNode(targets.a), askNode(targets.b)]);
}

/** What one node says of itself; never rejects for a node that cannot be asked. */
async function askNode(target: SshTarget): Promise<NodeAnswer> {
  try {
    const said = await run(target, `${ARBITER} status --json`, { timeoutMs: STATUS_DEADLINE_MS, becomeRoot: true });
    if (said.code === 127 || /not found|No such file/.test(said.stderr))
      return { silent: "hotpair is not installed there: hotpair up" };
    if (said.code !== 0) return { silent: lastLine(said) };
    return { status: JSON.parse(said.stdout) as NodeStatus };
  } catch (error) {
    if (error instanceof SshError)
      return {
        silent:
          error.kind === "unreachable" || error.kind === "timeout"
            ? "does not answer"
            : `cannot be asked (${firstLine(error.message)})`,
      };
    if (error instanceof SyntaxError) return { silent: "answers, but not with its status" };
    throw error;
  }
}

const firstLine = (text: string): string => text.split("\n")[0] ?? text;
const lastLine = ({ stdout, stderr }: RunResult): string =>
  (stderr.trim() || stdout.trim())
    .split("\n")
    .at(-1)
    ?.replace(/^hotpair-arbiter: /, "") ?? "";

const VERDICTS: Readonly<Record<Outlook["verdict"], string>> = {
  healthy: "healthy: one node serves, the other is ready",
  degraded: "DEGRADED: it serves, but not everything is well",
  down: "DOWN: nobody holds the virtual address",
  "two owners": "TWO OWNERS of a virtual address",
  parked: "in maintenance",
  unknown: "UNKNOWN: not everybody answers, and nobody who does holds the virtual address",
};

/** One screen. `now`: Unix milliseconds. */
export function describe(pair: Pair, answers: readonly [NodeAnswer, NodeAnswer], view: Outlook, now: number): string {
  const colour = view.verdict === "healthy" ? "green" : view.verdict === "parked" ? "cyan" : "red";
  const lines = [
    `pair ${paint("bold", pair.name)}: ${paint(view.verdict === "degraded" ? "yellow" : colour, VERDICTS[view.verdict])}`,
    "",
    ...view.owners.map(
      ({ vip, address, nodes, covered }) =>
        `  VIP ${vip} ${address}: ${paint("bold", nodes.join(" AND ") || "nobody")}${covered ? "" : paint("yellow", ", no standby ready")}`,
    ),
    "",
    ...table(pair, answers),
    "",
    paint("bold", "  survives right now"),
    ...view.survives.map(({ text, survives, because }) =>
      survives ? `    ${paint("green", "yes")}  ${text}` : `    ${paint("yellow", "no ")}  ${text}: ${because}`,
    ),
  ];
  const changes = answers
    .flatMap((answer, index) =>
      "status" in answer
        ? answer.status.lastChanges.map((change) => ({ ...change, node: pair.nodes[index]?.name ?? "" }))
        : [],
    )
    .toSorted((one, other) => one.at - other.at)
    .slice(-LAST_CHANGES);
  if (changes.length > 0) {
    lines.push("", paint("bold", "  last changes"));
    for (const { at, node, vip, from, to, reason } of changes)
      lines.push(`    ${new Date(at).toISOString()} (${ago(now - at)})  ${node} ${vip}: ${from} → ${to}: ${reason}`);
  }
  lines.push("", paint("bold", "  what to do next"));
  if (view.next.length === 0) lines.push("    nothing");
  for (const step of view.next) lines.push(`    ${step}`);
  return lines.join("\n");
}

/** What each node says, side by side. */
function table(pair: Pair, answers: readonly [NodeAnswer, NodeAnswer]): readonly string[] {
  const rows: string[][] = [["", ...pair.nodes.map((node) => node.name)]];
  const row = (title: string, cell: (status: NodeStatus) => string): void => {
    rows.push([title, ...answers.map((answer) => ("status" in answer ? cell(answer.status) : "?"))]);
  };
  if (answers.some((answer) => "silent" in answer))
    rows.push(["", ...answers.map((answer) => ("silent" in answer ? "SILENT" : ""))]);
  for (const { name } of pair.vips)
    row(`VIP ${name}`, (status) => {
      const vip = status.vips.find((one) => one.name === name);
      if (vip === undefined) return "unknown there";
      if (vip.gate.closed && standsBy(vip)) return "standby";
      const home = vip.homeInMs === undefined ? "" : `, goes home in ${ago(vip.homeInMs)} at the earliest`;
      return `${vip.held ? "ACTIVE" : "standby"} (${vip.state}${vip.gate.closed ? ", gate closed" : ""}${home})`;
    });
  const daemons = [
    ...new Set(answers.flatMap((answer) => ("status" in answer ? answer.status.daemons.map(({ name }) => name) : []))),
  ];
  for (const name of daemons)
    row(name, (status) => {
      const daemon = status.daemons.find((one) => one.name === name);
      if (daemon === undefined) return "-";
      return daemon.state === "running" ? "running" : `${daemon.state.toUpperCase()} (${daemon.detail})`;
    });
  if (pair.haproxy !== undefined)
    row("backend servers", ({ backends }) => `${backends.filter(({ up }) => up).length} of ${backends.length} up`);
  row("hears its peer", ({ peer }) => {
    if (peer === null) return "no";
    const heard = Object.entries(peer.heardMsAgo).map(
      ([network, age]) => `${network} ${age === null ? "never" : age < 1_000 ? `${age} ms` : ago(age)}`,
    );
    return heard.join(", ");
  });
  if (pair.authority !== undefined) {
    const known = (cell: (authority: AuthorityStatus) => string) => (status: NodeStatus) =>
      status.authority ? cell(status.authority) : "not known";
    const named = (id: NodeId) => nameOf(pair, id);
    row(
      "right to write",
      known(({ holding, holder, blocked }) => {
        if (holding) return "HOLDS IT";
        const there = holder === null ? "nobody holds it" : `${named(holder)} holds it`;
        return blocked && blocked !== "the peer holds the lease" ? `${there}; not here: ${blocked}` : there;
      }),
    );
    row(
      "in sync",
      known(({ insync, epoch }) => {
        const nodes = insync === null ? "not known" : insync.map(named).join(" and ") || "nobody";
        return epoch === null || epoch === 1 ? nodes : `${nodes} (epoch ${epoch})`;
      }),
    );
    const heard = (age: number | null) => (age === null ? "never" : age < 1_000 ? `${age} ms` : ago(age));
    row(
      "quorum, witness",
      known(({ quorumMsAgo, witnessMsAgo }) => `${heard(quorumMsAgo)}, ${heard(witnessMsAgo)}`),
    );
  }
  if (pair.fencing !== undefined)
    row("fencing of the peer", ({ fencing, at }) => {
      if (fencing === undefined || fencing === null) return "not known";
      const { last, test } = fencing;
      if (last !== null) return `${last.outcome}, ${ago(at - last.at)} ago`;
      if (test === null) return "never tested";
      return test.ok ? `ready (tested ${ago(at - test.at)} ago)` : "TEST FAILED";
    });
  if (pair.aws !== undefined)
    row("clients in AWS", ({ address }) => {
      if (address === undefined || address === null) return "not known";
      const { state, elapsedMs, attempts } = address;
      if (state === "here") return `SENT HERE (${(elapsedMs / 1_000).toFixed(1)} s, calls: ${attempts})`;
      return state === "moving" ? `not yet (for ${ago(elapsedMs)}, calls: ${attempts})` : "-";
    });
  row("maintenance", ({ maintenance: parked }) => (parked ? "PARKED" : "no"));
  row("up since", ({ uptimeMs }) => ago(uptimeMs));
  const width = (column: number) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0));
  const widths = [width(0), width(1)];
  return rows.map(([title = "", a = "", b = ""]) =>
    `  ${title.padEnd(widths[0] ?? 0)}  ${a.padEnd(widths[1] ?? 0)}  ${b}`.trimEnd(),
  );
}

function ago(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}

// ---- switch

interface SwitchOptions extends Named {
  readonly to: string;
  readonly vip?: string;
  readonly wait: number;
  readonly json: boolean;
}

async function switchTo(options: SwitchOptions): Promise<void> {
  const { pair, targets } = await reach(options.stack);
  const to = nodeNamed(pair, options.to);
  const from = peerOf(to);
  if (options.vip !== undefined && !pair.vips.some(({ name }) => name === options.vip))
    throw new UserError(`the pair ${pair.name} has no VIP ${options.vip}`, [
      `its VIPs: ${pair.vips.map(({ name }) => name).join(", ")}`,
    ]);
  try {
    const answers = await askBoth(targets);
    const there = answers[to === "a" ? 0 : 1];
    const wanted = pair.vips.filter(({ name }) => options.vip === undefined || name === options.vip);
    const already = "status" in there && wanted.every(({ name }) => held(there.status, name));
    if (already) return finish(options, true, `${nameOf(pair, to)} is active already`);
    const said = await handOver(targets[from], { vip: options.vip, stay: true, waitSeconds: options.wait });
    if (said.done) return finish(options, true, `${nameOf(pair, to)} is active; ${said.text}`);
    finish(options, false, `${nameOf(pair, from)} does not hand over: ${said.text}`);
  } finally {
    disconnectAll();
  }
}

/**
 * Moves VIPs of a node to its peer, all of them unless one is named. `stay`: a preferred node does not take them back by
 * itself for an hour. Resolves also to a refusal, with the node's reason; rejects with SshError.
 */
export async function handOver(
  from: SshTarget,
  { vip, stay, waitSeconds = 5 }: { vip: string | undefined; stay: boolean; waitSeconds?: number },
): Promise<{ readonly done: boolean; readonly text: string }> {
  const words = [stay ? "--stay" : "", `--wait ${waitSeconds}`, vip === undefined ? "" : `--vip ${vip}`];
  const command = `${ARBITER} switch ${words.filter((word) => word !== "").join(" ")}`;
  const said = await run(from, command, { timeoutMs: ACT_DEADLINE_MS, becomeRoot: true });
  return { done: said.code === 0, text: lastLine(said) };
}

const held = (status: NodeStatus, vip: string): boolean => status.vips.some((one) => one.name === vip && one.held);

function finish(options: { readonly json: boolean }, done: boolean, text: string): void {
  if (options.json) console.log(JSON.stringify({ done, text }));
  else if (done) console.log(text);
  else announce(`hotpair: ${text}`);
  if (!done) process.exitCode = 1;
}

// ---- maintenance

async function maintenance(word: string, state: "on" | "off", options: Named & { yes: boolean }): Promise<void> {
  const { pair, targets } = await reach(options.stack);
  try {
    if (word !== "pair") {
      await park(pair, targets, nodeNamed(pair, word), state);
      return;
    }
    const question = `Park both nodes of ${pair.name}? The service stays where it is, and nobody takes over.`;
    if (state === "on" && !(await confirm(question, options.yes))) return;
    const answers = await askBoth(targets);
    const active = (id: NodeId): boolean => {
      const answer = answers[id === "a" ? 0 : 1];
      return "status" in answer && answer.status.vips.some((vip) => vip.held);
    };
    // On: the standby first, so that nobody takes over from the one that goes on serving. Off: the other way round.
    const order = [...NODE_IDS].sort((one, other) => Number(active(one)) - Number(active(other)));
    for (const id of state === "on" ? order : order.toReversed())
      if (!(await park(pair, targets, id, state, state === "on" && active(id) ? " --keep" : ""))) return;
  } finally {
    disconnectAll();
  }
}

/** False when the node refused, which it said. */
async function park(
  pair: Pair,
  targets: Reached["targets"],
  id: NodeId,
  state: "on" | "off",
  flag = "",
): Promise<boolean> {
  const said = await run(targets[id], `${ARBITER} maintenance ${state}${flag}`, {
    timeoutMs: ACT_DEADLINE_MS,
    becomeRoot: true,
  });
  if (said.code === 0) console.log(lastLine(said));
  else {
    announce(`hotpair: ${nameOf(pair, id)}: ${lastLine(said)}`);
    process.exitCode = 1;
  }
  return said.code === 0;
}
