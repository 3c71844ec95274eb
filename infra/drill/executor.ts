// Carries out the actions of a scenario, on the lab's hosts from outside where that is possible, else on the servers
// themselves. Every fault that ends by itself is given its end before it begins. What the actions are is scenario.ts.

import { setTimeout as sleep } from "node:timers/promises";
import {
  armUndo,
  clearDrops,
  dropTraffic,
  failDisk,
  freeze,
  isArmed,
  limitMemory,
  powerCut,
  powerOn,
  setLink,
  thaw,
} from "../lab/faults.ts";
import { consoleRun, type HostName, type Lab, runIn } from "../lab/lab.ts";
import { type NodeId, peerOf } from "../model/pair.ts";
import { disconnect, SshError } from "../ssh/run.ts";
import { type Place, shell, tryShell } from "./host.ts";
import { dropFromInside, type InsideFault, linkDownInside, panicInside, powerCutInside } from "./inside.ts";
import { hotpair, restoreScript } from "./operator.ts";
import type { PowerCut } from "./ownership.ts";
import type { Action, Role, Scenario, Stage } from "./scenario.ts";
import { armCommand } from "./undo.ts";

/** What was done, on the drill's clock in Unix milliseconds. */
export interface Done {
  readonly at: number;
  readonly cuts: readonly PowerCut[];
}

export interface Execution {
  readonly place: Place;
  /** As an operator names it. */
  readonly stack: string;
  readonly stage: Stage;
  readonly scenario: Scenario;
  /** Milliseconds by which a node's clock is ahead of this machine's. */
  readonly clockOffset: (node: NodeId) => number;
  /** Waits until the pair is whole; what is still wrong after that time, empty: nothing. */
  readonly whole: (withinMs: number) => Promise<readonly string[]>;
}

const idOf = (stage: Stage, role: Role): NodeId => (role === "active" ? stage.active.id : stage.standby.id);
const nodeOf = (stage: Stage, role: Role) => (role === "active" ? stage.active : stage.standby);

/** The fault of one action on the server itself; undefined when the lab does it, or when it is a plain command. */
function insideFault(place: Place, stage: Stage, action: Action): InsideFault | undefined {
  // Nobody outside a machine can make its kernel panic.
  if (place.lab !== undefined && action.kind !== "panic") return undefined;
  if (action.kind === "power-cut") return powerCutInside;
  if (action.kind === "panic") return panicInside;
  if (action.kind === "link-down") return linkDownInside(nodeOf(stage, action.node), action.networks);
  if (action.kind === "drop-from") return dropFromInside(nodeOf(stage, action.node), action.networks);
  return undefined;
}

const everyAction = (scenario: Scenario): readonly Action[] => flat([...(scenario.setUp ?? []), ...scenario.actions]);
const flat = (actions: readonly Action[]): readonly Action[] =>
  actions.flatMap((action) => (action.kind === "together" ? action.each.flatMap(flat) : [action]));

/** Programs that the scenario needs on the servers, per role. */
export function neededPrograms(place: Place, stage: Stage, scenario: Scenario): Record<Role, string[]> {
  const needs: Record<Role, string[]> = { active: [], standby: [] };
  for (const action of everyAction(scenario)) {
    const fault = insideFault(place, stage, action);
    if (fault !== undefined && "node" in action) needs[action.node].push(...fault.needs);
  }
  return needs;
}

/** Shell that must be armed on each server before anything is done; a role without an undo of its own is absent. */
export function serverUndos(place: Place, stage: Stage, scenario: Scenario): Partial<Record<Role, string>> {
  const undos: Partial<Record<Role, string>> = {};
  for (const role of ["active", "standby"] as const) {
    const own = scenario.undoOnServer?.[role]?.(stage);
    const faults = everyAction(scenario).flatMap((action) =>
      "node" in action && action.node === role ? (insideFault(place, stage, action)?.undo ?? "") : "",
    );
    const text = [own ?? "", ...faults].filter((part) => part !== "").join("\n");
    if (text !== "") undos[role] = text;
  }
  return undos;
}

/** The nodes on which something must be armed. */
export function nodesToArm({ place, stage, scenario }: Execution): NodeId[] {
  const undos = serverUndos(place, stage, scenario);
  return (["active", "standby"] as const).filter((role) => undos[role] !== undefined).map((role) => idOf(stage, role));
}

/** Arms the undo on every server that needs one. Rejects when one of them could not be armed: then nothing may be broken. */
export async function arm(execution: Execution, id: string, afterMs: number): Promise<void> {
  const { place, stack, stage, scenario } = execution;
  const undos = serverUndos(place, stage, scenario);
  if (scenario.restores !== undefined && place.lab !== undefined)
    armUndo(place.lab, id, afterMs, restoreScript(stack, scenario.restores(stage)));
  await Promise.all(
    (["active", "standby"] as const).map(async (role) => {
      const command = undos[role];
      if (command === undefined) return;
      const text = armCommand({ id, description: scenario.name, command, afterMs });
      await shell(place.hosts[idOf(stage, role)], text);
    }),
  );
}

/** Whether what `arm` prepared for the operator is still to come, or under way: it ends by itself. */
export const operatorAtWork = ({ lab }: Place, id: string): boolean => lab !== undefined && isArmed(lab, id);

/** Does the actions in their order; neighbours that come from outside (power, cables) happen together. */
export async function perform(execution: Execution, actions: readonly Action[]): Promise<Done> {
  const cuts: PowerCut[] = [];
  let first: number | undefined;
  const together = (action: Action) => action.kind === "power-cut" || action.kind === "drop-from";
  for (let i = 0; i < actions.length; ) {
    const group: Action[] = [];
    for (let next = actions[i]; next !== undefined; next = actions[++i]) {
      if (group.length > 0 && !(together(next) && group.every(together))) break;
      group.push(next);
    }
    const done = await Promise.all(group.map((action) => performOne(execution, action)));
    for (const one of done) {
      cuts.push(...one.cuts);
      if (one.at !== undefined) first = Math.min(first ?? one.at, one.at);
    }
  }
  return { at: first ?? Date.now(), cuts };
}

interface One {
  readonly at: number | undefined;
  readonly cuts: readonly PowerCut[];
}

async function performOne(execution: Execution, action: Action): Promise<One> {
  const { place, stage } = execution;
  if (action.kind === "wait") {
    await sleep(action.ms);
    return { at: undefined, cuts: [] };
  }
  if (action.kind === "whole") {
    const problems = await execution.whole(action.withinMs);
    if (problems.length > 0) throw new Error(`the pair did not become whole between two steps: ${problems.join("; ")}`);
    return { at: undefined, cuts: [] };
  }
  if (action.kind === "together") {
    const done = await Promise.all(action.each.map((actions) => perform(execution, actions)));
    return { at: Math.min(...done.map((one) => one.at)), cuts: done.flatMap((one) => one.cuts) };
  }
  const inside = insideFault(place, stage, action);
  if (inside !== undefined && "node" in action) {
    const at = (await onServer(execution, action.node, inside.command, false)) + inside.delayMs;
    const ends = action.kind === "power-cut" || action.kind === "panic";
    if (ends) disconnect(place.hosts[idOf(stage, action.node)].target);
    return { at, cuts: ends ? [{ node: idOf(stage, action.node), at }] : [] };
  }
  if (action.kind === "run") {
    const began = Date.now();
    const done = onServer(execution, action.node, action.command(stage), action.mayFail ?? false);
    const at = action.mayBeDown
      ? await done.catch((error: unknown) => {
          if (!(error instanceof SshError)) throw error;
          return began;
        })
      : await done;
    return { at, cuts: [] };
  }
  if (action.kind === "operator") {
    const at = Date.now();
    await hotpair([...action.words(stage), "-s", execution.stack]);
    return { at, cuts: [] };
  }
  if (place.lab === undefined || action.kind === "panic") throw new Error(`${action.kind} is not possible here`);
  return fromOutside(execution, place.lab, action);
}

/** Runs shell on a server and returns when it began, on this machine's clock: its own clock read right before, corrected. */
async function onServer(execution: Execution, role: Role, command: string, mayFail: boolean): Promise<number> {
  const { place, stage } = execution;
  const id = idOf(stage, role);
  const host = place.hosts[id];
  const script = `date +%s%N\nset -e\n${command}\n`;
  let stamp: string | undefined;
  const result = await tryShell(host, script, undefined, (line) => {
    stamp ??= /^\d{19}$/.exec(line)?.[0];
  }).catch((error: unknown) => {
    // A reboot takes the connection with it.
    if (!mayFail || stamp === undefined) throw error;
    disconnect(host.target);
    return undefined;
  });
  if (result !== undefined && result.code !== 0 && !mayFail)
    throw new Error(`the fault could not be brought about on ${host.node.name}: ${result.stderr.trim().slice(-500)}`);
  if (stamp === undefined) throw new Error(`${host.node.name} did not say when the fault began`);
  return Number(BigInt(stamp) / 1_000n) / 1_000 - execution.clockOffset(id);
}

type OutsideAction = Exclude<Action, { kind: "run" | "wait" | "whole" | "together" | "operator" | "panic" }>;

async function fromOutside(execution: Execution, lab: Lab, action: OutsideAction): Promise<One> {
  const { stage, scenario, place } = execution;
  const name = (role: Role): HostName => place.hosts[idOf(stage, role)].labName ?? "node-a";
  if ("mayBeDown" in action && action.mayBeDown && lab.hosts[name(action.node)]?.pid === undefined)
    return { at: performance.timeOrigin + performance.now() + clockCorrection(), cuts: [] };
  switch (action.kind) {
    case "power-cut": {
      const host = name(action.node);
      const late = action.networkLateMs;
      // With late cables the drill powers the host on itself; what was armed is for the case that it dies.
      const undoAfterMs = late === undefined ? action.backAfterMs : action.backAfterMs + 30_000;
      const cut = await powerCut(lab, host, { undoAfterMs });
      // The shared connection has nobody at its other end any more, and would wait for him.
      disconnect(place.hosts[idOf(stage, action.node)].target);
      const correction = clockCorrection();
      if (late !== undefined)
        setTimeout(() => void powerOn(lab, host, { delayNetworkMs: late }).catch(() => undefined), action.backAfterMs);
      return { at: cut.at + correction, cuts: [{ node: idOf(stage, action.node), at: cut.latest + correction }] };
    }
    case "link-down": {
      const at = Date.now();
      await Promise.all(
        action.networks.map((network) =>
          setLink(lab, name(action.node), network, false, { undoAfterMs: scenario.holdMs }),
        ),
      );
      return { at, cuts: [] };
    }
    case "drop-from": {
      const at = Date.now();
      const other = place.hosts[peerOf(idOf(stage, action.node))].labName ?? "node-b";
      for (const network of action.networks)
        await dropTraffic(lab, name(action.node), other, network, { undoAfterMs: scenario.holdMs });
      return { at, cuts: [] };
    }
    case "freeze": {
      const host = name(action.node);
      const forMs = typeof action.forMs === "number" ? action.forMs : action.forMs(stage.pair);
      // Armed for the case that this process dies; it thaws the host itself, so as to know when.
      const frozen = await freeze(lab, host, { undoAfterMs: forMs + 30_000 });
      const at = frozen.at + clockCorrection();
      await sleep(Math.max(0, at + forMs - Date.now()));
      // Its last act lets the processes go on.
      await thaw(lab, host);
      return {
        at,
        cuts: [
          { node: idOf(stage, action.node), at, until: performance.timeOrigin + performance.now() + clockCorrection() },
        ],
      };
    }
    case "disk-failure": {
      // Armed for the case that this process dies: what follows cuts the power itself.
      const failed = await failDisk(lab, name(action.node), { undoAfterMs: scenario.holdMs + 60_000 });
      return { at: failed.at + clockCorrection(), cuts: [] };
    }
    case "memory-limit": {
      const limited = await limitMemory(lab, name(action.node), action.mebibytes, { undoAfterMs: scenario.holdMs });
      return { at: limited.at + clockCorrection(), cuts: [] };
    }
    case "witness-power-cut": {
      const cut = await powerCut(lab, "witness", { undoAfterMs: action.backAfterMs });
      return { at: cut.at, cuts: [] };
    }
    case "cut-witness": {
      const at = Date.now();
      const host = name(action.node);
      await Promise.all([
        dropTraffic(lab, host, "witness", "public", { undoAfterMs: scenario.holdMs }),
        dropTraffic(lab, "witness", host, "public", { undoAfterMs: scenario.holdMs }),
      ]);
      return { at, cuts: [] };
    }
    case "run-witness": {
      const at = Date.now();
      const done = consoleRun(lab, "witness", ["sh", "-c", action.command(stage)]);
      await (action.mayFail ? done.catch(() => undefined) : done);
      return { at, cuts: [] };
    }
    case "claim-vip": {
      const at = Date.now();
      await claim(
        lab,
        stage.vips.map((vip) => vip.address.split("/")[0] ?? ""),
        scenario.holdMs,
      );
      return { at, cuts: [] };
    }
  }
}

/** The lab's faults are timed by this process's monotonic clock since its start; clients and observers read the wall clock. */
function clockCorrection(): number {
  const drift = Date.now() - (performance.timeOrigin + performance.now());
  return Math.abs(drift) > 2 ? drift : 0;
}

/** Sends gratuitous ARP, request and reply, for each address, five times: AF_PACKET, as RFC 826 and RFC 5227 §3 have it. */
const ANNOUNCE = `use Socket;
my ($interface, @addresses) = @ARGV;
my ($index, $mac) = map { open(my $f, "<", "/sys/class/net/$interface/$_") or die "$_: $!"; my $l = <$f>; chomp $l; $l } qw(ifindex address);
my $all = pack("H12", "f" x 12);
$mac = pack("H12", $mac =~ s/://gr);
socket(my $s, 17, SOCK_RAW, unpack("S", pack("n", 0x0806))) or die "socket: $!";
my $to = pack("SnlSCCa8", 17, 0x0806, $index, 1, 0, 6, $all);
for (1 .. 5) {
  for my $address (map { inet_aton($_) } @addresses) {
    for my $operation (1, 2) {
      my $arp = pack("nnCCn", 1, 0x0800, 6, 4, $operation) . $mac . $address . $all . $address;
      send($s, $all . $mac . pack("n", 0x0806) . $arp, 0, $to) or die "send: $!";
    }
  }
  select undef, undef, undef, 0.05;
}`;

/**
 * The third host takes the addresses and says so to everybody. It lets go by itself, in a process that does not end with
 * this one.
 */
async function claim(lab: Lab, addresses: readonly string[], holdMs: number): Promise<void> {
  const each = (verb: string) => addresses.map((address) => `ip addr ${verb} ${address}/32 dev intruder`).join("\n");
  const script = `${each("add")}
mount -t sysfs sysfs /sys
perl -e "$0" intruder ${addresses.join(" ")}
sleep ${holdMs / 1000}
${each("del")}`;
  // Interfaces of another network namespace are seen in a /sys of one's own.
  const argv = ["setsid", "unshare", "--mount", "--propagation", "private", "sh", "-c", script, ANNOUNCE];
  const child = runIn(lab.namespaces.intruder, argv, { stdio: "ignore", detached: true });
  child.unref();
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", () => resolve());
    child.once("error", reject);
  });
}

/** Ends at once whatever the scenario does from outside; for a drill that is broken off. */
export async function undoOutside(place: Place): Promise<void> {
  const { lab } = place;
  if (lab === undefined) return;
  await clearDrops(lab);
  if (lab.hosts.witness !== undefined) await powerOn(lab, "witness");
  for (const host of ["node-a", "node-b"] as const) {
    await thaw(lab, host);
    for (const network of ["public", "heartbeat", "storage"] as const) await setLink(lab, host, network, true);
    await powerOn(lab, host);
  }
}
