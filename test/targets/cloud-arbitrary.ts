// Right configurations in AWS, for tests of what holds for every one of them.

import fc from "fast-check";
import type { VipMethod } from "../../infra/model/pair.ts";
import { cloudDataPair } from "../model/pairs.ts";
import { BY_METHOD, type CloudPair, existing, oneZone } from "./cloud-pairs.ts";

const port = fc.integer({ min: 1, max: 65_535 });

/** Right configurations in AWS: every method, one zone and two, with and without storage, bucket, HAProxy, witness. */
export const arbitraryCloud = (): fc.Arbitrary<CloudPair> =>
  fc
    .record({
      method: fc.constantFrom<VipMethod>("elastic-ip", "secondary-ip", "route", "dns"),
      one: fc.boolean(),
      own: fc.boolean(),
      storage: fc.boolean(),
      spot: fc.boolean(),
      bucket: fc.boolean(),
      balanced: fc.boolean(),
      voted: fc.constantFrom("no", "given", "made"),
      ports: fc.uniqueArray(port, { minLength: 3, maxLength: 3 }),
      ssh: port,
      bits: fc.integer({ min: 20, max: 26 }),
      clients: fc.constantFrom(["0.0.0.0/0"], ["198.51.100.0/24", "203.0.113.0/24"]),
    })
    .map(({ method, one, own, storage, spot, bucket, balanced, voted, ports, ssh, bits, clients }) => {
      const base = BY_METHOD[method];
      const zones = one || method === "secondary-ip" ? oneZone : base.aws.zones;
      const half = zones.a === zones.b ? 0 : 2 ** (31 - bits);
      const host = (third: number, index: number) => {
        const number = (index === 1 ? half : 0) + 11 + index;
        return `10.20.${third * 16 + Math.floor(number / 256)}.${number % 256}/${bits}`;
      };
      const prefix = (third: number) => ({ prefix: `10.20.${third * 16}.0/${bits}`, gateway: undefined });
      const nodes = base.nodes.map((node, index) => ({
        ...node,
        ssh: { ...node.ssh, port: ssh },
        networks: {
          public: { ...node.networks.public, address: host(0, index) },
          heartbeat: { ...node.networks.heartbeat, address: host(1, index) },
          ...(storage ? { storage: { interface: "ens7", mtu: 1500, address: host(2, index) } } : {}),
        },
      }));
      const [web, pages, beacons] = ports as [number, number, number];
      const { haproxy } = base;
      return {
        ...base,
        networks: { public: prefix(0), heartbeat: prefix(1), ...(storage ? { storage: prefix(2) } : {}) },
        nodes: nodes as unknown as CloudPair["nodes"],
        arbiter: { ...base.arbiter, port: beacons },
        haproxy:
          balanced && haproxy
            ? {
                ...haproxy,
                frontends: haproxy.frontends.map((frontend) => ({ ...frontend, bind: { vip: "*", port: web } })),
              }
            : undefined,
        nginx: base.nginx && { ...base.nginx, port: pages },
        ...(voted === "no" ? {} : voters(voted === "made" ? "10.20.48.10" : "192.0.2.13", ssh)),
        aws: {
          ...base.aws,
          zones,
          clients,
          vpc: { prefix: "10.20.0.0/16", existing: own ? undefined : existing },
          instance: { ...base.aws.instance, spot },
          bucket: bucket ? base.aws.bucket : undefined,
          witness:
            voted === "made" && cloudDataPair.aws.witness !== undefined
              ? { ...cloudDataPair.aws.witness, prefix: "10.20.48.0/28" }
              : undefined,
        },
      };
    });

/** A witness at this address, with the authority that it votes in. */
const voters = (address: string, port: number): Pick<CloudPair, "witness" | "authority"> => ({
  witness: cloudDataPair.witness && {
    ...cloudDataPair.witness,
    address,
    ssh: { ...cloudDataPair.witness.ssh, port },
  },
  authority: cloudDataPair.authority,
});
