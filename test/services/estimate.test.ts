// What the lab's pair is promised, per failure class. Every class of the catalogue is estimated from terms that say where
// their numbers come from.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seconds, UNBOUNDED } from "../../infra/model/duration.ts";
import { showBound } from "../../infra/model/estimate.ts";
import { failureClassesOf } from "../../infra/model/failure.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { externalService, labPair, statefulPair, tls, twoVips, virtualMac } from "../model/pairs.ts";

const cases = { labPair, twoVips, virtualMac, tls, externalService, statefulPair };

test.each(Object.entries(cases))("%s: every failure class is estimated from terms with a source", (_name, pair) => {
  const estimates = estimate(pair);
  expect(estimates.map(({ failure }) => failure)).toEqual(failureClassesOf(pair));
  for (const { terms, failure } of estimates) {
    expect(terms.length, failure).toBeGreaterThan(0);
    for (const { formula, source, name, lower, upper } of terms) {
      expect(name).not.toBe("");
      expect(formula).not.toBe("");
      expect(source).toMatch(/RFC|docs\/|\(\d\)|manual|guide/);
      expect(upper === UNBOUNDED || lower <= upper).toBe(true);
    }
  }
});

test("a slower retry than the client's patience makes the checks decide", () => {
  const haproxy = labPair.haproxy && {
    ...labPair.haproxy,
    timeouts: { ...labPair.haproxy.timeouts, connect: seconds(2) },
  };
  const [standby] = estimate({ ...labPair, haproxy }).filter(({ failure }) => failure === "standby-power-cut");
  expect(standby?.rto.formula).toContain("100ms + 2 × 100ms + 1 × 50ms");
});

test("while HAProxy starts again a page must fail, and a client of the database may wait", () => {
  const lowerOf = (pair: Pair) => estimate(pair).find(({ failure }) => failure === "haproxy-kill")?.rto.lower;
  expect(lowerOf(labPair)).toBeGreaterThan(0);
  expect(lowerOf(statefulPair)).toBe(0);
});

test("docs/estimate.md shows what the default timers cost", () => {
  const page = join(import.meta.dirname, "../../docs/estimate.md");
  const rows = estimate(labPair).map(
    ({ failure, rto }) => `| [${failure}](failures/${failure}.md) | ${showBound(rto.upper)} | ${rto.formula} |`,
  );
  const table = ["| failure class | RTO at most | the sum |", "|---|---|---|", ...rows].join("\n");
  const text = readFileSync(page, "utf8");
  const [before, , after] = text.split(/(?<=<!-- estimates: begin .*-->\n)|(?=<!-- estimates: end -->)/);
  const wanted = `${before}${table}\n${after}`;
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(page, wanted);
  else expect(text).toBe(wanted);
});
