// The layer that hosts of a lab with a witness have over the image: the packages of a pair that holds state. `bare` adds them
// to the hosts' own apt repository, `ready` installs them, disabled. A layer is what differs from the image under it, so a
// lab without state pays nothing for it, neither time nor disk.

import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readlinkSync, rmdirSync, rmSync } from "node:fs";
import { cp, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { command } from "./command.ts";
import { contained, debianSource, installScript, packagesIndex } from "./debian.ts";

/** What the authority for state and the databases under it are made of. */
const packages = ["etcd-server", "etcd-client", "mariadb-server", "mariadb-client", "mariadb-backup"];

const install = installScript(packages, ["etcd.service", "mariadb.service"]);

/** Raise when the steps below change what they make of the same constants. */
const formatVersion = 3;

/** Stands in a layer's name: whatever changes the layer changes it. */
export function layerDigest(): string {
  return createHash("sha256")
    .update(JSON.stringify([install, formatVersion]))
    .digest("hex")
    .slice(0, 12);
}

/** What the layer is made over. */
export interface Under {
  suite: string;
  /** The image: a directory with `bare` and `ready`. */
  image: string;
  /** Where the hosts' own apt repository lies, inside a host. */
  repository: string;
}

/** Makes `bare` and `ready` in the empty directory `work`. Rejects with CommandError when a program fails. */
export async function buildLayer(work: string, under: Under, onStep: (text: string) => void): Promise<void> {
  const { suite, image, repository } = under;
  onStep(`image: fetching ${packages.join(", ")} and what they need`);
  const fetched = await fetchPackages(packages, join(work, "apt"), suite, join(image, "bare"));

  onStep("image: installing them over the ready host");
  const tree = join(work, "tree");
  await command(["cp", "--archive", "--reflink=auto", join(image, "ready"), tree]);
  const pool = join(tree, repository);
  for (const file of fetched) await cp(file, join(pool, basename(file)), { force: false });
  await writeFile(join(pool, "Packages"), await packagesIndex(pool));
  await contained(["chroot", tree, "apt-get", "-q", "update"]);
  await takeAlong(tree, join(work, "bare"), [
    ...fetched.map((file) => join(repository, basename(file))),
    join(repository, "Packages"),
    "var/lib/apt/lists",
  ]);
  await contained(["chroot", tree, "sh", "-c", install]);
  // An empty database is 130 MB of nothing.
  const data = join(tree, "var/lib/mysql");
  await rename(data, `${data}.full`);
  await command(["cp", "--archive", "--sparse=always", `${data}.full`, data]);
  await rm(`${data}.full`, { recursive: true });
  keepDifferences(tree, [join(work, "bare"), join(image, "ready")]);
  await rename(tree, join(work, "ready"));
  await rm(join(work, "apt"), { recursive: true });
}

/** Has this machine's apt download packages, with what a host with this root lacks for them. Resolves to the files' paths. */
export async function fetchPackages(
  packages: readonly string[],
  work: string,
  suite: string,
  root: string,
): Promise<string[]> {
  const archives = join(work, "cache/archives");
  for (const directory of [join(work, "lists/partial"), join(archives, "partial")]) {
    await mkdir(directory, { recursive: true });
  }
  const sources = join(work, "sources.list");
  await writeFile(sources, `${await debianSource(suite)}\n`);
  // Its proxy is taken from /etc/apt; what is installed here, pinned or preferred is not.
  const settings = {
    "Dir::Etc::SourceList": sources,
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::Etc::Preferences": "/dev/null",
    "Dir::Etc::PreferencesParts": "/dev/null",
    "Dir::State": work,
    "Dir::State::lists": join(work, "lists"),
    "Dir::State::status": join(root, "var/lib/dpkg/status"),
    "Dir::Cache": join(work, "cache"),
    "APT::Default-Release": "",
    "APT::Install-Recommends": "false",
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
    "Debug::NoLocking": "true",
  };
  const apt = [
    "apt-get",
    "-q",
    "-y",
    ...Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
  ];
  await contained([...apt, "update"]);
  await contained([...apt, "--download-only", "install", ...packages]);
  const names = (await readdir(archives)).filter((name) => name.endsWith(".deb")).sort();
  return names.map((name) => join(archives, name));
}

/** Copies some paths of a root file system into another one, with the directories above them. */
async function takeAlong(from: string, to: string, paths: readonly string[]): Promise<void> {
  await mkdir(to, { mode: 0o755 });
  await command(["cp", "--archive", "--parents", ...paths.map((path) => join("./", path)), to], { cwd: from });
}

/**
 * Removes from `tree` what one of `lower` has as well; what is left gives `tree` when it is mounted over them (the first
 * on top). Throws when something of them is missing in `tree`, since a layer cannot say so. True when anything is left.
 */
function keepDifferences(tree: string, lower: readonly string[], path = "."): boolean {
  const names = namesIn(join(tree, path));
  for (const layer of lower) {
    const missing = namesIn(join(layer, path)).filter((name) => !names.includes(name));
    if (missing.length > 0) throw new Error(`the packages' installation removed ${join(path, missing.join(", "))}`);
  }
  let differs = false;
  for (const name of names) {
    const child = join(path, name);
    const mine = fileAt(join(tree, child));
    const theirs = lower.map((layer) => fileAt(join(layer, child))).find((file) => file !== undefined);
    const within = mine?.directory && keepDifferences(tree, lower, child);
    if (within || mine?.words !== theirs?.words) differs = true;
    else if (mine?.directory) rmdirSync(join(tree, child));
    else rmSync(join(tree, child));
  }
  return differs;
}

function namesIn(directory: string): string[] {
  return fileAt(directory)?.directory ? readdirSync(directory) : [];
}

/**
 * What is there, in words that differ when it does; of a directory, only what it is itself. A file's time of change stands
 * for its content: every program that changes one sets it, to nanoseconds.
 */
function fileAt(path: string): { directory: boolean; words: string } | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return undefined;
  const own = [found.mode, found.uid, found.gid];
  if (found.isDirectory()) return { directory: true, words: own.join(" ") };
  const content = found.isSymbolicLink() ? [readlinkSync(path)] : [found.size, found.mtimeNs];
  return { directory: false, words: [...own, ...content].join(" ") };
}
