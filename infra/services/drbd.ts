// All that hotpair knows of DRBD: the resources in the dialects of both drivers, the program that attaches, promotes and
// watches them, the units that carry volumes and what runs on them, and how long a promotion takes. Its decisions are in
// infra/node/drbd/rules.py; who may write is the lease's business (docs/drbd.md).

import {
  activityLogExtents,
  crashExposure,
  leastResyncRate,
  requestTimeout,
  resyncInFlight,
  resyncRate,
  silenceNoticed,
} from "../model/drbd.ts";
import { type Duration, formatDuration, ms } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import type { Finding } from "../model/finding.ts";
import { type Authority, type Drbd, type Node, type NodeId, type Pair, peerOf, type Volume } from "../model/pair.ts";
import type { Contribution, Listener, PlannedFile, Service } from "../model/plan.ts";
import { formatSize } from "../model/size.ts";
import type { TimingTerm } from "../model/timing.ts";
import { unitsOn } from "../model/volume.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const drbd: Service = { name: "drbd", plan, timing, findings, listeners };

const LIBRARY = "/usr/lib/hotpair";
const PROGRAM = `${LIBRARY}/hotpair-drbd`;
const DIRECTORY = "/etc/hotpair/drbd";
const SETTINGS = "/etc/hotpair/drbd.json";
const UNITS = "/etc/systemd/system";
export const DEVICES_UNIT = "hotpair-drbd.service";
export const DEVICES_PRIMARY_UNIT = "hotpair-drbd-primary.service";
export const DEVICES_WATCH_UNIT = "hotpair-drbd-watch.service";
const VERIFY_TIMER = "hotpair-drbd-verify.timer";

/**
 * What `drbdadm` takes for each driver; the node finds out which one it has. The version is what drbd-utils goes by instead
 * of the kernel's (DRBD_DRIVER_VERSION_OVERRIDE), so that a server without the driver can check both.
 */
export const DIALECTS = [
  { name: "8.4", version: "8.4.11" },
  { name: "9", version: "9.2.0" },
] as const;
type Dialect = (typeof DIALECTS)[number]["name"];

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { drbd: settings, authority, volumes = [] } = pair;
  if (settings === undefined) return undefined;
  if (authority === undefined) throw new Error(`the pair ${pair.name} has DRBD and no authority`);
  const names = { pair: pair.name, node: nodeOf(pair, id).name };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const nothing = { action: "none" } as const;
  // Moves nothing, and interrupts no device.
  const watched = { action: "restart", unit: DEVICES_WATCH_UNIT } as const;
  const adjusted = { action: "reload", unit: DEVICES_UNIT } as const;
  const file = (
    path: string,
    template: string,
    data: Readonly<Record<string, unknown>>,
    onChange: PlannedFile["onChange"],
  ) => ({
    ...root,
    path,
    content: render(`drbd/${template}.hbs`, { ...names, ...data }),
    onChange,
  });
  const placed = volumes.map((volume) => ({ volume, ...volumeNames(settings, volume) }));
  return {
    packages: [
      "drbd-utils",
      "python3",
      ...new Set(volumes.map(({ fileSystem }) => (fileSystem === "xfs" ? "xfsprogs" : "e2fsprogs"))),
    ],
    files: [
      { ...root, path: PROGRAM, mode: "0755", content: nodeFile("hotpair-drbd"), onChange: watched },
      ...nodeModules("drbd").map(
        (name): PlannedFile => ({
          ...root,
          path: `${LIBRARY}/drbd/${name}`,
          content: nodeFile(`drbd/${name}`),
          onChange: watched,
        }),
      ),
      {
        ...root,
        path: SETTINGS,
        content: `${JSON.stringify(programSettings(pair, settings, volumes, id), undefined, 2)}\n`,
        onChange: watched,
      },
      file("/etc/drbd.conf", "drbd.conf", {}, nothing),
      ...DIALECTS.flatMap(({ name: dialect }) => [
        file(
          `${DIRECTORY}/${dialect}/drbd.conf`,
          "dialect.conf",
          { dialect, resources: settings.resources.map(({ name }) => name) },
          adjusted,
        ),
        common(pair, settings, dialect, adjusted),
        ...settings.resources.map(({ name }) =>
          file(
            `${DIRECTORY}/${dialect}/${name}.res`,
            `resource-${dialect}.res`,
            resourceSettings(pair, settings, name),
            adjusted,
          ),
        ),
      ]),
      file(`${UNITS}/${DEVICES_UNIT}`, "hotpair-drbd.service", {}, nothing),
      file(`${UNITS}/${DEVICES_PRIMARY_UNIT}`, "hotpair-drbd-primary.service", {}, nothing),
      file(`${UNITS}/${DEVICES_WATCH_UNIT}`, "hotpair-drbd-watch.service", {}, watched),
      file(`${UNITS}/drbd.service.d/60-hotpair.conf`, "package-unit.conf", {}, nothing),
      ...placed.flatMap(({ volume, minor, mount, fsck }) => [
        file(`${UNITS}/${fsck}`, "fsck.service", { resource: volume.resource, minor }, nothing),
        file(
          `${UNITS}/${mount}`,
          "volume.mount",
          { ...volume, minor, timeoutMs: MOUNT_AT_MOST + 2 * volume.checkWithin },
          nothing,
        ),
      ]),
      ...unitFiles(placed).map(({ unit, ...data }) =>
        file(`${UNITS}/${unit}.d/60-hotpair.conf`, "unit.conf", { unit, ...data }, nothing),
      ),
      file(
        `${UNITS}/hotpair-active.target.d/60-volumes.conf`,
        "active-target.conf",
        { wants: placed.flatMap(({ volume, mount }) => [mount, ...unitsOn(volume)]).join(" ") },
        nothing,
      ),
      ...(settings.verify === "never"
        ? []
        : [
            file(`${UNITS}/hotpair-drbd-verify.service`, "verify.service", {}, nothing),
            file(
              `${UNITS}/${VERIFY_TIMER}`,
              "verify.timer",
              { verify: settings.verify },
              {
                action: "restart",
                unit: VERIFY_TIMER,
              },
            ),
          ]),
    ],
    units: [
      { name: DEVICES_UNIT, running: true, holdsRole: false },
      { name: DEVICES_WATCH_UNIT, running: true, holdsRole: false },
      { name: DEVICES_PRIMARY_UNIT, running: false, holdsRole: false },
      ...(settings.verify === "never" ? [] : [{ name: VERIFY_TIMER, running: true, holdsRole: false }]),
    ],
    validators: [
      ...DIALECTS.map(({ name, version }) => ({
        name: `drbdadm dump, as a driver of version ${name} reads it`,
        covers: [`${DIRECTORY}/`],
        command: dumpCommand(name, version),
      })),
      {
        name: "hotpair-drbd check",
        covers: [PROGRAM, `${LIBRARY}/drbd/`, SETTINGS, `${DIRECTORY}/`],
        command: `${PROGRAM} check`,
      },
    ],
    health: [
      {
        name: "the replicated devices are watched",
        command: `systemctl is-active --quiet ${DEVICES_WATCH_UNIT}`,
        deadlineSeconds: 10,
      },
      {
        name: "the replicated devices are attached, or wait for their first set-up",
        command: `${PROGRAM} healthy`,
        deadlineSeconds: 60,
      },
    ],
    state: ["/var/lib/hotpair/drbd"],
  };
}

/** drbdadm reads one dialect as its driver would; without the override it reads what this kernel has, and leaves out what it lacks. */
export const dumpCommand = (dialect: string, version: string): string =>
  `DRBD_DRIVER_VERSION_OVERRIDE=${version} drbdadm -c ${DIRECTORY}/${dialect}/drbd.conf dump >/dev/null`;

const nodeOf = (pair: Pair, id: NodeId): Node => pair.nodes[id === "a" ? 0 : 1];

function addressOf(pair: Pair, { network }: Drbd, id: NodeId): string {
  const address = nodeOf(pair, id).networks[network]?.address.split("/")[0];
  if (address === undefined) throw new Error(`node ${id} of ${pair.name} has no address on the ${network} network`);
  return address;
}

const resourceOf = (settings: Drbd, name: string): Drbd["resources"][number] => {
  const found = settings.resources.find((resource) => resource.name === name);
  if (found === undefined) throw new Error(`the rules let the resource ${name} pass, which is not described`);
  return found;
};

const tenths = (duration: Duration): number => Math.round(duration / 100);
const kibibytes = (bytes: number): number => Math.floor(bytes / 1_024);

/** A write that the peer's disk does not finish within this time ends the connection; DRBD's own default is 7 × 6 s. */
const SLOW_DISK: Duration = ms(6_000);

function resourceSettings(pair: Pair, settings: Drbd, name: string): Readonly<Record<string, unknown>> {
  const resource = resourceOf(settings, name);
  const timeout = requestTimeout(settings);
  const koCount = Math.max(1, Math.ceil(SLOW_DISK / timeout));
  const text = (template: string, data: Readonly<Record<string, unknown>>) =>
    render(`drbd/${template}.hbs`, data).trimEnd();
  return {
    name,
    minor: resource.minor,
    port: resource.port,
    protocol: settings.protocol,
    net: text("net", {
      pingSeconds: settings.pingInterval / 1_000,
      pingTimeoutMs: settings.pingTimeout,
      pingTimeoutTenths: tenths(settings.pingTimeout),
      timeoutTenths: tenths(timeout),
      koCount,
      koSeconds: (koCount * timeout) / 1_000,
      checksum: settings.checksum,
      sendBuffer: settings.protocol === "A" ? settings.sendBuffer : 0,
    }),
    diskOptions: text("disk", {
      onIoError: settings.onIoError,
      crashResync: crashExposure({ ...settings, resources: [resource] }).formula,
      extents: activityLogExtents(settings),
      disk: formatSize(settings.diskPerSecond),
      network: formatSize(settings.networkPerSecond),
      rate: kibibytes(resyncRate(settings)),
      leastRate: kibibytes(leastResyncRate(settings)),
      inFlight: kibibytes(resyncInFlight(settings, pair.limits)),
    }),
    nodes: (["a", "b"] as const).map((id, nodeId) => ({
      name: nodeOf(pair, id).name,
      nodeId,
      disk: resource.disks[id],
      metadata: resource.metadata?.[id],
      address: addressOf(pair, settings, id),
    })),
  };
}

/** A mount or unmount that takes longer has failed; xfs checks itself while it is mounted. */
const MOUNT_AT_MOST: Duration = ms(15_000);

/** Stands where the secret goes, so that the template shows where that is. */
const SECRET = "\0";

function common(pair: Pair, { sharedSecret }: Drbd, dialect: Dialect, onChange: PlannedFile["onChange"]): PlannedFile {
  const text = render("drbd/global_common.conf.hbs", {
    pair: pair.name,
    secret: sharedSecret === undefined ? undefined : SECRET,
  });
  const [head = "", tail] = text.split(SECRET);
  return {
    path: `${DIRECTORY}/${dialect}/global_common.conf`,
    owner: "root",
    group: "root",
    onChange,
    ...(sharedSecret === undefined || tail === undefined
      ? { mode: "0644", secret: false, content: text }
      : { mode: "0600", secret: true, content: [head, sharedSecret, tail] }),
  };
}

interface Placed {
  readonly volume: Volume;
  readonly minor: number;
  readonly mount: string;
  readonly fsck: string;
}

const volumeNames = (settings: Drbd, { resource, mountPoint }: Volume): Omit<Placed, "volume"> => ({
  minor: resourceOf(settings, resource).minor,
  mount: mountUnit(mountPoint),
  fsck: `hotpair-drbd-fsck-${resource}.service`,
});

/** Name of a mount's unit (systemd.mount(5)); the configuration takes no directory in whose name systemd would escape something. */
export const mountUnit = (path: string): string => `${path.slice(1).replaceAll("/", "-")}.mount`;

/** One drop-in per service: bound to its volume, after the service before it. */
const unitFiles = (placed: readonly Placed[]) =>
  placed
    .flatMap(({ volume, mount }) => unitsOn(volume).map((unit) => ({ unit, volume, mount })))
    .map(({ unit, volume, mount }, index, all) => ({
      unit,
      mount,
      resource: volume.resource,
      before: all[index - 1]?.unit,
      stopMs: volume.stopTimeout,
    }));

/** /etc/hotpair/drbd.json; every time in seconds, as Python counts them. */
const programSettings = (
  pair: Pair,
  settings: Drbd,
  volumes: readonly Volume[],
  id: NodeId,
): Readonly<Record<string, unknown>> => ({
  version: 1,
  pair: pair.name,
  node: { id, name: nodeOf(pair, id).name },
  peer: { id: peerOf(id), name: nodeOf(pair, peerOf(id)).name },
  resources: settings.resources.map(({ name, minor, disks, metadata }) => ({
    name,
    minor,
    disk: disks[id],
    metadata: metadata?.[id] ?? null,
  })),
  volumes: volumes.map((volume) => ({
    resource: volume.resource,
    fileSystem: volume.fileSystem,
    mountPoint: volume.mountPoint,
    mountUnit: mountUnit(volume.mountPoint),
    units: unitsOn(volume),
  })),
});

function listeners({ drbd: settings }: Pair): readonly Listener[] {
  return (settings?.resources ?? []).map(({ name, port }) => ({
    what: `DRBD's resource ${name}`,
    network: settings?.network ?? "storage",
    from: "peer",
    protocol: "tcp",
    port,
  }));
}

function findings(pair: Pair): readonly Finding[] {
  return [...drilled(pair), ...stableDevices(pair), ...fenced(pair), ...stopsInTime(pair)];
}

/** Emulated machines prove what is never to happen and no time that a server takes; whoever wants it all the same says so. */
function drilled({ drbd: settings }: Pair): readonly Finding[] {
  if (settings === undefined) return [];
  const reason = settings.accepted.undrilled;
  const path = "hotpair:drbd.accepted.undrilled";
  const message =
    "DRBD has been drilled on emulated machines with driver 8.4 alone, and not under random faults: no recovery time of a real " +
    "server is measured, and its promises are less proven than those of a pair with MariaDB";
  const fix = "use hotpair:pair.mariadb, which has been through a campaign";
  return [
    reason === undefined
      ? {
          rule: "drbd-drilled",
          level: "mandatory",
          path,
          message,
          fix: `${fix}; or, on servers that hold nothing anybody needs, say why as ${path}`,
        }
      : { rule: "drbd-drilled", level: "advisory", path, message: `${message}. Accepted: ${reason}`, fix },
  ];
}

/** Names that the kernel gives in the order in which it finds disks. */
const IN_ORDER = /^\/dev\/(sd[a-z]+\d*|vd[a-z]+\d*|xvd[a-z]+\d*|nvme\d+n\d+(p\d+)?)$/;

function stableDevices({ drbd: settings }: Pair): readonly Finding[] {
  return (settings?.resources ?? []).flatMap(({ disks, metadata }, index) =>
    (["disks", "metadata"] as const).flatMap((kind) =>
      Object.entries((kind === "disks" ? disks : metadata) ?? {})
        .filter(([, device]) => IN_ORDER.test(device))
        .map(
          ([node, device]): Finding => ({
            rule: "drbd-stable-devices",
            level: "advisory",
            path: `hotpair:drbd.resources[${index}].${kind}.${node}`,
            message: `${device} is what the kernel found in this order at one boot: with a disk more or less it may be another disk, whose data DRBD would then refuse, or write over`,
            fix: "write a name that stays, e.g. the link to it in /dev/disk/by-id/, or a logical volume",
          }),
        ),
    ),
  );
}

function fenced({ drbd: settings, fencing }: Pair): readonly Finding[] {
  if (settings === undefined || fencing !== undefined) return [];
  return [
    {
      rule: "drbd-fenced",
      level: "advisory",
      path: "hotpair:fencing",
      message:
        "the pair replicates disks and has no fencing: a node whose file system cannot be unmounted keeps its devices, and while the nodes are connected the other one cannot be promoted, for as long as nobody switches it off",
      fix: "describe what switches each node off as hotpair:fencing",
    },
  ];
}

/** The arbiter calls a hand-over off after this long (infra/node/arbiter/settings.py), and starts everything again. */
const handOver = ({ authority }: Pair): Duration => ms(Math.max(5_000, authority?.lease.takeover ?? 0));

function stopsInTime(pair: Pair): readonly Finding[] {
  const { drbd: settings, volumes = [] } = pair;
  const within = handOver(pair);
  const services = volumes.reduce((count, volume) => count + unitsOn(volume).length, 0);
  const longest = volumes.reduce((sum, volume) => sum + unitsOn(volume).length * volume.stopTimeout, 0);
  const left = within - STOPPED_WITHIN;
  if (settings === undefined || longest <= left) return [];
  return [
    {
      rule: "drbd-stops-in-time",
      level: "advisory",
      path: "hotpair:volumes",
      message:
        `the services on the volumes may take ${formatDuration(ms(longest))} to stop, and unmounting ${formatDuration(STOPPED_WITHIN)} more; ` +
        `a hand-over that is not over after ${formatDuration(within)} is called off, and everything is started again`,
      fix: `set stopTimeout of each of the ${services} to ${formatDuration(ms(Math.floor(left / services / 10) * 10))} or less`,
    },
  ];
}

/** Of infra/node/drbd, from systemd's start to its first question; as measured for the programs beside it (docs/mariadb.md#measured). */
export const PROGRAM_START: Duration = ms(300);
/**
 * Emulated machines, real driver 8.4 (docs/drbd.md#measured): after a power cut, handler and `drbdadm primary` 0.33 to 0.42 s,
 * mount 0.32 to 0.36 s; a chain of promotion, mount and an idle service stopped in 0.75 to 1.22 s. Hardware is faster.
 */
const PROMOTED_WITHIN: Duration = ms(420);
const MOUNTED_WITHIN: Duration = ms(360);
const STOPPED_WITHIN: Duration = ms(1_220);

/** Faults after which the other node's devices are promoted, with nobody to let go of them. */
export const DEVICES_PROMOTED: readonly FailureClassId[] = [
  "node-power-cut",
  "arbiter-loss-then-power-cut",
  "kernel-panic",
  "site-loss",
  "whole-node-freeze",
];
/** Faults and acts after which the node that was active lets go of them first. */
export const DEVICES_LET_GO: readonly FailureClassId[] = [
  "clean-reboot",
  "keepalived-stop",
  "keepalived-kill",
  "keepalived-hang",
  "public-link-loss",
  "haproxy-hang",
  "planned-switch",
  "failback",
  "rolling-upgrade",
  "replicated-disk-failure",
  "member-isolation",
  "lease-loss",
];
/** Faults of the peer, or of the way to it: writes wait for the handler. */
const PEER_GONE: readonly FailureClassId[] = [
  "standby-power-cut",
  "storage-link-loss",
  "heartbeat-storage-loss",
  "full-partition",
];

function timing(pair: Pair): readonly TimingTerm[] {
  const { drbd: settings, authority, volumes = [] } = pair;
  if (settings === undefined || authority === undefined) return [];
  const term = (
    failure: FailureClassId,
    step: TimingTerm["step"],
    name: string,
    upper: Duration,
    formula: string,
    source = "docs/drbd.md#measured",
  ): TimingTerm => ({ service: "drbd", beside: true, failure, step, name, lower: ms(0), upper, formula, source });
  const longest = (of: (volume: Volume) => Duration): Duration =>
    ms(volumes.reduce((most, one) => Math.max(most, of(one)), 0));
  const sum = (of: (volume: Volume) => Duration): Duration => ms(volumes.reduce((all, one) => all + of(one), 0));
  const silence = silenceNoticed(settings);
  const beyondLease = ms(Math.max(0, silence - authority.lease.takeover));
  const handler = ms(PROGRAM_START + order(authority));
  const exposure = crashExposure(settings);
  const promoted = (failure: FailureClassId, checked: boolean): readonly TimingTerm[] => [
    term(
      failure,
      "recover",
      "the devices are promoted (drbdadm primary; upper bound emulated)",
      ms(PROGRAM_START + PROMOTED_WITHIN),
      `start of the program ${formatDuration(PROGRAM_START)} + promotion ${formatDuration(PROMOTED_WITHIN)}`,
    ),
    ...(checked
      ? [
          term(
            failure,
            "recover",
            "file systems are checked, side by side (stated)",
            longest(({ checkWithin }) => checkWithin),
            `≤ ${formatDuration(longest(({ checkWithin }) => checkWithin))}`,
            "hotpair:volumes[].checkWithin",
          ),
        ]
      : []),
    term(
      failure,
      "recover",
      "file systems are mounted (upper bound emulated)",
      MOUNTED_WITHIN,
      `≤ ${formatDuration(MOUNTED_WITHIN)}`,
    ),
    term(
      failure,
      "recover",
      "their services start, one after the other (stated)",
      sum(({ units, startWithin }) => (units.length === 0 ? ms(0) : startWithin)),
      `≤ ${formatDuration(sum(({ units, startWithin }) => (units.length === 0 ? ms(0) : startWithin)))}`,
      "hotpair:volumes[].startWithin",
    ),
  ];
  const stops = sum((volume) => ms(unitsOn(volume).length * volume.stopTimeout));
  return [
    ...DEVICES_PROMOTED.flatMap((failure) => [
      term(
        failure,
        "detect",
        "DRBD notices its silent peer, beside the lease that runs out",
        beyondLease,
        `max(0, ping interval ${formatDuration(settings.pingInterval)} + ping timeout ${formatDuration(settings.pingTimeout)} − T ${formatDuration(authority.lease.takeover)})`,
        "drbd.conf(5), ping-int and ping-timeout",
      ),
      term(
        failure,
        "decide",
        "the fence-peer handler removes the peer from insync",
        handler,
        `start of the program ${formatDuration(PROGRAM_START)} + order to etcd ${formatDuration(order(authority))}`,
      ),
      ...promoted(failure, true),
    ]),
    ...DEVICES_LET_GO.flatMap((failure) => [
      term(
        failure,
        "recover",
        "services stop or are killed, file systems are unmounted, devices demoted (upper bound emulated)",
        ms(stops + STOPPED_WITHIN),
        `stopTimeout ${formatDuration(stops)} + unmount and demotion ${formatDuration(STOPPED_WITHIN)}`,
      ),
      ...promoted(failure, false),
    ]),
    ...PEER_GONE.filter((failure) => reaches(failure, settings)).flatMap((failure) => [
      term(
        failure,
        "detect",
        "writes wait until DRBD notices that its peer is silent",
        silence,
        `ping interval ${formatDuration(settings.pingInterval)} + ping timeout ${formatDuration(settings.pingTimeout)}`,
        "drbd.conf(5), ping-int and ping-timeout",
      ),
      term(
        failure,
        "decide",
        "and until the fence-peer handler has removed it from insync",
        handler,
        `start of the program ${formatDuration(PROGRAM_START)} + order to etcd ${formatDuration(order(authority))}`,
      ),
    ]),
    ...DEVICES_PROMOTED.map((failure) =>
      term(
        failure,
        "recover",
        `no client waits for the resync that follows, but the pair survives nothing more until it is over: ${exposure.formula}`,
        ms(0),
        "0",
        "hotpair:drbd.crashResync",
      ),
    ),
    term("split-brain", "detect", "the holder of the lease goes on; the other copy stays apart", ms(0), "0"),
  ];
}

/** Whether the fault takes the network that replication uses. */
const reaches = (failure: FailureClassId, { network }: Drbd): boolean =>
  failure === "storage-link-loss"
    ? network === "storage"
    : failure === "heartbeat-storage-loss"
      ? network !== "public"
      : true;

/** One order of the lease's holder: the renewal under way, then its own answer. */
const order = ({ lease: { renewal, rpcTimeout } }: Authority): Duration => ms(renewal + 2 * rpcTimeout);
