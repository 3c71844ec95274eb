// Debian's packages on this machine: where its own apt has them from, and how they are put into a directory of files that
// is not this machine's. What the lab's images are made of is not decided here.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../model/errors.ts";
import { command } from "./command.ts";

/** What a maintainer script must not do in a directory of files: start a service (invoke-rc.d(8)). */
export function installScript(packages: readonly string[], disabled: readonly string[]): string {
  return [
    "set -eu",
    "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d",
    `DEBIAN_FRONTEND=noninteractive apt-get -q -y install ${packages.join(" ")}`,
    "rm /usr/sbin/policy-rc.d",
    ...(disabled.length > 0 ? [`systemctl disable ${disabled.join(" ")}`] : []),
    "apt-get clean",
  ].join("\n");
}

/** Runs in namespaces of its own, which end with this process: a killed build leaves no mounts and no programs. */
export function contained(argv: string[]): Promise<string> {
  const namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return command(["setpriv", "--pdeathsig", "KILL", ...namespaces, ...argv], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
}

/** The index of a flat apt repository, as apt-ftparchive would write it, from what dpkg is sure to have. */
export async function packagesIndex(directory: string): Promise<string> {
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
export async function debianSource(suite: string): Promise<string> {
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
export async function proxyOptions(): Promise<string[]> {
  const dump = await command(["apt-config", "dump", "--format", "%F %v%n", "Acquire"]).catch(() => "");
  return [...dump.matchAll(/^(Acquire::https?::Proxy\S*) (\S+)$/gim)].map(
    ([, option = "", value = ""]) => `--aptopt=${option} "${value}"`,
  );
}
