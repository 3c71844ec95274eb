// Durations read back as they were written, and one unbounded term makes a sum unbounded.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addBounds,
  formatDuration,
  ms,
  parseDuration,
  seconds,
  UNBOUNDED,
  within,
} from "../../infra/model/duration.ts";

test.each([
  ["100ms", 100],
  ["2.5s", 2_500],
  ["5m", 300_000],
  ["1h", 3_600_000],
  ["2d", 172_800_000],
  ["250us", 0.25],
])("%s is %d ms", (text, value) => {
  expect(parseDuration(text)).toBe(value);
});

test.each(["", "100", "ms", "-1s", "1 s", "1s2", "1e3ms", "fast"])("%j is not a duration", (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test("every duration reads back to a thousandth of a millisecond", () => {
  fc.assert(
    fc.property(fc.double({ min: 0.001, max: 1e9, noNaN: true }), (value) => {
      const exact = Math.round(value * 1_000) / 1_000;
      const back = parseDuration(formatDuration(ms(exact)));
      expect(Math.abs((back ?? Number.NaN) - exact)).toBeLessThanOrEqual(0.001);
    }),
    { examples: [[86_400_026], [3_600_000.4], [1_500.25]], numRuns: 1_000 },
  );
});

describe("bounds", () => {
  test("add up", () => {
    expect(addBounds([ms(100), ms(1.5), seconds(1)])).toBe(1_101.5);
    expect(addBounds([])).toBe(0);
  });

  test("one that is unbounded makes the sum unbounded, and within nothing", () => {
    expect(addBounds([ms(1), UNBOUNDED])).toBe(UNBOUNDED);
    expect(within(UNBOUNDED, seconds(1e6))).toBe(false);
  });

  test("meet a target that they equal", () => {
    expect(within(seconds(1), seconds(1))).toBe(true);
    expect(within(ms(1_000.1), seconds(1))).toBe(false);
  });
});
