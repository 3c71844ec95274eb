// The timing rule of the lease, against sums worked out by hand, and the shortest takeover against the rule itself.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ms } from "../../infra/model/duration.ts";
import {
  deadlineRule,
  shortestTakeover,
  stopChain,
  stopTime,
  takeoverRule,
  watchdogRule,
} from "../../infra/model/lease.ts";
import type { Authority } from "../../infra/model/pair.ts";
import { statefulPair, witnessed } from "./pairs.ts";

const authority = statefulPair.authority as Authority;
const timed = (lease: Partial<Authority["lease"]>, etcd: Partial<Authority["etcd"]> = {}) => ({
  mariadb: statefulPair.mariadb,
  authority: { etcd: { ...authority.etcd, ...etcd }, lease: { ...authority.lease, ...lease } },
});

test("S is the sum over the chain, not its longest stop", () => {
  expect(stopChain(timed({})).map(({ unit }) => unit)).toEqual(["hotpair-lease.service", "hotpair-mariadb.service"]);
  expect(stopTime(timed({ stopTimeout: ms(300) }))).toBe(600);
  expect(stopTime({ mariadb: undefined, authority: witnessed.authority as Authority })).toBe(200);
});

test("the defaults: 1.5 × 0.999 > max(0.8, 0.2 + 0.8) + 0.4 + 0.05", () => {
  expect(takeoverRule(timed({}))).toEqual({
    holds: true,
    left: 1_498.5,
    right: 1_450,
    leftFormula: "1500ms × (1 − 0.001) = 1.4985s",
    rightFormula: "max(800ms, 200ms + 800ms) + 200ms + 200ms + 50ms = 1450ms",
  });
  expect(shortestTakeover(timed({}))).toBe(1_452);
});

test("equal is not enough", () => {
  const lease = {
    drift: 0,
    deadline: ms(800),
    watchdog: ms(800),
    rpcTimeout: ms(200),
    stopTimeout: ms(200),
    margin: ms(50),
  };
  expect(takeoverRule(timed({ ...lease, takeover: ms(1_450) })).holds).toBe(false);
  expect(takeoverRule(timed({ ...lease, takeover: ms(1_451) })).holds).toBe(true);
  expect(shortestTakeover(timed(lease))).toBe(1_451);
});

describe("an election of etcd", () => {
  test("must end before the holder's deadline and before its watchdog", () => {
    expect(deadlineRule(timed({ deadline: ms(701) })).holds).toBe(true);
    expect(deadlineRule(timed({ deadline: ms(700) }))).toMatchObject({
      holds: false,
      rightFormula: "2 × 300ms + 100ms = 700ms",
    });
    expect(watchdogRule(timed({ watchdog: ms(700) })).holds).toBe(false);
  });
});

test("the shortest takeover is allowed, and one millisecond less is not", () => {
  const time = fc.integer({ min: 1, max: 60_000 }).map(ms);
  const lease = fc.record({
    deadline: time,
    rpcTimeout: time,
    watchdog: time,
    stopTimeout: time,
    margin: time,
    drift: fc.integer({ min: 0, max: 100_000 }).map((ppm) => ppm / 1e6),
  });
  fc.assert(
    fc.property(lease, (drawn) => {
      const shortest = shortestTakeover(timed(drawn));
      expect(takeoverRule(timed({ ...drawn, takeover: shortest })).holds).toBe(true);
      expect(takeoverRule(timed({ ...drawn, takeover: ms(shortest - 1) })).holds).toBe(false);
    }),
    { numRuns: 500 },
  );
});
