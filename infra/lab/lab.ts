// The lab's public face: two real Debian hosts on this machine and, where asked, a third as their witness, with their
// networks and clients, up, down and found again. Faults from outside are in faults.ts; what a lab is called and addressed by is in layout.ts.

import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, rmdir, truncate, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withLock } from "../machine/lock.ts";
import { UserError } from "../model/errors.ts";
import type { SshTarget } from "../ssh/target.ts";
import { command, startDetached, systemPath } from "./command.ts";
import { ensureImage, ensureMachineImage, type ImageVariant } from "./image.ts";
import { clientKeyPair, hostKeyPair } from "./keys.ts";
import {
  addressOf,
  cgroupOf,
  consoleCableOf,
  type HostName,
  interfaceOf,
  jumbo,
  labsDirectory,
  macOf,
  maximumLabs,
  memoryGroupOf,
  type Namespaces,
  type Network,
  type NodeName,
  namespacesOf,
  networks,
  networksOf,
  prefixOf,
  processMarker,
  publicOctet,
  type Segment,
  spareInterfaceOf,
  spareMacOf,
  stateDirectoryOf,
  witnessNetworks,
} from "./layout.ts";
import { createNetwork, networkExists, removeNetwork } from "./network.ts";
import { hostInit, hostKeeper, killLabProcesses, processesWith } from "./processes.ts";
import { requireLabMachine } from "./requirements.ts";

export type { ImageVariant } from "./image.ts";
export { ensureImage, ensureMachineImage } from "./image.ts";
export type { HostName, Namespaces, Network, NodeName, Segment } from "./layout.ts";

/** Something for every network that a host is on: the public one at least. */
type PerNetwork = { public: string } & Partial<Record<Network, string>>;

export interface LabHost {
  name: HostName;
  /** IPv4, without prefix length (it is 24 everywhere). */
  address: PerNetwork;
  /** Interface names inside the host. */
  interface: PerNetwork;
  /** "ssh-ed25519 AAAA…" */
  hostKey: string;
  /** As root, over the public network, with the lab's key. */
  ssh: SshTarget;
  /** A container shares this machine's kernel and clock; a machine has a kernel of its own, and nobody sees into it. */
  kind: "container" | "machine";
  /**
   * Of a container its first process, of a machine the program that emulates it, as this machine numbers them; undefined
   * while the host is off. Read anew at each access.
   */
  readonly pid: number | undefined;
}

/** One of the two servers: it is on every network. */
export interface LabNode extends LabHost {
  name: NodeName;
  address: Record<Network, string>;
  interface: Record<Network, string>;
}

export interface Lab {
  name: string;
  index: number;
  image: ImageVariant;
  stateDir: string;
  /** Its virtual machines have a second card on every network (layout.ts). */
  spareCards: boolean;
  /** Private key that root and ops accept on every host. */
  keyFile: string;
  /** Those that the lab was made with. */
  hosts: Readonly<Record<NodeName, LabNode> & { witness?: LabHost }>;
  namespaces: Namespaces;
  /** First three octets of a network, e.g. "198.18.0". */
  prefix(network: Segment): string;
}

export interface LabUpOptions {
  /** Default "default". */
  name?: string;
  /** Default "bare". */
  image?: ImageVariant;
  /** A third host on the public network. A lab that is up keeps the hosts that it was made with. */
  witness?: boolean;
  /** The two nodes are virtual machines with a kernel of their own; the witness is not. */
  machines?: boolean;
  /** Each virtual machine has a second card on every network, and the storage network carries jumbo frames. */
  spareCards?: boolean;
  /** Size of each host's disk in bytes, default 4 GiB; the file is sparse. */
  diskBytes?: number;
  /** One line per step, for a person who waits. */
  onStep?: (text: string) => void;
}

/** What `lab.json` in the state directory holds. Written when the index is taken; `complete` once all hosts answered. */
interface LabRecord {
  name: string;
  index: number;
  image: ImageVariant;
  witness: boolean;
  /** Absent: false. */
  machines?: boolean;
  /** Absent: false. */
  spareCards?: boolean;
  complete: boolean;
}

/**
 * Of whoever waits for a host's SSH server after its start. An emulated processor is fifty times slower than this machine's,
 * and a question asked again too soon keeps it from answering the first one.
 */
const patience = {
  container: { withinMs: 60_000, greetingMs: 500 },
  machine: { withinMs: 240_000, greetingMs: 15_000 },
} as const;
/** Of the file that holds what is replicated; sparse. */
const dataBytes = 512 * 1024 ** 2;
/** Of a virtual machine, in MiB: what a pair with state takes, and a page cache. */
const machineMemory = 768;
/** Claims of lab indexes. On a file system that a reboot of the machine empties, as it does the namespaces. */
const claimsDirectory = "/run/hotpair-lab";

/**
 * Brings a lab up and waits until all its hosts accept SSH. A lab that is up already is returned as it is, a host of it that
 * is off is powered on, and the remains of an interrupted attempt are removed first.
 */
export async function labUp(options: LabUpOptions = {}): Promise<Lab> {
  const name = checkedName(options.name ?? "default");
  const image = options.image ?? "bare";
  const say = options.onStep ?? (() => undefined);
  const { witness = false, machines = false, spareCards = false } = options;
  if (spareCards && !machines)
    throw new UserError(
      "spare cards are for virtual machines, which can bond them: hotpair lab up --machines --spare-cards",
    );
  // Before anything is built for it.
  const running = findLab(name);
  if (running !== undefined) requireSame(running, options);
  await requireLabMachine({ machines });
  requirePlainPath();
  const lower = await ensureImage(image, { stateful: witness, onStep: say });
  const machineImage = machines ? await ensureMachineImage(say) : "";

  return withLock(`lab ${stateDirectoryOf(name)}`, { timeoutMs: 120_000 }, async () => {
    const there = findLab(name);
    if (there) {
      requireSame(there, options);
      startPowerSwitch(there);
      await Promise.all(hostsOf(there).map((host) => startHost(there, host.name)));
      await Promise.all(hostsOf(there).map((host) => hostReady(there, host.name)));
      return there;
    }
    await removeLab(name);
    const stateDir = stateDirectoryOf(name);
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    const index = claimIndex(name, stateDir);
    const record: LabRecord = { name, index, image, witness, machines, spareCards, complete: false };
    await writeRecord(stateDir, record);
    const lab = describe(record);
    try {
      say(`network: ${lab.prefix("public")}.0/24 and the two beside it`);
      await createNetwork(index, { jumboFrames: spareCards });
      startPowerSwitch(lab);
      await writeFile(lab.keyFile, clientKeyPair(index).privateKey, { mode: 0o600 });
      await mkdir(join(stateDir, "pulled"));
      const names = hostsOf(lab).map((host) => host.name);
      say(`hosts: ${names.join(", ")} boot from image ${image}`);
      await Promise.all(
        names.map(async (host) => {
          if (hostOf(lab, host).kind === "machine") await prepareMachine(lab, host, machineImage);
          else await prepareHost(lab, host, lower, options.diskBytes ?? 4 * 1024 ** 3);
          await startHost(lab, host);
          await hostReady(lab, host);
        }),
      );
      await writeRecord(stateDir, { ...record, complete: true });
    } catch (error) {
      await removeLab(name);
      throw error;
    }
    return lab;
  });
}

/** Throws UserError when a lab that is up is not what is asked for. */
function requireSame({ name, image, hosts, spareCards }: Lab, wanted: LabUpOptions): void {
  const down = `take it down first (hotpair lab down --name ${name})`;
  const asked = wanted.image ?? "bare";
  if (image !== asked) {
    throw new UserError(`lab ${name} is up with image "${image}", and "${asked}" was asked for: ${down}`);
  }
  if (wanted.witness && !hosts.witness) throw new UserError(noWitness(name));
  if (wanted.machines && hosts["node-a"].kind !== "machine") {
    throw new UserError(
      `lab ${name} is up with hosts on this machine's kernel, and virtual machines were asked for: ${down}`,
    );
  }
  if (wanted.spareCards && !spareCards)
    throw new UserError(`lab ${name} is up without spare cards, and they were asked for: ${down}`);
}

/** Removes a lab and everything that belongs to it. Does nothing when there is none. */
export async function labDown(name = "default"): Promise<void> {
  checkedName(name);
  if (process.getuid?.() !== 0) await requireLabMachine();
  await withLock(`lab ${stateDirectoryOf(name)}`, { timeoutMs: 120_000 }, () => removeLab(name));
}

/** The lab of this name if it is up, else undefined. */
export function findLab(name = "default"): Lab | undefined {
  const stateDir = stateDirectoryOf(checkedName(name));
  const record = readRecord(stateDir);
  // After a reboot of this machine the state directory is still there, and nothing else is, not even the claim.
  const claimed = claims().some((claim) => claim.stateDir === stateDir && claim.index === record?.index);
  return record?.complete && claimed ? describe(record) : undefined;
}

/** Names of all labs that have left anything in the state directory, complete or not. */
export async function labNames(): Promise<string[]> {
  const entries = await readdir(labsDirectory(), { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** The hosts that a lab was made with, the nodes first. */
export function hostsOf(lab: Lab): LabHost[] {
  const { witness } = lab.hosts;
  return [lab.hosts["node-a"], lab.hosts["node-b"], ...(witness ? [witness] : [])];
}

/** A host of a lab by its name. Throws UserError when the lab was made without a witness and it is asked for. */
export function hostOf(lab: Lab, name: HostName): LabHost {
  const host = lab.hosts[name];
  if (!host) throw new UserError(noWitness(lab.name));
  return host;
}

function noWitness(name: string): string {
  return `lab ${name} was made without a witness: take it down first (hotpair lab down --name ${name}), then hotpair lab up --witness --name ${name}`;
}

/** Starts a program in one of the lab's namespaces. It ends with the lab at the latest. */
export function runIn(namespace: string, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  return spawn("nsenter", [`--net=/run/netns/${namespace}`, "--", ...argv], options);
}

/**
 * Runs a command inside a host without its network, as its console would, and resolves to standard output.
 * Rejects with CommandError when it fails, with UserError when the host is off.
 */
export async function consoleRun(lab: Lab, host: HostName, argv: readonly string[], input?: string): Promise<string> {
  return command([...consolePrefix(lab, host), ...argv], input === undefined ? {} : { input });
}

/** The words that, put before a command line, run it inside the host. */
export function consolePrefix(lab: Lab, host: HostName): string[] {
  const { pid } = hostOf(lab, host);
  if (pid === undefined) {
    throw new UserError(`${host} of lab ${lab.name} is off: hotpair lab power-on ${host} --name ${lab.name}`);
  }
  if (hostOf(lab, host).kind === "machine") return machineConsole(lab, host);
  const spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"];
  // The shell stays outside the host's process ids and waits for the command inside. nsenter in its place would follow
  // its child into SIGSTOP, which systemd sends to everything at shutdown, and then nobody would reap that child: the
  // host could never finish rebooting.
  const wait = ["sh", "-c", '"$@"; exit $?', "sh"];
  return [
    "nsenter",
    `--target=${pid}`,
    ...spaces,
    "--no-fork",
    "--",
    ...["env", "-i", `PATH=${systemPath}`, "HOME=/root", `TERM=${process.env.TERM ?? "dumb"}`, "LC_ALL=C.UTF-8"],
    ...wait,
  ];
}

/** The same for a virtual machine, over the lab's own cable: one connection for all commands, since making one takes a second. */
function machineConsole({ index, stateDir, keyFile, namespaces }: Lab, host: HostName): string[] {
  const options = [
    ...["BatchMode=yes", "StrictHostKeyChecking=yes", `UserKnownHostsFile=${join(stateDir, host, "known_hosts")}`],
    ...["ControlMaster=auto", `ControlPath=${join(stateDir, host, "console")}`, "ControlPersist=60"],
    ...["ConnectTimeout=10", "ServerAliveInterval=5", "LogLevel=ERROR"],
  ].flatMap((option) => ["-o", option]);
  const ssh = ["ssh", "-F", "none", "-i", keyFile, ...options, `root@${consoleCableOf(index, host).there}`];
  // The shell at the other end takes one line; each word is quoted for it.
  const quote = `line=; for word; do line="$line '$(printf %s "$word" | sed "s/'/'\\\\\\\\''/g")'"; done`;
  const run = `${quote}; exec nsenter --net=/run/netns/${namespaces.hosts} -- ${ssh.join(" ")} -- "$line"`;
  return ["sh", "-c", run, "sh"];
}

/** The process by which hosts of a lab shoot each other (power-switch.ts); only a pair with a witness does. */
function startPowerSwitch({ index, stateDir, hosts }: Lab): void {
  const word = `hotpair-power-switch:${index}`;
  if (hosts.witness === undefined || processesWith(word).length > 0) return;
  const program = join(import.meta.dirname, "power-switch.ts");
  startDetached([process.execPath, program, processMarker(stateDir), word], join(stateDir, "power-switch.log"));
}

/** Powers a host on unless it runs. Returns at once; `hostReady` waits. */
export async function startHost(lab: Lab, host: HostName, options: { delayNetworkMs?: number } = {}): Promise<void> {
  const keeper = hostKeeper(lab, host);
  if (keeper !== undefined) {
    // Not what a keeper that is just ending left for a moment.
    await sleep(50);
    if (hostKeeper(lab, host) === keeper) return;
  }
  startDetached(bootCommand(lab.stateDir, host, options.delayNetworkMs), join(lab.stateDir, host, "console.log"));
}

/** The command line that powers a host on and stays until it is off. */
export function bootCommand(stateDir: string, host: HostName, delayNetworkMs = 0): string[] {
  const isMachine = existsSync(join(stateDir, host, "seed.tar"));
  const script = join(import.meta.dirname, isMachine ? "machine.sh" : "host.sh");
  const delay = String(delayNetworkMs / 1000);
  return ["unshare", "--mount", "--propagation", "private", "sh", script, processMarker(stateDir), host, delay];
}

/** A process that has just become another program has no arguments for a moment, so one look is not enough. */
async function isOff(lab: Lab, host: HostName): Promise<boolean> {
  for (let look = 1; look <= 3; look++) {
    if (hostKeeper(lab, host) !== undefined) return false;
    await sleep(100);
  }
  return true;
}

/**
 * Puts an empty disk in the place of the one that is replicated, or another server in the place of a whole virtual machine: all
 * its disks are as on the first day, its cables, addresses and host key are the old one's. Throws UserError while it is on.
 */
export async function replaceHardware(lab: Lab, host: NodeName, what: "data disk" | "server"): Promise<void> {
  if (hostOf(lab, host).kind !== "machine") throw new UserError(`${host} of lab ${lab.name} is no virtual machine`);
  if (!(await isOff(lab, host)))
    throw new UserError(`${host} of lab ${lab.name} is on: hotpair lab power-cut ${host} --name ${lab.name}`);
  if (what === "server") await makeRootDisk(lab, host, await ensureMachineImage());
  await makeDataDisk(lab, host);
}

/** Resolves when the host's SSH server greets and lets ordinary users in. */
export async function hostReady(lab: Lab, host: HostName): Promise<void> {
  const { withinMs, greetingMs } = patience[hostOf(lab, host).kind];
  const deadline = Date.now() + withinMs;
  while (!((await greets(hostOf(lab, host).address.public, greetingMs)) && (await loginsAllowed(lab, host)))) {
    const off = await isOff(lab, host);
    if (off || Date.now() > deadline) {
      const log = await readFile(join(lab.stateDir, host, "console.log"), "utf8").catch(() => "");
      throw new UserError(
        `${host} of lab ${lab.name} ${off ? "went off while it booted" : `did not accept SSH within ${withinMs / 1000} s`}; the end of its console:`,
        log.trim().split(/\r?\n/).slice(-15),
      );
    }
    await sleep(40);
  }
}

// --- one lab -----------------------------------------------------------------------------------------------------

function describe(record: LabRecord): Lab {
  const { name, index, image } = record;
  const stateDir = stateDirectoryOf(name);
  const keyFile = join(stateDir, "id_ed25519");
  const host = <Name extends HostName, Wired extends Network>(hostName: Name, wired: readonly Wired[]) => {
    const per = (value: (network: Wired) => string) =>
      Object.fromEntries(wired.map((network) => [network, value(network)])) as Record<Wired, string>;
    const hostKey = hostKeyPair(index, hostName).publicKey;
    const ssh: SshTarget = {
      host: addressOf(index, hostName, "public"),
      port: 22,
      user: "root",
      hostKey,
      auth: { kind: "key", file: keyFile },
    };
    return {
      name: hostName,
      kind: record.machines && hostName !== "witness" ? ("machine" as const) : ("container" as const),
      address: per((network) => addressOf(index, hostName, network)),
      interface: per((network) => interfaceOf(hostName, network)),
      hostKey,
      ssh,
      get pid() {
        return hostInit({ index, stateDir }, hostName);
      },
    };
  };
  return {
    name,
    index,
    image,
    stateDir,
    spareCards: record.spareCards === true,
    keyFile,
    hosts: {
      "node-a": host("node-a", networks),
      "node-b": host("node-b", networks),
      ...(record.witness && { witness: host("witness", witnessNetworks) }),
    },
    namespaces: namespacesOf(index),
    prefix: (network) => prefixOf(index, network),
  };
}

/** The host's disk, and what its keeper must know. */
async function prepareHost(lab: Lab, host: HostName, image: string, diskBytes: number): Promise<void> {
  const directory = join(lab.stateDir, host);
  await writeSeed(lab, host);
  await writeConfiguration(lab, host, { IMAGE: image });
  const disk = join(directory, "disk.img");
  await writeFile(disk, "", { mode: 0o600 });
  await truncate(disk, diskBytes);
  await command(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", disk]);
}

/** The same for a virtual machine, and a second disk for what is replicated. `image`: of ensureMachineImage. */
async function prepareMachine(lab: Lab, host: HostName, image: string): Promise<void> {
  const directory = join(lab.stateDir, host);
  const cable = consoleCableOf(lab.index, host);
  await writeSeed(lab, host);
  const seed = join(directory, "seed");
  await writeFile(
    join(seed, "etc/systemd/network/10-lab.network"),
    `[Match]\nName=${cable.name}\n\n[Network]\nAddress=${cable.there}/30\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n`,
  );
  await command([
    "tar",
    "--create",
    "--numeric-owner",
    "--file",
    join(directory, "seed.tar"),
    "--directory",
    seed,
    ".",
  ]);
  await writeFile(join(directory, "known_hosts"), `${cable.there} ${hostOf(lab, host).hostKey}\n`);
  await writeConfiguration(lab, host, {
    IMAGE: image,
    CABLE: `${cable.name},${cable.mac},${cable.here}/30`,
    MEMORY: String(machineMemory),
  });
  await makeRootDisk(lab, host, image);
  await makeDataDisk(lab, host);
}

/** `image`: of ensureMachineImage. */
async function makeRootDisk({ stateDir, image: variant }: Lab, host: HostName, image: string): Promise<void> {
  const root = join(stateDir, host, "root.qcow2");
  await command(["qemu-img", "create", "-q", "-f", "qcow2", "-b", join(image, `${variant}.img`), "-F", "raw", root]);
}

async function makeDataDisk({ stateDir }: Lab, host: HostName): Promise<void> {
  const data = join(stateDir, host, "data.img");
  await writeFile(data, "", { mode: 0o600 });
  await truncate(data, dataBytes);
}

/** What host.sh and machine.sh read. */
async function writeConfiguration(lab: Lab, host: HostName, own: Readonly<Record<string, string>>): Promise<void> {
  const { index } = lab;
  const ports = networksOf(host).map(
    (network) => `${interfaceOf(host, network)}:${network}:${macOf(index, host, network)}`,
  );
  if (lab.spareCards && hostOf(lab, host).kind === "machine")
    ports.push(
      ...networksOf(host).map(
        (network) => `${spareInterfaceOf(host, network)}:${network}:${spareMacOf(index, host, network)}`,
      ),
    );
  const settings = {
    INDEX: String(index),
    HOSTS_NETNS: lab.namespaces.hosts,
    PORTS: ports.join(" "),
    JUMBO: lab.spareCards ? `${jumbo.network}:${jumbo.mtu}` : "",
    ...own,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}='${value}'\n`);
  await writeFile(join(lab.stateDir, host, "host.conf"), lines.join(""));
}

/** The files that make this host differ from its image. */
async function writeSeed(lab: Lab, host: HostName): Promise<void> {
  const directory = join(lab.stateDir, host);
  const seed = join(directory, "seed");
  const { index } = lab;
  const keys = hostKeyPair(index, host);
  const authorized = `${clientKeyPair(index).publicKey} lab\n`;
  const write = async (path: string, content: string, mode = 0o644, owner = 0) => {
    await mkdir(join(seed, path, ".."), { recursive: true, mode: 0o755 });
    await writeFile(join(seed, path), content, { mode });
    if (owner) await command(["chown", `${owner}:${owner}`, join(seed, path), join(seed, path, "..")]);
  };
  await mkdir(seed, { recursive: true, mode: 0o755 });
  await write("etc/hostname", `${host}\n`);
  const known = hostsOf(lab).map((other) => `${other.address.public} ${other.name}\n`);
  await write("etc/hosts", `127.0.0.1 localhost\n::1 localhost\n${known.join("")}`);
  // With an id from the start, systemd does not take each boot from the image for a first boot.
  await write("etc/machine-id", `${createHash("md5").update(`hotpair lab ${index} ${host}`).digest("hex")}\n`);
  await write("etc/ssh/ssh_host_ed25519_key", keys.privateKey, 0o600);
  await write("etc/ssh/ssh_host_ed25519_key.pub", `${keys.publicKey} ${host}\n`);
  for (const network of networksOf(host)) {
    const gateway = network === "public" ? `Gateway=${prefixOf(index, "public")}.${publicOctet.router}\n` : "";
    const address = `${addressOf(index, host, network)}/24`;
    await write(
      `etc/systemd/network/10-${network}.network`,
      `[Match]\nName=${interfaceOf(host, network)}\n\n[Network]\nAddress=${address}\n${gateway}LinkLocalAddressing=no\nIPv6AcceptRA=no\n`,
    );
  }
  await write("root/.ssh/authorized_keys", authorized, 0o600);
  // The image's first ordinary user has id 1000 (adduser.conf(5)).
  await write("home/ops/.ssh/authorized_keys", authorized, 0o600, 1000);
  await command(["chown", "1000:1000", join(seed, "home/ops")]);
  await command(["chmod", "700", join(seed, "root"), join(seed, "root/.ssh"), join(seed, "home/ops/.ssh")]);
}

async function removeLab(name: string): Promise<void> {
  const stateDir = stateDirectoryOf(name);
  const claimed = claims()
    .filter((claim) => claim.stateDir === stateDir)
    .map((claim) => claim.index);
  const record = readRecord(stateDir);
  // Should this removal be interrupted, the rest of the lab is not taken for a lab.
  if (record?.complete) await writeRecord(stateDir, { ...record, complete: false });
  // A record without a claim is older than the last reboot of this machine, and its index may be another lab's by now.
  for (const index of claimed) {
    await killLabProcesses({ index, stateDir });
    await removeNetwork(index);
    await removeControlGroup(index);
  }
  if (claimed.length === 0 && !existsSync(stateDir)) return;
  await releaseMounts(stateDir);
  await rm(stateDir, { recursive: true, force: true });
  for (const index of claimed) unlinkSync(join(claimsDirectory, String(index)));
  await rmdir(claimsDirectory).catch(() => undefined);
}

/** Mounts and loop devices go with the hosts' mount namespaces; this waits for the kernel and catches the exceptions. */
async function releaseMounts(stateDir: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" ")[4] ?? "")
      .filter((path) => path.startsWith(`${stateDir}/`));
    for (const path of mounts.reverse()) await command(["umount", "--lazy", path]);
    const loops = loopDevicesOf(stateDir);
    if (mounts.length === 0 && loops.length === 0) return;
    if (Date.now() > deadline) throw new Error(`still in use: ${[...mounts, ...loops].join(", ")}`);
    await sleep(50);
    // Set up and not yet mounted when its process was killed: nothing else will ever release it.
    for (const device of loopDevicesOf(stateDir)) await command(["losetup", "--detach", device]).catch(() => undefined);
  }
}

function loopDevicesOf(stateDir: string): string[] {
  return readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .filter((name) => {
      try {
        return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").startsWith(`${stateDir}/`);
      } catch {
        return false;
      }
    })
    .map((name) => `/dev/${name}`);
}

async function removeControlGroup(index: number): Promise<void> {
  // In a mount namespace of its own, since a machine with version 1 control groups may not have this hierarchy mounted.
  const memory = `-type d -name '${memoryGroupOf(index, "*")}' -exec rmdir {} +`;
  const script = [
    `[ ! -d /sys/fs/cgroup/memory ] || find /sys/fs/cgroup/memory -depth ${memory} 2> /dev/null || :`,
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    `cd /sys/fs/cgroup${cgroupOf(index)} 2> /dev/null || exit 0`,
    "find . -depth -mindepth 1 -type d -exec rmdir {} +",
    `cd / && rmdir /sys/fs/cgroup${cgroupOf(index)}`,
    "rmdir /sys/fs/cgroup/hotpair-lab 2> /dev/null || :",
  ];
  await command(["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", script.join("\n")]);
}

// --- names, indexes and records ----------------------------------------------------------------------------------

function checkedName(name: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) return name;
  throw new UserError(
    `lab name "${name}": expected lower-case letters, digits and hyphens, 31 at most, e.g. "default" or "ci-2"`,
  );
}

/** Mount options have no way to quote a comma or a colon. */
function requirePlainPath(): void {
  const path = labsDirectory();
  if (/^[\w./@+-]+$/.test(path)) return;
  throw new UserError(
    `the lab keeps its disks in ${path}, and mounts need a path of letters, digits and ./@+_- only: set HOTPAIR_CACHE to another directory`,
  );
}

interface Claim {
  index: number;
  stateDir: string;
}

function claims(): Claim[] {
  if (!existsSync(claimsDirectory)) return [];
  return readdirSync(claimsDirectory)
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => ({ index: Number(entry), stateDir: readFileSync(join(claimsDirectory, entry), "utf8") }));
}

/** Index 0 belongs to the lab named "default", whose addresses stand in the committed stack file. */
function claimIndex(name: string, stateDir: string): number {
  const candidates = name === "default" ? [0] : Array.from({ length: maximumLabs - 1 }, (_, i) => i + 1);
  for (const index of candidates) {
    const claim = claims().find((one) => one.index === index);
    const abandoned = claim && !existsSync(claim.stateDir) && !networkExists(index);
    if (abandoned) unlinkSync(join(claimsDirectory, String(index)));
    if ((!claim || abandoned) && !networkExists(index) && takeClaim(index, stateDir)) return index;
  }
  const holders = claims().map((claim) => `${claim.index}: ${claim.stateDir}`);
  if (name === "default") {
    throw new UserError(
      "the lab index 0, which the lab named default needs, is in use by another state directory",
      holders,
    );
  }
  throw new UserError(`all ${maximumLabs - 1} lab indexes of this machine are in use; take a lab down`, holders);
}

function takeClaim(index: number, stateDir: string): boolean {
  mkdirSync(claimsDirectory, { recursive: true, mode: 0o755 });
  const draft = join(claimsDirectory, `.${process.pid}`);
  try {
    writeFileSync(draft, stateDir, { mode: 0o600 });
    // A link is made whole or not at all, and fails when somebody else was first.
    linkSync(draft, join(claimsDirectory, String(index)));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    unlinkSync(draft);
  }
}

function readRecord(stateDir: string): LabRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(stateDir, "lab.json"), "utf8")) as LabRecord;
  } catch {
    return undefined;
  }
}

async function writeRecord(stateDir: string, record: LabRecord): Promise<void> {
  const file = join(stateDir, "lab.json");
  await writeFile(`${file}.new`, `${JSON.stringify(record, undefined, 2)}\n`);
  await rename(`${file}.new`, file);
}

// --- waiting for a host ------------------------------------------------------------------------------------------

async function loginsAllowed(lab: Lab, host: HostName): Promise<boolean> {
  const { pid, kind } = hostOf(lab, host);
  if (kind === "machine")
    return consoleRun(lab, host, ["test", "!", "-e", "/run/nologin"]).then(
      () => true,
      () => false,
    );
  // systemd-user-sessions(8) removes the file when users may log in; root may earlier.
  return pid !== undefined && !existsSync(`/proc/${pid}/root/run/nologin`);
}

function greets(address: string, withinMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: 22 });
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(withinMs, () => finish(false));
    socket.once("data", (data) => finish(data.toString("latin1").startsWith("SSH-")));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
  });
}
