import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeClock, roundTrip } from "../../infra/drill/node-clock.ts";

const exact = (offset: number) => ({ offset, error: 1 });

describe("a server's clock", () => {
  test("a round trip bounds the clock: the true offset is always within the error", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -5_000, max: 5_000, noNaN: true }),
        fc.double({ min: 0, max: 200, noNaN: true }),
        fc.double({ min: 0, max: 200, noNaN: true }),
        (offset, there, back) => {
          const measured = roundTrip(1_000, 1_000 + there + offset, 1_000 + there + back);
          return Math.abs(measured.offset - offset) <= measured.error + 1e-6;
        },
      ),
    );
  });

  test("is unknown before the first round trip, and then what is seen belongs to when it was heard of", () => {
    const clock = nodeClock();
    expect(clock.now().error).toBe(Number.POSITIVE_INFINITY);
    expect(clock.ours({ at: 5, heardAt: 1_000 })).toBe(1_000);
  });

  test("is as the best round trip says, also for what was seen before it", () => {
    const clock = nodeClock();
    clock.hear({ offset: 520, error: 40 });
    clock.hear(exact(500));
    clock.hear({ offset: 530, error: 60 });
    expect(clock.now()).toEqual(exact(500));
    expect(clock.ours({ at: 1_500, heardAt: 1_003 })).toBe(1_000);
  });

  test("that stood still is another one afterwards, from the first thing on that it saw", () => {
    const clock = nodeClock();
    clock.hear(exact(0));
    // Paused from 10 s to 15 s: seen half a second after it went on, before anybody asked again.
    const first = { at: 10_500, heardAt: 15_502 };
    clock.hear(exact(-5_000));
    expect(clock.ours({ at: 9_000, heardAt: 9_003 })).toBe(9_000);
    expect(clock.ours(first)).toBe(15_500);
    expect(clock.ours({ at: 12_000, heardAt: 17_001 })).toBe(17_000);
    expect(clock.now()).toEqual(exact(-5_000));
  });

  test("is not taken for another one by a round trip that took long", () => {
    const clock = nodeClock();
    clock.hear(exact(0));
    clock.hear({ offset: -2_400, error: 2_500 });
    expect(clock.now()).toEqual(exact(0));
  });
});
