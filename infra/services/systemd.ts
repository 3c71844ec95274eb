// What the services need to say to systemd in the same words: its own parser for units and drop-ins.

/**
 * Command that accepts units only if systemd can load them with their drop-ins. Units they merely refer to are not
 * judged, and warnings about manuals that are not installed are none.
 */
export const verifyUnits = (...units: readonly string[]): string =>
  `systemd-analyze verify --man=no --recursive-errors=no ${units.join(" ")}`;
