// A MariaDB server whose data lies on a replicated volume: it runs on the active node alone, as one of the volume's units
// (infra/services/drbd.ts binds it to the mount and to the lease), and nothing replicates it but the volume. What the two
// kinds of server have in common is mariadb.ts's.

import { createHash } from "node:crypto";
import { recoveryNoticed, recoveryNoticedFormula } from "../model/checks.ts";
import { type Duration, formatDuration, ms } from "../model/duration.ts";
import type { MariadbServer, NodeId, Pair, Volume } from "../model/pair.ts";
import type { Contribution, Listener, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { MARIADB_VOLUME_UNIT } from "../model/volume.ts";
import { DEVICES_LET_GO, DEVICES_PROMOTED, PROGRAM_START } from "./drbd.ts";
import { behindHaproxy } from "./haproxy.ts";
import {
  certificateFiles,
  commonSettings,
  MARIADB_SETTINGS,
  MY_CNF,
  packageUnitFile,
  recoveryBound,
  recoveryFormula,
  SERVER_RESTART,
  SERVER_VALIDATOR,
  SOCKET,
} from "./mariadb.ts";
import { nodeFile, render } from "./template.ts";

export const mariadbVolume: Service = { name: "mariadb-volume", plan, timing, findings: () => [], listeners };

const PROGRAM = "/usr/lib/hotpair/hotpair-mariadb-volume";

type Placed = Volume & { readonly mariadb: MariadbServer };

/** The volume that the database lies on; undefined: on none. */
const placeOf = ({ volumes = [] }: Pair): Placed | undefined =>
  volumes.find((volume): volume is Placed => volume.mariadb !== undefined);

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const volume = placeOf(pair);
  if (volume === undefined) return undefined;
  const { authority } = pair;
  if (authority === undefined) throw new Error(`the pair ${pair.name} has a volume and no authority`);
  const node = pair.nodes[id === "a" ? 0 : 1];
  const dataDirectory = `${volume.mountPoint}/mariadb`;
  const names = { pair: pair.name, node: node.name, resource: volume.resource, unit: MARIADB_VOLUME_UNIT };
  const settings = render("mariadb-volume/my.cnf.hbs", {
    ...names,
    ...commonSettings(volume.mariadb, dataDirectory),
    bindAddress: node.networks.public.address.split("/")[0],
  });
  const file = (path: string, content: string, mode = "0644"): PlannedFile => ({
    path,
    owner: "root",
    group: "root",
    mode,
    content,
    secret: false,
    // Whatever changes, the server is not restarted under its clients: a changed unit makes the active node hand over.
    onChange: { action: "none" },
  });
  return {
    packages: ["mariadb-client", "mariadb-server"],
    files: [
      file(PROGRAM, nodeFile("hotpair-mariadb-volume"), "0755"),
      file(
        MARIADB_SETTINGS,
        `${JSON.stringify(
          {
            version: 1,
            pair: pair.name,
            unit: MARIADB_VOLUME_UNIT,
            mountPoint: volume.mountPoint,
            dataDirectory,
            socket: SOCKET,
            defaults: MY_CNF,
            port: volume.mariadb.port,
          },
          undefined,
          2,
        )}\n`,
      ),
      file(MY_CNF, settings),
      ...certificateFiles(authority, id, MARIADB_VOLUME_UNIT),
      file(
        `/etc/systemd/system/${MARIADB_VOLUME_UNIT}`,
        render("mariadb-volume/hotpair-mariadb-volume.service.hbs", {
          ...names,
          socket: SOCKET,
          restartMs: SERVER_RESTART,
          settings: createHash("sha256").update(settings).digest("hex").slice(0, 12),
        }),
      ),
      packageUnitFile(names),
    ],
    // It comes and goes with its volume; as a unit of the plan it is read again, and stopped when the database goes.
    units: [{ name: MARIADB_VOLUME_UNIT, running: false, holdsRole: false }],
    validators: [
      SERVER_VALIDATOR,
      { name: "sh -n hotpair-mariadb-volume", covers: [PROGRAM], command: `sh -n ${PROGRAM}` },
    ],
    health: [],
  };
}

function listeners(pair: Pair): readonly Listener[] {
  const volume = placeOf(pair);
  return volume === undefined ? [] : [behindHaproxy(pair, "MariaDB", volume.mariadb.port)];
}

function timing(pair: Pair): readonly TimingTerm[] {
  const volume = placeOf(pair);
  if (volume === undefined) return [];
  const recovery = recoveryBound(volume.mariadb);
  const backend = pair.haproxy?.backends.find(({ role }) => role !== undefined);
  const term = (failure: TimingTerm["failure"], name: string, upper: Duration, formula: string, source: string) => ({
    ...({ service: "mariadb-volume", beside: true, step: "recover", lower: ms(0) } as const),
    failure,
    name,
    upper,
    formula,
    source,
  });
  return [...DEVICES_PROMOTED, ...DEVICES_LET_GO].flatMap((failure) => [
    term(
      failure,
      "the database on the volume recovers, and takes connections",
      ms(PROGRAM_START + recovery),
      `start of the program ${formatDuration(PROGRAM_START)} + ${recoveryFormula(volume.mariadb)}`,
      "docs/mariadb.md#measured",
    ),
    ...(backend === undefined
      ? []
      : [
          term(
            failure,
            "HAProxy sees that it does",
            recoveryNoticed(backend),
            recoveryNoticedFormula(backend),
            "HAProxy manual, inter, fastinter, rise",
          ),
        ]),
  ]);
}
