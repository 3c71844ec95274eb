// Arithmetic of HAProxy's health checks: how long a server that is dead in this or that way still gets traffic, and how long
// one may be silent without being taken out. Pure; how the checks are configured and run belongs to its service.

import { type Duration, formatDuration, ms } from "./duration.ts";
import type { Backend } from "./pair.ts";

/** Only what the checks of a backend consist of. */
type Checked = Pick<Backend, "check" | "role">;

/**
 * To a primary on the same network; a longer wait, or more retries, made a failover up to 2 s longer than the check
 * (docs/mariadb.md#haproxy).
 */
export const DATABASE_CONNECT: Duration = ms(100);

/** How long the check of a server takes that does not even refuse: its connection (HAProxy manual, `timeout check`). */
export const unconnectedCheck = ({ check, role }: Checked, connect: Duration): Duration =>
  ms(Math.min(role === undefined ? connect : DATABASE_CONNECT, check.interval));

/** The same for one that accepts and does not answer. */
const unansweredCheck = (backend: Checked, connect: Duration): Duration =>
  ms(Math.max(backend.check.timeout, unconnectedCheck(backend, connect)));

/**
 * Upper bound from the death of a server to its state DOWN: it dies just after a good check; the next one and `fall − 1`
 * fast ones fail as slowly as they can (HAProxy manual, `inter`, `fastinter`, `fall`).
 */
const detection = ({ check }: Checked, failedCheck: Duration): Duration =>
  ms(check.interval + check.fall * failedCheck + (check.fall - 1) * check.fastInterval);

/** A server whose machine is gone is DOWN after this long at most. */
export const silentDetection = (backend: Checked, connect: Duration): Duration =>
  detection(backend, unconnectedCheck(backend, connect));

/** The sum as a person checks it, e.g. `100ms + 2 × 50ms + 1 × 50ms`. */
export const silentDetectionFormula = (backend: Checked, connect: Duration): string =>
  detectionFormula(backend, unconnectedCheck(backend, connect));

function detectionFormula({ check: { interval, fastInterval, fall } }: Checked, failed: Duration): string {
  return `${formatDuration(interval)} + ${fall} × ${formatDuration(failed)} + ${fall - 1} × ${formatDuration(fastInterval)}`;
}

/** A server that is dead in whichever way is DOWN after this long at most. */
export const checkDetection = (backend: Checked, connect: Duration): Duration =>
  detection(backend, unansweredCheck(backend, connect));

/** Its sum, for one that accepts and does not answer. */
export const checkDetectionFormula = (backend: Checked, connect: Duration): string =>
  detectionFormula(backend, unansweredCheck(backend, connect));

/**
 * Upper bound from a server's first accepted connection to its state UP: it accepts just after a failed check; the next one
 * and `rise − 1` fast ones succeed (HAProxy manual, `inter`, `fastinter`, `rise`).
 */
export const recoveryNoticed = ({ check }: Checked): Duration =>
  ms(check.interval + (check.rise - 1) * check.fastInterval);

export const recoveryNoticedFormula = ({ check: { interval, fastInterval, rise } }: Checked): string =>
  `${formatDuration(interval)} + ${rise - 1} × ${formatDuration(fastInterval)}`;

/**
 * A server that cannot be reached for this long stays in: the first check may meet the whole of the silence, and the last
 * one, `fall − 1` failed and as many fast intervals later, succeeds.
 */
export const silenceTolerated = (backend: Checked, connect: Duration): Duration =>
  ms((backend.check.fall - 1) * (unconnectedCheck(backend, connect) + backend.check.fastInterval));
