// An estimate is a sum that a person can check: bounds, the written-out line, the target it is compared with.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ms, seconds, UNBOUNDED } from "../../infra/model/duration.ts";
import { beyondOf, type Estimated, estimateAll, estimateClass, targetOf } from "../../infra/model/estimate.ts";
import { FAILURE_CLASS_IDS, failureClassesOf, needsData } from "../../infra/model/failure.ts";
import type { Objectives } from "../../infra/model/pair.ts";
import type { TimingTerm } from "../../infra/model/timing.ts";
import { statefulPair } from "./pairs.ts";

const promising = (objectives: Objectives): Estimated => ({ objectives, authority: undefined, mariadb: undefined });
const standard = promising({ tier: "standard", rto: {}, rpo: {} });
const client = { interval: ms(10), deadline: seconds(1), answer: ms(25) };

const term = (changes: Partial<TimingTerm>): TimingTerm => ({
  service: "keepalived",
  failure: "node-power-cut",
  step: "detect",
  name: "master down interval",
  lower: ms(201),
  upper: ms(301),
  formula: "3 × 100ms + 1ms",
  source: "RFC 9568 §6.1",
  ...changes,
});
const arp = term({ step: "recover", name: "gratuitous ARP", lower: ms(0), upper: ms(5), formula: "≤ 5ms" });

describe("a class whose terms are known", () => {
  const estimate = estimateClass("node-power-cut", [arp, term({})], standard, client);

  test("adds up their upper bounds and the client's share", () => {
    // 301 + 5, then the wait for the next request (10) and two answers (2 × 25).
    expect(estimate.rto.upper).toBe(366);
  });

  test("adds up their lower bounds, less the wait for the first request that can fail", () => {
    expect(estimate.rto.lower).toBe(191);
  });

  test("writes the sum in the order of what happens", () => {
    expect(estimate.rto.formula).toBe(
      "detect 3 × 100ms + 1ms (master down interval) → recover ≤ 5ms (gratuitous ARP) → " +
        "client 10ms + 2 × 25ms (request under way, next request, its answer) = 191ms..366ms",
    );
  });

  test("loses nothing, and says why", () => {
    expect(estimate.rpo).toMatchObject({ upper: 0, verdict: "within" });
    expect(estimate.rpo.formula).toContain("keeps no state");
  });
});

test("address and data take their ways side by side: none is faster than the slower of them", () => {
  const lease = term({ service: "lease", step: "decide", beside: true, lower: ms(1_400), upper: ms(1_800) });
  const { rto } = estimateClass("node-power-cut", [term({}), lease], statefulPair, client);
  expect(rto.lower).toBe(1_390);
  expect(rto.upper).toBe(301 + 1_800 + 60);
});

test("a term more never makes a class shorter", () => {
  const anyTerm = fc
    .record({
      step: fc.constantFrom("detect", "decide", "recover"),
      lower: fc.integer({ min: 0, max: 5_000 }),
      more: fc.integer({ min: 0, max: 5_000 }),
      beside: fc.boolean(),
    })
    .map(({ step, lower, more, beside }) => term({ step, beside, lower: ms(lower), upper: ms(lower + more) }));
  fc.assert(
    fc.property(fc.array(anyTerm, { minLength: 1, maxLength: 6 }), anyTerm, (terms, another) => {
      const [without, with_] = [terms, [...terms, another]].map((all) =>
        estimateClass("node-power-cut", all, standard, client),
      );
      expect(Number(with_?.rto.upper)).toBeGreaterThanOrEqual(Number(without?.rto.upper));
      expect(with_?.rto.lower).toBeGreaterThanOrEqual(without?.rto.lower ?? 0);
      expect(without?.rto.lower).toBeLessThanOrEqual(Number(without?.rto.upper));
    }),
  );
});

test("a class in which nothing interrupts costs the client nothing", () => {
  const nothing = term({ failure: "arbiter-loss", name: "plain VRRP goes on", lower: ms(0), upper: ms(0) });
  const estimate = estimateClass("arbiter-loss", [nothing], standard, client);
  expect(estimate.rto).toMatchObject({ lower: 0, upper: 0, verdict: "within" });
  expect(estimate.rto.formula).toBe("0: nothing interrupts; plain VRRP goes on");
});

const beyond = (pair: Estimated) => FAILURE_CLASS_IDS.filter((failure) => beyondOf(failure, pair) !== undefined);

test("what two nodes cannot bound, and what a witness and data change about it", () => {
  const everyPair = ["memory-exhaustion", "switch-loss", "storage-device-failure"];
  expect(beyond(standard)).toEqual([
    "both-power-cut",
    "full-partition",
    "vip-conflict",
    "whole-node-freeze",
    ...everyPair,
    "site-loss",
  ]);
  expect(beyond(statefulPair)).toEqual([
    "both-power-cut",
    "vip-conflict",
    ...everyPair,
    "witness-loss-then-power-cut",
    "quorum-loss",
    "binlog-disk-full",
    "forced-promotion",
    "data-deletion",
  ]);
});

test.each([
  ...beyond(standard).map((failure) => ({ failure, pair: standard })),
  ...beyond(statefulPair).map((failure) => ({ failure, pair: statefulPair })),
])("$failure is declared as beyond what can be bounded", ({ failure, pair }) => {
  const declared = estimateClass(failure, [], pair, client);
  expect(declared.rto).toMatchObject({ upper: UNBOUNDED, verdict: "beyond" });
  expect(declared.rto.formula).toContain(beyondOf(failure, pair));

  const objectives: Objectives = { tier: "standard", rto: { [failure]: seconds(60) }, rpo: {} };
  expect(estimateClass(failure, [], { ...pair, objectives }, client).rto.verdict).toBe("missed");
});

describe("a pair that keeps data", () => {
  const losses = estimateAll([], statefulPair, client).map(({ failure, rpo }) => ({ failure, ...rpo }));

  test("loses nothing that it acknowledged, unless somebody gives it up or deletes it", () => {
    const givenUp: readonly string[] = ["forced-promotion", "data-deletion"];
    for (const { failure, upper, formula, verdict } of losses.filter((each) => !givenUp.includes(each.failure))) {
      expect(upper, failure).toBe(0);
      expect(verdict, failure).toBe("within");
      expect(formula, failure).not.toContain("keeps no state");
    }
    for (const failure of givenUp)
      expect(losses.find((each) => each.failure === failure)).toMatchObject({ upper: UNBOUNDED, verdict: "beyond" });
  });

  test("has classes that a pair without data has not", () => {
    const classes = failureClassesOf(statefulPair);
    // Of those that need data, some are of replicated disks.
    const ofDisks: readonly string[] = ["replicated-disk-failure", "unmount-hang", "split-brain"];
    expect(classes).toEqual(FAILURE_CLASS_IDS.filter((id) => !ofDisks.includes(id)));
    expect(classes.filter((id) => !needsData(id))).toEqual(failureClassesOf(standard));
    expect(failureClassesOf(standard)).toContain("node-power-cut");
    expect(failureClassesOf(standard)).not.toContain("lease-loss");
  });
});

describe("targets", () => {
  const objectives: Objectives = { tier: "critical", rto: { failback: seconds(5), default: seconds(2) }, rpo: {} };
  const stating = promising(objectives);

  test("a class has its own before the one for all before the tier's", () => {
    expect(targetOf(stating, "rto", "failback")).toEqual({
      value: 5_000,
      path: "hotpair:pair.objectives.rto.failback",
      named: true,
    });
    expect(targetOf(stating, "rto", "clean-reboot")?.value).toBe(2_000);
    expect(targetOf(promising({ ...objectives, rto: {} }), "rto", "clean-reboot")).toEqual({
      value: 1_000,
      path: "hotpair:pair.objectives.tier",
      named: false,
    });
  });

  test.each([
    ["standard", 30_000, 30_000, 5_000],
    ["critical", 1_000, 3_000, 0],
    ["extreme", 300, undefined, 0],
    ["gold", 7_000, 7_000, 2_000],
  ])("tier %s: %d ms without data, %d ms with it", (tier, without, withState, rpo) => {
    const named: Objectives = { tier, tiers: [{ name: "gold", rto: seconds(7), rpo: seconds(2) }], rto: {}, rpo: {} };
    expect(targetOf(promising(named), "rto", "clean-reboot")?.value).toBe(without);
    expect(targetOf(promising(named), "rpo", "clean-reboot")?.value).toBe(rpo);
    expect(targetOf({ ...statefulPair, objectives: named }, "rto", "clean-reboot")?.value).toBe(withState);
  });

  test("without any there is no verdict", () => {
    const none = promising({ tier: "custom", rto: {}, rpo: {} });
    expect(estimateClass("node-power-cut", [term({})], none, client).rto.verdict).toBe("no target");
  });

  test("the upper bound decides", () => {
    const held = promising({ tier: "standard", rto: { default: ms(366) }, rpo: {} });
    const missed = promising({ tier: "standard", rto: { default: ms(365.9) }, rpo: {} });
    expect(estimateClass("node-power-cut", [arp, term({})], held, client).rto.verdict).toBe("within");
    expect(estimateClass("node-power-cut", [arp, term({})], missed, client).rto.verdict).toBe("missed");
  });
});

test("a class of which no service says anything is promised to nobody", () => {
  const silent = estimateClass("database-kill", [], statefulPair, client);
  expect(silent.rto).toMatchObject({ upper: UNBOUNDED, verdict: "beyond" });
  expect(silent.beyond).toContain("no service of this pair says");
});

test("every failure class of the pair has an estimate, made of its own terms only", () => {
  const estimates = estimateAll([term({}), term({ failure: "failback" })], standard, client);
  expect(estimates.map((estimate) => estimate.failure)).toEqual(failureClassesOf(standard));
  for (const { failure, terms } of estimates) for (const one of terms) expect(one.failure).toBe(failure);
});
