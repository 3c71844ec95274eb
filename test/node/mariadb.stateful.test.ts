// The promise of the database, on real hosts with the real lease: nothing that a client was told is stored is lost, a server
// that may lack something is not promoted, and every way home works. What clients were told is all that counts.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { powerCut, powerOn } from "../../infra/lab/faults.ts";
import { labDown } from "../../infra/lab/lab.ts";
import type { NodeId } from "../../infra/model/pair.ts";
import { describeWithLab } from "../lab/skip.ts";
import { DatabasePair, otherNode, Writers } from "./mariadb-pair.ts";

const LAB = "maria";

describeWithLab("a MariaDB pair", () => {
  let pair: DatabasePair;
  let writers: Writers | undefined;
  let first = 0;

  const write = (count = 4): Writers => {
    writers = new Writers(pair.vip, count, first);
    first += count;
    return writers;
  };
  /** Every acknowledged row is on both servers, which hold the same. */
  const nothingLost = async (told: Writers): Promise<NodeId> => {
    const primary = await pair.whole();
    const rows = await pair.rows(primary);
    expect([...told.acknowledged].filter((row) => !rows.has(row))).toEqual([]);
    const checksum = await pair.checksum(primary);
    await pair.until("the replica holds the same", async () => (await pair.checksum(otherNode(primary))) === checksum);
    return primary;
  };

  beforeAll(async () => {
    pair = await DatabasePair.up(LAB);
  });
  afterEach(async () => {
    await writers?.stop();
    writers = undefined;
  });
  afterAll(() => labDown(LAB));

  test("a power cut of the primary under writers loses nothing, and the old primary comes home", async () => {
    const before = await pair.whole();
    const told = write();
    await pair.until("clients write", async () => told.acknowledged.size > 100);
    await powerCut(pair.lab, pair.host(before));
    const atCut = told.acknowledged.size;
    await pair.until("writes go on", async () => told.acknowledged.size > atCut + 10);
    await powerOn(pair.lab, pair.host(before));
    await pair.whole();
    await told.stop();
    expect(await nothingLost(told)).toBe(otherNode(before));
  });

  test("a primary that must stop is killed, never asked: no client is told OK by a shutdown", async () => {
    const before = await pair.whole();
    const { server } = await pair.status(before);
    await pair.hosts.ok(before, "systemctl stop hotpair-mariadb-primary");
    await pair.until("the server is another process", async () => {
      const now = await pair.status(before);
      return now.server !== null && now.server.pid !== server?.pid;
    });
    const journal = await pair.hosts.ok(before, "journalctl -u hotpair-mariadb --no-pager -o cat");
    expect(journal).toContain("status=9/KILL");
    expect(journal).not.toMatch(/Normal shutdown|SIGTERM/);
    await pair.hosts.ok(before, "systemctl start --no-block hotpair-mariadb-primary");
    await pair.whole();
  });

  test("a lost replica is taken out of insync before the first write goes on without it, and comes back", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    const { server } = await pair.status(replica);
    const told = write();
    await pair.until("clients write", async () => told.acknowledged.size > 50);
    await pair.hosts.ok(replica, `kill -STOP ${server?.pid}`);
    told.mark();
    await pair.until("this node is alone", async () => Object.keys(await pair.insync()).join() === primary);
    const alone = told.acknowledged.size;
    await pair.until("writes go on", async () => told.acknowledged.size > alone + 10);
    await pair.hosts.ok(replica, `kill -CONT ${server?.pid}`);
    await pair.whole();
    await told.stop();
    expect(await nothingLost(told)).toBe(primary);
    expect((await pair.audit(primary)).filter(({ to }) => to === "alone").at(-1)?.reason).toMatch(
      /has waited|connected/,
    );
  });

  test("a replica that lost its relay log is not promoted, and says why; with the primary back nothing is lost", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    await pair.sql(replica, "STOP SLAVE SQL_THREAD");
    const told = write();
    await sleep(300);
    await powerCut(pair.lab, pair.host(primary));
    await told.stop();
    await pair.hosts.ok(replica, "systemctl restart hotpair-mariadb");
    await sleep(4_000);
    expect((await pair.status(replica)).state).not.toBe("primary");
    expect(await pair.hosts.ok(replica, "/usr/lib/hotpair/hotpair-lease status")).toMatch(/not in sync/);
    await powerOn(pair.lab, pair.host(primary));
    expect(await nothingLost(told)).toBe(primary);
  });

  /** The node that is up does not take writes, for longer than any takeover lasts, and says why. */
  const nobodyIsPromoted = async (survivor: NodeId): Promise<void> => {
    const asked = async () => (await pair.status(survivor)).state;
    await pair.until("the survivor answers", async () => (await asked()) !== undefined);
    for (const until = Date.now() + 5_000; Date.now() < until; await sleep(250))
      expect(await asked()).not.toBe("primary");
    expect(await pair.hosts.ok(survivor, "/usr/lib/hotpair/hotpair-lease status")).toMatch(/not in sync/);
  };

  test("a primary that went on alone, then dies: nobody is promoted, and with it back nothing is lost", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    const told = write();
    await pair.until("clients write", async () => told.acknowledged.size > 50);
    await powerCut(pair.lab, pair.host(replica));
    await pair.until("this node is alone", async () => Object.keys(await pair.insync()).join() === primary);
    const alone = told.acknowledged.size;
    await pair.until("writes go on", async () => told.acknowledged.size > alone + 50);
    await powerCut(pair.lab, pair.host(primary));
    await told.stop();
    await powerOn(pair.lab, pair.host(replica));
    await nobodyIsPromoted(replica);
    await powerOn(pair.lab, pair.host(primary));
    expect(await nothingLost(told)).toBe(primary);
  });

  test("both lose power, and the replica comes back first: it waits for the primary, and nothing is lost", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    const told = write();
    await pair.until("clients write", async () => told.acknowledged.size > 50);
    await Promise.all([powerCut(pair.lab, pair.host(primary)), powerCut(pair.lab, pair.host(replica))]);
    await told.stop();
    await powerOn(pair.lab, pair.host(replica));
    await nobodyIsPromoted(replica);
    await powerOn(pair.lab, pair.host(primary));
    expect(await nothingLost(told)).toBe(primary);
  });

  test("the replica is restarted by a change of its configuration, then the primary dies: nothing is lost", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    const { mariadb } = pair.hosts.pair;
    if (mariadb === undefined) throw new Error("the pair has no database");
    const { server } = await pair.status(replica);
    const told = write();
    await pair.until("clients write", async () => told.acknowledged.size > 50);
    pair.hosts.pair = { ...pair.hosts.pair, mariadb: { ...mariadb, maxConnections: mariadb.maxConnections + 1 } };
    await pair.hosts.applied(replica);
    expect((await pair.status(replica)).server?.pid).not.toBe(server?.pid);
    await powerCut(pair.lab, pair.host(primary));
    await sleep(3_000);
    await powerOn(pair.lab, pair.host(primary));
    const after = await pair.whole();
    await told.stop();
    await nothingLost(told);
    await pair.hosts.applied(otherNode(after));
    await pair.hosts.applied(after);
    await pair.whole();
  });

  test("a switch under load pauses writes and loses none", async () => {
    const told = write();
    await pair.until("clients write", async () => told.acknowledged.size > 50);
    // On a busy machine the lease may be just lost, or the peer not in sync: then it is refused, and nothing moves.
    const before = await pair.until("the switch", async () => {
      const primary = await pair.whole();
      const out = await pair.hosts.sh(primary, "/usr/lib/hotpair/hotpair-arbiter switch --wait 8");
      return out.code === 0 && primary;
    });
    await pair.until("the other is primary", async () => (await pair.primary()) === otherNode(before));
    await pair.whole();
    await told.stop();
    expect(await nothingLost(told)).toBe(otherNode(before));
  });

  test("a replica that somebody wrote to is shown, saved, and made anew with consent", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    await pair.sql(replica, "INSERT INTO app.writes VALUES (999, 1)");
    await pair.until("it is seen", async () => (await pair.status(replica)).state === "diverged");
    expect(Object.keys(await pair.insync())).toEqual([primary]);
    const shown = await pair.run(replica, "diverged");
    expect(shown.code, shown.text).toBe(0);
    expect(shown.stdout).toMatch(/INSERT INTO `app`.`writes`/);
    const refused = await pair.run(replica, "recover");
    expect(refused.code).toBe(1);
    expect(refused.text).toContain(`recover --discard node-${replica}`);
    const recovered = await pair.run(replica, `recover --discard node-${replica}`);
    expect(recovered.code, recovered.text).toBe(0);
    await pair.whole();
    expect((await pair.rows(replica)).has("999/1")).toBe(false);
  });
});
