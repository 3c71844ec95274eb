// A year is the sum of what is expected: rates times lengths, with the pair and without it, and a budget of its own for the time
// without a usable standby.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { availabilityOf, DEFAULTS, showYearly, YEAR } from "../../infra/model/availability.ts";
import { formatDuration, ms, seconds } from "../../infra/model/duration.ts";
import { FAILURE_CLASS_IDS } from "../../infra/model/failure.ts";
import type { FailureHistory, Pair } from "../../infra/model/pair.ts";
import { formatRate, parseRate, perYear } from "../../infra/model/rate.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { labPair, statefulPair } from "./pairs.ts";

const PAGE = join(import.meta.dirname, "../../docs/estimate.md");

/** Nothing ever happens, except what is stated. */
const only = (pair: Pair, ...stated: readonly FailureHistory[]): Pair => ({
  ...pair,
  failures: [
    ...stated,
    ...FAILURE_CLASS_IDS.filter((id) => !stated.some(({ failure }) => failure === id)).map((failure) => ({
      failure,
      rate: perYear(0),
      repair: undefined,
    })),
  ],
});
const yearOf = (pair: Pair) => availabilityOf(pair, estimate(pair));
const cut = { failure: "node-power-cut", rate: perYear(2), repair: seconds(4 * 3_600) } as const;

test("two power cuts a year: two takeovers with the pair, two repairs without it", () => {
  const year = yearOf(only(labPair, cut));
  // 431.172 ms at most each (docs/estimate.md); alone 2 × 4 h.
  expect(year.downtimeAlone).toBe(2 * 4 * 3_600_000);
  expect(year.redundancyLost).toBe(2 * 4 * 3_600_000);
  const takeovers = 2 * 431.171875;
  // While one server is being repaired, 8 h of the year, the other one fails at the same rate.
  const second = (8 / 8_760) * 2 * 4 * 3_600_000;
  expect(year.secondFailure).toBeCloseTo(second, 6);
  expect(year.downtime.upper).toBeCloseTo(takeovers + second, 6);
  expect(year.downtime.lower).toBeCloseTo(2 * 191.171875, 6);
});

test("what nothing bounds costs its repair, and no pair makes it shorter", () => {
  const year = yearOf(only(labPair, { failure: "both-power-cut", rate: perYear(1), repair: seconds(3_600) }));
  expect(year.downtime.upper).toBeGreaterThanOrEqual(3_600_000);
  expect(year.downtimeAlone).toBe(3_600_000);
});

test("the loss of a standby costs redundancy, and one server alone nothing", () => {
  const year = yearOf(only(labPair, { failure: "heartbeat-link-loss", rate: perYear(1), repair: seconds(7_200) }));
  expect(year).toMatchObject({ downtimeAlone: 0, redundancyLost: 7_200_000, downtime: { lower: 0, upper: 0 } });
});

describe.each(Object.entries({ labPair, statefulPair }))("%s", (_name, pair) => {
  test("with the defaults a pair is better than one server, and most of the year redundant", () => {
    const year = yearOf(pair);
    expect(year.downtime.lower).toBeLessThanOrEqual(year.downtime.upper);
    expect(year.downtime.upper).toBeLessThan(year.downtimeAlone);
    expect(year.redundancyLost).toBeLessThan(YEAR / 100);
  });

  test("more of a failure, or a longer repair, never makes a better year", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...estimate(pair).map(({ failure }) => failure)),
        fc.double({ min: 0, max: 20, noNaN: true }),
        fc.integer({ min: 60, max: 400_000 }),
        fc.double({ min: 1, max: 5, noNaN: true }),
        (failure, rate, repair, factor) => {
          const at = (often: number, long: number) =>
            yearOf({ ...pair, failures: [{ failure, rate: perYear(often), repair: seconds(long) }] });
          const less = at(rate, repair);
          for (const more of [at(rate * factor, repair), at(rate, repair * factor)]) {
            expect(more.downtime.upper).toBeGreaterThanOrEqual(less.downtime.upper);
            expect(more.downtimeAlone).toBeGreaterThanOrEqual(less.downtimeAlone);
            expect(more.redundancyLost).toBeGreaterThanOrEqual(less.redundancyLost);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test("the shares add up to the year", () => {
    const { shares, downtime, secondFailure, redundancyLost } = yearOf(pair);
    const sum = (of: (share: (typeof shares)[number]) => number): number =>
      shares.reduce((all, each) => all + of(each), 0);
    expect(sum((share) => share.downtime.upper) + secondFailure).toBeCloseTo(downtime.upper, 3);
    expect(sum((share) => share.redundancyLost)).toBeCloseTo(redundancyLost, 3);
  });
});

test("every class has a rate, a repair and where they come from", () => {
  for (const id of FAILURE_CLASS_IDS) {
    const { rate, repair, source } = DEFAULTS[id];
    expect(rate, id).toBeGreaterThan(0);
    expect(repair, id).toBeGreaterThanOrEqual(60_000);
    expect(source, id).not.toBe("");
  }
});

describe("where a default comes from", () => {
  test("is said: an assumption, or a publication with its year", () => {
    for (const id of FAILURE_CLASS_IDS)
      expect(DEFAULTS[id].source, id).toMatch(/an assumption|\((?:[^()]* )?(19|20)\d\d\)/);
  });

  test("is described on the page, for every publication", () => {
    const text = readFileSync(PAGE, "utf8");
    const names = /Dean|Schroeder and Gibson, \w+|Uptime Institute|Ponemon Institute|Gill, Jain|Backblaze|Pinheiro/g;
    const cited = new Set(FAILURE_CLASS_IDS.flatMap((id) => DEFAULTS[id].source.match(names) ?? []));
    expect(cited.size).toBeGreaterThan(7);
    const [, rows = ""] = text.split("### Where rates come from");
    for (const name of cited) expect(rows.split("\n\n##")[0]).toContain(name.split(/[ ,]/)[0]);
  });

  test("is what its arithmetic makes of what was published", () => {
    const rate = (...ids: readonly (keyof typeof DEFAULTS)[]) => ids.reduce((sum, id) => sum + DEFAULTS[id].rate, 0);
    const machine = rate("node-power-cut", "whole-node-freeze", "kernel-panic", "memory-exhaustion");
    expect(machine).toBeCloseTo(1_000 / 1_800, 1);
    const perYearOf = (shareInThreeYears: number) => -Math.log(1 - shareInThreeYears) / 3;
    expect(rate("both-power-cut")).toBeCloseTo(perYearOf(0.53) * 0.54, 2);
    expect(rate("site-loss")).toBeCloseTo((perYearOf(0.53) * 0.09) / 10, 3);
    expect(rate("data-deletion")).toBeLessThan(perYearOf(0.4));
    expect(perYearOf(0.4)).toBeCloseTo(0.17, 2);
    expect(rate("storage-device-failure")).toBe(0.03);
  });
});

describe("rates", () => {
  test.each([
    ["2/year", 2],
    ["0.5/year", 0.5],
    ["1/month", 12],
    ["1/day", 365],
  ])("%s is %d a year", (text, times) => expect(parseRate(text)).toBeCloseTo(times, 9));

  test.each(["2", "/year", "2/decade", "-1/year", "2 / year", "1e3/year"])("%j is none", (text) =>
    expect(parseRate(text)).toBeUndefined(),
  );

  test("read back as they were written", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1_000, noNaN: true }), (times) => {
        expect(Math.abs((parseRate(formatRate(perYear(times))) ?? Number.NaN) - times)).toBeLessThanOrEqual(1e-6);
      }),
    );
  });
});

test.each([
  [0, "0 s"],
  [461, "0.5 s"],
  [90_000, "1.5 min"],
  [8.7 * 3_600_000, "8.7 h"],
])("%d ms of a year read %s, never less than they are", (value, text) => expect(showYearly(ms(value))).toBe(text));

test("docs/estimate.md shows what is assumed of every class", () => {
  const rows = FAILURE_CLASS_IDS.map((id) => {
    const { rate, repair, standbyGone, source } = DEFAULTS[id];
    return `| [${id}](failures/${id}.md) | ${formatRate(rate)} | ${formatDuration(repair)} | ${standbyGone ? "yes" : ""} | ${source} |`;
  });
  const table = [
    "| failure class | rate | repair | standby gone meanwhile | source |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
  const text = readFileSync(PAGE, "utf8");
  const [before, , after] = text.split(/(?<=<!-- year: begin .*-->\n)([\s\S]*)(?=<!-- year: end -->)/);
  const wanted = `${before}${table}\n${after}`;
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(PAGE, wanted);
  else expect(text).toBe(wanted);
});
