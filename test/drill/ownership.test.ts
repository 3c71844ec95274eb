// Who held a VIP when: spans, two owners, none, and what an observer's lines mean.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readObserverLine, toMs } from "../../infra/drill/owners.ts";
import { heldSpans, type Sighting, summariseOwnership, timeWithOwners } from "../../infra/drill/ownership.ts";

const saw = (node: "a" | "b", held: boolean, at: number): Sighting => ({ node, vip: "web", held, at });

describe("owners", () => {
  test("a handover with a gap has no owner for the gap and never two", () => {
    const spans = heldSpans([saw("a", true, 0), saw("b", false, 0), saw("a", false, 1_000), saw("b", true, 1_300)], []);
    const window = { from: 0, until: 5_000 };
    expect(summariseOwnership(spans, ["web"], window, 1_000, 0)).toEqual({
      spans: [
        { vip: "web", node: "a", fromMs: -1_000, untilMs: 0 },
        { vip: "web", node: "b", fromMs: 300, untilMs: null },
      ],
      twoOwnersMs: { web: 0 },
      noOwnerMs: { web: 300 },
      clockErrorMs: 0,
    });
  });

  test("an overlap is two owners for as long as it lasts", () => {
    const spans = heldSpans([saw("a", true, 0), saw("b", true, 900), saw("a", false, 1_000)], []);
    expect(timeWithOwners(spans, "web", 2, { from: 0, until: 2_000 })).toBe(100);
    expect(timeWithOwners(spans, "web", 0, { from: 0, until: 2_000 })).toBe(0);
  });

  test("a node whose power was cut holds nothing from then on, whatever was last seen of it", () => {
    const spans = heldSpans([saw("a", true, 0), saw("b", true, 1_300)], [{ node: "a", at: 1_000 }]);
    expect(timeWithOwners(spans, "web", 2, { from: 0, until: 3_000 })).toBe(0);
    expect(timeWithOwners(spans, "web", 0, { from: 0, until: 3_000 })).toBe(300);
  });

  test("it holds again when it is seen to after its reboot", () => {
    const spans = heldSpans([saw("a", true, 0), saw("a", true, 6_000)], [{ node: "a", at: 1_000 }]);
    expect(spans).toEqual([
      { vip: "web", node: "a", from: 0, until: 1_000 },
      { vip: "web", node: "a", from: 6_000, until: undefined },
    ]);
  });

  test("times with none, one and two owners add up to the window", () => {
    const sighting = fc.record({
      node: fc.constantFrom("a" as const, "b" as const),
      vip: fc.constant("web"),
      held: fc.boolean(),
      at: fc.integer({ min: -500, max: 1_500 }),
    });
    fc.assert(
      fc.property(fc.array(sighting, { maxLength: 30 }), (sightings) => {
        const spans = heldSpans(sightings, []);
        const window = { from: 0, until: 1_000 };
        const sum = [0, 1, 2].reduce((total, count) => total + timeWithOwners(spans, "web", count, window), 0);
        return sum === 1_000;
      }),
    );
  });
});

describe("an observer's lines", () => {
  test("keep their nanoseconds", () => {
    const line = readObserverLine('{"has":"198.18.0.100","at":1795183023816191999}');
    expect(line).toEqual({ kind: "sighting", address: "198.18.0.100", held: true, at: 1795183023816191999n });
    expect(line && "at" in line && toMs(line.at)).toBeCloseTo(1795183023816.192, 3);
  });

  test("others are left alone", () => {
    expect(readObserverLine("Welcome to Debian")).toBeUndefined();
    expect(readObserverLine('{"has":"198.18.0.1')).toBeUndefined();
    expect(readObserverLine('{"alive":1795183023816191999,"late":120000}')).toEqual({
      kind: "alive",
      at: 1795183023816191999n,
      lateNs: 120000n,
    });
  });
});
