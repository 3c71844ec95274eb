// What follows from stated speeds, against sums worked out by hand.

import { expect, test } from "vitest";
import {
  activityLogExtents,
  crashExposure,
  leastResyncRate,
  requestTimeout,
  resyncInFlight,
  resyncRate,
  silenceNoticed,
  unsent,
} from "../../infra/model/drbd.ts";
import { ms, seconds } from "../../infra/model/duration.ts";
import { DEFAULT_CLIENT, estimateClass } from "../../infra/model/estimate.ts";
import { failureClassesOf } from "../../infra/model/failure.ts";
import { diskPair, labPair, statefulPair } from "./pairs.ts";

const { drbd, limits } = diskPair;
const MiB = 1024 ** 2;

test("a resync is as fast as the slower one of disk and network, and keeps a tenth of it under load", () => {
  expect(resyncRate(drbd)).toBe(110 * MiB);
  expect(resyncRate({ ...drbd, diskPerSecond: 80 * MiB })).toBe(80 * MiB);
  expect(leastResyncRate(drbd)).toBe(11 * MiB);
  // Faster than 4 GiB a second neither driver goes.
  expect(resyncRate({ ...drbd, diskPerSecond: 64 * 1_024 * MiB, networkPerSecond: 64 * 1_024 * MiB })).toBe(
    4_096 * MiB,
  );
});

test("the activity log is what can be copied again in the accepted time: 110 MiB × 30 / 4 MiB", () => {
  expect(activityLogExtents(drbd)).toBe(825);
  expect(crashExposure({ ...drbd, resources: drbd.resources.slice(0, 1) })).toMatchObject({
    bytes: 825 * 4 * MiB,
    longest: 30_000,
  });
  // Resources are copied one after the other, as far as anybody can promise.
  expect(crashExposure(drbd).longest).toBe(60_000);
});

test("and stays within what both drivers take", () => {
  expect(activityLogExtents({ ...drbd, crashResync: seconds(1), networkPerSecond: MiB })).toBe(67);
  expect(activityLogExtents({ ...drbd, crashResync: seconds(3_600) })).toBe(6_433);
});

test("in flight for a resync: three round trips of the network, at least 100 KiB", () => {
  expect(resyncInFlight(drbd, limits)).toBe(Math.ceil((3 * 110 * MiB) / 1_000));
  expect(resyncInFlight({ ...drbd, networkPerSecond: MiB }, limits)).toBe(100 * 1_024);
  expect(resyncInFlight({ ...drbd, networkPerSecond: 64 * 1_024 * MiB }, { roundTrip: seconds(1) })).toBe(512 * MiB);
});

test("a silent peer is noticed, and every timeout is shorter than the interval of tests", () => {
  expect(silenceNoticed(drbd)).toBe(1_500);
  expect(requestTimeout(drbd)).toBe(700);
  expect(requestTimeout({ ...drbd, pingInterval: seconds(60) })).toBe(6_000);
  for (const interval of [1, 2, 7, 120]) {
    const timeout = requestTimeout({ ...drbd, pingInterval: seconds(interval) });
    expect(timeout).toBeLessThan(interval * 1_000);
    expect(timeout % 100).toBe(0);
  }
});

test("protocol A may lose its send buffer: 1 MiB / 110 MiB/s + 1 ms + 10 ms", () => {
  expect(unsent(drbd, limits)).toBe(21);
});

test("what a protocol may lose is the estimate's recovery point", () => {
  const loss = (
    protocol: "A" | "B" | "C",
    failure: "node-power-cut" | "both-power-cut" | "standby-power-cut" | "split-brain",
  ) => estimateClass(failure, [], { ...diskPair, drbd: { ...drbd, protocol } }, DEFAULT_CLIENT).rpo.upper;
  expect(loss("C", "node-power-cut")).toBe(0);
  expect(loss("B", "node-power-cut")).toBe(0);
  expect(loss("A", "node-power-cut")).toBe(21);
  expect(loss("C", "both-power-cut")).toBe(0);
  expect(loss("B", "both-power-cut")).toBe("unbounded");
  expect(loss("A", "standby-power-cut")).toBe(0);
  expect(loss("C", "split-brain")).toBe("unbounded");
});

test("a target for lost data is missed by protocol A and kept by C", () => {
  const at = (protocol: "A" | "C") =>
    estimateClass(
      "node-power-cut",
      [],
      {
        ...diskPair,
        drbd: { ...drbd, protocol },
        objectives: { tier: "critical", rto: {}, rpo: { default: ms(0) } },
      },
      DEFAULT_CLIENT,
    ).rpo.verdict;
  expect(at("A")).toBe("missed");
  expect(at("C")).toBe("within");
});

test("who keeps no database has none of its failures, and who has no replicated disk none of those", () => {
  const disks = failureClassesOf(diskPair);
  const database = failureClassesOf(statefulPair);
  expect(disks).toEqual(expect.arrayContaining(["split-brain", "unmount-hang", "lease-loss"]));
  expect(disks).not.toContain("replica-lag");
  expect(database).toContain("replica-lag");
  expect(database).not.toContain("split-brain");
  expect(failureClassesOf(labPair)).not.toContain("lease-loss");
});
