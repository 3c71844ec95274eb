// `hotpair promote` and `hotpair fence test`: what a person is told before a promotion by force, when it is refused, and when
// an agent is found to look at the wrong machine.

import { expect, test } from "vitest";
import { directionsOf, type Look, describe as line } from "../../infra/cli/fence.ts";
import { describeKnown, type Known, type LeaseStatus, lossOf, missingOf, refuse } from "../../infra/cli/promote.ts";
import type { NodeStatus } from "../../infra/model/status.ts";
import { statefulPair } from "../model/pairs.ts";

const lease: LeaseStatus = {
  holding: false,
  verdict: "barred",
  why: "no quorum: fewer than two of etcd's members answer",
  quorum: false,
  holder: "a",
  insync: { a: "one", b: "two" },
  epoch: { here: 1, etcd: 1 },
  incarnation: "two",
};
const status = {
  authority: { holding: false, holder: "a", renewedMsAgo: 95_000, insync: ["a", "b"], epoch: 1 },
  peer: { heardMsAgo: { heartbeat: 94_000, public: null }, vips: [] },
  fencing: null,
  vips: [{ name: "web", held: true }],
  database: { state: "read-only", lagMs: null, problems: [] },
} as unknown as NodeStatus;
const known: Known = {
  lease,
  status,
  position: "0-1-4711",
  peer: { answers: false, holding: false },
  witnessAnswers: false,
};

test("what is known names the last holder, the data, who answers, and what could be lost", () => {
  const text = describeKnown(statefulPair, "b", known).join("\n");
  expect(text).toMatch(/the lease: +node-a held it last, renewed 95 s ago; no quorum/);
  expect(text).toMatch(/in sync: +node-a and node-b, in epoch 1/);
  expect(text).toMatch(/node-b: +data two, at 0-1-4711/);
  expect(text).toMatch(/node-a: +does not answer, its arbiter was heard 94 s ago/);
  expect(text).toMatch(/witness: +does not answer; there is no quorum/);
  expect(text).toMatch(/fencing: +node-a was not shot yet/);
  expect(text).toMatch(/could be lost: nothing that was acknowledged until then/);
  const without = describeKnown({ ...statefulPair, fencing: undefined }, "b", known).join("\n");
  expect(without).toMatch(/fencing: +none: nothing but your word/);
});

test("what could be lost follows from who was in sync, and with which data", () => {
  const loss = (changes: Partial<LeaseStatus>) => lossOf(statefulPair, "b", { ...lease, ...changes });
  expect(loss({ insync: { a: "one" } })).toMatch(/what node-a acknowledged since it goes on alone/);
  expect(loss({ incarnation: "three" })).toMatch(/restarted or replaced/);
  expect(loss({ insync: null })).toMatch(/no member tells/);
  expect(loss({ incarnation: null })).toMatch(/everything: node-b has no data/);
});

test("without consent nothing is done, and the line to paste is shown", () => {
  expect(refuse(statefulPair, "b", known, false)).toMatch(/hotpair promote --node node-b --i-know-the-peer-is-down/);
  expect(refuse(statefulPair, "b", known, true)).toBeUndefined();
});

test("consent does not count against what is seen: a peer that holds or renews the lease is not down", () => {
  const holding = { ...known, peer: { answers: true, holding: true } };
  expect(refuse(statefulPair, "b", holding, true)).toMatch(
    /node-a answers and holds the lease: .*hotpair switch --to node-b/,
  );
  const authority = { ...status.authority, renewedMsAgo: 120 };
  const renewing = { ...known, status: { ...status, authority } as unknown as NodeStatus };
  expect(refuse(statefulPair, "b", renewing, true)).toMatch(/node-a renewed the lease 120 ms ago: it is not down/);
});

test("nothing is forced that comes by itself, and nothing without data or without an answer", () => {
  const free = { ...known, lease: { ...lease, verdict: "free", why: "nobody holds it", quorum: true } };
  expect(refuse(statefulPair, "b", free, true)).toMatch(/nothing needs to be forced/);
  expect(refuse(statefulPair, "b", { ...known, lease: { ...lease, incarnation: null } }, true)).toMatch(/no data/);
  expect(refuse(statefulPair, "b", { ...known, lease: undefined }, true)).toMatch(/cannot be asked/);
  expect(refuse(statefulPair, "b", { ...known, lease: { ...lease, holding: true } }, true)).toBeUndefined();
});

test("a node is active once it has the address, the lease and a primary", () => {
  expect(missingOf(statefulPair, status)).toEqual(["it does not hold the lease", "its database is read-only"]);
  const active = { ...status, authority: { ...status.authority, holding: true }, database: { state: "primary" } };
  expect(missingOf(statefulPair, active as unknown as NodeStatus)).toEqual([]);
  expect(missingOf(statefulPair, undefined)).toEqual(["it does not answer"]);
});

const look = (power: "on" | "off" | null): Look => ({
  ok: power !== null,
  power,
  at: 0,
  elapsedMs: 420,
  detail: power === null ? "cannot log in" : "",
});
const directions = (a: Look, b: Look) => {
  if (statefulPair.fencing === undefined) throw new Error("the pair that keeps data has fencing");
  return directionsOf(statefulPair, statefulPair.fencing, { a, b });
};

test("both directions are tested and named", () => {
  const [there, back] = directions(look("on"), look(null));
  expect(there).toMatchObject({ from: "node-a", to: "node-b", ok: true, power: "on" });
  expect(back).toMatchObject({ from: "node-b", to: "node-a", ok: false, detail: "cannot log in" });
  expect(directions(look("on"), look("on")).map(line)[0]).toMatch(
    /ok +node-a could shoot node-b: fence_ipmilan tells its power after 0\.4 s: on/,
  );
});

test("an agent whose look takes longer than what a shot keeps for it would never confirm", () => {
  const [slow] = directions({ ...look("on"), elapsedMs: 14_235 } as Look, look("on"));
  expect(slow).toMatchObject({ ok: false, power: "on" });
  expect(slow?.detail).toMatch(/too late: a shot has 20s .* a look may take 5s.*cipher/);
});

test("an agent that calls a node off which answers looks at another machine", () => {
  const [there] = directions(look("off"), look("on"));
  expect(there).toMatchObject({ ok: false, power: "off" });
  expect(there?.detail).toMatch(/calls it off, and node-b answers/);
  const [alone] = directions(look("off"), { silent: "does not answer" });
  expect(alone).toMatchObject({ ok: true, power: "off" });
});
