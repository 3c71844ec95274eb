// The lease against a real etcd of three members, with the faults that a pair meets: whatever is killed, stopped or cut
// off, no write of one node stands beside a write of the other, and somebody writes again in time.

import { spawnSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Cluster, type NodeName, SCALE, TIMING } from "./lease-cluster.ts";

const missing = (["ip", "nft", "nsenter", "openssl", "python3"] as const).filter(
  (tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0,
);
const reason =
  process.getuid?.() !== 0
    ? "needs root for network namespaces"
    : missing.length > 0
      ? `needs ${missing.join(", ")}`
      : "";
if (reason !== "") console.log(`lease.stateful.test.ts skips: ${reason}`);

/** From the end of the writes on one node to the first write on the other: T, an election, and what a start takes. */
const TAKEOVER_SECONDS = TIMING.takeover + 1.5 * SCALE;

describe.skipIf(reason !== "")("hotpair-lease with a real etcd", () => {
  const cluster = new Cluster();
  beforeAll(() => cluster.start());
  // A test that failed leaves no cut behind.
  afterEach(() => cluster.heal());
  afterAll(() => cluster.stop());

  const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds * SCALE));
  const now = () => Number(spawnSync("cut", ["-d", " ", "-f1", "/proc/uptime"], { encoding: "utf8" }).stdout);
  const writesAfter = (node: NodeName, at: number) => cluster.writes(node).filter((write) => write > at);
  const holding = (): NodeName => {
    const holder = (["a", "b"] as const).find((node) => cluster.status(node).holding);
    if (holder === undefined) throw new Error("nobody holds the lease");
    return holder;
  };
  const other = (node: NodeName): NodeName => (node === "a" ? "b" : "a");
  const alive = async () => {
    await cluster.until("somebody holds the lease", 10, () =>
      (["a", "b"] as const).some((node) => cluster.status(node).holding),
    );
    return holding();
  };

  test("a new pair: the enrolled node writes, the other says why it may not", () => {
    const said = cluster.status("b");
    expect(said.verdict).toBe("barred");
    expect(said.why).toContain("not in sync");
    expect(said.todo).toContain("node a");
    expect(() => cluster.lease("b", "enroll")).toThrow("enrolled already");
    expect(cluster.lease("a", "together", "b-one")).toContain("a (a-one), b (b-one)");
    expect(cluster.status("b").verdict).toBe("standby");
    expect(() => cluster.lease("b", "alone")).toThrow("does not hold the lease");
    expect(cluster.lease("a", "promoting", "hplease-writer-a.service")).toBe("the lease is held");
  });

  test("the holder killed: its writer ends with it, and somebody writes again", async () => {
    const holder = await alive();
    const [pid, at] = [await cluster.holder(holder), now()];
    process.kill(pid, "SIGKILL");
    await cluster.until("writes again", 4, () => writesAfter(holder, at + 0.3 * SCALE).length > 0);
    expect(cluster.smallestGap()).toBeGreaterThan(0);
  });

  test("the holder stopped (SIGSTOP): the watchdog ends it", async () => {
    const holder = await alive();
    const [pid, at] = [await cluster.holder(holder), now()];
    process.kill(pid, "SIGSTOP");
    await cluster.until("the watchdog", 3, () => cluster.last(holder, "watchdog") > at);
    await cluster.until("somebody writes again", 5, () =>
      (["a", "b"] as const).some((node) => cluster.last(node, "ready") > at),
    );
    expect(cluster.smallestGap()).toBeGreaterThan(0);
  });

  test.each(["a", "b", "witness"] as const)("member %s stopped, then killed: the holder holds on", async (member) => {
    const [holder, at] = [await alive(), now()];
    cluster.signalMember(member, "SIGSTOP");
    await pause(2_000);
    cluster.signalMember(member, "SIGKILL");
    await pause(1_200);
    expect(cluster.last(holder, "ended")).toBeLessThan(at);
    expect(cluster.status(holder).holding).toBe(true);
    cluster.startMember(member);
    await cluster.until("the member is back", 10, () => !JSON.stringify(cluster.status(holder)).includes("refused"));
  });

  test("the holder cut off: it stops at its deadline, the other takes over after T", async () => {
    const holder = await alive();
    const peer = other(holder);
    cluster.isolate(holder);
    const at = now();
    await cluster.until("the other writes", 6, () => writesAfter(peer, at).length > 0);
    const stopped = Math.max(...cluster.writes(holder)) - at;
    const began = (writesAfter(peer, at)[0] ?? 0) - at;
    console.log(`cut off: last write ${stopped.toFixed(3)} s, first of the other ${began.toFixed(3)} s after the cut`);
    expect(stopped).toBeLessThan(TIMING.deadline + 0.2 * SCALE);
    expect(began).toBeLessThan(TAKEOVER_SECONDS);
    // From the writer's end, which the deadline counts from a sending before the cut, to T after the last sight of it.
    expect(began - stopped).toBeGreaterThan(TIMING.takeover - TIMING.deadline - TIMING.renewal - 0.2 * SCALE);
    cluster.heal();
    await cluster.until("it hears again", 10, () => cluster.status(holder).verdict === "standby");
    expect(cluster.status(peer).holding).toBe(true);
    expect(cluster.smallestGap()).toBeGreaterThan(0);
  });

  test("the holder's answers cut off in one direction: the same", async () => {
    const holder = await alive();
    const at = now();
    for (const from of ["a", "b", "witness"] as const) if (from !== holder) cluster.cut(from, holder);
    await cluster.until("the other writes", 8, () => writesAfter(other(holder), at).length > 0);
    cluster.heal();
    await cluster.until("it hears again", 10, () => cluster.status(holder).verdict === "standby");
    expect(cluster.smallestGap()).toBeGreaterThan(0);
  });

  test("released in order: the writer ends first, the other need not wait for T", async () => {
    const holder = await alive();
    const at = now();
    cluster.order(holder, "stop");
    await cluster.until("the other writes", 4, () => writesAfter(other(holder), at).length > 0);
    expect((writesAfter(other(holder), at)[0] ?? 0) - at).toBeLessThan(TIMING.takeover);
    expect(cluster.events[holder].findLast(({ what }) => what === "ended")?.code).toBe(0);
    expect(cluster.smallestGap()).toBeGreaterThan(0);
    cluster.order(holder, "start");
  });

  test("alone in sync and cut off: it goes on, nobody else starts, and it is the holder still afterwards", async () => {
    const holder = await alive();
    const peer = other(holder);
    expect(cluster.lease(holder, "alone")).toContain("in sync");
    const at = now();
    cluster.isolate(holder);
    await pause(3_500);
    expect(writesAfter(holder, at + 3 * SCALE).length).toBeGreaterThan(0);
    expect(writesAfter(peer, at)).toEqual([]);
    expect(cluster.status(peer).verdict).toBe("barred");
    expect(cluster.status(holder).why).toContain("no quorum");
    expect(() => cluster.lease(holder, "together", `${peer}-one`)).toThrow("no quorum");
    cluster.heal();
    await cluster.until("quorum again", 10, () => !cluster.status(holder).why.includes("no quorum"));
    expect(cluster.last(holder, "ended")).toBeLessThan(at);
    expect(cluster.lease(holder, "together", `${peer}-one`)).toContain(peer);
  });

  test("forced: refused while the peer answers; then a new epoch, which the old members cannot undo", async () => {
    const holder = await alive();
    const peer = other(holder);
    cluster.lease(holder, "together", `${peer}-one`);
    expect(() => cluster.lease(peer, "force")).toThrow(/in sync a, b; this node was in sync/);
    expect(await cluster.force(peer)).toContain("it is not off");
    // The old holder loses power, the witness its network.
    process.kill(await cluster.holder(holder), "SIGKILL");
    cluster.order(holder, "quit");
    cluster.signalMember(holder, "SIGKILL");
    cluster.signalMember("witness", "SIGKILL");
    cluster.isolate(holder);
    const at = now();
    await cluster.until("the peer sees no quorum", 10, () => cluster.status(peer).why.includes("no quorum"));
    expect(cluster.status(peer).todo).toContain("--i-know-the-peer-is-down");
    expect(await cluster.force(peer)).toContain("epoch 2 began");
    await cluster.until("the forced node writes", 10, () => writesAfter(peer, at).length > 0);
    // Both come back, as the members of the old epoch that they were, and nothing keeps them from a majority.
    cluster.heal();
    cluster.startMember(holder);
    cluster.startMember("witness");
    cluster.startHost(holder);
    await cluster.until("the old holder knows", 15, () => cluster.status(holder).why.includes("epoch 2"));
    const back = now();
    await pause(2_500);
    expect(cluster.status(holder).verdict).toBe("barred");
    expect(writesAfter(holder, back)).toEqual([]);
    expect(cluster.status(peer)).toMatchObject({ holding: true, epoch: { here: 2, etcd: 2 } });
    expect(cluster.smallestGap()).toBeGreaterThan(0);
  });
});
