// Faults from outside a host: power, disk, memory, time that stands still, cables and lost frames. Each may be given a time
// after which it undoes itself; that undo is armed before the fault, as a process of its own, so it happens even when the
// process that asked for it dies.

import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../model/errors.ts";
import { CommandError, command, quoteArguments, startDetached } from "./command.ts";
import { bootCommand, hostOf, hostReady, hostsOf, type Lab, startHost } from "./lab.ts";
import {
  type HostName,
  hostNames,
  interfaceOf,
  memoryGroupOf,
  type Network,
  networksOf,
  processMarker,
  spareInterfaceOf,
} from "./layout.ts";
import { hostBootGroup, hostKeeper, hostKeepers, kill, processesWith } from "./processes.ts";

export interface FaultOptions {
  /** Milliseconds from the fault until it is undone by itself; without it, it stays until it is undone or the lab ends. */
  undoAfterMs?: number;
}

/** Who can be cut off from whom on a network. All but the two nodes are on the public network only. */
export type Party = HostName | "client" | "intruder" | "router" | "machine";

/**
 * Cuts a host's power. In this order: from one instant on no frame of it passes any switch, what it had not synced to its
 * disk is dropped, every process of it is killed, its links lose carrier. Resolves when the host is off.
 * `at` is the wall clock (milliseconds) right before the cut was handed to the kernel, `latest` right after.
 */
export async function powerCut(
  lab: Lab,
  host: HostName,
  options: FaultOptions = {},
): Promise<{ at: number; latest: number }> {
  const [keeper, keepers] = [hostKeeper(lab, host), hostKeepers(lab, host)];
  const init = hostOf(lab, host).pid;
  if (keeper === undefined || init === undefined) throw new UserError(`${host} of lab ${lab.name} is off already`);
  arm(lab, `power ${host}`, options.undoAfterMs, quoteArguments(bootCommand(lab.stateDir, host)));
  disarm(lab, `disk ${host}`);
  const instant = await atOneInstant(inHosts(lab, ["nft", "-f", "-"]), silence(host, "cut"));
  // What a machine had not written out is in its own memory and ends with it.
  if (hostOf(lab, host).kind === "container")
    await dropUnsynced(join(`/proc/${keeper}/root${lab.stateDir}`, host, "disk"));
  const group = bootGroup(lab, host);
  kill(init);
  // What is frozen cannot end; its processes are dead by now and will not run again.
  if (group !== undefined) writeFileSync(join(group, "cgroup.freeze"), "0");
  // On a busy machine the armed power-on may come before this looks: another keeper means that this one is gone.
  while (hostKeepers(lab, host).some((pid) => keepers.includes(pid))) await sleep(5);
  return instant;
}

/** Powers a host on and waits until it accepts SSH. `delayNetworkMs` keeps its switch ports down for that long. */
export async function powerOn(lab: Lab, host: HostName, options: { delayNetworkMs?: number } = {}): Promise<void> {
  disarm(lab, `power ${host}`);
  await startHost(lab, host, options);
  await hostReady(lab, host);
}

/**
 * Fails a host's disk: from now on every read and write of what is not in memory ends with an I/O error, until the host has
 * lost its power and boots with a disk that is well. (What came with the image is on this machine's disk, and stays.)
 */
export async function failDisk(lab: Lab, host: HostName, options: FaultOptions = {}): Promise<{ at: number }> {
  requireContainer(lab, host, "its disk cannot be made to fail");
  const keeper = hostKeeper(lab, host);
  if (keeper === undefined) throw new UserError(`${host} of lab ${lab.name} is off: its disk cannot fail`);
  disarm(lab, `disk ${host}`);
  const program = [process.execPath, join(import.meta.dirname, "../../bin/hotpair.mjs"), "lab"];
  const typed = (verb: string) => quoteArguments([...program, verb, host, "--name", lab.name]);
  // As a program of its own: a power cut ends whatever else was armed for this.
  const undo = ["setsid", "sh", "-c", `${typed("power-cut")}; ${typed("power-on")}`];
  arm(lab, `disk ${host}`, options.undoAfterMs, quoteArguments(undo), process.env);
  const at = now();
  await dropUnsynced(join(`/proc/${keeper}/root${lab.stateDir}`, host, "disk"));
  return { at };
}

/**
 * Leaves a host so much memory from now on, swap included: whatever wants more waits until the kernel has ended something of
 * this host. What its processes had before does not count.
 */
export async function limitMemory(
  lab: Lab,
  host: HostName,
  mebibytes: number,
  options: FaultOptions = {},
): Promise<{ at: number }> {
  requireContainer(lab, host, "its memory is what it was made with");
  const [keeper, group] = [hostKeeper(lab, host), bootGroup(lab, host)];
  if (keeper === undefined || group === undefined)
    throw new UserError(`${host} of lab ${lab.name} is off: it has no memory to limit`);
  disarm(lab, `memory ${host}`);
  // Of cgroups(7) version 1, on machines that still count memory there: a line "4:memory:/path".
  const old = /^\d+:memory:(.+)$/m.exec(readFileSync(`/proc/${keeper}/cgroup`, "utf8"))?.[1];
  const above = old === undefined ? group : join("/sys/fs/cgroup/memory", old);
  const own = old === undefined ? group : join(above, memoryGroupOf(lab.index, host));
  const script = (text: string) => ["sh", "-c", text, "sh", group, own, above, String(mebibytes)];
  arm(lab, `memory ${host}`, options.undoAfterMs, quoteArguments(script(old === undefined ? UNLIMIT : UNLIMIT_OLD)));
  const at = now();
  await command(script(old === undefined ? LIMIT : LIMIT_OLD));
  return { at };
}

/** $1: the host's own group of its present boot, three below the root; each above it has to hand the controller down. */
const LIMIT = `set -e
node=\${1%/*}; index=\${node%/*}; labs=\${index%/*}
for one in "\${labs%/*}" "$labs" "$index" "$node"; do echo +memory > "$one/cgroup.subtree_control"; done
echo "$4M" > "$1/memory.max"
[ ! -e "$1/memory.swap.max" ] || echo 0 > "$1/memory.swap.max"`;
const UNLIMIT = `echo max > "$1/memory.max"
[ ! -e "$1/memory.swap.max" ] || echo max > "$1/memory.swap.max"`;

/** $2: a group for the host's processes below that of its keeper, $3, which they go back to. What they start is born there. */
const LIMIT_OLD = `set -e
mkdir -p "$2"
find "$1" -name cgroup.procs -exec cat {} + | while read -r pid; do echo "$pid" > "$2/cgroup.procs" || :; done
echo "$4M" > "$2/memory.limit_in_bytes"
[ ! -e "$2/memory.memsw.limit_in_bytes" ] || echo "$4M" > "$2/memory.memsw.limit_in_bytes"`;
const UNLIMIT_OLD = `for again in 1 2 3 4 5 6 7 8 9 10; do
  cat "$2/cgroup.procs" | while read -r pid; do echo "$pid" > "$3/cgroup.procs" || :; done
  # One that ends, or has just begun, keeps it for a moment longer.
  rmdir "$2" 2> /dev/null && break || sleep 0.2
done`;

/**
 * Stops the whole host where it stands: no process of it runs (of a machine, no processor), no frame of it passes a switch,
 * and its clocks go on. Resolves when all of it is frozen: between `at` and `latest`, wall clock in milliseconds.
 */
export async function freeze(
  lab: Lab,
  host: HostName,
  options: FaultOptions = {},
): Promise<{ at: number; latest: number }> {
  const group = bootGroup(lab, host);
  if (group === undefined) throw new UserError(`${host} of lab ${lab.name} is off: it cannot be frozen`);
  if (isFrozen(lab, host)) throw new UserError(`${host} of lab ${lab.name} is frozen already`);
  disarm(lab, `freeze ${host}`);
  const undo = `${quoteArguments(unsilence(lab, host, "freeze"))}; echo 0 > ${join(group, "cgroup.freeze")}`;
  arm(lab, `freeze ${host}`, options.undoAfterMs, undo);
  const { at } = await atOneInstant(inHosts(lab, ["nft", "-f", "-"]), silence(host, "freeze"));
  writeFileSync(join(group, "cgroup.freeze"), "1");
  // A process freezes on its way out of the kernel; one that waits for a disk is there a moment later.
  const deadline = now() + 5_000;
  while (!/^frozen 1$/m.test(readFileSync(join(group, "cgroup.events"), "utf8"))) {
    if (now() > deadline) {
      await thaw(lab, host);
      throw new Error(`${host} of lab ${lab.name} did not freeze within 5 s`);
    }
    await sleep(1);
  }
  return { at, latest: now() };
}

/** Lets a frozen host go on. Its processes find that time has passed. Does nothing when it is not frozen. */
export async function thaw(lab: Lab, host: HostName): Promise<void> {
  disarm(lab, `freeze ${host}`);
  const group = bootGroup(lab, host);
  if (group === undefined || !isFrozen(lab, host)) return;
  await command(unsilence(lab, host, "freeze"));
  writeFileSync(join(group, "cgroup.freeze"), "0");
}

/**
 * Stops a virtual machine together with its clocks, as a hypervisor does that saves or moves one: nothing in it can tell
 * afterwards that time has passed. Resolves when it stands: between `at` and `latest`, wall clock in milliseconds. Throws
 * UserError for a container, whose clocks are this machine's.
 */
export async function pause(
  lab: Lab,
  host: HostName,
  options: FaultOptions = {},
): Promise<{ at: number; latest: number }> {
  const { kind, pid } = hostOf(lab, host);
  if (kind !== "machine")
    throw new UserError(
      `${host} of lab ${lab.name} is no virtual machine, so its clocks cannot stand still: hotpair lab freeze`,
    );
  if (pid === undefined) throw new UserError(`${host} of lab ${lab.name} is off: it cannot be paused`);
  if (isFrozen(lab, host)) throw new UserError(`${host} of lab ${lab.name} is frozen: it cannot be paused`);
  if (await isPaused(lab, host)) throw new UserError(`${host} of lab ${lab.name} is paused already`);
  disarm(lab, `pause ${host}`);
  arm(lab, `pause ${host}`, options.undoAfterMs, quoteArguments(monitor(lab, host, { execute: "cont" })));
  const at = now();
  await command(monitor(lab, host, { execute: "stop" }));
  return { at, latest: now() };
}

/** Lets a paused machine go on; to it, no time has passed. Does nothing when it is not paused. */
export async function resume(lab: Lab, host: HostName): Promise<void> {
  disarm(lab, `pause ${host}`);
  if (await isPaused(lab, host)) await command(monitor(lab, host, { execute: "cont" }));
}

/** Whether the host is a virtual machine that is powered and stands still with its clocks. */
export async function isPaused(lab: Lab, host: HostName): Promise<boolean> {
  const { kind, pid } = hostOf(lab, host);
  // Of a frozen one nobody answers.
  if (kind !== "machine" || pid === undefined || isFrozen(lab, host)) return false;
  const answer = await command(monitor(lab, host, { execute: "query-status" }));
  return (JSON.parse(answer) as { return: { status: string } }).return.status === "paused";
}

/** Whether the host is powered and frozen. */
export function isFrozen(lab: Lab, host: HostName): boolean {
  const group = bootGroup(lab, host);
  return group !== undefined && readFileSync(join(group, "cgroup.freeze"), "utf8").trim() === "1";
}

/**
 * Pulls or plugs the cable between a host and the switch of a network: the host sees the carrier go or come. `spare`: that of
 * the second card, in a lab that has them.
 */
export async function setLink(
  lab: Lab,
  host: HostName,
  network: Network,
  up: boolean,
  options: FaultOptions & { readonly spare?: boolean } = {},
): Promise<void> {
  const port = options.spare ? spareInterfaceOf(host, network) : interfaceOf(host, network);
  const flag = join(lab.stateDir, "pulled", port);
  // While the host is off its port does not exist; the flag is for its next boot.
  const set = (state: "up" | "down") => {
    const outside = `! ip link show ${port} > /dev/null 2>&1 || ip link set ${port} ${state}`;
    if (hostOf(lab, host).kind === "container") return inHosts(lab, ["sh", "-c", outside]);
    // What becomes of the port, a machine does not hear: its card is told.
    const order = { execute: "set_link", arguments: { name: `card-${port}`, up: state === "up" } };
    const inside = quoteArguments(monitor(lab, host, order));
    return inHosts(lab, ["sh", "-c", `${outside}; [ ! -S ${monitorOf(lab, host)} ] || ${inside}`]);
  };
  const plug = set("up");
  disarm(lab, `link ${port}`);
  if (up) {
    rmSync(flag, { force: true });
    await command(plug);
    return;
  }
  arm(lab, `link ${port}`, options.undoAfterMs, `rm -f ${quoteArguments([flag])}; ${quoteArguments(plug)}`);
  writeFileSync(flag, "");
  await command(set("down"));
}

/** Loses every frame that goes from one party to another on a network, in that direction only. */
export async function dropTraffic(
  lab: Lab,
  from: Party,
  to: Party,
  network: Network,
  options: FaultOptions = {},
): Promise<void> {
  const ports: [string, string] = [portOf(from, network), portOf(to, network)];
  await drop(lab, `drop-${ports.join("-")}`, [ports], options);
}

/**
 * Cuts a host from others in both directions, on every network that they share and at one instant. By default from all
 * other hosts, so that it reaches clients and nothing else; from the witness alone, when that is all that is named.
 */
export async function partition(
  lab: Lab,
  host: HostName,
  from: readonly Party[] = otherHosts(lab, host),
  options: FaultOptions = {},
): Promise<void> {
  const pairs = from.flatMap((party) =>
    networksOf(host)
      .filter((network) => networksOfParty(party).includes(network))
      .map((network): [string, string] => [portOf(host, network), portOf(party, network)]),
  );
  const both = pairs.flatMap(([one, other]): [string, string][] => [
    [one, other],
    [other, one],
  ]);
  await drop(lab, `drop-${host}-from-${from.join("-")}`, both, options);
}

/** Ends every `dropTraffic` and `partition` of the lab. */
export async function clearDrops(lab: Lab): Promise<void> {
  const tables = await command(inHosts(lab, ["nft", "list", "tables", "bridge"]));
  for (const [, table = ""] of tables.matchAll(/table bridge (drop-\S+)/g)) {
    disarm(lab, table);
    await command(inHosts(lab, ["nft", "delete", "table", "bridge", table]));
  }
}

function requireContainer(lab: Lab, host: HostName, why: string): void {
  if (hostOf(lab, host).kind !== "container")
    throw new UserError(`${host} of lab ${lab.name} is a virtual machine: ${why}`);
}

// --- how ---------------------------------------------------------------------------------------------------------

function inHosts(lab: Lab, argv: string[]): string[] {
  return ["nsenter", `--net=/run/netns/${lab.namespaces.hosts}`, "--", ...argv];
}

/** An order to the program that emulates a machine, as a command line. */
function monitor(lab: Lab, host: HostName, order: object): string[] {
  return ["perl", join(import.meta.dirname, "qmp.pl"), monitorOf(lab, host), JSON.stringify(order)];
}

const monitorOf = (lab: Lab, host: HostName): string => join(lab.stateDir, host, "qmp");

function otherHosts(lab: Lab, host: HostName): HostName[] {
  return hostsOf(lab)
    .map(({ name }) => name)
    .filter((name) => name !== host);
}

function networksOfParty(party: Party): readonly Network[] {
  const host = hostNames.find((name) => name === party);
  return host ? networksOf(host) : ["public"];
}

/** Loses every frame that comes in at the first port of a pair and would go out at the second. */
async function drop(
  lab: Lab,
  table: string,
  pairs: readonly (readonly [string, string])[],
  options: FaultOptions,
): Promise<void> {
  disarm(lab, table);
  const undo = inHosts(lab, ["nft", "delete", "table", "bridge", table]);
  arm(lab, table, options.undoAfterMs, quoteArguments(undo));
  const rules = pairs.map(([source, target]) => `iifname "${source}" oifname "${target}" drop;`).join(" ");
  const chain = `chain forward { type filter hook forward priority 0; ${rules} }`;
  await command(inHosts(lab, ["nft", "-f", "-"]), {
    input: `add table bridge ${table}\ndelete table bridge ${table}\ntable bridge ${table} {\n${chain}\n}\n`,
  });
}

/** Control group of a host's present boot, as the keeper sees it: this machine may not have that hierarchy mounted. */
function bootGroup(lab: Lab, host: HostName): string | undefined {
  const keeper = hostKeeper(lab, host);
  const group = hostBootGroup(lab, host);
  return keeper === undefined || group === undefined ? undefined : `/proc/${keeper}/root/sys/fs/cgroup${group}`;
}

function portOf(party: Party, network: Network): string {
  const host = hostNames.find((name) => name === party);
  if (host) return interfaceOf(host, network);
  if (network === "public") return party;
  throw new Error(`${party} is on the public network only, not on ${network}`);
}

/** One transaction for all ports: a power cut does not take the heartbeat before the public network. */
function silence(host: HostName, fault: "cut" | "freeze"): string {
  const cables = networksOf(host).flatMap((network) => [interfaceOf(host, network), spareInterfaceOf(host, network)]);
  const ports = cables.map((name) => `"${name}"`);
  const set = `{ ${ports.join(", ")} }`;
  return [
    `table bridge ${fault}-${host} {`,
    `  chain in { type filter hook prerouting priority -300; iifname ${set} drop; }`,
    `  chain out { type filter hook postrouting priority 300; oifname ${set} drop; }`,
    "}",
    "",
  ].join("\n");
}

function unsilence(lab: Lab, host: HostName, fault: "cut" | "freeze"): string[] {
  return inHosts(lab, ["nft", "delete", "table", "bridge", `${fault}-${host}`]);
}

/**
 * Hands a program its input and closes it, and times just that: the program has started by then and waits to read. nft
 * commits when its input ends.
 */
async function atOneInstant(argv: string[], input: string): Promise<{ at: number; latest: number }> {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: ["pipe", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", resolve);
  });
  child.stdin.on("error", () => undefined);
  child.stdin.write(input);
  // Several times what it takes to start here (5 ms); when it takes longer, `latest` says so.
  await sleep(30);
  const at = now();
  child.stdin.end();
  const code = await ended;
  const latest = now();
  if (code !== 0) throw new CommandError(argv, code, stderr);
  return { at, latest };
}

/** Shuts the file system down without writing anything more, as a power cut does: FS_IOC_SHUTDOWN, no log flush. */
async function dropUnsynced(mountPoint: string): Promise<void> {
  // _IOR('X', 125, __u32) with EXT4_GOING_FLAGS_NOLOGFLUSH = 2 (Linux, fs/ext4/ext4.h). Node has no ioctl.
  // A directory that is no mount point lies on this machine's own disk.
  const program = `
    open(my $d, "<", $ARGV[0]) or die "$ARGV[0]: $!\\n";
    (stat $d)[0] != (stat "$ARGV[0]/..")[0] or die "$ARGV[0] is not mounted\\n";
    my $flags = pack "L", 2;
    ioctl($d, 0x8004587d, $flags) or die "$!\\n";`;
  try {
    await command(["perl", "-e", program, mountPoint]);
  } catch (error) {
    // The host may have gone off by itself in this very moment.
    if (!(error instanceof CommandError)) throw error;
  }
}

/** Starts the undo of a fault, to run at its time whatever becomes of this process. */
function arm(lab: Lab, fault: string, afterMs: number | undefined, undo: string, env?: NodeJS.ProcessEnv): void {
  if (afterMs === undefined) return;
  // One process without children, so that its arguments tell whose it is for as long as it lives.
  const wait =
    'my ($seconds, $undo) = splice @ARGV, 0, 2; select undef, undef, undef, $seconds; exec "sh", "-c", $undo, @ARGV';
  const words = [processMarker(lab.stateDir), undoWord(lab, fault)];
  startDetached(["perl", "-e", wait, String(afterMs / 1000), undo, ...words], join(lab.stateDir, "undo.log"), env);
}

/**
 * Has an operator's shell command run on this machine at its time, whatever becomes of this process; the end of the lab ends
 * it, too. It has the environment of this process: where the lab is and what opens a stack may stand there.
 */
export function armUndo(lab: Lab, name: string, afterMs: number, command: string): void {
  disarm(lab, name);
  arm(lab, name, afterMs, command, process.env);
}

/** Whether what was armed is still to come, or under way. */
export const isArmed = (lab: Lab, name: string): boolean => processesWith(undoWord(lab, name)).length > 0;

function disarm(lab: Lab, fault: string): void {
  for (const pid of processesWith(undoWord(lab, fault))) kill(pid);
}

function undoWord(lab: Lab, fault: string): string {
  return `hotpair-undo:${lab.index}:${fault.replaceAll(" ", "-")}`;
}

function now(): number {
  return performance.timeOrigin + performance.now();
}
