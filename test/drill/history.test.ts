// The definition of RTO, held against histories whose answer is known by construction.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { failedLater, QUIET_MS, recovery, summarise } from "../../infra/drill/history.ts";
import { endOf, type Request } from "../../infra/drill/request.ts";

const T0 = 1_800_000_000_000;
const request = (at: number, ok: boolean, took = ok ? 2 : 1_000): Request => ({
  at: T0 + at,
  late: 0,
  took,
  ok,
  status: ok ? 200 : 0,
  servedBy: ok ? "node-a" : "",
  balancedBy: ok ? "node-b" : "",
  error: ok ? "" : "deadline",
});

/** Requests every 10 ms from `from` to `to`; `fails` says which scheduled starts fail. */
function history(from: number, to: number, fails: (at: number) => boolean): Request[] {
  const all: Request[] = [];
  for (let at = from; at <= to; at += 10) all.push(request(at, !fails(at)));
  return all;
}

describe("recovery time", () => {
  test("runs from the scheduled start of the first failed request to the completion of the first lasting success", () => {
    const seen = history(-500, 12_000, (at) => at >= 0 && at < 300);
    expect(recovery(seen, T0)).toMatchObject({ kind: "recovered", rtoMs: 302 });
  });

  test("a success in the middle of an outage does not end it", () => {
    const seen = history(-500, 20_000, (at) => (at >= 0 && at < 300) || (at >= 4_000 && at < 4_100));
    expect(recovery(seen, T0)).toMatchObject({ kind: "recovered", rtoMs: 4_102 });
  });

  test("a failure after the quiet period is another outage, and is told", () => {
    const seen = history(-500, 30_000, (at) => (at >= 0 && at < 300) || (at >= 10_400 && at < 10_500));
    const outcome = recovery(seen, T0);
    expect(outcome).toMatchObject({ kind: "recovered", rtoMs: 302 });
    expect(failedLater(seen, outcome)).toHaveLength(10);
  });

  test("a request that was sent before recovery and times out after it does not prolong the outage", () => {
    // At 290 ms the last one fails, and it ends at 1290 ms, long after the success at 300 ms.
    const seen = history(-500, 12_000, (at) => at >= 0 && at < 300);
    const late = Math.max(...seen.filter((one) => !one.ok).map(endOf));
    expect(late).toBe(T0 + 1_290);
    expect(recovery(seen, T0)).toMatchObject({ rtoMs: 302 });
  });

  test("a request that was sent before recovery and answered long after it does not prolong the outage either", () => {
    const seen = history(-500, 12_000, (at) => at >= 0 && at < 300).map((one) =>
      one.at === T0 + 290 ? request(290, true, 1_001) : one,
    );
    expect(recovery(seen, T0)).toMatchObject({ kind: "recovered", rtoMs: 302 });
  });

  test("nothing is decided before the quiet period is over", () => {
    expect(
      recovery(
        history(-500, 9_000, () => false),
        T0,
      ).kind,
    ).toBe("undecided");
    expect(
      recovery(
        history(-500, 10_000, () => false),
        T0,
      ).kind,
    ).toBe("unharmed");
    const harmed = (to: number) =>
      recovery(
        history(-500, to, (at) => at >= 0 && at < 300),
        T0,
      ).kind;
    expect(harmed(10_200)).toBe("undecided");
    expect(harmed(10_310)).toBe("recovered");
  });

  test("service that does not come back is down", () => {
    expect(
      recovery(
        history(-500, 20_000, (at) => at >= 0),
        T0,
      ).kind,
    ).toBe("down");
  });

  test("a failure that was over before the fault is not its victim", () => {
    const seen = history(-500, 12_000, (at) => at === -500).map((one) => (one.ok ? one : { ...one, took: 100 }));
    expect(recovery(seen, T0).kind).toBe("unharmed");
  });

  test("for any single outage it is the outage's length, to one interval", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: -9, max: 9 }), (length, phase) => {
        const seen = history(-200 + phase, 8_000 + length, (at) => at >= 0 && at < length);
        const outcome = recovery(seen, T0, 2_000);
        const hit = seen.some((one) => !one.ok);
        if (!hit) return outcome.kind === "unharmed";
        return outcome.kind === "recovered" && Math.abs(outcome.rtoMs - 2 - length) <= 10;
      }),
    );
  });

  test("for any history, a recovery is followed by its quiet period and preceded by a failure", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 50, maxLength: 400 }), (oks) => {
        const seen = oks.map((ok, index) => request(index * 10, ok));
        const quiet = 300;
        const outcome = recovery(seen, T0, quiet);
        if (outcome.kind !== "recovered") return true;
        const good = outcome.firstGood;
        const none = seen.every((one) => one.ok || one.at <= good.at || one.at > endOf(good) + quiet);
        // The earliest such success: the request before it failed, or belongs to a stretch that did not last.
        const earlier = seen.filter((one) => one.ok && one.at > outcome.firstFailed.at && one.at < good.at);
        const lasting = earlier.filter((one) =>
          seen.every((other) => other.ok || other.at <= one.at || other.at > endOf(one) + quiet),
        );
        return none && lasting.length === 0 && outcome.firstFailed === seen.find((one) => !one.ok);
      }),
    );
  });
});

describe("summary of a client", () => {
  test("counts failed and slow, keeps all that is near the fault and thins the rest", () => {
    const seen = history(-3_000, 14_000, (at) => at >= 0 && at < 300).map((one) =>
      one.at === T0 + 5_000 ? { ...one, took: 25 } : one,
    );
    const result = summarise(seen, { faultAt: T0, quietMs: QUIET_MS });
    expect(result).toMatchObject({ requests: 1_701, failed: 30, slow: 1, rtoMs: 302, rtoFromFaultMs: 302, p50Ms: 2 });
    const near = result.samples.filter(([at]) => at >= -1_000 && at <= 1_300);
    expect(near).toHaveLength(231);
    expect(result.samples).toContainEqual([5_000, 25, 1, "node-b"]);
    expect(result.samples.length).toBeLessThan(450);
    expect(result.samples).toContainEqual([0, 1_000, 0, ""]);
  });

  test("a failure that a repetition mends is told from one that it does not", () => {
    // Refused at once: repeated 1 ms later, all but the last meet the same closed door.
    const refused = history(-500, 11_000, (at) => at >= 0 && at < 50).map((one) =>
      one.ok ? one : { ...one, took: 1 },
    );
    expect(summarise(refused, { faultAt: T0, quietMs: QUIET_MS })).toMatchObject({ failed: 5, failedTwice: 4 });
    // Timed out after a second: by then service is back.
    const silent = history(-500, 11_000, (at) => at >= 0 && at < 50);
    expect(summarise(silent, { faultAt: T0, quietMs: QUIET_MS })).toMatchObject({ failed: 5, failedTwice: 0 });
  });

  test("what the client itself was late is told apart and counted into the sample", () => {
    const seen = [...history(-500, 11_000, () => false), { ...request(11_010, true), late: 80 }];
    const result = summarise(seen, { faultAt: T0, quietMs: QUIET_MS });
    expect(result.lateMaxMs).toBe(80);
    expect(result.rtoMs).toBe(0);
  });
});
