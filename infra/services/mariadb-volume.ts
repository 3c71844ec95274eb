// A MariaDB server whose data lies on a replicated volume: it runs on the active node alone, as one of the volume's units
// (infra/services/drbd.ts binds it to the mount and to the lease), and nothing replicates it but the volume. What the two
// kinds of server have in common is mariadb.ts's.

import { createHash } from "node:crypto";
import { recoveryNoticed, recoveryNoticedFormula } from "../model/checks.ts";
import { type Duration, formatDuration, ms } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
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

const LIBRARY = "/usr/lib/hotpair";
const PROGRAM = `${LIBRARY}/hotpair-mariadb-volume`;
const WATCH_UNIT = "hotpair-mariadb-volume-watch.service";
/** A server that answers nothing for this long is killed; it is asked every second (infra/node/mariadb/volume.py). */
const HUNG: readonly [Duration, Duration] = [ms(5_000), ms(6_000)];

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
  const file = (
    path: string,
    content: string,
    mode = "0644",
    onChange: PlannedFile["onChange"] = { action: "none" },
  ): PlannedFile => ({ path, owner: "root", group: "root", mode, content, secret: false, onChange });
  // Of the watch alone. The server is not restarted under its clients: a changed unit makes the active node hand over.
  const watched = { action: "restart", unit: WATCH_UNIT } as const;
  const unit = (name: string, onChange?: PlannedFile["onChange"]): PlannedFile =>
    file(
      `/etc/systemd/system/${name}`,
      render(`mariadb-volume/${name}.hbs`, {
        ...names,
        watch: WATCH_UNIT,
        socket: SOCKET,
        restartMs: SERVER_RESTART,
        settings: createHash("sha256").update(settings).digest("hex").slice(0, 12),
      }),
      "0644",
      onChange,
    );
  return {
    packages: ["mariadb-client", "mariadb-server", "python3"],
    files: [
      file(PROGRAM, nodeFile("hotpair-mariadb-volume"), "0755"),
      file(`${PROGRAM}-watch`, nodeFile("hotpair-mariadb-volume-watch"), "0755", watched),
      ...["__init__.py", "volume.py", "wire.py"].map((name) =>
        file(`${LIBRARY}/mariadb/${name}`, nodeFile(`mariadb/${name}`), "0644", watched),
      ),
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
      unit(MARIADB_VOLUME_UNIT),
      unit(WATCH_UNIT, watched),
      packageUnitFile(names),
    ],
    // They come and go with the volume; as units of the plan they are read again, and stopped when the database goes.
    units: [MARIADB_VOLUME_UNIT, WATCH_UNIT].map((name) => ({ name, running: false, holdsRole: false })),
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
  const recovery = ms(PROGRAM_START + recoveryBound(volume.mariadb));
  // Whoever says longer knows a slower server than the one that was measured.
  const start =
    volume.startWithin > recovery
      ? { upper: volume.startWithin, formula: `≤ ${formatDuration(volume.startWithin)} (stated)` }
      : {
          upper: recovery,
          formula: `start of the program ${formatDuration(PROGRAM_START)} + ${recoveryFormula(volume.mariadb)}`,
        };
  const backend = pair.haproxy?.backends.find(({ role }) => role !== undefined);
  const term = (
    failure: FailureClassId,
    step: TimingTerm["step"],
    name: string,
    [lower, upper]: readonly [Duration, Duration],
    formula: string,
    source = "docs/mariadb.md#measured",
  ): TimingTerm => ({ service: "mariadb-volume", beside: true, failure, step, name, lower, upper, formula, source });
  const recovered = (failure: FailureClassId, before: Duration, beforeFormula: string) => [
    term(
      failure,
      "recover",
      "the database on the volume recovers, and takes connections",
      [ms(0), ms(before + start.upper)],
      `${beforeFormula}${start.formula}`,
    ),
    ...(backend === undefined
      ? []
      : [
          term(
            failure,
            "recover",
            "HAProxy sees that it does",
            [ms(0), recoveryNoticed(backend)],
            recoveryNoticedFormula(backend),
            "HAProxy manual, inter, fastinter, rise",
          ),
        ]),
  ];
  const restarted = (failure: FailureClassId) =>
    recovered(failure, SERVER_RESTART, `RestartSec ${formatDuration(SERVER_RESTART)} + `);
  return [
    ...[...DEVICES_PROMOTED, ...DEVICES_LET_GO].flatMap((failure) => recovered(failure, ms(0), "")),
    ...restarted("database-kill"),
    term(
      "database-hang",
      "detect",
      "the server does not answer, and is killed",
      HUNG,
      `no answer for ${formatDuration(HUNG[0])}, asked every ${formatDuration(ms(HUNG[1] - HUNG[0]))}`,
      "infra/node/mariadb/volume.py",
    ),
    ...restarted("database-hang"),
  ];
}
