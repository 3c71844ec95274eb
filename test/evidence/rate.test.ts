// A rate is shown with the bound that its runs support, and with no more.

import fc from "fast-check";
import { expect, test } from "vitest";
import { rateOf, ratesOf, showRate } from "../../infra/evidence/rate.ts";
import type { DrillRecord } from "../../infra/model/proof.ts";

/** One-sided 95 % lower bounds of Clopper and Pearson: 1 − the upper 95 % limits of n runs with x failures. */
const TABLE: readonly (readonly [runs: number, failures: number, atLeast: number])[] = [
  // Without a failure: 0.05^(1/n).
  [1, 0, 0.05],
  [10, 0, 0.7411],
  [59, 0, 0.9505],
  [300, 0, 0.9901],
  // BETA.INV(0.05, n − x, x + 1).
  [10, 1, 0.6058],
  [20, 2, 0.7174],
  [100, 1, 0.9534],
  [100, 5, 0.8977],
];
test.each(TABLE)("%i runs with %i failures: at least %f", (runs, failures, atLeast) => {
  expect(rateOf(runs, runs - failures).atLeast).toBeCloseTo(atLeast, 4);
});

test("the rule of three is near, and never better", () => {
  for (const runs of [30, 100, 1_000, 30_000]) {
    const { atLeast } = rateOf(runs, runs);
    expect(atLeast).toBeGreaterThanOrEqual(1 - 3 / runs);
    expect(atLeast - (1 - 3 / runs)).toBeLessThan(0.2 / runs + 5 / runs ** 2);
  }
});

test("four nines take 29,956 runs without a failure, and one failure takes them away", () => {
  expect(showRate(rateOf(29_956, 29_956))).toBe("29,956 of 29,956, so at least 99.9900 % (95 % confidence)");
  expect(showRate(rateOf(29_955, 29_955))).toContain("at least 99.989 %");
  expect(showRate(rateOf(29_956, 29_955))).toContain("at least 99.984 %");
});

test("few runs say little, and it is said", () => {
  expect(showRate(rateOf(3, 3))).toBe("3 of 3, so at least 36 % (95 % confidence)");
  expect(showRate(rateOf(1, 1))).toContain("at least 5 %");
  expect(showRate(rateOf(2, 0))).toContain("at least 0 %");
  expect(showRate(rateOf(0, 0))).toBe("not measured");
});

test("what is shown is never better than what is known, which is never better than what was seen", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5_000 }), fc.nat(), (runs, some) => {
      const kept = some % (runs + 1);
      const rate = rateOf(runs, kept);
      expect(rate.atLeast).toBeLessThanOrEqual(kept / runs);
      expect(rate.atLeast).toBeGreaterThanOrEqual(rateOf(runs, Math.max(0, kept - 1)).atLeast);
      const shown = Number(/at least ([\d.]+) %/.exec(showRate(rate))?.[1]);
      expect(shown / 100).toBeLessThanOrEqual(rate.atLeast + 1e-9);
    }),
    { numRuns: 200 },
  );
});

test("only runs of the same configuration and daemons are counted together, and none that cannot be believed", () => {
  const drill = (changes: Partial<DrillRecord>): DrillRecord => ({
    sequence: 1,
    scenario: "clean-reboot",
    failure: "clean-reboot",
    startedAt: "2026-01-01T00:00:00.000Z",
    configDigest: "sha256:a",
    versions: { keepalived: "2.3.3" },
    runs: 3,
    passedRuns: 3,
    rtoMaxMs: 0,
    distrusted: undefined,
    ...changes,
  });
  const drills = [
    drill({}),
    drill({ passedRuns: 2, scenario: "another" }),
    drill({ configDigest: "sha256:b" }),
    drill({ versions: { keepalived: "2.2.8" } }),
    drill({ distrusted: "changed" }),
    drill({ failure: "planned-switch" }),
  ];
  const rates = ratesOf(drills, drill({}));
  expect(rates.get("clean-reboot")).toMatchObject({ runs: 6, kept: 5 });
  expect(rates.get("planned-switch")).toMatchObject({ runs: 3, kept: 3 });
  expect(rates.size).toBe(2);
});
