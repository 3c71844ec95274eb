// Finds the processes that belong to a lab. A process id alone proves nothing, since ids are used again; so a process is
// ours by its control group, its network namespace or the marker among its arguments, each read from the kernel.

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cgroupOf, type HostName, namespacesOf, processMarker } from "./layout.ts";

export interface LabIdentity {
  index: number;
  stateDir: string;
}

/** Ends everything that runs in or for the lab, and waits until it is gone. */
export async function killLabProcesses(lab: LabIdentity): Promise<void> {
  let quiet = 0;
  const deadline = Date.now() + 15_000;
  // Twice in a row, because a process that was about to start another one may have done so in between.
  while (quiet < 2) {
    const found = labProcesses(lab);
    for (const pid of found) kill(pid);
    quiet = found.length === 0 ? quiet + 1 : 0;
    if (Date.now() > deadline) {
      throw new Error(`processes of the lab in ${lab.stateDir} do not end: ${found.map(describe).join("; ")}`);
    }
    await sleep(quiet ? 20 : 30);
  }
}

/** Process ids, without this process and its ancestors. */
export function labProcesses(lab: LabIdentity): number[] {
  const spaces = new Set(Object.values(namespacesOf(lab.index)).map(namespaceNumber).filter(Boolean));
  const marker = processMarker(lab.stateDir);
  const keyFile = join(lab.stateDir, "id_ed25519");
  const group = `${cgroupOf(lab.index)}/`;
  const spared = ancestors();
  const all = processIds().filter((pid) => !spared.has(pid) && !["Z", ""].includes(stateOf(pid)));
  // Somebody's shell that was sent into a host: its mounts would hold the disk.
  const mounts = new Set(
    all.filter((pid) => controlGroupOf(pid).includes(group)).map((pid) => link(`/proc/${pid}/ns/mnt`)),
  );
  for (const common of ["", link("/proc/self/ns/mnt"), link("/proc/1/ns/mnt")]) mounts.delete(common);
  return all.filter((pid) => {
    const args = argumentsOf(pid);
    if (args.includes(marker)) return true;
    // SSH masters whose hotpair was killed would linger until the keepalive finds their host gone.
    if (args[0]?.endsWith("ssh") && args.some((word) => word.includes(keyFile))) return true;
    if (controlGroupOf(pid).includes(group) || mounts.has(link(`/proc/${pid}/ns/mnt`))) return true;
    return spaces.has(link(`/proc/${pid}/ns/net`));
  });
}

/** The process that is number 1 inside a container, or the program that emulates a machine; undefined when the host is off. */
export function hostInit(lab: LabIdentity, host: HostName): number | undefined {
  const group = `${cgroupOf(lab.index, host)}/`;
  return processIds().find((pid) => {
    if (!controlGroupOf(pid).includes(group) || stateOf(pid) === "Z") return false;
    if (argumentsOf(pid)[0]?.endsWith("qemu-system-x86_64")) return true;
    const inner = /^NSpid:\s+\d+\s+1$/m.test(text(`/proc/${pid}/status`));
    // nspawn's own half-set-up child is number 1 as well, until it becomes the host's init.
    return inner && !argumentsOf(pid)[0]?.includes("nspawn") && !argumentsOf(pid)[0]?.startsWith("(sd-");
  });
}

/** The control group of a host's present boot, relative to the hierarchy's root; undefined when the host is off. */
export function hostBootGroup(lab: LabIdentity, host: HostName): string | undefined {
  const init = hostInit(lab, host);
  if (init === undefined) return undefined;
  return new RegExp(`${cgroupOf(lab.index, host)}/boot-[^/]+`).exec(controlGroupOf(init))?.[0];
}

/** The script that keeps a host running, host.sh or machine.sh; it lives exactly as long as the host is powered. */
export function hostKeeper(lab: LabIdentity, host: HostName): number | undefined {
  const found = hostKeepers(lab, host);
  return found.find((pid) => !found.includes(parentOf(pid)));
}

/** It and what it has just forked, which looks the same until it becomes another program; numbers say nothing of age. */
export function hostKeepers(lab: LabIdentity, host: HostName): number[] {
  const marker = processMarker(lab.stateDir);
  return processIds().filter((pid) => {
    const args = argumentsOf(pid);
    return args.includes(marker) && args.includes(host) && stateOf(pid) !== "Z";
  });
}

/** Processes with this word among their arguments (an armed undo, for one). */
export function processesWith(word: string): number[] {
  const spared = ancestors();
  return processIds().filter((pid) => !spared.has(pid) && argumentsOf(pid).includes(word) && stateOf(pid) !== "Z");
}

export function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

function processIds(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function ancestors(): Set<number> {
  const found = new Set<number>();
  for (let pid = process.pid; pid > 1 && !found.has(pid); ) {
    found.add(pid);
    pid = parentOf(pid);
  }
  return found;
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(text(`/proc/${pid}/status`))?.[1] ?? 0);
}

function argumentsOf(pid: number): string[] {
  return text(`/proc/${pid}/cmdline`).split("\0");
}

function controlGroupOf(pid: number): string {
  return `${text(`/proc/${pid}/cgroup`).trim()}/`.replaceAll("\n", "/\n");
}

function stateOf(pid: number): string {
  return /^State:\s+(\S)/m.exec(text(`/proc/${pid}/status`))?.[1] ?? "";
}

function namespaceNumber(name: string): string {
  try {
    return `net:[${statSync(`/run/netns/${name}`).ino}]`;
  } catch {
    return "";
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

// A process may end between any two reads.
function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function describe(pid: number): string {
  return `${pid} ${argumentsOf(pid).join(" ").trim()}`;
}
