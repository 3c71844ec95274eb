// What hotpair renders of a server's own networks where it is asked to, and what it finds unwise in that. The files
// themselves: golden/managed. What systemd-networkd makes of them: network.lab.test.ts.

import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { ms } from "../../infra/model/duration.ts";
import { linksOf } from "../../infra/model/link.ts";
import type { Attachment, Managed, NetworkName, Pair } from "../../infra/model/pair.ts";
import { makeBundle } from "../../infra/plan/bundle.ts";
import { planNode, planPair } from "../../infra/plan/plan.ts";
import { arbiter } from "../../infra/services/arbiter.ts";
import { base } from "../../infra/services/base.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { keepalived } from "../../infra/services/keepalived.ts";
import { network } from "../../infra/services/network.ts";
import { diskPair, labPair, managedPair } from "../model/pairs.ts";

const PLAIN: Managed = { vlan: undefined, bond: undefined, overSsh: undefined };
const bond = (miimon: number, members = ["one", "two"]): Managed => ({
  ...PLAIN,
  bond: { members, miimon: ms(miimon), primary: undefined },
});

/** `pair` with one network of its nodes set up as stated; the second node's as the first one's unless it is given. */
function set(pair: Pair, name: NetworkName, first: Partial<Attachment>, second: Partial<Attachment> = first): Pair {
  const [a, b] = pair.nodes;
  const at = (node: typeof a, change: Partial<Attachment>) => ({
    ...node,
    networks: { ...node.networks, [name]: { ...(node.networks[name] ?? node.networks.heartbeat), ...change } },
  });
  return { ...pair, nodes: [at(a, first), at(b, second)] };
}

const said = (pair: Pair): readonly string[] =>
  network.findings(pair).map(({ path, message }) => `${path.replace("hotpair:pair.", "")}: ${message}`);

test("by default the networks are the server's own: no file, no unit, no check of this service", () => {
  for (const pair of [labPair, diskPair]) {
    expect(network.plan(pair, "a")).toBeUndefined();
    expect(network.timing(pair)).toEqual([]);
    const paths = planPair(pair).flatMap(({ files }) => files.map(({ path }) => path));
    expect(paths.filter((path) => /systemd\/network|hotpair-network/.test(path))).toEqual([]);
  }
});

test("each file of systemd-networkd's is brought into use by the one unit that can take it back", () => {
  const plan = network.plan(managedPair, "a");
  const own = plan?.files.filter(({ path }) => path.startsWith("/etc/systemd/network/")) ?? [];
  expect(own.map(({ path }) => path.replace("/etc/systemd/network/05-hotpair-", ""))).toEqual([
    "bond1.netdev",
    "bond1.network",
    "bond1-member1.network",
    "bond1-member2.network",
    "a-hb.network",
    "a-hb.20.netdev",
    "a-hb.20.network",
    "bond0.netdev",
    "bond0.network",
    "bond0-member1.network",
    "bond0-member2.network",
    "bond0.10.netdev",
    "bond0.10.network",
  ]);
  expect(new Set(own.map(({ onChange }) => JSON.stringify(onChange)))).toEqual(
    new Set(['{"action":"reload","unit":"hotpair-network.service"}']),
  );
  expect(JSON.parse(String(plan?.files.find(({ path }) => path.endsWith("network.json"))?.content)).files).toEqual(
    own.map(({ path }) => path),
  );
});

test("every network is asked whether its peer still answers, and the size of packets only where hotpair sets it", () => {
  const one = set(labPair, "storage", { interface: "bond0", mtu: 9000, managed: bond(100) });
  const settings = network.plan(one, "b")?.files.find(({ path }) => path.endsWith("network.json"));
  expect(JSON.parse(String(settings?.content)).reach).toEqual([
    { network: "public", address: "198.18.0.12", peer: "198.18.0.11", mtu: 1500, port: 22 },
    { network: "heartbeat", address: "198.18.1.12", peer: "198.18.1.11", mtu: 1500, port: 22 },
    { network: "storage", address: "198.18.2.12", peer: "198.18.2.11", mtu: 9000, port: 22 },
  ]);
});

test("the active node hands over before its networks are touched", () => {
  const plan = planNode(managedPair, "a");
  expect(plan.units.find(({ name }) => name === "hotpair-network.service")).toEqual({
    name: "hotpair-network.service",
    running: true,
    holdsRole: false,
    interrupts: true,
  });
  const [, archive = ""] = makeBundle(plan, () => "0".repeat(64)).split("\n");
  expect(gunzipSync(Buffer.from(archive, "base64")).toString()).toContain(
    "\nunit hotpair-network.service running networks\n",
  );
});

test("its unit is changed before every daemon that uses an interface", () => {
  const names = planNode(managedPair, "a").units.map(({ name }) => name);
  expect(names.indexOf("hotpair-network.service")).toBeLessThan(names.indexOf("keepalived.service"));
  expect(names.indexOf("hotpair-network.service")).toBeLessThan(names.indexOf("hotpair-arbiter.service"));
});

test("the other services use the interface that results", () => {
  const text = (content: unknown) => (typeof content === "string" ? content : "");
  const all = [keepalived, arbiter, base].flatMap((service) => service.plan(managedPair, "a")?.files ?? []);
  const find = (end: string) => text(all.find(({ path }) => path.endsWith(end))?.content);
  expect(find("/keepalived.conf")).toMatch(/interface a-hb\.20$/m);
  expect(find("/keepalived.conf")).toMatch(/198\.18\.0\.100\/24 dev bond1 no_track$/m);
  expect(find("/sysctl.d/60-hotpair.conf")).toContain("net/ipv4/conf/bond0.10/arp_ignore = 1\n");
  expect(JSON.stringify(all.map(({ content }) => content))).toContain("bond0.10");
});

test("the arbiter's status asks for what hotpair sets up, and only where it does", () => {
  const asked = (pair: Pair) =>
    JSON.parse(
      String(arbiter.plan(pair, "a")?.files.find(({ path }) => path.endsWith("/arbiter.json"))?.content ?? "null"),
    ).managed;
  expect(asked(managedPair)).toBe("/usr/lib/hotpair/hotpair-network");
  expect(asked(labPair)).toBeUndefined();
});

test("keepalived's parser gets stand-ins for interfaces that only this change will make", () => {
  const command = (pair: Pair) =>
    keepalived.plan(pair, "a")?.validators.find(({ name }) => name === "keepalived -t")?.command;
  expect(command(managedPair)).toMatch(/unshare --net sh -ec 'for name in bond1 a-hb\.20; do ip link add /);
  expect(command(labPair)).not.toContain("unshare");
});

test("where hotpair makes the frames larger, a peer that is still to come is no failure", () => {
  expect(base.plan(managedPair, "a")?.health.filter(({ name }) => name.includes("9000"))).toEqual([]);
  expect(network.plan(managedPair, "a")?.health.map(({ command }) => command)).toEqual([
    "/usr/lib/hotpair/hotpair-network verify",
  ]);
});

test("two networks on one card: its frames are as long as the longer ones, and both are on it", () => {
  const shared = set(set(labPair, "heartbeat", { interface: "eth2", managed: PLAIN }), "storage", {
    interface: "eth2.10",
    mtu: 9000,
    managed: { ...PLAIN, vlan: 10 },
  });
  expect(
    linksOf(shared.nodes[0]).map(({ name, kind, mtu, address, vlans }) => [name, kind, mtu, address, vlans]),
  ).toEqual([
    ["eth2", "card", 9000, "198.18.1.11/24", ["eth2.10"]],
    ["eth2.10", "vlan", 9000, "198.18.2.11/24", []],
  ]);
});

test("the loss of a bonded public link is noticed when the bond looks", () => {
  const sum = (pair: Pair) =>
    estimate(pair)
      .find(({ failure }) => failure === "public-link-loss")
      ?.terms.filter(({ service }) => service === "network");
  expect(sum(managedPair)).toMatchObject([{ step: "detect", lower: 0, upper: 100, formula: "≤ miimon 100ms" }]);
  expect(sum(labPair)).toEqual([]);
});

test("nothing is to be said of networks as they should be", () => {
  expect(said(managedPair)).toEqual([]);
  expect(said(labPair)).toEqual([]);
});

test("jumbo frames where clients are", () => {
  expect(said(set(labPair, "public", { mtu: 9000 }))[0]).toMatch(
    /^nodes\[0\]\.networks\.public\.mtu: node-a: packets of 9000 bytes on the network where clients are/,
  );
});

test("one VLAN for two networks, and two for one", () => {
  const tagged = (vlan: number, on: string) => ({ interface: `${on}.${vlan}`, managed: { ...PLAIN, vlan } });
  const twice = set(set(labPair, "heartbeat", tagged(10, "eth1")), "storage", tagged(10, "eth2"));
  expect(said(twice)).toEqual([
    "nodes[0].networks.storage.managed.vlan: node-a: storage and heartbeat are both VLAN 10: where the two cables meet they are one network, and fail together",
    "nodes[1].networks.storage.managed.vlan: node-b: storage and heartbeat are both VLAN 10: where the two cables meet they are one network, and fail together",
  ]);
  expect(said(set(labPair, "storage", tagged(10, "eth2"), tagged(11, "eth2")))[0]).toMatch(
    /^nodes\[1\]\.networks\.storage\.managed\.vlan: the storage network is VLAN 10 at node-a and VLAN 11 at node-b/,
  );
});

test("a public network without a router", () => {
  expect(said(set(labPair, "public", { managed: PLAIN }))[0]).toMatch(
    /hotpair sets the public network up and knows no router/,
  );
});

test("a bond that looks so seldom that the daemons on it give up first", () => {
  const heartbeat = (miimon: number) => said(set(labPair, "heartbeat", { interface: "bond0", managed: bond(miimon) }));
  // Adverts every 100 ms, VRRP's timer 3 × 100 ms + 3/256 × 100 ms.
  expect(heartbeat(200)).toEqual([]);
  expect(heartbeat(210)[0]).toMatch(
    /within 210ms; with the advert before it, 310ms without adverts, and VRRP takes over/,
  );
  const storage = (miimon: number) => said(set(diskPair, "storage", { interface: "bond0", managed: bond(miimon) }));
  expect(storage(diskPair.drbd.pingTimeout)).toEqual([]);
  expect(storage(diskPair.drbd.pingTimeout + 10)[0]).toMatch(/the spare member would not save the connection/);
});
