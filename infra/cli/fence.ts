// `hotpair fence test`: whether each node could switch the other one off, without doing it. Thin: the nodes ask their agents
// themselves (hotpair-fence on each). When the holder of the lease really shoots is written in docs/fencing.md.

import type { Command } from "commander";
import { formatDuration, ms } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import { type Fencing, NODE_IDS, type NodeId, type Pair, peerOf } from "../model/pair.ts";
import type { FencingTest } from "../model/status.ts";
import { FENCE_PROGRAM } from "../services/fencing.ts";
import { disconnectAll, run, SshError, type SshTarget } from "../ssh/run.ts";
import { keyPathsOf, nameOf, openSecrets, targetsOf } from "./servers.ts";
import { loadStack, stackOption } from "./stack.ts";
import { paint } from "./terminal.ts";

/** Of a shot's time, what is kept for the look that confirms it (infra/node/fence/shoot.py, RESERVE). */
const LOOK_SHARE = 0.25;
/** What the connection and the start of the agent may take besides the agent's own time. */
const BESIDES_MS = 10_000;

export function register(program: Command): void {
  const fence = program
    .command("fence")
    .description("fencing: how the holder of the lease switches the other node off, where time does not prove it");
  fence
    .command("test")
    .description("prove on both nodes that the agent reaches the other one's power controller; shoots nobody")
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(test);
}

/** One node's look at the other one's power. */
export interface Direction {
  readonly from: string;
  readonly to: string;
  readonly agent: string;
  readonly ok: boolean;
  /** Of `to`; null: not known. */
  readonly power: "on" | "off" | null;
  readonly elapsedMs: number | null;
  /** Why it is not ok; empty when it is. */
  readonly detail: string;
}

async function test(options: { readonly stack?: string; readonly json: boolean }): Promise<void> {
  const stack = loadStack(options.stack);
  const { pair } = stack;
  const { fencing } = pair;
  if (fencing === undefined)
    throw new UserError(`the pair ${pair.name} has no fencing`, [
      "describe how each node is switched off as hotpair:fencing in the stack file (docs/fencing.md), then: hotpair up",
    ]);
  const targets = targetsOf(pair, await openSecrets(stack, keyPathsOf(pair)));
  try {
    const [a, b] = await Promise.all([look(targets.a, fencing), look(targets.b, fencing)]);
    const directions = directionsOf(pair, fencing, { a, b });
    const ok = directions.every((direction) => direction.ok);
    if (options.json) console.log(JSON.stringify({ ok, directions }, undefined, 2));
    else for (const direction of directions) console.log(describe(direction));
    if (!ok) process.exitCode = 1;
  } finally {
    disconnectAll();
  }
}

/** What a node's own test said, or why it could not be asked. */
export type Look = FencingTest | { readonly silent: string };

async function look(target: SshTarget, { timeout }: Fencing): Promise<Look> {
  try {
    const said = await run(target, `${FENCE_PROGRAM} test --json`, {
      timeoutMs: timeout + BESIDES_MS,
      becomeRoot: true,
    });
    if (said.code === 127) return { silent: "hotpair-fence is not there yet: hotpair up" };
    const last = (said.stderr.trim() || said.stdout.trim()).split("\n").at(-1) ?? "";
    if (!said.stdout.startsWith("{")) return { silent: last.replace(/^hotpair-fence: /, "") };
    return JSON.parse(said.stdout) as FencingTest;
  } catch (error) {
    if (error instanceof SshError) return { silent: error.message.split("\n")[0] ?? error.message };
    throw error;
  }
}

/** From each node to the other. An agent that calls a node off which answers looks at another machine's power. */
export function directionsOf(
  pair: Pair,
  fencing: Fencing,
  looks: Readonly<Record<NodeId, Look>>,
): readonly Direction[] {
  return NODE_IDS.map((id) => {
    const to = peerOf(id);
    const found = looks[id];
    const { agent } = fencing.agents[to];
    const names = { from: nameOf(pair, id), to: nameOf(pair, to), agent };
    if ("silent" in found) return { ...names, ok: false, power: null, elapsedMs: null, detail: found.silent };
    const { ok, power, elapsedMs, detail } = found;
    const most = fencing.timeout * LOOK_SHARE;
    if (ok && elapsedMs > most)
      return {
        ...names,
        ok: false,
        power,
        elapsedMs,
        detail:
          `it tells the power (${power}), but too late: a shot has ${formatDuration(fencing.timeout)} for switching off and a look, ` +
          `so a look may take ${formatDuration(ms(most))}; find what the agent waits for (fence_ipmilan: option cipher), or raise hotpair:fencing.timeout`,
      };
    const answers = !("silent" in looks[to]);
    if (ok && power === "off" && answers)
      return {
        ...names,
        ok: false,
        power,
        elapsedMs,
        detail: `the agent calls it off, and ${names.to} answers: its options name another machine`,
      };
    return { ...names, ok, power, elapsedMs, detail };
  });
}

export function describe({ from, to, agent, ok, power, elapsedMs, detail }: Direction): string {
  const time = elapsedMs === null ? "" : ` after ${(elapsedMs / 1_000).toFixed(1)} s`;
  return ok
    ? `${paint("green", "ok    ")} ${from} could shoot ${to}: ${agent} tells its power${time}: ${power}`
    : `${paint("red", "FAILED")} ${from} could NOT shoot ${to}: ${agent}${time}: ${detail}`;
}
