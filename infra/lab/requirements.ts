// What a machine must have before a lab can run on it. Everything that is missing is said at once, in one error.

import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { UserError } from "../model/errors.ts";
import { command, programPath } from "./command.ts";

/** Program → Debian package that brings it. */
const programs: Record<string, string> = {
  "systemd-nspawn": "systemd-container",
  mmdebstrap: "mmdebstrap",
  dpkg: "dpkg",
  ip: "iproute2",
  bridge: "iproute2",
  nft: "nftables",
  nsenter: "util-linux",
  unshare: "util-linux",
  setpriv: "util-linux",
  mount: "mount",
  losetup: "mount",
  sysctl: "procps",
  "mkfs.ext4": "e2fsprogs",
  ssh: "openssh-client",
  perl: "perl-base",
};

/** The same for hosts that are virtual machines. */
const machinePrograms: Record<string, string> = {
  "qemu-system-x86_64": "qemu-system-x86",
  "qemu-img": "qemu-utils",
  cpio: "cpio",
  xz: "xz-utils",
  tar: "tar",
};

/** What a lab is to have, as far as this machine must be able to carry it. */
export interface Wanted {
  /** Nodes that are virtual machines. Default: false. */
  machines?: boolean;
}

/** What is asked of the machine; a test answers in its place. */
export interface Machine {
  platform: string;
  /** As Node calls it: "x64", "arm64" … */
  architecture: string;
  uid: number;
  hasProgram(name: string): boolean;
  hasFileSystem(name: string): boolean;
  hasDevice(path: string): boolean;
}

/** Every reason why a lab cannot run on this machine, each with its remedy; empty when it can. */
export function missingRequirements(machine: Machine, { machines = false }: Wanted = {}): string[] {
  if (machine.platform !== "linux") return [`it runs ${machine.platform}, and the lab's hosts need a Linux kernel`];
  const reasons: string[] = [];
  if (!["x64", "arm64"].includes(machine.architecture)) {
    reasons.push(
      `its architecture is ${machine.architecture}; lab hosts run natively and are made for x64 (amd64) and arm64`,
    );
  }
  if (machines && machine.architecture === "arm64") {
    reasons.push("its architecture is arm64, and the lab's virtual machines are made for x64 (amd64) only");
  }
  if (machine.uid !== 0) {
    reasons.push(`user id ${machine.uid} is not root; mounts and network namespaces need it: run it with sudo`);
  }
  const needed = machines ? { ...programs, ...machinePrograms } : programs;
  const absent = Object.keys(needed).filter((name) => !machine.hasProgram(name));
  if (absent.length > 0) {
    const packages = [...new Set(absent.map((name) => needed[name]))].join(" ");
    reasons.push(`it has no ${absent.join(", ")}: apt-get install ${packages}`);
  }
  for (const name of ["overlay", "ext4"]) {
    if (!machine.hasFileSystem(name)) reasons.push(`its kernel has no ${name} file system: modprobe ${name}`);
  }
  if (machines && !machine.hasDevice("/dev/net/tun")) {
    reasons.push("it has no /dev/net/tun, by which virtual machines are plugged into a network: modprobe tun");
  }
  return reasons;
}

/** Why the lab cannot run on this machine, in one line; undefined when it can. For tests, which skip with it. */
export async function labMachineProblem(wanted: Wanted = {}): Promise<string | undefined> {
  try {
    await requireLabMachine(wanted);
    return undefined;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return [error.message, ...error.details].join(" ");
  }
}

/** Throws one UserError that names all of it, or returns. */
export async function requireLabMachine(wanted: Wanted = {}): Promise<void> {
  if (process.platform === "linux" && process.getuid?.() === 0) {
    // Modules that hosts use and may not load themselves; a kernel that has them built in has no file for them.
    await command(["sh", "-c", "for m in overlay loop veth bridge macvlan tun; do modprobe -q $m || :; done"]);
  }
  const reasons = missingRequirements(thisMachine(), wanted);
  if (reasons.length === 1) throw new UserError(`the lab cannot run on this machine: ${reasons[0]}`);
  if (reasons.length > 1) throw new UserError("the lab cannot run on this machine:", reasons);
}

function thisMachine(): Machine {
  const path = programPath().split(delimiter);
  return {
    platform: process.platform,
    architecture: process.arch,
    uid: process.getuid?.() ?? -1,
    hasProgram: (name) => path.some((directory) => isExecutable(join(directory, name))),
    hasDevice: existsSync,
    hasFileSystem: (name) => new RegExp(`\\t${name}$`, "m").test(readFileSync("/proc/filesystems", "utf8")),
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
