// All that hotpair knows of NFS: the kernel's server that exports a replicated volume over the VIP, the two daemons that it
// asks, and how long its clients wait after a failover. It is one of the volume's units: infra/services/drbd.ts binds it to
// the mount and to the lease.

import { createHash } from "node:crypto";
import { unsentFormula } from "../model/drbd.ts";
import { addBounds, type Bound, type Duration, formatDuration, ms, seconds } from "../model/duration.ts";
import { showBound } from "../model/estimate.ts";
import type { FailureClassId } from "../model/failure.ts";
import type { Finding } from "../model/finding.ts";
import { parseCidr } from "../model/ipv4.ts";
import type { Nfs, NodeId, Pair, Volume } from "../model/pair.ts";
import type { Contribution, Listener, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { NFS_PORT, NFS_UNIT } from "../model/volume.ts";
import { DEVICES_LET_GO, DEVICES_PROMOTED, drbd, mountUnit } from "./drbd.ts";
import { lease } from "./lease.ts";
import { mariadbVolume } from "./mariadb-volume.ts";
import { render } from "./template.ts";

export const nfs: Service = { name: "nfs", plan, timing, findings, listeners };

const UNITS = "/etc/systemd/system";
const CONF = "/etc/nfs.conf.d/60-hotpair.conf";
const EXPORTS = "/etc/exports.d/hotpair.exports";
/** What the package starts by itself, on both nodes and before there is a volume. Names of Debian 12 and 13. */
const PACKAGE_UNITS = ["nfs-server", "nfs-mountd", "nfsdcld", "nfs-idmapd"];

type Exported = Volume & { readonly nfs: Nfs };

/** The volume that is exported, with its place in the configuration; undefined: none is. */
function exportOf({ volumes = [] }: Pair): { readonly index: number; readonly volume: Exported } | undefined {
  const index = volumes.findIndex((volume) => volume.nfs !== undefined);
  const volume = volumes[index];
  return volume?.nfs === undefined ? undefined : { index, volume: { ...volume, nfs: volume.nfs } };
}

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const volume = exportOf(pair)?.volume;
  if (volume === undefined) return undefined;
  const { clients, squash, leaseTime, gracePeriod, threads } = volume.nfs;
  const { mountPoint, resource } = volume;
  const addresses = pair.vips.map(({ address }) => address.split("/")[0]);
  const minor = pair.drbd?.resources.find(({ name }) => name === resource)?.minor;
  if (minor === undefined) throw new Error(`the rules let the resource ${resource} pass, which is not described`);
  const names = {
    pair: pair.name,
    node: pair.nodes[id === "a" ? 0 : 1].name,
    resource,
    mount: mountUnit(mountPoint),
    records: `${mountPoint}/.hotpair-nfs`,
  };
  const conf = render("nfs/nfs.conf.hbs", {
    ...names,
    hosts: addresses.join(","),
    threads,
    leaseSeconds: leaseTime / 1_000,
    graceSeconds: gracePeriod / 1_000,
  });
  const exports = render("nfs/exports.hbs", {
    ...names,
    path: mountPoint,
    clients,
    squash: squash === "root" ? "root_squash" : "no_root_squash",
    // 0 would make it the root of all exports.
    fsid: minor + 1,
  });
  const file = (path: string, content: string): PlannedFile => ({
    path,
    owner: "root",
    group: "root",
    mode: "0644",
    content,
    secret: false,
    onChange: { action: "none" },
  });
  const unit = (name: string, data: Readonly<Record<string, unknown>> = {}) =>
    file(`${UNITS}/${name}`, render(`nfs/${name}.hbs`, { ...names, ...data }));
  return {
    packages: ["nfs-kernel-server"],
    files: [
      file(CONF, conf),
      file(EXPORTS, exports),
      unit(NFS_UNIT, {
        // Two pairs of one name are told apart by their addresses; 64 bytes are what the kernel takes.
        scope: `${pair.name}-${addresses[0]}`,
        settings: createHash("sha256").update(conf).update(exports).digest("hex").slice(0, 12),
      }),
      unit("hotpair-nfs-clients.service"),
      unit("hotpair-nfs-mountd.service"),
      ...PACKAGE_UNITS.map((name) =>
        file(`${UNITS}/${name}.service.d/60-hotpair.conf`, render("nfs/package-unit.conf.hbs", names)),
      ),
    ],
    // It comes and goes with its volume.
    units: [{ name: NFS_UNIT, running: false, holdsRole: false }],
    validators: [
      {
        name: "nfsconf --dump, which leaves out what it does not understand",
        covers: [CONF],
        command: `test "$(nfsconf --get nfsd host)" = "${addresses.join(",")}" && test "$(nfsconf --get nfsdcld storagedir)" = "${names.records}"`,
      },
    ],
    health: [],
  };
}

function listeners(pair: Pair): readonly Listener[] {
  if (exportOf(pair) === undefined) return [];
  return [{ what: "NFS", network: "public", from: "clients", protocol: "tcp", port: NFS_PORT }];
}

/** From the mount to a server that answers; an assumption (docs/nfs.md#tried). */
const SERVES_WITHIN: Duration = seconds(6);
/** The kernel looks once a second whether somebody is still claiming (fs/nfsd/nfs4state.c, NFSD_LAUNDROMAT_MINTIMEOUT). */
const GRACE_LOOK: Duration = seconds(1);

function timing(pair: Pair): readonly TimingTerm[] {
  const volume = exportOf(pair)?.volume;
  if (volume === undefined) return [];
  const { leaseTime, gracePeriod } = volume.nfs;
  const before = [lease, drbd, mariadbVolume].flatMap((service) => service.timing(pair));
  // While clients are claiming, the kernel waits for twice its lease (fs/nfsd/nfs4state.c, clients_still_reclaiming).
  const grace = ms(Math.max(gracePeriod, 2 * leaseTime) + GRACE_LOOK);
  const common = { service: "nfs", beside: true, lower: ms(0) } as const;
  return [...DEVICES_PROMOTED, ...DEVICES_LET_GO].flatMap((failure): readonly TimingTerm[] => {
    const away = silence(before, failure);
    return [
      {
        ...common,
        failure,
        step: "recover",
        name: "the NFS server starts (assumed)",
        upper: SERVES_WITHIN,
        formula: `≤ ${formatDuration(SERVES_WITHIN)}`,
        source: "docs/nfs.md#tried",
      },
      {
        ...common,
        failure,
        step: "client",
        name: "NFS clients come back, and what is opened or locked anew waits for the grace period, which ends when all have claimed what they had",
        upper: longer(away, grace),
        formula:
          `≤ max(as long again as nobody answered ${showBound(away)}, gracePeriod ${formatDuration(gracePeriod)}, ` +
          `2 × leaseTime ${formatDuration(leaseTime)}) + ${formatDuration(GRACE_LOOK)}`,
        source: "docs/nfs.md#what-clients-see",
      },
    ];
  });
}

/** TCP doubles its pauses: whoever was not answered for so long may send again only after as long again (RFC 6298 5.5). */
const silence = (before: readonly TimingTerm[], failure: FailureClassId): Bound =>
  addBounds([...before.filter((term) => term.failure === failure).map(({ upper }) => upper), SERVES_WITHIN]);

const longer = (away: Bound, grace: Duration): Bound =>
  typeof away === "number" ? ms(Math.max(away + GRACE_LOOK, grace)) : away;

/** More hosts than anybody knows. */
const MANY_BITS = 8;

function findings(pair: Pair): readonly Finding[] {
  const found = exportOf(pair);
  if (found === undefined) return [];
  const at = `hotpair:volumes[${found.index}].nfs`;
  const { clients, squash } = found.volume.nfs;
  return [
    ...clients.flatMap((client, index): readonly Finding[] =>
      (parseCidr(client)?.bits ?? 0) >= MANY_BITS
        ? []
        : [
            {
              rule: "nfs-clients-named",
              level: "advisory",
              path: `${at}.clients[${index}]`,
              message: `${client} may mount the volume: whoever reaches port ${NFS_PORT} of the VIP says by itself which user it is, and is believed`,
              fix: "name the networks that the clients are in",
            },
          ],
    ),
    ...(squash === "root"
      ? []
      : [
          {
            rule: "nfs-root-squashed",
            level: "advisory",
            path: `${at}.squash`,
            message:
              "root on any client is root on the volume: it reads and changes everybody's files, and the server's own records of who holds which lock",
            fix: `set ${at}.squash to root`,
          } as const,
        ]),
    ...(pair.drbd?.protocol === "A"
      ? [
          {
            rule: "nfs-acknowledged-kept",
            level: "advisory",
            path: "hotpair:drbd.protocol",
            message:
              `with protocol A an NFS client is told that a write is kept (fsync, COMMIT) before it is on the other node: the loss of the active one takes ` +
              `${unsentFormula(pair.drbd, pair.limits)} with it, and no client notices`,
            fix: "set hotpair:drbd.protocol to C",
          } as const,
        ]
      : []),
  ];
}
