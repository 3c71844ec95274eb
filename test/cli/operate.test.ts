// The one screen of `hotpair status`: what a person reads there first, and what it says of a node that is silent.

import { expect, test } from "vitest";
import { describe as screen } from "../../infra/cli/operate.ts";
import { type NodeAnswer, outlook } from "../../infra/model/outlook.ts";
import type { NodeStatus } from "../../infra/model/status.ts";
import { cloudPair, labPair } from "../model/pairs.ts";

const now = Date.UTC(2026, 0, 2, 3, 4, 5);
const node = (name: string, active: boolean): NodeStatus => ({
  version: 1,
  node: name,
  at: now,
  uptimeMs: 7_300_000,
  vips: [
    {
      name: "web",
      address: "198.18.0.100/24",
      held: active,
      state: active ? "master" : "backup",
      gate: { closed: false, reason: "" },
    },
  ],
  daemons: ["keepalived", "hotpair-arbiter", "haproxy", "nginx"].map((daemon) => ({
    name: daemon,
    state: "running",
    detail: "pid 1",
  })),
  arbiter: { running: true, sinceMs: 1, sharedDigest: "d" },
  peer: {
    heardMsAgo: { heartbeat: 12, public: 13, storage: null },
    advertMsAgo: { web: 40 },
    vips: [],
    healthy: true,
    maintenance: false,
  },
  maintenance: false,
  lastChanges: [{ at: now - 90_000, vip: "web", from: "backup", to: "master", reason: "the peer gave it up" }],
  backends: [{ backend: "nginx", server: "node-a", up: true, detail: "UP" }],
  manifest: null,
});
const show = (...answers: [NodeAnswer, NodeAnswer]) => screen(labPair, answers, outlook(labPair, answers), now);

test("the first lines say how it is and who is active", () => {
  const lines = show({ status: node("node-a", true) }, { status: node("node-b", false) }).split("\n");
  expect(lines[0]).toContain("pair lab:");
  expect(lines[2]).toBe("  VIP web 198.18.0.100/24: node-a");
});

test("both nodes stand side by side", () => {
  const text = show({ status: node("node-a", true) }, { status: node("node-b", false) });
  expect(text).toMatch(/VIP web +ACTIVE \(master\) +standby \(backup\)\n/);
  expect(text).toMatch(/hears its peer +heartbeat 12 ms, public 13 ms, storage never +heartbeat 12 ms/);
  expect(text).toMatch(/up since +2 h +2 h\n/);
});

test("of a pair in AWS, it says where clients are sent", () => {
  const told = { vips: ["198.18.0.100"], attempts: 3, error: null, reached: null };
  const a = { ...node("node-a", true), address: { ...told, state: "moving", at: now, elapsedMs: 4_000 } as const };
  const b = { ...node("node-b", false), address: { ...told, state: "left", at: now, elapsedMs: 0 } as const };
  const answers: readonly [NodeAnswer, NodeAnswer] = [{ status: a }, { status: b }];
  const text = screen(cloudPair, answers, outlook(cloudPair, answers), now);
  expect(text).toMatch(/clients in AWS +not yet \(for 4 s, calls: 3\) +-\n/);
});

test("a silent node is shown as such, and comes first in what to do", () => {
  const text = show({ silent: "does not answer" }, { status: node("node-b", true) });
  expect(text).toMatch(/^ +SILENT$/m);
  expect(text).toMatch(/VIP web +\? +ACTIVE \(master\)\n/);
  expect(text).toContain("VIP web 198.18.0.100/24: node-b, no standby ready");
  expect(text.split("what to do next\n")[1]).toMatch(/^ {4}node-a: does not answer;/);
});

test("changes of both nodes are told in one order, with their reasons", () => {
  const text = show({ status: node("node-a", true) }, { status: node("node-b", false) });
  expect(text).toContain("2026-01-02T03:02:35.000Z (90 s)  node-a web: backup → master: the peer gave it up");
});
