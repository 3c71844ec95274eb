// When a pair is whole, and each thing that keeps it from being so.

import { expect, test } from "vitest";
import { loadStack } from "../../infra/cli/stack.ts";
import { unwell, waitingToGoHome } from "../../infra/drill/health.ts";
import type { NodeStatus } from "../../infra/model/status.ts";
import { diskPair, statefulPair } from "../model/pairs.ts";

const { pair } = loadStack("lab");

const status = (held: boolean, changes: Partial<NodeStatus> = {}): NodeStatus => ({
  version: 1,
  node: "node",
  at: 0,
  uptimeMs: 1_000_000,
  vips: [
    {
      name: "web",
      address: "198.18.0.100",
      held,
      state: held ? "master" : "backup",
      gate: { closed: false, reason: "" },
    },
  ],
  daemons: [{ name: "keepalived", state: "running", detail: "" }],
  arbiter: { running: true, sinceMs: 1, sharedDigest: "x" },
  peer: {
    heardMsAgo: { public: 5, heartbeat: 5, storage: 5 },
    advertMsAgo: {},
    vips: [],
    healthy: true,
    maintenance: false,
  },
  maintenance: false,
  lastChanges: [],
  backends: [{ backend: "nginx", server: "node-a", up: true, detail: "" }],
  manifest: null,
  ...changes,
});
const peer = status(false).peer;
if (peer === null) throw new Error("no peer");

test("a pair with one owner and nothing broken is whole", () => {
  expect(unwell(pair, [status(true), status(false)])).toEqual([]);
});

test("a VIP that has yet to go home is not at rest", () => {
  const [vip] = pair.vips;
  if (vip === undefined) throw new Error("no VIP");
  const preferring = { ...pair, vips: [{ ...vip, preferred: "b" as const }] };
  expect(unwell(preferring, [status(true), status(false)])).toEqual(["VIP web has not gone home to node-b yet"]);
  expect(unwell(preferring, [status(false), status(true)])).toEqual([]);
});

test("a VIP that only waits to go home is told apart from a pair that is ill", () => {
  const [vip] = pair.vips;
  if (vip === undefined) throw new Error("no VIP");
  const preferring = { ...pair, vips: [{ ...vip, preferred: "b" as const }] };
  const waits = { ...status(true), vips: status(true).vips.map((one) => ({ ...one, homeInMs: 30_000 })) };
  expect(waitingToGoHome(preferring, [waits, status(false)])).toEqual([{ vip: "web", node: 0 }]);
  // It is on its way by itself.
  expect(waitingToGoHome(preferring, [status(true), status(false)])).toEqual([]);
  expect(waitingToGoHome(preferring, [waits, status(false, { maintenance: true })])).toEqual([]);
  expect(waitingToGoHome(preferring, [waits, { error: "no answer" }])).toEqual([]);
});

test.each<[string, Partial<NodeStatus>, string]>([
  ["no arbiter", { arbiter: null, peer: null }, "its arbiter does not run"],
  ["maintenance", { maintenance: true }, "it is parked for maintenance"],
  ["a hung daemon", { daemons: [{ name: "haproxy", state: "hung", detail: "pid 7" }] }, "haproxy is hung (pid 7)"],
  [
    "a backend that is down",
    { backends: [{ backend: "nginx", server: "node-b", up: false, detail: "L4CON" }] },
    "HAProxy sees nginx/node-b down (L4CON)",
  ],
  [
    "a silent network",
    { peer: { ...peer, heardMsAgo: { public: 5, heartbeat: 5_000, storage: 5 } } },
    "it does not hear its peer on the heartbeat network",
  ],
  ["a peer never heard", { peer: null }, "it has not heard its peer"],
  ["an unwell peer", { peer: { ...peer, healthy: false } }, "its peer says that it is not well"],
])("%s is told", (_, changes, line) => {
  expect(unwell(pair, [status(true), status(false, changes)])).toEqual([`node-b: ${line}`]);
});

test("two owners, none, and a node that does not answer are told", () => {
  expect(unwell(pair, [status(true), status(true)])).toEqual(["VIP web is held by both nodes"]);
  expect(unwell(pair, [status(false), { error: "no route to host" }])).toEqual([
    "node-b: no route to host",
    "VIP web is held by nobody",
  ]);
});

const authority = {
  holding: false,
  holder: "a" as const,
  renewedMsAgo: 80,
  quorumMsAgo: 60,
  witnessMsAgo: 60,
  insync: ["a", "b"] as const,
  epoch: 1,
};
const server = (name: string, up: boolean) => ({ backend: "mariadb", server: name, up, detail: "" });
const withData = (held: boolean, changes: Partial<NodeStatus> = {}): NodeStatus =>
  status(held, {
    vips: [
      {
        ...{ name: "web", address: "198.18.0.100", held, state: held ? "master" : "fault" },
        gate: held ? { closed: false, reason: "" } : { closed: true, reason: "the peer is active", standby: true },
      },
    ],
    backends: [server("node-a", true), server("node-b", false)],
    authority: { ...authority, holding: held },
    database: { state: held ? "primary" : "replica", lagMs: 0, problems: [] },
    ...changes,
  });

test("a pair with data is whole with one lease, one primary, a replica in sync and its standby kept away", () => {
  expect(unwell(statefulPair, [withData(true), withData(false)])).toEqual([]);
});

test("a pair with replicated disks is judged by the same rules, in its own words", () => {
  const backends = ["node-a", "node-b"].map((name) => ({ backend: "nginx", server: name, up: true, detail: "" }));
  const said = (held: boolean, state: string) =>
    withData(held, { backends, database: { state, lagMs: null, problems: [] } });
  expect(unwell(diskPair, [said(true, "primary"), said(false, "replica")])).toEqual([]);
  expect(unwell(diskPair, [said(true, "primary"), said(false, "resyncing")])).toEqual([
    "node-b: its replicated disk is resyncing, not replica",
  ]);
});

test("a VIP on one node and the lease on the other is told", () => {
  const primary = withData(false, { authority: { ...authority, holding: true } });
  const owner = withData(true, { authority: { ...authority, holding: false } });
  expect(unwell(statefulPair, [owner, primary])).toContain("node-a: it has VIP web and not the lease");
});

test.each<[string, Partial<NodeStatus>, readonly string[]]>([
  ["a silent observer", { authority: null }, ["node-b: its observer of the lease is silent"]],
  ["a lost quorum", { authority: { ...authority, quorumMsAgo: 4_000 } }, ["node-b: it has no quorum"]],
  [
    "an etcd member that is gone",
    { authority: { ...authority, memberMsAgo: null } },
    ["node-b: its own etcd member does not answer"],
  ],
  ["a silent witness", { authority: { ...authority, witnessMsAgo: null } }, ["node-b: it does not hear the witness"]],
  ["no redundancy", { authority: { ...authority, insync: ["a"] } }, ["node-b: insync does not list node-b"]],
  ["a hung database", { database: null }, ["node-b: its database does not answer"]],
  [
    "a database that is no replica",
    { database: { state: "diverged", lagMs: null, problems: [] } },
    ["node-b: its database is diverged, not replica"],
  ],
  [
    "two leases",
    { authority: { ...authority, holding: true } },
    ["the lease is held by both nodes", "node-b: its database is replica, not primary"],
  ],
  [
    "a role that nobody answers for",
    { backends: [server("node-a", false), server("node-b", false)] },
    ["node-b: HAProxy sees no server of mariadb up"],
  ],
])("of a pair with data, %s is told", (_, changes, lines) => {
  expect(unwell(statefulPair, [withData(true), withData(false, changes)])).toEqual(lines);
});
