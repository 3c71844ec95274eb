// As failover.ts, of the pair that keeps data: a benchmark of its own, so that its figures have a file of their own.

import { run as failover } from "./failover.ts";

export const run = (args: readonly string[]): Promise<unknown> => failover([...args, "--data"]);
