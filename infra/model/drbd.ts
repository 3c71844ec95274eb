// What follows from a replicated block device as its owner described it: how quickly a silent peer is noticed, what is copied
// again after a crash and how fast, what an asynchronous protocol can lose. Pure arithmetic; the daemons' words for it are in
// infra/services/drbd.ts, what it rests on in docs/drbd.md.

import { type Duration, formatDuration, ms } from "./duration.ts";
import type { Drbd, Limits } from "./pair.ts";
import { formatSize } from "./size.ts";

/** One extent of the activity log covers this much of the device (drbd.conf(5), al-extents). */
export const EXTENT = 4 * 1024 ** 2;
/** The range that both drivers take without a larger log on disk (drbd.conf(5), al-extents: 67 to 6433). */
const EXTENTS = { min: 67, max: 6_433 };
/** Of what disk and network carry, a resync gets at least this much while the service writes. */
const RESYNC_SHARE = 10;
/** In flight for the resync: three times what the network holds, at least 100 KiB (drbd.conf(5), c-fill-target: up to 1048576 sectors). */
const IN_FLIGHT = { trips: 3, min: 100 * 1024, max: 512 * 1024 ** 2 };
/** Neither driver resyncs faster (drbd.conf(5), c-max-rate: 250 to 4194304 KiB per second). */
const FASTEST = 4 * 1024 ** 3;

/** Bytes per second that a resync can reach: the slower one of disk and network, and of what the drivers allow. */
export const resyncRate = ({ diskPerSecond, networkPerSecond }: Drbd): number =>
  Math.min(diskPerSecond, networkPerSecond, FASTEST);

/** Bytes per second that a resync keeps while the service writes. */
export const leastResyncRate = (drbd: Drbd): number => Math.floor(resyncRate(drbd) / RESYNC_SHARE);

/** Bytes that a resync keeps on the way. */
export const resyncInFlight = (drbd: Drbd, { roundTrip }: Pick<Limits, "roundTrip">): number =>
  Math.min(
    IN_FLIGHT.max,
    Math.max(IN_FLIGHT.min, Math.ceil((IN_FLIGHT.trips * drbd.networkPerSecond * roundTrip) / 1_000)),
  );

/** Extents of the activity log: as many as can be copied again within the stated time after a crash. */
export const activityLogExtents = (drbd: Drbd): number =>
  Math.min(EXTENTS.max, Math.max(EXTENTS.min, Math.floor((resyncRate(drbd) * drbd.crashResync) / 1_000 / EXTENT)));

export interface Exposure {
  /** What is marked as perhaps different after a crash of the primary, in bytes. */
  readonly bytes: number;
  /** From the peer's return until both copies are equal again: so long the pair survives nothing more. */
  readonly longest: Duration;
  readonly formula: string;
}

/** After a crash of the primary, however little it had written: the whole activity log, per resource, one after the other. */
export function crashExposure(drbd: Drbd): Exposure {
  const extents = activityLogExtents(drbd);
  const bytes = extents * EXTENT * drbd.resources.length;
  const rate = resyncRate(drbd);
  return {
    bytes,
    longest: ms(Math.ceil((bytes / rate) * 1_000)),
    formula:
      `${drbd.resources.length} × ${extents} extents × 4MiB / ${formatSize(rate)} per second ` +
      `≤ ${formatDuration(ms(Math.ceil((bytes / rate) * 1_000)))}`,
  };
}

/** A peer that fell silent is noticed within this time, whether or not anything is written (drbd.conf(5), ping-int, ping-timeout). */
export const silenceNoticed = ({ pingInterval, pingTimeout }: Drbd): Duration => ms(pingInterval + pingTimeout);

/** A request that the peer does not confirm for so long ends the connection; less than the ping interval, as drbd.conf(5) wants it. */
export const requestTimeout = ({ pingInterval }: Drbd): Duration =>
  ms(Math.min(6_000, Math.floor((pingInterval * 0.75) / 100) * 100));

/** What protocol A has acknowledged and not sent: as old as the send buffer is deep. Beside it nothing is lost by one failure. */
export const unsent = (drbd: Drbd, { roundTrip, jitter }: Pick<Limits, "roundTrip" | "jitter">): Duration =>
  ms(Math.ceil((drbd.sendBuffer / drbd.networkPerSecond) * 1_000 + roundTrip + jitter));

export const unsentFormula = (drbd: Drbd, limits: Pick<Limits, "roundTrip" | "jitter">): string =>
  `send buffer ${formatSize(drbd.sendBuffer)} / ${formatSize(drbd.networkPerSecond)} per second + round trip ` +
  `${formatDuration(limits.roundTrip)} + jitter ${formatDuration(limits.jitter)} = ${formatDuration(unsent(drbd, limits))}`;
