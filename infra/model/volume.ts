// What runs on a replicated volume, as everybody who starts, stops, kills or counts it must know it: hotpair's own services on
// it, then the owner's. How each of them is made is its own service's business (infra/services).

import type { FailureClassId } from "./failure.ts";
import { hasDatabase, type Stateful, type Volume } from "./pair.ts";

/** The database on a volume (infra/services/mariadb-volume.ts). */
export const MARIADB_VOLUME_UNIT = "hotpair-mariadb-volume.service";

/** The export of a volume (infra/services/nfs.ts). */
export const NFS_UNIT = "hotpair-nfs.service";

/** Where the kernel's server listens (RFC 8881 2.9.3). */
export const NFS_PORT = 2049;

/** Every unit on the volume, in the order in which they start; each ends before the one before it. */
export const unitsOn = ({ mariadb, nfs, units }: Pick<Volume, "mariadb" | "nfs" | "units">): readonly string[] => [
  ...(mariadb === undefined ? [] : [MARIADB_VOLUME_UNIT]),
  ...(nfs === undefined ? [] : [NFS_UNIT]),
  ...units,
];

/** Faults of the database itself. Where it replicates the peer takes over; on a volume it starts again where it was. */
const OF_THE_SERVER: readonly FailureClassId[] = ["database-kill", "database-hang"];
export const endsInPlace = (failure: FailureClassId, pair: Stateful): boolean =>
  OF_THE_SERVER.includes(failure) && pair.mariadb === undefined && hasDatabase(pair);
