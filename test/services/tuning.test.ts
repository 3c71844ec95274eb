// The timer solver against brute force, and what an estimate must be for it to be right: no timer that is longer makes any
// failure shorter.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Duration, ms, UNBOUNDED } from "../../infra/model/duration.ts";
import type { FailureClassId } from "../../infra/model/failure.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { demandsOf, meets, timerAt, timersOf, toleranceOf, withTimer } from "../../infra/model/timers.ts";
import { shortestSet } from "../../infra/model/tuning.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { tuningOf } from "../../infra/services/tuning.ts";
import { externalService, labPair, statefulPair, tls, twoVips, witnessed } from "../model/pairs.ts";

const promising = (pair: Pair, rto: Readonly<Partial<Record<FailureClassId | "default", number>>>): Pair => ({
  ...pair,
  objectives: { tier: "custom", rto: rto as Readonly<Record<string, Duration>>, rpo: {} },
});
const withTimers = (pair: Pair, timers: Readonly<Record<string, number>>): Pair =>
  Object.entries(timers).reduce<Pair>((now, [path, value]) => withTimer(now, path, value), pair);
const upperOf = (pair: Pair, failure: FailureClassId): number => {
  const upper = estimate(pair).find((each) => each.failure === failure)?.rto.upper ?? UNBOUNDED;
  return upper === UNBOUNDED ? Number.POSITIVE_INFINITY : upper;
};
const agrees = (pair: Pair): boolean => demandsOf(pair).every((demand) => meets(pair, demand));

test.each(Object.entries({ labPair, twoVips, externalService, witnessed, statefulPair }))(
  "%s: timers that agree and keep their targets are left alone",
  (_name, pair) => {
    const { changes, unmet } = tuningOf(pair);
    expect({ changes, unmet }).toEqual({ changes: [], unmet: [] });
  },
);

const slow = withTimers(labPair, {
  "vrrp.advertInterval": 1_000,
  "arbiter.silence": 1_500,
  "arbiter.evidence": 2_000,
  "arbiter.serviceDead": 5_000,
});

describe("a target that is missed", () => {
  test("is kept by exactly what is proposed, and by nothing less", () => {
    const pair = promising(slow, { "haproxy-hang": 3_000 });
    const { changes, pair: proposed, unmet } = tuningOf(pair);
    expect(unmet).toEqual([]);
    expect(changes.map(({ path }) => path)).toEqual(["arbiter.serviceDead"]);
    const [{ to } = { to: 0 }] = changes;
    expect(estimate(proposed).every(({ rto }) => rto.verdict !== "missed")).toBe(true);
    expect(upperOf(withTimer(pair, "arbiter.serviceDead", to), "haproxy-hang")).toBeLessThanOrEqual(3_000);
    expect(upperOf(withTimer(pair, "arbiter.serviceDead", to + 1), "haproxy-hang")).toBeGreaterThan(3_000);
  });

  test("names class, target, sum, the timer and its value in its finding, and following it ends the finding", () => {
    const pair = promising(slow, { "haproxy-hang": 3_000 });
    const missed = (one: Pair) => collectFindings(one).filter(({ rule }) => rule === "rto-within-target");
    const [finding] = missed(pair);
    expect(finding?.message).toMatch(
      /\(haproxy-hang\), service is back within .* the target is 3s: detect .* = \S+\.\.\S+/,
    );
    const [, path = "", value = ""] = /set hotpair:pair\.(\S+) to (\d+)ms/.exec(finding?.fix ?? "") ?? [];
    expect(path).toBe("arbiter.serviceDead");
    expect(finding?.fix).toContain('by a shorter "HAProxy does not answer on its socket"');
    expect(missed(withTimer(pair, path, Number(value)))).toEqual([]);
  });

  test("takes several timers together where one is not enough, and leaves the rest as they are", () => {
    const pair = promising(slow, { "arbiter-loss-then-power-cut": 900 });
    const { changes, unmet } = tuningOf(pair);
    expect(unmet).toEqual([]);
    expect(changes.map(({ path }) => path)).toEqual(["vrrp.advertInterval", "arbiter.silence", "arbiter.evidence"]);
  });

  test("of a pair with data brings the lease's timers down together", () => {
    const { pair, changes, unmet } = tuningOf(promising(statefulPair, { "node-power-cut": 2_600 }));
    expect(unmet).toEqual([]);
    expect(changes.map(({ path }) => path)).toContain("authority.lease.takeover");
    expect(upperOf(pair, "node-power-cut")).toBeLessThanOrEqual(2_600);
    expect(agrees(pair)).toBe(true);
    expect(collectFindings(pair).filter(({ rule }) => rule === "lease-timing")).toEqual([]);
  });

  test("that no timers keep is declared, with the term that stays and why, and costs no timer its room", () => {
    const { changes, unmet } = tuningOf(promising(slow, { "haproxy-hang": 1_000, "haproxy-kill": 500 }));
    expect(changes).toEqual([]);
    expect(unmet.map(({ failure, irreducible }) => [failure, irreducible.name])).toEqual([
      ["haproxy-kill", "systemd starts HAProxy again"],
      ["haproxy-hang", "HAProxy does not answer on its socket"],
    ]);
    expect(unmet[0]?.irreducible.why).toContain("no timer of the configuration shortens it");
    expect(unmet[1]?.irreducible.why).toMatch(/arbiter\.serviceDead 1050ms: .*RestartSec 100ms \+ 750ms/);
  });
});

test("servers that pause longer get timers that bear it, and a pair with room to spare in its targets keeps them", () => {
  const pausing = { ...statefulPair, limits: { ...statefulPair.limits, pause: ms(300) } };
  expect(agrees(pausing)).toBe(false);
  const { pair, timers } = tuningOf(pausing);
  expect(agrees(pair)).toBe(true);
  for (const { path, tolerance } of timers)
    if (tolerance?.ordinary !== undefined) expect(tolerance.upTo, path).toBeGreaterThanOrEqual(tolerance.ordinary);
  expect(collectFindings(pair).filter(({ rule, level }) => rule === "timers-agree" || level === "mandatory")).toEqual(
    [],
  );
});

test("whatever is ordinary and whatever was written, the timers can be made to agree, in values that a stack file may hold", () => {
  const limit = (max: number) => fc.integer({ min: 0, max }).map(ms);
  fc.assert(
    fc.property(
      fc.constantFrom(labPair, tls, witnessed, statefulPair),
      fc.record({
        roundTrip: limit(1_000),
        jitter: limit(5_000),
        pause: limit(10_000),
        restore: limit(50_000),
        answer: limit(1_000),
      }),
      fc.array(fc.tuple(fc.nat(40), fc.double({ min: 0.3, max: 4, noNaN: true })), { maxLength: 8 }),
      (pair, limits, moved) => {
        const written = moved.reduce<Pair>(
          (now, [index, factor]) => {
            const paths = timersOf(now);
            const path = paths[index % paths.length] ?? "vrrp.advertInterval";
            const step = path === "vrrp.advertInterval" ? 10 : 1;
            const most = path.endsWith("priority") ? 254 : path.endsWith("fall") ? 100 : Number.POSITIVE_INFINITY;
            const value = Math.max(step, Math.round((factor * timerAt(now, path)) / step) * step);
            return withTimer(now, path, Math.min(most, value));
          },
          { ...pair, limits },
        );
        const { pair: proposed } = tuningOf(written);
        expect(demandsOf(proposed).filter((demand) => !meets(proposed, demand))).toEqual([]);
        expect(tuningOf(proposed).changes).toEqual([]);
        for (const path of timersOf(proposed)) {
          const value = timerAt(proposed, path);
          expect(Number.isInteger(value), `${path} ${value}`).toBe(true);
          if (value !== timerAt(written, path)) {
            const most = LONGEST.find(([pattern]) => pattern.test(path))?.[1] ?? 86_400_000;
            expect(value, path).toBeLessThanOrEqual(most);
            expect(value, path).toBeGreaterThan(0);
          }
        }
        expect(timerAt(proposed, "vrrp.advertInterval") % 10).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});

/** What the fields of a stack file hold at most (infra/config/schema.ts). */
const LONGEST: readonly (readonly [RegExp, number])[] = [
  [/^vrrp\.advertInterval$/, 40_950],
  [/^vrrp\.priority$/, 254],
  [/beaconInterval$/, 1_000],
  [/^arbiter\./, 60_000],
  [/\.fall$/, 100],
  [/^authority\.etcd\./, 50_000],
  [/^authority\.lease\./, 300_000],
];

test("an advert interval bears two late adverts, and says how much that is", () => {
  expect(toleranceOf(labPair, "vrrp.advertInterval")).toMatchObject({ upTo: 200, ordinary: 61 });
});

// Every set of a grid, judged one by one.

const GRID: Readonly<Record<string, readonly number[]>> = {
  "vrrp.advertInterval": [80, 100, 150, 200, 300, 1_000],
  "vrrp.priority": [200, 253],
  "arbiter.evidence": [90, 110, 200, 400, 2_000],
  "arbiter.serviceDead": [700, 1_050, 2_000, 5_000],
  "haproxy.timeouts.connect": [5, 50, 200],
};
const LEASE_GRID: Readonly<Record<string, readonly number[]>> = {
  "authority.etcd.election": [300, 400],
  "authority.lease.renewal": [61, 100, 200],
  "authority.lease.rpcTimeout": [122, 200, 400],
  "authority.lease.deadline": [722, 800, 1_100, 2_000],
  "authority.lease.watchdog": [722, 800, 1_100],
  "authority.lease.takeover": [1_296, 1_500, 1_700, 2_500],
};

const setsOf = (grid: Readonly<Record<string, readonly number[]>>): readonly Readonly<Record<string, number>>[] =>
  Object.entries(grid).reduce<readonly Readonly<Record<string, number>>[]>(
    (sets, [path, values]) => sets.flatMap((set) => values.map((value) => ({ ...set, [path]: value }))),
    [{}],
  );

/** The silence follows the advert, as where a stack file leaves it out. */
const placed = (pair: Pair, set: Readonly<Record<string, number>>): Pair =>
  withTimers(pair, {
    ...set,
    "arbiter.silence": 1.5 * (set["vrrp.advertInterval"] ?? timerAt(pair, "vrrp.advertInterval")),
  });

describe.each([
  {
    name: "a pair without data",
    pair: labPair,
    grid: GRID,
    classes: ["node-power-cut", "arbiter-loss-then-power-cut", "haproxy-hang", "keepalived-hang", "planned-switch"],
  },
  { name: "a pair with data", pair: statefulPair, grid: LEASE_GRID, classes: ["node-power-cut", "member-isolation"] },
] as const)("brute force over a grid: $name", ({ pair, grid, classes }) => {
  const sets = setsOf(grid).map((set) => placed(pair, set));
  const judged = sets
    .filter((set) => demandsOf(set).every((demand) => grid[demand.path] === undefined || meets(set, demand)))
    .map((set) => new Map(estimate(set).map(({ failure, rto }) => [failure, rto.upper] as const)));
  const best = (failure: FailureClassId): number =>
    Math.min(...judged.map((bounds) => Number(bounds.get(failure) ?? Number.POSITIVE_INFINITY)));

  test("the grid has sets to choose from", () => {
    expect(judged.length).toBeGreaterThan(20);
    expect(judged.length).toBeLessThan(sets.length);
  });

  test.each(classes)("%s: no set is shorter than the shortest that the solver knows", (failure) => {
    expect(upperOf(shortestSet(pair), failure)).toBeLessThanOrEqual(best(failure) + 1e-6);
  });

  test.each(classes)("%s: a target that some set keeps, the solver keeps, from wherever it starts", (failure) => {
    fc.assert(
      fc.property(fc.nat(sets.length - 1), fc.double({ min: 0.8, max: 3, noNaN: true }), (start, factor) => {
        const target = Math.round(best(failure) * factor);
        const { pair: proposed, unmet } = tuningOf(promising(sets[start] ?? pair, { [failure]: target }));
        expect(agrees(proposed)).toBe(true);
        if (target >= best(failure)) expect(unmet).toEqual([]);
        if (unmet.length === 0) expect(upperOf(proposed, failure)).toBeLessThanOrEqual(target);
        else expect(best(failure)).toBeGreaterThan(target);
      }),
      { numRuns: 25 },
    );
  });
});

describe("estimates", () => {
  const pairs = [labPair, tls, witnessed, statefulPair];

  test("a longer timer never lowers an upper bound, and a higher priority never raises one", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...pairs),
        fc.array(fc.tuple(fc.nat(40), fc.double({ min: 0.2, max: 8, noNaN: true })), { maxLength: 6 }),
        fc.nat(40),
        fc.integer({ min: 1, max: 5_000 }),
        (pair, moved, which, longer) => {
          const paths = timersOf(pair).filter((path) => path !== "vrrp.priority");
          const at = (index: number): string => paths[index % paths.length] ?? "vrrp.advertInterval";
          const base = moved.reduce<Pair>(
            (now, [index, factor]) =>
              withTimer(now, at(index), Math.max(1, Math.round(factor * timerAt(now, at(index))))),
            pair,
          );
          const raised = withTimer(
            base,
            at(which),
            timerAt(base, at(which)) + (at(which).endsWith("fall") ? 1 : longer),
          );
          const after = estimate(raised);
          for (const [index, { failure, rto }] of estimate(base).entries()) {
            const upper = after[index]?.rto.upper ?? UNBOUNDED;
            if (upper !== UNBOUNDED && rto.upper !== UNBOUNDED)
              expect(upper, `${failure}: ${at(which)}`).toBeGreaterThanOrEqual(rto.upper - 1e-9);
            else expect(upper, failure).toBe(UNBOUNDED);
          }
        },
      ),
      { numRuns: 200 },
    );
    for (const pair of pairs)
      for (const [index, { rto }] of estimate(withTimer(pair, "vrrp.priority", 100)).entries())
        expect(Number(rto.upper)).not.toBeLessThan(Number(estimate(pair)[index]?.rto.upper));
  });

  test.each(Object.entries({ labPair, tls, witnessed, statefulPair }))(
    "%s: the formula of every term, worked out as a person would, is its upper bound",
    (_name, pair) => {
      for (const { terms } of estimate(pair))
        for (const { upper, formula, name } of terms)
          if (upper !== UNBOUNDED) expect(workedOut(formula), `${name}: ${formula}`).toBeCloseTo(upper, 0);
    },
  );

  test("the line that is printed ends in the sum of what it adds up", () => {
    for (const pair of pairs)
      for (const { rto } of estimate(pair)) {
        if (rto.upper === UNBOUNDED || rto.upper === 0) continue;
        const [, sum = "", last = ""] = /^(.*) = \S+\.\.(\S+)$/.exec(rto.formula) ?? [];
        // Names stand in brackets behind their terms; steps and arrows separate what is added.
        const terms = sum
          .split(/ → /)
          .flatMap((step) =>
            step.replace(/^(detect|decide|recover|client) /, "").split(/ \((?!256)(?:[^()]|\([^()]*\))*\)(?: \+ |$)/),
          )
          .filter((term) => term !== "");
        const total = terms.reduce((added, term) => added + workedOut(term), 0);
        expect(total, rto.formula).toBeCloseTo(rto.upper, 0);
        expect(Math.abs(workedOut(last) - total), rto.formula).toBeLessThan(1);
      }
  });
});

/** The arithmetic in a formula, without its words: `RestartSec 100ms + start ≤ 750ms` is 850. */
function workedOut(formula: string): number {
  const units: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  const arithmetic = formula
    .replace(/\(RestartSec.*\)/, "")
    .replace(/of \d+ MB redo log/, "")
    .replace(/, (?=asked every)/, " + ")
    .match(/\d+(?:\.\d+)?(?:us|ms|s|m|h)?(?![A-Za-z])|[×+−/()]/g);
  const words = (arithmetic ?? []).map((token) => {
    const [, number = "", unit = ""] = /^([\d.]+)([a-z]*)$/.exec(token) ?? [];
    if (number === "") return token === "×" ? "*" : token === "−" ? "-" : token;
    return unit === "" ? number : String(Number(number) * (units[unit] ?? Number.NaN));
  });
  // Products before sums; brackets only around a difference of two numbers.
  const flat = words.join(" ").replace(/\( ([\d.]+) - ([\d.]+) \)/g, (_, one, other) => String(one - other));
  return flat.split(" + ").reduce((sum, product) => {
    const [first = "", ...rest] = product.trim().split(" ");
    const [start, ...minus] = [first, ...rest].join(" ").split(" - ");
    const value = (text: string): number => {
      const parts = text.trim().split(" ");
      return parts.reduce((now, part, index) => {
        if (index === 0) return Number(part);
        const before = parts[index - 1];
        return before === "*" ? now * Number(part) : before === "/" ? now / Number(part) : now;
      }, 0);
    };
    return sum + value(start ?? "0") - minus.reduce((all, text) => all + value(text), 0);
  }, 0);
}
