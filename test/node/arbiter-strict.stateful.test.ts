// The strict gate, with a witness, three real etcd members and the real lease on real hosts: no cut between two nodes that
// both see the witness makes two owners, a node that is cut off lets go first, and state is stopped before the VIP moves.
//
// Two owners are judged strictly, by the kernel's own notifications on both hosts; times with room for a busy machine.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { clearDrops, dropTraffic, powerCut } from "../../infra/lab/faults.ts";
import { labDown, type NodeName } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";
import { other, type Watch, Watcher } from "./arbiter-pair.ts";
import { StrictPair } from "./strict-pair.ts";

const LAB = "arbstrict";
/** T, the campaign's own interval, and what a busy machine may add. */
const TAKEOVER = 1_500 + 1_500;

describeWithLab("who is active, with a witness", () => {
  let pair: StrictPair;

  beforeAll(async () => {
    pair = await StrictPair.up(LAB);
  });
  afterEach(() => pair.repair());
  afterAll(async () => {
    if (process.env.KEEP_LAB === undefined) await labDown(LAB);
  });

  async function during(
    fault: (active: NodeName, standby: NodeName, watcher: Watcher) => Promise<unknown>,
    forMs: number,
  ): Promise<Watch & { active: NodeName; standby: NodeName }> {
    const { active, standby } = await pair.settledWithLease();
    const watcher = await Watcher.start(pair);
    await fault(active, standby, watcher);
    await sleep(forMs);
    const watch = await watcher.stop();
    expect(watch.twoOwnersMs).toBe(0);
    return { ...watch, active, standby };
  }

  test("all three networks cut between the nodes, the witness seen by both: nothing moves, nor when they heal", async () => {
    const { events, active } = await during(async (_, standby) => {
      await pair.cutBetween();
      await sleep(2_500);
      expect(await pair.reason(standby)).toBe("the peer renews its lease");
      await clearDrops(pair.lab);
    }, 1_000);
    expect(events).toEqual([]);
    expect(await pair.writes(active)).toBe(true);
  });

  test("an active node that is cut off lets go before the other takes over, and with it goes the lease", async () => {
    const { standby, active } = await during(async (active, standby) => {
      await pair.isolate(active);
      await expect.poll(() => pair.owners(), { timeout: TAKEOVER, interval: 100 }).toEqual([standby]);
      await expect.poll(() => pair.writes(standby), { timeout: TAKEOVER, interval: 100 }).toBe(true);
      expect(await pair.reason(active)).toMatch(/^cut off: /);
      await clearDrops(pair.lab);
    }, 1_500);
    expect(await pair.owner()).toBe(standby);
    expect(await pair.writes(active)).toBe(false);
  });

  test("a power cut moves the VIP when the lease can move, and the lease follows", async () => {
    const { standby, noOwnerMs } = await during(async (active, standby, watcher) => {
      watcher.lost(active, (await powerCut(pair.lab, active)).latest);
      await expect.poll(() => pair.writes(standby), { timeout: 2 * TAKEOVER, interval: 100 }).toBe(true);
    }, 0);
    expect(await pair.owner()).toBe(standby);
    expect(noOwnerMs).toBeLessThan(1_500 + 400);
  });

  test("an active node that loses only etcd hands over to the one that has the quorum", async () => {
    const { standby } = await during(async (active, standby) => {
      await pair.cutEtcd(active);
      await expect.poll(() => pair.writes(standby), { timeout: 15_000, interval: 200 }).toBe(true);
    }, 0);
    expect(await pair.owner()).toBe(standby);
  });

  test("a planned switch stops what writes, then moves the VIP within milliseconds", async () => {
    const { active, standby, noOwnerMs, events } = await during(async (active, standby) => {
      expect(await pair.arbiter(active, "switch")).toMatchObject({ code: 0 });
      await expect.poll(() => pair.writes(standby), { timeout: 10_000, interval: 100 }).toBe(true);
    }, 0);
    const at = async (host: NodeName, what: string) => Number(await pair.sh(host, `cat /run/writer-${what}`)) * 1_000;
    const gone = events.find(([, host, came]) => host === active && !came)?.[0] ?? 0;
    expect(await at(active, "stopped")).toBeLessThan(gone);
    expect(await at(standby, "started")).toBeGreaterThan(gone);
    expect(noOwnerMs).toBeLessThan(150);
  });

  test("a node that lacks writes is no target of a switch, and does not take over from a dead one", async () => {
    const { active, standby } = await pair.settledWithLease();
    const lease = "/usr/lib/hotpair/hotpair-lease";
    await pair.until(active, `${lease} alone`);
    await expect
      .poll(async () => (await pair.arbiter(active, "switch")).text, { timeout: 3_000 })
      .toBe("hotpair-arbiter: web: the peer is not in sync: it lacks acknowledged writes");
    const watcher = await Watcher.start(pair);
    watcher.lost(active, (await powerCut(pair.lab, active)).latest);
    await sleep(3_000);
    expect((await watcher.stop()).events.filter(([, host, came]) => host === standby && came)).toEqual([]);
    const status = await pair.status(standby);
    expect(status.vips[0]?.gate).toEqual({ closed: true, reason: "not in sync: only the peer may serve" });
    expect(status.authority?.blocked).toBe("this node is not in sync: it may lack acknowledged writes");
    await pair.recover(active, standby);
  });

  test("of two owners that meet, the holder of the lease stays, whichever it is", async () => {
    for (const holder of ["node-a", "node-b"] as const) {
      await pair.moveTo(holder);
      await pair.settledWithLease();
      const standby = other(holder);
      // Without its arbiter the standby is plain VRRP: a cut heartbeat makes it a second owner.
      await pair.sh(standby, "systemctl stop hotpair-arbiter");
      await Promise.all([
        dropTraffic(pair.lab, holder, standby, "heartbeat"),
        dropTraffic(pair.lab, standby, holder, "heartbeat"),
      ]);
      await expect.poll(async () => (await pair.owners()).length, { timeout: 3_000, interval: 50 }).toBe(2);
      await clearDrops(pair.lab);
      await expect.poll(() => pair.owners(), { timeout: 3_000, interval: 50 }).toEqual([holder]);
      await pair.sh(standby, "systemctl start hotpair-arbiter");
    }
  });

  test("a silent observer and a lost witness move nothing, and status says so", async () => {
    const { events } = await during(async (active) => {
      await pair.sh(active, "systemctl stop hotpair-quorum");
      await sleep(800);
      expect((await pair.status(active)).authority).toBeNull();
      await pair.sh(active, "systemctl start hotpair-quorum");
      const heard = async () => (await pair.status(active)).authority?.witnessMsAgo ?? Number.POSITIVE_INFINITY;
      await expect.poll(heard, { timeout: 5_000 }).toBeLessThan(1_000);
      await pair.on("witness", `systemctl stop hotpair-etcd-${pair.pair.name}`);
      await sleep(2_000);
      expect(await heard()).toBeGreaterThan(1_000);
      await pair.on("witness", `systemctl start hotpair-etcd-${pair.pair.name}`);
    }, 500);
    expect(events).toEqual([]);
  });

  test("a start of the active target that waits for the lease is ended by the loss of the VIP", async () => {
    const { standby } = await pair.settledWithLease();
    // The arbiter may say so in this very moment: a start that nobody saw is made again.
    const seen = `for start in 1 2 3; do
systemctl start --no-block hotpair-active.target
for look in $(seq 20); do
[ "$(systemctl is-active hotpair-lease)" != activating ] || { echo activating; exit; }
sleep 0.05
done
done`;
    expect(await pair.sh(standby, seen)).toBe("activating");
    // Told again within its interval what this node is to be. On a busy machine it is killed, at the end of its stop time.
    await expect
      .poll(() => pair.sh(standby, "systemctl is-active hotpair-lease || :"), { timeout: 15_000, interval: 300 })
      .toMatch(/^(inactive|failed)$/);
    expect(await pair.sh(standby, "systemctl is-active hotpair-active.target || :")).toBe("inactive");
  });
});
