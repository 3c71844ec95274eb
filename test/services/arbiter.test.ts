// What the arbiter is told of a pair, and that what it is told is complete: every module of its package is carried.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seconds } from "../../infra/model/duration.ts";
import type { NodeId, Pair } from "../../infra/model/pair.ts";
import { arbiter } from "../../infra/services/arbiter.ts";
import { cloudPair, externalService, labPair, twoVips, witnessed } from "../model/pairs.ts";

const plan = (pair: Pair, node: NodeId = "a") => {
  const found = arbiter.plan(pair, node);
  if (found === undefined) throw new Error("no plan");
  return found;
};
const told = (pair: Pair, node: NodeId = "a"): Record<string, unknown> => {
  const content = plan(pair, node).files.find(({ path }) => path === "/etc/hotpair/arbiter.json")?.content;
  return JSON.parse(typeof content === "string" ? content : "") as Record<string, unknown>;
};

test("every module of the package is carried, and no other", () => {
  const modules = readdirSync(join(import.meta.dirname, "../../infra/node/arbiter")).filter((name) =>
    name.endsWith(".py"),
  );
  const carried = plan(labPair).files.flatMap(({ path }) => /\/arbiter\/([^/]+\.py)$/.exec(path)?.[1] ?? []);
  expect(carried.toSorted()).toEqual(modules.toSorted());
});

test("each node is told of itself, of its peer and of the networks between them", () => {
  expect(told(labPair, "b")).toMatchObject({
    version: 1,
    node: { id: "b", name: "node-b" },
    peer: { id: "a", name: "node-a" },
    networks: [
      { name: "heartbeat", interface: "b-hb", address: "198.18.1.12", peer: "198.18.1.11" },
      { name: "public", interface: "b-pub", address: "198.18.0.12", peer: "198.18.0.11" },
      { name: "storage", interface: "b-st", address: "198.18.2.12", peer: "198.18.2.11" },
    ],
    advertMs: 100,
    silenceMs: 150,
    holdMs: 45_000,
    gateway: null,
    haproxySocket: "/run/haproxy/admin.sock",
    units: ["keepalived", "hotpair-arbiter", "haproxy", "nginx"],
  });
  expect(told(externalService)).toMatchObject({ units: ["keepalived", "hotpair-arbiter", "haproxy", "shop.service"] });
  expect((told(externalService) as { networks: unknown[] }).networks).toHaveLength(2);
});

test("in AWS, its status has what the program says that moves the address", () => {
  expect(told(cloudPair).address).toBe("/usr/lib/hotpair/hotpair-address");
  expect(told(labPair)).not.toHaveProperty("address");
});

test("every VIP has its preferred node and router id", () => {
  expect(told(twoVips)).toMatchObject({
    vips: [
      { name: "web", address: "198.18.0.100", prefix: 24, interface: "a-pub", routerId: 51, preferred: "a" },
      { name: "api", address: "198.18.0.101", prefix: 24, interface: "a-pub", routerId: 52, preferred: "b" },
    ],
  });
});

test("the key is a secret of its own file; the newest comes first", () => {
  const key = (pair: Pair) => plan(pair).files.find(({ path }) => path === "/etc/hotpair/beacon.key");
  expect(key(labPair)).toMatchObject({
    mode: "0600",
    secret: true,
    content: ["current ", { secret: "beaconKey" }, "\n"],
  });
  const rotating = { ...labPair, secrets: { ...labPair.secrets, previousBeaconKey: { secret: "previousBeaconKey" } } };
  expect(key(rotating)?.content).toEqual([
    ...["current ", { secret: "beaconKey" }, "\n"],
    ...["previous ", { secret: "previousBeaconKey" }, "\n"],
  ]);
});

test("its restart moves nothing, so nothing hands over for it", () => {
  expect(plan(labPair).units).toEqual([{ name: "hotpair-arbiter.service", running: true, holdsRole: false }]);
});

test("the hold counts where both nodes were off, and nowhere else", () => {
  const terms = arbiter.timing({ ...labPair, arbiter: { ...labPair.arbiter, hold: seconds(77) } });
  const holding = terms.filter(({ upper }) => upper === 77_000);
  expect(holding.map(({ failure }) => failure)).toEqual(["both-power-cut"]);
});

test("a pair with a witness is told of its lease and watches its authority; without one nothing of it is said", () => {
  expect(told(witnessed)).toMatchObject({
    authority: { witness: "witness", renewalMs: 100, deadlineMs: 800, takeoverMs: 1_500 },
    units: ["keepalived", "hotpair-arbiter", "hotpair-quorum", "hotpair-etcd-shop", "haproxy", "nginx"],
  });
  expect(told(labPair)).not.toHaveProperty("authority");
});

test("the holder of the lease can have one priority more", () => {
  expect(told({ ...witnessed, vrrp: { ...witnessed.vrrp, priority: 254 } })).toMatchObject({ priority: 253 });
  expect(told({ ...labPair, vrrp: { ...labPair.vrrp, priority: 254 } })).toMatchObject({ priority: 254 });
});
