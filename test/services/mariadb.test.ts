// What the pair relies on in MariaDB's files and units, beyond what the goldens show.

import { expect, test } from "vitest";
import { ms, seconds } from "../../infra/model/duration.ts";
import type { NodeId, Pair } from "../../infra/model/pair.ts";
import { haproxy } from "../../infra/services/haproxy.ts";
import { mariadb } from "../../infra/services/mariadb.ts";
import { labPair, statefulPair } from "../model/pairs.ts";

const settings = statefulPair.mariadb;
if (settings === undefined) throw new Error("the stateful pair has no MariaDB");
const withReads: Pair = {
  ...statefulPair,
  mariadb: { ...settings, replicaReads: { port: 3308, maxLag: seconds(2) } },
};

const content = (path: string, pair: Pair = statefulPair, node: NodeId = "a"): string => {
  const services = [mariadb, haproxy].flatMap((service) => service.plan(pair, node)?.files ?? []);
  const file = services.find((each) => each.path === path);
  if (typeof file?.content !== "string") throw new Error(`no ${path}`);
  return file.content;
};
const backend = (pair: Pair, name: string): string =>
  content("/etc/haproxy/haproxy.cfg", pair).split(`\nbackend ${name}\n`)[1]?.split("\n\n")[0] ?? "";

test("a pair without MariaDB gets nothing of it", () => {
  expect(mariadb.plan(labPair, "a")).toBeUndefined();
  expect(mariadb.timing(labPair)).toEqual([]);
});

test("the server starts read-only, following nobody, and without waiting for acknowledgements that nobody checks", () => {
  const lines = content("/etc/hotpair/mariadb/my.cnf").split("\n");
  for (const line of [
    "read_only = 1",
    "skip_slave_start = 1",
    "rpl_semi_sync_master_enabled = 0",
    "rpl_semi_sync_master_wait_point = AFTER_SYNC",
    "rpl_semi_sync_master_timeout = 18446744073709551615",
    "sync_binlog = 1",
    "innodb_flush_log_at_trx_commit = 1",
    "gtid_strict_mode = 1",
    "slave_parallel_threads = 8",
  ])
    expect(lines).toContain(line);
});

test("the server binds the node's own addresses and no other, so that HAProxy can have the same port on the VIP", () => {
  expect(content("/etc/hotpair/mariadb/my.cnf")).toContain("\nbind_address = 198.18.0.11,198.18.2.11\n");
  const onPublic: Pair = { ...statefulPair, mariadb: { ...settings, replicationNetwork: "public" } };
  expect(content("/etc/hotpair/mariadb/my.cnf", onPublic, "b")).toContain("\nbind_address = 198.18.0.12\n");
});

test("a primary is only ever killed", () => {
  const unit = content("/etc/systemd/system/hotpair-mariadb.service");
  expect(unit).toContain("\nKillSignal=SIGKILL\n");
  expect(unit).not.toMatch(/KillSignal=SIG(?!KILL)/);
});

test("promotion comes after the lease and ends with it", () => {
  const unit = content("/etc/systemd/system/hotpair-mariadb-primary.service");
  expect(unit).toContain("\nBindsTo=hotpair-lease.service\nAfter=hotpair-lease.service hotpair-mariadb.service\n");
  expect(unit).toContain("\nPartOf=hotpair-active.target\n");
  expect(unit).toContain("\nWantedBy=hotpair-active.target\n");
  expect(unit).toContain("\nTimeoutStopSec=200ms\n");
});

test("a restart of the server is a hand-over, and asks before", () => {
  const unit = mariadb.plan(statefulPair, "a")?.units.find(({ name }) => name === "hotpair-mariadb.service");
  expect(unit).toEqual({
    name: "hotpair-mariadb.service",
    running: true,
    holdsRole: true,
    guard: "/usr/lib/hotpair/hotpair-mariadb may-restart",
  });
});

test("passwords and keys are references, in files that only their readers can read", () => {
  const rotating: Pair = {
    ...statefulPair,
    mariadb: { ...settings, previousReplicationPassword: { secret: "mariadb.previousReplicationPassword" } },
  };
  const files = mariadb.plan(rotating, "a")?.files ?? [];
  const password = files.find(({ path }) => path.endsWith("/replication.password"));
  expect(password).toMatchObject({ mode: "0600", owner: "root", secret: true });
  expect(password?.content).toEqual([
    "current ",
    { secret: "mariadb.replicationPassword" },
    "\n",
    "previous ",
    { secret: "mariadb.previousReplicationPassword" },
    "\n",
  ]);
  const key = files.find(({ path }) => path.endsWith("/server.key"));
  expect(key).toMatchObject({ mode: "0640", group: "mysql", secret: true });
  expect(key?.content).toEqual([{ secret: "authority.members.a.key" }]);
});

test("HAProxy asks for the role, not for the port, and cuts off whoever is on the wrong server", () => {
  const text = backend(statefulPair, "mariadb");
  expect(text).toContain("http-check send meth GET uri /primary ");
  expect(text).toContain("default-server check port 3305 inter 100ms fastinter 50ms fall 2 rise 1 ");
  expect(text).toContain(" on-marked-down shutdown-sessions");
  expect(text).toContain("\n    retries 1\n");
  expect(text).toContain("\n    timeout connect 100ms\n");
  expect(text).not.toContain("tcp-check");
});

test("reads go to a near replica on a port of their own, and to the primary without one", () => {
  expect(content("/etc/haproxy/haproxy.cfg")).not.toContain("-reads");
  const text = content("/etc/haproxy/haproxy.cfg", withReads);
  expect(text).toContain("\nfrontend mariadb-reads\n    mode tcp\n    bind 198.18.0.100:3308\n");
  expect(text).toContain(
    "\n    use_backend mariadb-reads if { nbsrv(mariadb-reads) gt 0 }\n    default_backend mariadb\n",
  );
  expect(backend(withReads, "mariadb-reads")).toContain("uri /replica ");
  expect(JSON.parse(content("/etc/hotpair/mariadb.json", withReads)).longestLagMs).toBe(2_000);
});

test("the two servers differ in number and address, and each knows the other", () => {
  const [a, b] = (["a", "b"] as const).map((id) => JSON.parse(content("/etc/hotpair/mariadb.json", statefulPair, id)));
  expect([a.serverId, b.serverId]).toEqual([11, 12]);
  expect([a.address, a.peerAddress]).toEqual([b.peerAddress, b.address]);
  expect([a.address, a.roleAddress]).toEqual(["198.18.2.11", "198.18.0.11"]);
});

test("recovery of a killed server grows with its redo log, and counts where it is longer than the other node's T and promotion", () => {
  const upper = (redoLog: number) =>
    mariadb
      .timing({ ...statefulPair, mariadb: { ...settings, redoLog } })
      .find(({ failure }) => failure === "lease-loss")?.upper;
  // T and renewal are the lease's term: 100 + 3,800 + 48 − 1,600.
  expect(upper(512 * 1024 ** 2)).toBe(ms(2_348));
  expect(upper(1024 ** 3)).toBeGreaterThan(ms(2_348));
  expect(upper(96 * 1024 ** 2)).toBe(ms(353));
  expect(upper(8 * 1024 ** 2)).toBe(ms(353));
});
