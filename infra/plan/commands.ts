// The commands that run on a server for a node's resource, as data. They are fixed text: what changes comes in on
// standard input, so nothing secret is in a command, in the state's copy of it or in the error that quotes it.

import { applyPath } from "./bundle.ts";

/** Where a host's books say whose it is; on a witness each pair has its own. */
const manifestPath = (witnessOf: string | undefined): string =>
  `/var/lib/hotpair/${witnessOf === undefined ? "" : `pairs/${witnessOf}/`}manifest`;

/** `hotpair-apply` on a host, for one of the pairs of a witness. */
export const applyProgram = (witnessOf: string | undefined): string =>
  witnessOf === undefined ? applyPath(undefined) : `${applyPath(witnessOf)} --pair ${witnessOf}`;

/**
 * Reads a bundle from standard input, refuses it unless its digest is right (a truncated one never gets further),
 * unpacks it under a directory that only root can read and hands over to the `hotpair-apply` that it carries. Written
 * without single quotes, since it stands between them.
 */
const BOOTSTRAP = [
  "set -eu; umask 077; export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin",
  'd=$(mktemp -d /run/hotpair-bundle.XXXXXX); trap "rm -rf $d" EXIT',
  "read -r magic version digest size || :",
  "base64 -d >$d/tar 2>/dev/null || :",
  'echo "$digest  $d/tar" | sha256sum --check --status 2>/dev/null || {',
  '  echo "hotpair-apply: FAILED on $(uname -n): the bundle arrived damaged or cut off ($(wc -c <$d/tar) of $size bytes); nothing was changed, run it again" >&2; exit 1; }',
  "tar -xmf $d/tar -C $d; rm $d/tar",
];

/** As root: directly, or through sudo without a password prompt. Found out on the server: the SSH user may change while the command stays. */
const asRoot = (script: string): string => `s=; [ "$(id -u)" = 0 ] || s="sudo -n"; $s sh -c '${script}'`;

/**
 * `create` and `update` of a node's resource; the bundle is its standard input. `resource` is the owner token that the
 * server's manifest will name; without one (a repair outside the engine) the server keeps its owner. `witnessOf` is the pair
 * whose witness it is.
 */
export const applyCommand = (resource?: string, witnessOf?: string): string =>
  asRoot(
    [
      ...BOOTSTRAP,
      ...(witnessOf === undefined ? [] : [samePair(witnessOf)]),
      `sh $d/files${applyProgram(witnessOf)} start $d${resource === undefined ? "" : ` ${token(resource)}`}`,
    ].join("\n"),
  );

/** A resource keeps the text that it was born with, and a pair's authority its name: in tokens, certificates and paths. */
const samePair = (pair: string): string =>
  `[ -e $d/files${applyPath(pair)} ] || { echo "hotpair-apply: FAILED on $(uname -n): this is a witness of the pair ${pair}, and the bundle is for another: a pair with a witness keeps its name (hotpair destroy, then up, renames it)" >&2; exit 1; }`;

/**
 * What an upgrade of a host would do, by package lists that are fetched or by those that are there; an upgrade bundle is its
 * standard input, `upgrades` of hotpair-apply its answer.
 */
export const upgradesCommand = (lists: "fetch" | "known", packages: readonly string[], witnessOf?: string): string =>
  carried([`upgrades $d ${lists}`, ...packages.map(packageName)], witnessOf);

/** Upgrades a host, all of its packages when none are named. */
export const upgradeCommand = (packages: readonly string[], reboot: boolean, witnessOf?: string): string =>
  carried([`upgrade $d ${reboot ? "yes" : "no"}`, ...packages.map(packageName)], witnessOf);

const carried = (words: readonly string[], witnessOf: string | undefined): string =>
  asRoot([...BOOTSTRAP, `sh $d/files${applyProgram(witnessOf)} ${words.join(" ")}`].join("\n"));

/** Debian Policy §5.6.7. */
function packageName(name: string): string {
  if (!/^[a-z0-9][a-z0-9+.-]*$/.test(name)) throw new Error(`"${name}" is not the name of a package`);
  return name;
}

export interface RemoveOptions {
  /** Also purge the packages that hotpair installed. */
  readonly purgePackages?: boolean;
  /** The whole pair goes: an active node stops without handing over. */
  readonly last?: boolean;
  /** The pair whose witness this host is. */
  readonly witnessOf?: string | undefined;
}

/** `delete` of a node's resource: gives the server back as it was if its manifest names `resource`, else does nothing. */
export function removeCommand(
  resource: string,
  { purgePackages = false, last = false, witnessOf }: RemoveOptions = {},
): string {
  const flags = `${purgePackages ? " --purge-packages" : ""}${last ? " --last" : ""}`;
  const [program, manifest] = [applyPath(witnessOf), manifestPath(witnessOf)];
  return asRoot(
    `[ -x ${program} ] || { [ -e ${manifest} ] || { echo "hotpair-apply: nothing of hotpair is installed here"; exit 0; }; ` +
      `echo "hotpair-apply: ${program} is gone and ${manifest} is there: repair this server first (hotpair up)" >&2; exit 1; }; ` +
      `exec ${applyProgram(witnessOf)} remove --resource ${token(resource)}${flags}`,
  );
}

function token(resource: string): string {
  if (!/^[A-Za-z0-9._-]+$/.test(resource)) throw new Error(`owner token "${resource}" is not one plain word`);
  return resource;
}
