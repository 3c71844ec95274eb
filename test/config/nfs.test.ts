// An export of a volume as it is written: what that means, every way in which it can be wrong, and the exact words about it.

import { expect, test } from "vitest";
import { readPair } from "../../infra/config/index.ts";
import { diskInput, type Input, mistakesWithDisks } from "./sample.ts";

const read = (input: Input) => readPair(input, { stack: "lab", locate: () => undefined });

const exporting =
  (nfs: Record<string, unknown>, change: (input: Input) => void = () => undefined) =>
  (input: Input): void => {
    input.volumes[0].nfs = { clients: ["198.18.0.0/24"], ...nfs };
    change(input);
  };

test("who may mount it is all that has to be said", () => {
  const input = diskInput();
  exporting({})(input);
  expect(read(input).volumes?.[0]?.nfs).toEqual({
    clients: ["198.18.0.0/24"],
    squash: "root",
    leaseTime: 10_000,
    gracePeriod: 15_000,
    threads: 16,
  });
  expect(read(input).volumes?.[1]?.nfs).toBeUndefined();
});

const CASES: Record<string, [change: (input: Input) => void, expected: readonly string[]]> = {
  "nobody who may mount it": [
    exporting({ clients: [] }),
    ["hotpair:volumes[0].nfs.clients: 0 given; expected 1 to 32 prefixes"],
  ],
  "a way to acknowledge early": [
    exporting({ async: true }),
    [expect.stringMatching(/^hotpair:volumes\[0\]\.nfs\.async: .*not a known key/)],
  ],
  "an address for a network": [
    exporting({ clients: ["198.18.0.7/24"] }),
    [
      'hotpair:volumes[0].nfs.clients[0]: "198.18.0.7/24" is an address inside a network; write the network, 198.18.0.0/24, or that host alone, 198.18.0.7/32',
    ],
  ],
  "a lease that the kernel does not take": [
    exporting({ leaseTime: "5s" }),
    [
      'hotpair:volumes[0].nfs.leaseTime: "5s" is outside 10s to 1h (the kernel\'s NFS server takes no others); expected e.g. 10s',
    ],
  ],
  "a grace period that ends before idle clients look": [
    exporting({ leaseTime: "30s", gracePeriod: "20s" }),
    [
      "hotpair:volumes[0].nfs.gracePeriod: 20s is less than leaseTime (30s): clients that are idle would come too late for their locks; write 45s",
    ],
  ],
  "two exports": [
    exporting({}, (input) => {
      input.volumes[1].nfs = { clients: ["198.18.0.0/24"] };
    }),
    [
      "hotpair:volumes[1].nfs: stands beside volumes[0].nfs: the kernel has one NFS server, whose clients and locks are kept on one volume; keep one of the two",
    ],
  ],
  "the package's server beside it": [
    exporting({}, (input) => {
      input.volumes[1].units = ["nfs-server.service"];
    }),
    ['hotpair:volumes[1].units[0]: "nfs-server.service" stands beside nfs, which runs the server itself; remove it'],
  ],
  "its port on the VIP, taken": [
    exporting({}, (input) => {
      input.haproxy.frontends[0].bind = "web:2049";
    }),
    [expect.stringMatching(/^hotpair:pair\.haproxy\.frontends\[0\]\.bind: port 2049 is taken by NFS /)],
  ],
};

test.each(Object.entries(CASES))("%s", (_, [change, expected]) => {
  expect(mistakesWithDisks(change)).toEqual(expected);
});
