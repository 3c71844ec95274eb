// Drills that nobody watches: every condition stops them, none of the others hides it, and what was proven longest ago comes
// first.

import { expect, test } from "vitest";
import type { Scenario } from "../../infra/drill/scenario.ts";
import { SCENARIOS } from "../../infra/drill/scenarios.ts";
import { inOrderOfNeed, lagOf, neededMs, type Situation, stopOf } from "../../infra/drill/window.ts";
import type { DrillRecord } from "../../infra/model/proof.ts";
import type { DatabaseStatus, NodeStatus } from "../../infra/model/status.ts";

const well: Situation = {
  now: 1_000_000,
  window: { from: 900_000, until: 2_000_000 },
  needsMs: 600_000,
  problems: [],
  lagMs: 40,
  maxLagMs: 5_000,
  alerts: [],
};

test("a whole pair inside its window, without lag and alert, is drilled", () => {
  expect(stopOf(well)).toBeUndefined();
  // Without a replica and without Alertmanager there is nothing to ask.
  expect(stopOf({ ...well, lagMs: undefined, alerts: undefined })).toBeUndefined();
});

const conditions: readonly (readonly [string, Partial<Situation>, RegExp, boolean])[] = [
  ["no window is open", { window: undefined }, /outside the maintenance window/, false],
  ["the window has not begun", { now: 899_999 }, /outside the maintenance window/, false],
  ["the window is over", { now: 2_000_000 }, /outside the maintenance window/, false],
  ["the drill would last beyond the window", { needsMs: 1_000_001 }, /no room for another one/, true],
  ["the peer is not well", { problems: ["node-b: keepalived failed"] }, /not whole: node-b: keepalived failed/, false],
  ["the replica is behind", { lagMs: 5_001 }, /5001 ms behind, 5000 ms are allowed/, false],
  ["the lag is not known", { lagMs: null }, /not known/, false],
  ["an alert fires", { alerts: ["DiskFull", "Lag"] }, /an alert fires: DiskFull, Lag/, false],
  [
    "the alerts cannot be asked",
    { alerts: "http://am answers 503" },
    /alerts are not known: http:\/\/am answers 503/,
    false,
  ],
];
test.each(conditions)("%s: nothing is broken", (_, change, why, regular) => {
  expect(stopOf({ ...well, ...change })).toEqual({ why: expect.stringMatching(why), regular });
});

test("the last moment that has room is used", () => {
  expect(stopOf({ ...well, needsMs: 1_000_000 })).toBeUndefined();
});

test("lag is what the replica tells, and silence is no zero", () => {
  const node = (database?: Partial<DatabaseStatus>): NodeStatus =>
    ({ ...(database ? { database: { state: "replica", lagMs: 0, problems: [], ...database } } : {}) }) as NodeStatus;
  expect(lagOf([node(), node()])).toBeUndefined();
  expect(lagOf([node({ state: "primary", lagMs: null }), node({ lagMs: 120 })])).toBe(120);
  expect(lagOf([node({ state: "primary" }), node({ lagMs: null })])).toBeNull();
  expect(lagOf([node({ state: "primary" }), { error: "does not answer" }])).toBeNull();
});

test("what was proven longest ago comes first, and what never was before it", () => {
  const scenarios = SCENARIOS.slice(0, 4);
  const [one, two, three, four] = scenarios.map(({ name }) => name);
  const drill = (scenario: string | undefined, startedAt: string, changes: Partial<DrillRecord> = {}) =>
    ({ scenario, startedAt, configDigest: "sha256:a", distrusted: undefined, ...changes }) as DrillRecord;
  const drills = [
    drill(one, "2026-03-01T00:00:00.000Z"),
    drill(two, "2026-01-01T00:00:00.000Z"),
    drill(three, "2026-03-02T00:00:00.000Z", { configDigest: "sha256:b" }),
    drill(four, "2026-02-01T00:00:00.000Z"),
  ];
  expect(inOrderOfNeed(scenarios, drills, "sha256:a").map(({ name }) => name)).toEqual([three, two, four, one]);
});

test("a scenario needs room for its fault and its healing, once per run", () => {
  const scenario = { holdMs: 6_000, healWithinMs: 60_000 } as Scenario;
  expect(neededMs(scenario, 2)).toBe(2 * 106_000);
});
