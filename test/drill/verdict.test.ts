// Verdicts on synthetic runs: what passes, and each way to fail by its sentence.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Recovery } from "../../infra/drill/history.ts";
import { heldSpans, type Sighting } from "../../infra/drill/ownership.ts";
import type { Request } from "../../infra/drill/request.ts";
import { type Expectation, judge, type Observation } from "../../infra/drill/verdict.ts";
import { ms, UNBOUNDED } from "../../infra/model/duration.ts";

const FAULT = 10_000;
const saw = (node: "a" | "b", held: boolean, at: number): Sighting => ({ node, vip: "web", held, at });
const MOVED = [saw("a", true, 0), saw("a", false, FAULT), saw("b", true, FAULT + 300)];
const STAYED = [saw("a", true, 0)];
const failed: Request = {
  at: FAULT,
  late: 0,
  took: 1_000,
  ok: false,
  status: 0,
  servedBy: "",
  balancedBy: "",
  error: "deadline",
};
const recovered = (rtoMs: number): Recovery => ({
  kind: "recovered",
  firstFailed: failed,
  firstGood: { ...failed, at: FAULT + rtoMs - 2, took: 2, ok: true },
  rtoMs,
});

const seen = (sightings: readonly Sighting[], changes: Partial<Observation> = {}): Observation => ({
  vips: [{ name: "web", preferred: undefined }],
  active: "a",
  faultAt: FAULT,
  window: { from: 0, until: 30_000 },
  outcome: recovered(302),
  failedBefore: 0,
  failedLater: [],
  spans: heldSpans(sightings, []),
  clockErrorMs: 0,
  notHealed: [],
  ...changes,
});

const cut: Expectation = {
  movement: "to-peer",
  lowerMs: 200,
  upper: ms(350),
  targetMs: 1_000,
  undecidable: false,
};
const nothing: Expectation = { ...cut, movement: "stays", lowerMs: 0, upper: ms(0) };

describe("a pair in AWS", () => {
  const reasons = (node: "a" | "b" | null, promise = cut) =>
    judge(promise, seen(MOVED, { address: { moves: [{ vip: "web", node }] } })).reasons;

  test("passes when clients are sent to the node that holds the VIP", () => {
    expect(reasons("b")).toEqual([]);
  });
  test("fails when they are sent elsewhere, or nobody knows where", () => {
    expect(reasons("a")).toEqual(["AWS sends clients to node a, and web is on node b"]);
    expect(reasons(null)).toEqual(["no node says that AWS sends clients to it, and web is on node b"]);
    expect(reasons("a", { ...cut, undecidable: true })).toEqual([]);
  });
});

describe("a pair that keeps data", () => {
  const state = { ledger: [], twoWritersMs: 0, twoLeasesMs: 0, promoted: [] } as const;
  const reasons = (change: Partial<NonNullable<Observation["state"]>>) =>
    judge(cut, seen(MOVED, { state: { ...state, ...change } })).reasons;

  test("passes when nobody but one could write and nothing is missing", () => {
    expect(reasons({})).toEqual([]);
  });
  test.each([
    [{ twoWritersMs: 3 }, "both nodes could acknowledge a write for 3ms"],
    [{ twoLeasesMs: 12 }, "both nodes held the lease for 12ms"],
    [{ ledger: ["write 7 of client 1 is missing"] }, "write 7 of client 1 is missing"],
    [{ promoted: ["b"] as const }, "node b took writes although nothing proved that it has every acknowledged one"],
  ])("fails by %j", (change, reason) => {
    expect(reasons(change)).toEqual([reason]);
  });
});

describe("a run passes", () => {
  test("when clients were out for as long as promised and the VIP moved once", () => {
    expect(judge(cut, seen(MOVED))).toEqual({ verdict: "passed", reasons: [], missedTarget: false });
  });
  test("when nothing had to happen and nothing did", () => {
    expect(judge(nothing, seen(STAYED, { outcome: { kind: "unharmed" } })).verdict).toBe("passed");
  });
  test("when the VIP went home to its preferred node afterwards", () => {
    const home = [...MOVED, saw("b", false, 20_000), saw("a", true, 20_010)];
    expect(judge(cut, seen(home, { vips: [{ name: "web", preferred: "a" }] })).verdict).toBe("passed");
  });
  test("whatever happens to the owners, when the pair cannot decide the class", () => {
    const both = [saw("a", true, 0), saw("b", true, FAULT)];
    const undecidable = { ...cut, movement: "somewhere", upper: UNBOUNDED, undecidable: true } as const;
    expect(judge(undecidable, seen(both)).verdict).toBe("passed");
  });
});

describe("a run fails", () => {
  const reasonsOf = (expectation: Expectation, observation: Observation) => judge(expectation, observation).reasons;

  test("for two owners, however short", () => {
    const overlap = [saw("a", true, 0), saw("b", true, FAULT + 300), saw("a", false, FAULT + 301)];
    expect(reasonsOf(cut, seen(overlap))).toEqual(["web had two owners for 1ms"]);
  });
  test("not for an overlap that the clocks cannot tell", () => {
    const overlap = [saw("a", true, 0), saw("b", true, FAULT + 300), saw("a", false, FAULT + 300.4)];
    expect(reasonsOf(cut, seen(overlap, { clockErrorMs: 0.5 }))).toEqual([]);
  });
  test("for an outage longer than the upper bound", () => {
    expect(reasonsOf(cut, seen(MOVED, { outcome: recovered(400) }))).toEqual([
      "clients were out for 400ms; the estimate says at most 350ms",
    ]);
  });
  test("for an outage shorter than the lower bound: the estimate is wrong", () => {
    expect(reasonsOf(cut, seen(MOVED, { outcome: recovered(50) }))).toEqual([
      "clients were out for 50ms; the estimate says at least 200ms",
    ]);
  });
  test("for a missed target, which is told apart", () => {
    const slow: Expectation = { ...cut, upper: UNBOUNDED };
    expect(judge(slow, seen(MOVED, { outcome: recovered(1_500) }))).toEqual({
      verdict: "failed",
      reasons: ["the target of 1s was missed: 1500ms"],
      missedTarget: true,
    });
  });
  test("when service did not come back", () => {
    const verdict = judge(cut, seen(MOVED, { outcome: { kind: "down", firstFailed: failed } }));
    expect(verdict.missedTarget).toBe(true);
    expect(verdict.reasons[0]).toMatch(/^service did not come back/);
  });
  test("when the VIP did not move, moved too often, or moved at all", () => {
    expect(reasonsOf(cut, seen(STAYED))).toEqual(["web did not move to the other node"]);
    const thereAndBack = [...MOVED, saw("b", false, 20_000), saw("a", true, 20_300)];
    expect(reasonsOf(cut, seen(thereAndBack))).toEqual(["web moved 2 times; it should have moved once"]);
    expect(reasonsOf({ ...cut, movement: "stays" }, seen(MOVED))).toEqual(["web moved once; it should have stayed"]);
  });
  test("when nobody has the VIP at the end", () => {
    const lost = [saw("a", true, 0), saw("a", false, FAULT)];
    expect(reasonsOf({ ...cut, movement: "somewhere" }, seen(lost))).toEqual(["web has no owner at the end"]);
  });
  test("when healing broke something, or did not heal", () => {
    const later = { ...failed, at: FAULT + 12_000 };
    expect(reasonsOf(cut, seen(MOVED, { failedLater: [later], notHealed: ["node-a: no answer"] }))).toEqual([
      "1 requests failed again after service was back, the first 12s after the fault (deadline)",
      "not whole again after the undo: node-a: no answer",
    ]);
  });
  test("when the pair was not well before", () => {
    expect(reasonsOf(cut, seen(MOVED, { failedBefore: 2 }))[0]).toMatch(/^2 requests failed before the fault/);
  });
});

test("two owners never pass, for any histories and any bounds of a decidable class", () => {
  const sighting = fc.record({
    node: fc.constantFrom("a" as const, "b" as const),
    vip: fc.constant("web"),
    held: fc.boolean(),
    at: fc.integer({ min: 0, max: 30_000 }),
  });
  fc.assert(
    fc.property(
      fc.array(sighting, { maxLength: 12 }),
      fc.constantFrom("to-peer" as const, "stays" as const, "home" as const, "somewhere" as const),
      (sightings, movement) => {
        const both = [saw("a", true, 5_000), saw("b", true, 5_000), saw("b", false, 5_001), ...sightings];
        const spans = heldSpans(both, []);
        const holds = (node: "a" | "b") =>
          spans.some((span) => span.node === node && span.from <= 5_000 && (span.until ?? 1e9) > 5_000);
        fc.pre(holds("a") && holds("b"));
        return judge({ ...cut, movement, lowerMs: 0, upper: UNBOUNDED }, seen([], { spans })).verdict === "failed";
      },
    ),
  );
});
