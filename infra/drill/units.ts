// The daemons that a drill may kill or stop, and the shell that does it and undoes it: texts, pure. Only units that hotpair
// plans.

import { hasDatabase, type Pair } from "../model/pair.ts";
import { MARIADB_VOLUME_UNIT } from "../model/volume.ts";

export const UNIT = {
  keepalived: "keepalived.service",
  arbiter: "hotpair-arbiter.service",
  haproxy: "haproxy.service",
  lease: "hotpair-lease.service",
  quorum: "hotpair-quorum.service",
  database: "hotpair-mariadb.service",
  "disk-watch": "hotpair-drbd-watch.service",
} as const;

/** A witness serves many pairs, so that etcd's unit carries the name of its own. */
export type Unit = keyof typeof UNIT | "etcd";
export const UNITS: readonly Unit[] = [...(Object.keys(UNIT) as (keyof typeof UNIT)[]), "etcd"];

export function unitOf(unit: Unit, pair: Pair): string {
  if (unit === "etcd") return `hotpair-etcd-${pair.name}.service`;
  return unit === "database" && pair.mariadb === undefined ? MARIADB_VOLUME_UNIT : UNIT[unit];
}

/** Whether the pair has this daemon. */
export function hasUnit(unit: Unit, pair: Pair): boolean {
  if (unit === "haproxy") return pair.haproxy !== undefined;
  if (unit === "database") return hasDatabase(pair);
  if (unit === "disk-watch") return pair.drbd !== undefined;
  return unit === "keepalived" || unit === "arbiter" || pair.authority !== undefined;
}

export const signal = (unit: string, name: "KILL" | "STOP" | "CONT"): string =>
  `systemctl kill --signal=SIG${name} ${unit}`;

/** systemd brings every daemon back by itself; this makes sure of it. Only the active node may hold the lease, and have its volumes. */
export const ensure = (unit: string): string =>
  unit === UNIT.lease || unit === MARIADB_VOLUME_UNIT
    ? ":"
    : `systemctl reset-failed ${unit} 2>/dev/null || :\nsystemctl start --no-block ${unit}`;

/** What was stopped goes on; what died meanwhile is started. */
export const wake = (unit: string): string => `${signal(unit, "CONT")} 2>/dev/null || :\n${ensure(unit)}`;

/** A drop-in below /run: gone after a reboot at the latest. */
export const dropIn = (unit: string, text: string): string =>
  `mkdir -p /run/systemd/system/${unit}.d
printf '%s\\n' '[Service]' '${text}' > /run/systemd/system/${unit}.d/99-hotpair-drill.conf
systemctl daemon-reload`;
export const dropInGone = (unit: string): string =>
  `rm -f /run/systemd/system/${unit}.d/99-hotpair-drill.conf
rmdir /run/systemd/system/${unit}.d 2>/dev/null || :
systemctl daemon-reload`;
