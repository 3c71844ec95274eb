// Builds the Debian root file systems that lab hosts start from and keeps them in the cache. `bare` is a fresh server;
// `ready` has the pair's daemons installed and disabled. Both carry a small apt repository of their own, so that a host
// without any way out can really install packages. What a pair that holds state needs besides is a layer over them
// (layer.ts).

import { createHash } from "node:crypto";
import { chmod, cp, glob, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { cacheDirectory } from "../machine/cache.ts";
import { withLock } from "../machine/lock.ts";
import { UserError } from "../model/errors.ts";
import { CommandError, command } from "./command.ts";
import { contained, debianSource, installScript, packagesIndex, proxyOptions } from "./debian.ts";
import { buildLayer, layerDigest } from "./layer.ts";
import { labsDirectory } from "./layout.ts";
import { buildMachineImage, machineDigest } from "./machine-image.ts";

export type ImageVariant = "bare" | "ready";

const suite = "trixie";

/** What a minimal Debian server has, and what SSH, sudo and the node's own programs need. */
const basePackages = [
  "apt",
  "ca-certificates",
  "curl",
  "dbus",
  "debconf",
  "iproute2",
  "iputils-ping",
  "kmod",
  "less",
  "libpam-systemd",
  "netbase",
  "nftables",
  "openssh-server",
  "procps",
  "python3",
  "sudo",
  "systemd",
  "systemd-sysv",
  "tzdata",
];

/** Installable inside a host, with everything they depend on; already installed (and disabled) in `ready`. */
const servicePackages = ["keepalived", "haproxy", "nginx", "nginx-light"];

/** Where the hosts' own apt repository lies, inside the host. */
const repository = "/usr/share/hotpair-lab/packages";

const files: Record<string, string> = {
  "/etc/ssh/sshd_config.d/00-lab.conf": [
    "# Lab hosts: keys only, no name lookups (there is no name server), one host key known in advance.",
    "HostKey /etc/ssh/ssh_host_ed25519_key",
    "PermitRootLogin prohibit-password",
    "PasswordAuthentication no",
    "UseDNS no",
    "",
  ].join("\n"),
  "/etc/sudoers.d/ops": "ops ALL=(ALL:ALL) NOPASSWD: ALL\n",
  "/etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitBurst=0\n",
  "/etc/apt/sources.list": `deb [trusted=yes] file:${repository} ./\n`,
  "/etc/apt/apt.conf.d/90lab": 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n',
};

// No background jobs on the lab's clock: they would show up in measurements. No terminals either.
const maskedUnits = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "console-getty.service",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
  "systemd-networkd-wait-online.service",
];

const customize = [
  "set -eu",
  "useradd --create-home --shell /bin/bash ops",
  "chmod 440 /etc/sudoers.d/ops",
  "rm -f /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname",
  ": > /etc/machine-id",
  "mkdir -p /var/log/journal",
  `systemctl mask ${maskedUnits.join(" ")}`,
  "systemctl enable systemd-networkd.service ssh.service",
  "echo 'debconf debconf/frontend select Noninteractive' | debconf-set-selections",
].join("\n");

const installReady = installScript(servicePackages, ["keepalived.service", "haproxy.service", "nginx.service"]);

export interface ImageOptions {
  /** With the packages of a pair that holds state. */
  stateful?: boolean;
  /** One line per step, for a person who waits. */
  onStep?: (text: string) => void;
}

/** Images of other versions of the sources that are kept, for other checkouts: 0.5 GB each, 1 GB with a layer. */
const othersKept = 1;

/**
 * The root file system of a variant, built when it is not in the cache: directories as overlayfs wants them for its
 * lowerdir, the topmost first, with colons between.
 */
export async function ensureImage(variant: ImageVariant, options: ImageOptions = {}): Promise<string> {
  const say = options.onStep ?? (() => undefined);
  const image = await imageDirectory();
  await ensureBuilt(image, (work) => build(work, say), say);
  if (!options.stateful) return join(image, variant);

  const layer = layerDirectory(image);
  await ensureBuilt(layer, (work) => buildLayer(work, { suite, image, repository }, say), say);
  return lowerOf(image, layer, variant);
}

/** Where kernel, initrd.img, bare.img and ready.img of a lab's virtual machines lie; built when they are not in the cache. */
export async function ensureMachineImage(onStep: (text: string) => void = () => undefined): Promise<string> {
  await ensureImage("ready", { stateful: true, onStep });
  const image = await imageDirectory();
  const layer = layerDirectory(image);
  const machine = machineDirectory(image);
  const lower = { bare: lowerOf(image, layer, "bare"), ready: lowerOf(image, layer, "ready") };
  await ensureBuilt(machine, (work) => buildMachineImage(work, { suite, lower, repository }, onStep), onStep);
  return machine;
}

function lowerOf(image: string, layer: string, variant: ImageVariant): string {
  const layers = variant === "ready" ? ["ready", "bare"] : ["bare"];
  return [...layers.map((name) => join(layer, name)), join(image, variant)].join(":");
}

/** Whether `lab up` would have to build first; `machines`, for virtual machines, is over what `stateful` is. */
export async function imageIsThere({ stateful = false, machines = false } = {}): Promise<boolean> {
  const image = await imageDirectory();
  const needed = [image];
  if (stateful || machines) needed.push(layerDirectory(image));
  if (machines) needed.push(machineDirectory(image));
  return (await Promise.all(needed.map(exists))).every(Boolean);
}

async function imageDirectory(): Promise<string> {
  const architecture = (await command(["dpkg", "--print-architecture"])).trim();
  // The recipe is this file's constants: whatever changes the image changes its name.
  const recipe = JSON.stringify([basePackages, servicePackages, files, customize, installReady, formatVersion]);
  const digest = createHash("sha256").update(recipe).digest("hex").slice(0, 12);
  return join(cacheDirectory(), "images", `${suite}-${architecture}-${digest}`);
}

/** Inside the image that it is made over, since it is of use with no other. */
function layerDirectory(image: string): string {
  return join(image, `stateful-${layerDigest()}`);
}

/** Inside the layer, whose packages its disks have. */
function machineDirectory(image: string): string {
  return join(layerDirectory(image), `machine-${machineDigest()}`);
}

/** Raise when the steps below change what they make of the same constants. */
const formatVersion = 1;

/** Makes the directory, whole or not at all, unless it is there. Two commands at once: one builds, the other waits. */
async function ensureBuilt(
  directory: string,
  make: (work: string) => Promise<void>,
  say: (text: string) => void,
): Promise<void> {
  if (!(await exists(directory))) {
    await withLock("the lab image", { timeoutMs: 1_800_000 }, async () => {
      if (await exists(directory)) return;
      const parent = dirname(directory);
      await mkdir(parent, { recursive: true });
      await removeLeftovers(parent);
      const work = join(parent, `.build-${basename(directory)}`);
      await mkdir(work, { mode: 0o700 });
      const started = Date.now();
      try {
        await make(work);
        await chmod(work, 0o755);
        await rename(work, directory);
      } catch (error) {
        await rm(work, { recursive: true, force: true });
        if (!(error instanceof CommandError)) throw error;
        throw new UserError(
          `the lab image could not be built: ${error.message.split("\n")[0]}`,
          error.output.trim().split("\n").slice(-12),
        );
      }
      say(`image: done in ${((Date.now() - started) / 1000).toFixed(0)} s, kept in ${directory}`);
      await removeUnused(directory);
    });
  }
  // By its time one sees which of several was in use last.
  const now = new Date();
  await utimes(directory, now, now);
}

/** Makes `bare` and `ready` in the empty directory `work`. Rejects with CommandError when a program fails. */
async function build(work: string, onStep: (text: string) => void): Promise<void> {
  const bare = join(work, "bare");
  const packages = join(work, "packages");
  await mkdir(packages);
  onStep(`image: installing Debian ${suite} (${basePackages.length} packages and what they need)`);
  await contained([
    "mmdebstrap",
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    `--include=${basePackages.join(",")}`,
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    ...(await proxyOptions()),
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    `--customize-hook=chroot "$1" apt-get -q -y --download-only --no-install-recommends install ${servicePackages.join(" ")}`,
    `--customize-hook=cp "$1"/var/cache/apt/archives/*.deb ${shellWord(packages)}/`,
    suite,
    bare,
    await debianSource(suite),
  ]);
  onStep("image: preparing the bare host");
  await mkdir(join(bare, repository), { recursive: true });
  await cp(packages, join(bare, repository), { recursive: true });
  await writeFile(join(bare, repository, "Packages"), await packagesIndex(packages));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(bare, path, ".."), { recursive: true });
    await writeFile(join(bare, path), content);
    await chmod(join(bare, path), 0o644);
  }
  await rm(join(bare, "etc/apt/sources.list.d"), { recursive: true, force: true });
  await mkdir(join(bare, "etc/apt/sources.list.d"));
  await rm(join(bare, "var/lib/apt/lists"), { recursive: true, force: true });
  await contained(["chroot", bare, "sh", "-c", `${customize}\napt-get -q update`]);

  onStep("image: preparing the ready host");
  const ready = join(work, "ready");
  await command(["cp", "--archive", "--reflink=auto", bare, ready]);
  await contained(["chroot", ready, "sh", "-c", installReady]);
  await rm(packages, { recursive: true });
}

/** Builds whose process was killed. The lock says that nobody else is building. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const entry of await readdir(parent)) {
    if (entry.startsWith(".build-")) await rm(join(parent, entry), { recursive: true, force: true });
  }
}

/** Removes the other directories of this kind beside one, but for those that a lab stands on and the latest in use. */
async function removeUnused(directory: string): Promise<void> {
  const parent = dirname(directory);
  const kind = basename(directory).replace(/[0-9a-f]{12}$/, "");
  const needed = await lowerDirectoriesOfLabs();
  const others: { path: string; used: number }[] = [];
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    if (!name.startsWith(kind) || path === directory) continue;
    if (needed.some((lower) => `${lower}/`.startsWith(`${path}/`))) continue;
    others.push({ path, used: (await stat(path)).mtimeMs });
  }
  others.sort((a, b) => b.used - a.used);
  for (const { path } of others.slice(othersKept)) await rm(path, { recursive: true, force: true });
}

/** What the hosts of all labs of this cache are mounted over, also those of hosts that are off. */
async function lowerDirectoriesOfLabs(): Promise<string[]> {
  const found: string[] = [];
  for await (const file of glob("*/*/host.conf", { cwd: labsDirectory() })) {
    const image = /^IMAGE='(.*)'$/m.exec(await readFile(join(labsDirectory(), file), "utf8").catch(() => ""))?.[1];
    found.push(...(image?.split(":") ?? []));
  }
  return found;
}

function shellWord(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
