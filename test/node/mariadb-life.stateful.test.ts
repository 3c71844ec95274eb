// What a database pair goes through without any fault, on real hosts: it takes over a server that is there already, its
// replication gets another password while clients write, and clients read from the replica as long as it is near enough.

import { setTimeout as sleep } from "node:timers/promises";
import { createConnection } from "mysql2/promise";
import { afterAll, beforeAll, expect, test } from "vitest";
import { labDown } from "../../infra/lab/lab.ts";
import { seconds } from "../../infra/model/duration.ts";
import type { NodeId } from "../../infra/model/pair.ts";
import { describeWithLab } from "../lab/skip.ts";
import { CLIENT, DatabasePair, otherNode, Writers } from "./mariadb-pair.ts";

const LAB = "maria-life";
const READS = 3317;
const ADOPTED = "SELECT COUNT(*), SUM(amount) FROM shop.orders";

describeWithLab("the life of a MariaDB pair", () => {
  let pair: DatabasePair;

  beforeAll(async () => {
    pair = await DatabasePair.up(
      LAB,
      { adopt: true, replicaReads: { port: READS, maxLag: seconds(1) } },
      // A server that somebody has run for years: the package's own unit, and data.
      async (hosts) => {
        await hosts.ok("b", "systemctl unmask --quiet mariadb; systemctl start mariadb");
        await hosts.ok(
          "b",
          "mariadb -e 'CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, amount INT); " +
            "USE shop; INSERT INTO shop.orders SELECT seq, seq * 7 FROM seq_1_to_5000'",
        );
      },
    );
  });
  afterAll(() => labDown(LAB));

  test("a server with data is adopted where it is: its data is the pair's, and the other node copies it", async () => {
    expect(await pair.whole()).toBe("b");
    const before = "5000\t87517500";
    expect(await pair.sql("b", ADOPTED)).toBe(before);
    expect(await pair.sql("a", ADOPTED)).toBe(before);
    expect(await pair.hosts.ok("b", "systemctl is-active mariadb.service || :")).toContain("inactive");
  });

  test("replication gets another password while clients write: no write fails, nobody moves", async () => {
    const primary = await pair.whole();
    const account = async () =>
      /^\s*Master_User: (\S+)$/m.exec(
        await pair.hosts.ok(otherNode(primary), "mariadb -e 'SHOW SLAVE STATUS\\G'"),
      )?.[1] ?? "";
    const first = await account();
    const writers = new Writers(pair.vip, 4);
    try {
      await pair.until("clients write", async () => writers.acknowledged.size > 100);
      writers.mark();
      await rotate("sesame-two", "sesame-one");
      await pair.until("the replica uses the new account", async () => ![first, ""].includes(await account()));
      await pair.whole();
      await rotate("sesame-two", undefined);
      await pair.until("the old account is gone", async () => (await accounts(primary)) === (await account()));
      expect(await pair.whole()).toBe(primary);
      const at = writers.acknowledged.size;
      await pair.until("clients still write", async () => writers.acknowledged.size > at + 100);
    } finally {
      await writers.stop();
    }
    expect([...writers.unknown]).toEqual([]);
    const rows = await pair.rows(primary);
    expect([...writers.acknowledged].filter((row) => !rows.has(row))).toEqual([]);
  });

  async function rotate(password: string, previous: string | undefined): Promise<void> {
    const { hosts } = pair;
    const { mariadb } = hosts.pair;
    if (mariadb === undefined) throw new Error("the pair has no database");
    hosts.values.set("mariadb.replicationPassword", password);
    if (previous !== undefined) hosts.values.set("mariadb.previousReplicationPassword", previous);
    const previousReplicationPassword =
      previous === undefined ? undefined : { secret: "mariadb.previousReplicationPassword" };
    hosts.pair = { ...hosts.pair, mariadb: { ...mariadb, previousReplicationPassword } };
    const primary = await pair.whole();
    await hosts.applied(otherNode(primary));
    await hosts.applied(primary);
  }

  /** Accounts of replication on a server, by name. */
  const accounts = (id: NodeId): Promise<string> =>
    pair.sql(id, "SELECT DISTINCT user FROM mysql.global_priv WHERE user RLIKE '^hotpair_[0-9a-f]{8}$' ORDER BY user");

  test("clients read from the replica while it is near, and from the primary while it is not", async () => {
    const primary = await pair.whole();
    const replica = otherNode(primary);
    const reader = async (): Promise<string> => {
      const session = await createConnection({ host: pair.vip, port: READS, ...CLIENT, connectTimeout: 1_000 });
      try {
        const [rows] = await session.query("SELECT @@hostname AS server");
        return (rows as { server: string }[])[0]?.server ?? "";
      } finally {
        await session.end();
      }
    };
    const is = (id: NodeId) => async () => (await reader()) === pair.host(id);
    await pair.until("reads come from the replica", is(replica));
    // Nothing can be applied; what is received is acknowledged as before.
    const held = pair.sql(replica, "FLUSH TABLES WITH READ LOCK; SELECT SLEEP(12)");
    const writers = new Writers(pair.vip, 2, 100);
    try {
      await pair.until("reads come from the primary", is(primary), 10_000);
      const at = writers.acknowledged.size;
      await sleep(1_000);
      expect(writers.acknowledged.size).toBeGreaterThan(at);
      await held;
      await pair.until("reads come from the replica again", is(replica));
    } finally {
      await writers.stop();
      await held;
    }
  });
});
