// How far a server's clock is from this machine's, and where on our clock something belongs that the server saw: pure
// arithmetic over round trips. Who sends the pings is owners.ts.

/** Milliseconds that a server's clock is ahead of ours, and how exactly that is known. */
export interface Reading {
  readonly offset: number;
  readonly error: number;
}

/**
 * A round trip bounds how far a server's clock is from ours: its answer was written somewhere between our two readings.
 * All in milliseconds.
 */
export function roundTrip(sentAt: number, answeredAt: number, receivedAt: number): Reading {
  return { offset: answeredAt - (sentAt + receivedAt) / 2, error: (receivedAt - sentAt) / 2 };
}

/** When a server saw something: by its own clock, and when we read of it, by ours. Unix milliseconds. */
export interface Heard {
  readonly at: number;
  readonly heardAt: number;
}

export interface NodeClock {
  hear(reading: Reading): void;
  /** Unix milliseconds of our clock. */
  ours(heard: Heard): number;
  /** As last measured; infinitely inexact before the first round trip. */
  now(): Reading;
}

/** Clocks are disciplined by at most 500 ppm (adjtimex(2)): more than this between two round trips is no drift. */
const STEP_MS = 100;

/**
 * The clock of one boot. It may be set, or stand still with its machine: then an earlier reading says nothing about later
 * sightings. What was seen between two readings that differ belongs to the one that puts it closer to when we heard of it.
 * `known`: a clock that is ours.
 */
export function nodeClock(known?: Reading): NodeClock {
  const readings: Reading[] = known === undefined ? [] : [known];
  return {
    hear(reading) {
      const last = readings.at(-1);
      if (last === undefined || Math.abs(last.offset - reading.offset) > last.error + reading.error + STEP_MS)
        readings.push(reading);
      else if (reading.error < last.error) readings[readings.length - 1] = reading;
    },
    ours({ at, heardAt }) {
      // Nothing measured, as of a boot that ended at once: it was heard of within moments.
      const places = readings.map(({ offset }) => at - offset);
      return places.reduce(
        (best, one) => (Math.abs(heardAt - one) <= Math.abs(heardAt - best) ? one : best),
        places[0] ?? heardAt,
      );
    },
    now: () => readings.at(-1) ?? { offset: 0, error: Number.POSITIVE_INFINITY },
  };
}
