// An NFS export of a replicated volume: `nfs` of `hotpair:volumes`.

import { address, duration, integer, keys, list, oneOf } from "./formats.ts";

/** fs/nfsd/nfsctl.c: the kernel takes 10 to 3600 whole seconds for both. */
const stateTime = (example: string) =>
  duration({ min: "10s", max: "1h", step: "1s", because: "the kernel's NFS server takes no others", example });

export const nfsExport = () =>
  keys({
    clients: list(address("198.51.100.0/24"), "prefixes", { min: 1, max: 32 }).describe(
      "From where it may be mounted. NFS believes what a client says of its users, so name no more than you trust.",
    ),
    squash: oneOf("root", "none")
      .default("root")
      .describe("`root`: root on a client is nobody on the export. `none`: it is root there, too."),
    leaseTime: stateTime("10s")
      .default("10s")
      .describe(
        "A client that is silent for this long may lose its locks to another one. A Linux client that cannot connect tries again after half of it at the latest.",
      ),
    gracePeriod: stateTime("15s")
      .default("15s")
      .describe(
        "How long after a change of the node clients may claim what they had, while nobody gets anything new. It ends as soon as all of them have. At least leaseTime.",
      ),
    threads: integer(1, 512, 16).default(16).describe("Threads of the kernel's server: requests served at a time."),
  });
