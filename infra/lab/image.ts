// Builds the Debian root file systems that lab hosts start from and keeps them in the cache. `bare` is a fresh server;
// `ready` has the pair's daemons installed and disabled. Both carry a small apt repository of their own, so that a host
// without any way out can really install packages.

import { createHash } from "node:crypto";
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { UserError } from "../model/errors.ts";
import { CommandError, command } from "./command.ts";
import { cacheDirectory } from "./layout.ts";
import { withLock } from "./lock.ts";

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

const installReady = [
  "set -eu",
  "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d",
  `DEBIAN_FRONTEND=noninteractive apt-get -q -y install ${servicePackages.join(" ")}`,
  "rm /usr/sbin/policy-rc.d",
  "systemctl disable keepalived.service haproxy.service nginx.service",
  "apt-get clean",
].join("\n");

export interface ImageOptions {
  /** One line per step, for a person who waits. */
  onStep?: (text: string) => void;
}

/** The root file system of a variant, as a directory; built (both variants) when it is not in the cache. */
export async function ensureImage(variant: ImageVariant, options: ImageOptions = {}): Promise<string> {
  const directory = await imageDirectory();
  if (!(await exists(directory))) {
    // Two commands that both need the image: one builds, the other waits for it.
    await withLock("the lab image", 1_800_000, async () => {
      if (!(await exists(directory))) await build(directory, options.onStep ?? (() => undefined));
    });
  }
  return join(directory, variant);
}

/** Whether `lab up` would have to build first. */
export async function imageIsThere(): Promise<boolean> {
  return exists(await imageDirectory());
}

async function imageDirectory(): Promise<string> {
  const architecture = (await command(["dpkg", "--print-architecture"])).trim();
  // The recipe is this file's constants: whatever changes the image changes its name.
  const recipe = JSON.stringify([basePackages, servicePackages, files, customize, installReady, formatVersion]);
  const digest = createHash("sha256").update(recipe).digest("hex").slice(0, 12);
  return join(cacheDirectory(), "images", `${suite}-${architecture}-${digest}`);
}

/** Raise when the steps below change what they make of the same constants. */
const formatVersion = 1;

async function build(directory: string, onStep: (text: string) => void): Promise<void> {
  const parent = join(directory, "..");
  await mkdir(parent, { recursive: true });
  await removeLeftovers(parent);
  const work = join(parent, `.build-${basename(directory)}`);
  await mkdir(work, { mode: 0o700 });
  try {
    const bare = join(work, "bare");
    const packages = join(work, "packages");
    await mkdir(packages);
    const started = Date.now();
    const seconds = () => `${((Date.now() - started) / 1000).toFixed(0)} s`;

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
      await debianSource(),
    ]);
    onStep(`image: packages are there (${seconds()}); preparing the bare host`);

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
    await chmod(work, 0o755);
    await rename(work, directory);
    onStep(`image: done in ${seconds()}, kept in ${directory}`);
  } catch (error) {
    await rm(work, { recursive: true, force: true });
    if (!(error instanceof CommandError)) throw error;
    throw new UserError(
      `the lab image could not be built: ${error.message.split("\n")[0]}`,
      error.output.trim().split("\n").slice(-12),
    );
  }
}

/** Builds whose process was killed. The lock says that nobody else is building. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const entry of await readdir(parent)) {
    if (entry.startsWith(".build-")) await rm(join(parent, entry), { recursive: true, force: true });
  }
}

/** Runs in namespaces of its own, which end with this process: a killed build leaves no mounts and no programs. */
function contained(argv: string[]): Promise<string> {
  const namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return command(["setpriv", "--pdeathsig", "KILL", ...namespaces, ...argv], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
}

/** The index of a flat apt repository, as apt-ftparchive would write it, from what dpkg is sure to have. */
async function packagesIndex(directory: string): Promise<string> {
  const stanzas: string[] = [];
  for (const name of (await readdir(directory)).filter((entry) => entry.endsWith(".deb")).sort()) {
    const file = join(directory, name);
    const control = (await command(["dpkg-deb", "--field", file])).trimEnd();
    const content = await readFile(file);
    const digest = createHash("sha256").update(content).digest("hex");
    stanzas.push(`${control}\nFilename: ./${name}\nSize: ${content.length}\nSHA256: ${digest}\n`);
  }
  return stanzas.join("\n");
}

/** One sources.list line: the mirror that this machine's apt uses for Debian, or Debian's own. */
async function debianSource(): Promise<string> {
  const keyrings = (await readdir("/usr/share/keyrings").catch(() => []))
    .filter((name) => /^debian-archive-(trixie-(automatic|stable)|keyring)\.(gpg|pgp|asc)$/.test(name))
    .map((name) => `/usr/share/keyrings/${name}`);
  if (keyrings.length === 0) {
    throw new UserError(
      "the lab image needs Debian's archive keys, and /usr/share/keyrings has no debian-archive-*.gpg: apt-get install debian-archive-keyring",
    );
  }
  const newest = keyrings.filter((path) => path.includes("trixie"));
  return `deb [signed-by=${(newest.length ? newest : keyrings).join(",")}] ${await debianMirror()} ${suite} main`;
}

async function debianMirror(): Promise<string> {
  const lists = [
    "/etc/apt/sources.list",
    ...(await readdir("/etc/apt/sources.list.d").catch(() => []))
      .filter((name) => /\.(list|sources)$/.test(name))
      .sort()
      .map((name) => `/etc/apt/sources.list.d/${name}`),
  ];
  for (const list of lists) {
    const text = await readFile(list, "utf8").catch(() => "");
    const uris = list.endsWith(".sources")
      ? [...text.matchAll(/^URIs:\s*(.+)$/gim)].flatMap((match) => (match[1] ?? "").split(/\s+/))
      : [...text.matchAll(/^deb(?:\s+\[[^\]]*\])?\s+(\S+)/gm)].map((match) => match[1] ?? "");
    const mirror = uris.find((uri) => /^(https?|mirror\+https?):\/\/.*\/debian\/?$/.test(uri));
    if (mirror) return mirror;
  }
  throw new UserError(
    "the lab image needs a Debian mirror, and no file under /etc/apt names one whose path ends in /debian: add one to /etc/apt/sources.list",
  );
}

/** A proxy in apt's own configuration; one in the environment reaches apt without help. */
async function proxyOptions(): Promise<string[]> {
  const dump = await command(["apt-config", "dump", "--format", "%F %v%n", "Acquire"]).catch(() => "");
  return [...dump.matchAll(/^(Acquire::https?::Proxy\S*) (\S+)$/gim)].map(
    ([, option = "", value = ""]) => `--aptopt=${option} "${value}"`,
  );
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
