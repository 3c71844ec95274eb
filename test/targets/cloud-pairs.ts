// The pairs in AWS that tests of the target start from: one for each way to move the address, and one that fences.

import { seconds } from "../../infra/model/duration.ts";
import type { Aws, Pair, VipMethod } from "../../infra/model/pair.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { declareAws } from "../../infra/targets/aws.ts";
import type { CloudPair } from "../../infra/targets/aws-network.ts";
import { cloudPair } from "../model/pairs.ts";

export type { CloudPair };

export const declare = (pair: CloudPair) => declareAws(pair, collectListeners(pair));
export const inAws = (change: Partial<Aws>, pair: CloudPair = cloudPair): CloudPair => ({
  ...pair,
  aws: { ...pair.aws, ...change },
});
export const oneZone = { a: "eu-central-1a", b: "eu-central-1a" };
export const existing = { id: "vpc-0a1b2c3d4e5f60718", routeTable: "rtb-0a1b2c3d4e5f60718" };

/** Each method with what it needs beside it. */
export const BY_METHOD: Readonly<Record<VipMethod, CloudPair>> = {
  "elastic-ip": cloudPair,
  "secondary-ip": inAws({ zones: oneZone, vip: vip("secondary-ip") }, { ...cloudPair, vips: vipAt("10.20.0.100/24") }),
  route: inAws({ vip: vip("route") }),
  dns: inAws({
    vip: { ...vip("dns"), record: { hostedZone: "Z0123456789", name: "shop.example.net", ttl: 5_000 as never } },
  }),
};

export function vip(method: VipMethod): Aws["vip"] {
  return { ...cloudPair.aws.vip, method, addresses: method === "elastic-ip" ? cloudPair.aws.vip.addresses : undefined };
}

function vipAt(address: string): Pair["vips"] {
  return cloudPair.vips.map((each) => ({ ...each, address }));
}

const agent = (plug: string) => ({ agent: "aws", options: { pair: "cloud", plug, region: "eu-central-1" } });

/** Each server may stop the other one. */
export const fencedPair: CloudPair = {
  ...cloudPair,
  fencing: { agents: { a: agent("a"), b: agent("b") }, timeout: seconds(120), required: false },
};
