// How `hotpair:drbd` and `hotpair:volumes` must fit each other, the pair and the servers. Rules that hold for every pair are
// in rules.ts; what is unsafe rather than wrong is found by the model.

import { formatDuration, ms } from "../model/duration.ts";
import { formatCidr, formatIpv4, networkOf } from "../model/ipv4.ts";
import type { Draft, DraftVolume } from "./draft.ts";
import { formatPath, type Path, type Problem, suggest } from "./problem.ts";
import type { Rule } from "./rules-aws.ts";

const problem = (path: Path, message: string): Problem => ({ path, message });

function* devicesAndVolumesStandTogether({ drbd, volumes }: Draft): Generator<Problem> {
  if (drbd !== undefined && volumes === undefined)
    yield problem(
      ["volumes"],
      "is missing: hotpair:drbd describes devices, and nothing says where they are mounted; describe one volume for each",
    );
  if (drbd === undefined && volumes !== undefined)
    yield problem(
      ["drbd"],
      "is missing: hotpair:volumes stands on replicated devices, and none is described; describe them, or remove volumes",
    );
}

/** One list, `insync`, speaks for one copy of the data: it cannot say that a node has the disks and lacks the database. */
function* oneCopyOfTheData({ drbd, mariadb }: Draft): Generator<Problem> {
  if (drbd !== undefined && mariadb !== undefined)
    yield problem(
      ["mariadb"],
      "replicates beside hotpair:drbd, and the pair can keep one list of who has every write; remove one of them, or run the database on a volume (hotpair:volumes[].mariadb)",
    );
}

function* drbdHasItsServers({ target, networks, drbd }: Draft): Generator<Problem> {
  if (drbd === undefined) return;
  if (target === "aws")
    yield problem(
      ["drbd"],
      "stands beside target: aws, where no second disk is made for a server; use target: onprem with servers of your own",
    );
  if (drbd.network === "storage" && !networks.some(({ name }) => name === "storage"))
    yield problem(
      ["drbd", "network"],
      '"storage" is not described; add networks.storage, or write heartbeat or public',
    );
}

/** drbd.conf(5): `timeout`, which follows from the ping interval, and ping-timeout count within it. */
function* pingsFit({ drbd }: Draft): Generator<Problem> {
  const { pingInterval, pingTimeout } = drbd ?? {};
  if (pingInterval === undefined || pingTimeout === undefined || pingTimeout <= pingInterval) return;
  yield problem(
    ["drbd", "pingTimeout"],
    `${formatDuration(pingTimeout)} is more than pingInterval (${formatDuration(pingInterval)}): the next test would be due before this one is over; write ${formatDuration(pingInterval)} or less`,
  );
}

function* resourcesAreDifferent({ drbd }: Draft): Generator<Problem> {
  const resources = drbd?.resources ?? [];
  for (const [index, other] of resources.entries()) {
    const before = resources.slice(0, index);
    const same = (of: (resource: (typeof resources)[number]) => unknown) =>
      before.find((one) => of(other) !== undefined && of(one) === of(other));
    const name = same((resource) => resource.name);
    if (name !== undefined)
      yield problem(
        [...other.path, "name"],
        `"${other.name}" is the name of ${formatPath(name.path)} too; give each its own`,
      );
    const minor = same((resource) => resource.minor);
    if (minor !== undefined)
      yield problem(
        [...other.path, "minor"],
        `${other.minor} is the minor number of ${formatPath(minor.path)} too: both would be /dev/drbd${other.minor}; write e.g. ${resources.length}`,
      );
  }
  const seen = new Map<string, string>();
  for (const { path, node, device } of resources.flatMap(({ devices }) => devices)) {
    if (device === undefined) continue;
    const key = `${node} ${device}`;
    const holder = seen.get(key);
    if (holder !== undefined)
      yield problem(path, `"${device}" is ${holder} too: each would write over the other; every device has one use`);
    else seen.set(key, formatPath(path));
    if (/^\/dev\/drbd\d/.test(device))
      yield problem(
        path,
        `"${device}" is made by DRBD and not what it is made of; write a disk, a partition or a logical volume`,
      );
  }
}

function* volumesHaveTheirDevice({ drbd, volumes }: Draft): Generator<Problem> {
  const resources = drbd?.resources ?? [];
  const names = resources.flatMap(({ name }) => name ?? []);
  if (drbd === undefined || volumes === undefined || names.length < resources.length) return;
  for (const [index, { path, device }] of volumes.entries()) {
    if (device === undefined) continue;
    const at = [...path, "device"];
    if (!names.includes(device)) {
      const meant = suggest(device, names);
      const hint = meant === undefined ? `expected one of ${names.join(", ")}` : `did you mean "${meant}"?`;
      yield problem(at, `"${device}" is not a resource of hotpair:drbd; ${hint}`);
    }
    const one = volumes.slice(0, index).find((volume) => volume.device === device);
    if (one !== undefined)
      yield problem(at, `"${device}" carries ${formatPath(one.path)} already; each device has one file system`);
  }
  for (const { path, name } of resources)
    if (!volumes.some(({ device }) => device === name))
      yield problem([...path, "name"], `"${name}" is used by no volume; add one to hotpair:volumes, or remove it`);
}

/** Where the system itself lives, or hotpair. */
const TAKEN = ["/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr"];
const TAKEN_ALONE = ["/home", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/log", "/var/lib/hotpair"];

function* mountPointsAreFree({ volumes = [] }: Draft): Generator<Problem> {
  const inside = (path: string, directory: string): boolean => path === directory || path.startsWith(`${directory}/`);
  for (const [index, { path, mountPoint }] of volumes.entries()) {
    if (mountPoint === undefined) continue;
    const at = [...path, "mountPoint"];
    if (
      TAKEN.some((directory) => inside(mountPoint, directory)) ||
      TAKEN_ALONE.includes(mountPoint) ||
      inside(mountPoint, "/var/lib/hotpair")
    )
      yield problem(at, `"${mountPoint}" is the system's own; write a directory for this volume, e.g. /srv/data`);
    const one = volumes
      .slice(0, index)
      .find(
        (other) =>
          other.mountPoint !== undefined &&
          (inside(mountPoint, other.mountPoint) || inside(other.mountPoint, mountPoint)),
      );
    if (one !== undefined)
      yield problem(
        at,
        `"${mountPoint}" and ${formatPath(one.path)}.mountPoint ("${one.mountPoint}") lie within each other; give each its own directory`,
      );
  }
}

/** Units that hotpair itself starts and stops, or whose loss would end the pair's own work. */
const OURS = /^(hotpair-.*|keepalived|haproxy|nginx|etcd|drbd|ssh|sshd|systemd-.*|dbus)\.service$/;

function* unitsAreTheOwners({ volumes = [] }: Draft): Generator<Problem> {
  const seen = new Map<string, DraftVolume>();
  for (const volume of volumes)
    for (const [index, unit] of volume.units.entries()) {
      if (unit === undefined) continue;
      const at = [...volume.path, "units", index];
      if (OURS.test(unit))
        yield problem(
          at,
          `"${unit}" is not a service that runs on a volume: hotpair or the system needs it on both nodes; remove it`,
        );
      const one = seen.get(unit);
      if (one !== undefined)
        yield problem(at, `"${unit}" is in ${formatPath(one.path)}.units already; a service is started once`);
      seen.set(unit, volume);
    }
}

/** One server has the package's places, and one is what `service: mariadb` means. */
function* oneDatabaseOnVolumes({ volumes = [] }: Draft): Generator<Problem> {
  const [first, ...others] = volumes.filter(({ mariadb }) => mariadb !== undefined);
  if (first === undefined) return;
  for (const { path } of others)
    yield problem(
      [...path, "mariadb"],
      `stands beside ${formatPath(first.path)}.mariadb, and a pair runs one server; keep one of them with all databases in it, or run the second by a unit of your own`,
    );
  for (const volume of volumes)
    for (const [index, unit] of volume.units.entries())
      if (unit !== undefined && PACKAGE_DATABASE.test(unit))
        yield problem(
          [...volume.path, "units", index],
          `"${unit}" would be a second server beside ${formatPath(first.path)}.mariadb, which hotpair runs by a unit of its own; remove one of them`,
        );
}

/** Names of the package's own unit (mariadb.service, its aliases). */
const PACKAGE_DATABASE = /^(mariadb|mysql|mysqld)\.service$/;
/** The kernel has one server, with one lease, one grace period and one list of clients. */
function* oneExport({ volumes = [] }: Draft): Generator<Problem> {
  const [first, ...others] = volumes.flatMap(({ nfs }) => nfs ?? []);
  for (const { path } of others)
    yield problem(
      path,
      `stands beside ${formatPath(first?.path ?? [])}: the kernel has one NFS server, whose clients and locks are kept on one volume; keep one of the two`,
    );
}

function* exportsAreToNetworks({ volumes = [] }: Draft): Generator<Problem> {
  for (const { path, clients } of volumes.flatMap(({ nfs }) => nfs ?? []))
    for (const [index, client] of clients.entries())
      if (client !== undefined && networkOf(client) !== client.address)
        yield problem(
          [...path, "clients", index],
          `"${formatCidr(client)}" is an address inside a network; write the network, ${formatIpv4(networkOf(client))}/${client.bits}, or that host alone, ${formatIpv4(client.address)}/32`,
        );
}

/** A client may have renewed its lease just before: it learns of the new server only when it renews again (RFC 8881 8.4.2.1). */
function* graceOutlastsTheLease({ volumes = [] }: Draft): Generator<Problem> {
  for (const { path, leaseTime, gracePeriod } of volumes.flatMap(({ nfs }) => nfs ?? []))
    if (leaseTime !== undefined && gracePeriod !== undefined && gracePeriod < leaseTime)
      yield problem(
        [...path, "gracePeriod"],
        `${formatDuration(gracePeriod)} is less than leaseTime (${formatDuration(leaseTime)}): clients that are idle would come too late for their locks; write ${formatDuration(ms(1.5 * leaseTime))}`,
      );
}

/** What the package would run by itself, and hotpair runs in its place. */
const SERVER = /^(nfs-(kernel-)?server|nfs-mountd|nfsdcld)\.service$/;

function* serverIsOurs({ volumes = [] }: Draft): Generator<Problem> {
  if (!volumes.some(({ nfs }) => nfs !== undefined)) return;
  for (const { path, units } of volumes)
    for (const [index, unit] of units.entries())
      if (unit !== undefined && SERVER.test(unit))
        yield problem(
          [...path, "units", index],
          `"${unit}" stands beside nfs, which runs the server itself; remove it`,
        );
}

export const DRBD_RULES: readonly Rule[] = [
  devicesAndVolumesStandTogether,
  oneCopyOfTheData,
  drbdHasItsServers,
  pingsFit,
  resourcesAreDifferent,
  volumesHaveTheirDevice,
  mountPointsAreFree,
  unitsAreTheOwners,
  oneDatabaseOnVolumes,
  oneExport,
  exportsAreToNetworks,
  graceOutlastsTheLease,
  serverIsOurs,
];
