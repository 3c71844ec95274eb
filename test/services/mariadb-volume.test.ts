// What the pair relies on where its database lies on a replicated volume, beyond what the goldens show. What the program does
// with a directory is in test/node/mariadb-volume.test.ts.

import { expect, test } from "vitest";
import { ensure, hasUnit, unitOf } from "../../infra/drill/units.ts";
import { ms } from "../../infra/model/duration.ts";
import type { FailureClassId } from "../../infra/model/failure.ts";
import { stopChain } from "../../infra/model/lease.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { MAX_BUNDLE_BYTES, makeBundle } from "../../infra/plan/bundle.ts";
import { planNode, planPair } from "../../infra/plan/plan.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { mariadb } from "../../infra/services/mariadb.ts";
import { mariadbVolume } from "../../infra/services/mariadb-volume.ts";
import { databaseDiskPair, diskPair, statefulPair } from "../model/pairs.ts";

const UNIT = "hotpair-mariadb-volume.service";

const textOf = (path: string, pair: Pair = databaseDiskPair): string => {
  const file = planNode(pair, "a").files.find((each) => each.path === path);
  if (typeof file?.content !== "string") throw new Error(`no ${path}`);
  return file.content;
};

test("pairs with another database, or with none, get nothing of it, and this one nothing of replication", () => {
  for (const pair of [diskPair, statefulPair]) expect(mariadbVolume.plan(pair, "a")).toBeUndefined();
  expect(mariadb.plan(databaseDiskPair, "a")).toBeUndefined();
  const settings = textOf("/etc/hotpair/mariadb/my.cnf");
  expect(settings).not.toMatch(/semi_sync|slave|gtid|^log_bin|server_id|read_only/m);
});

test("what is acknowledged is on the volume: settings of the owner's cannot say otherwise", () => {
  const text = textOf("/etc/hotpair/mariadb/my.cnf");
  const [before = "", after = ""] = text.split("!includedir /etc/mysql/mariadb.conf.d/\n");
  for (const line of ["datadir = /srv/data/mariadb", "innodb_flush_log_at_trx_commit = 1", "innodb_doublewrite = 1"])
    expect(after.split("\n")).toContain(line);
  expect(after).toContain("\nbind_address = 198.18.0.11\n");
  // HAProxy's checks would fill the log; whoever wants it says so.
  expect(before.split("\n")).toContain("log_warnings = 1");
});

test("the server is a unit of the volume as its owner's are, and starts before them", () => {
  const dropIn = textOf(`/etc/systemd/system/${UNIT}.d/60-hotpair.conf`);
  expect(dropIn).toMatch(/^BindsTo=srv-data\.mount\nAfter=srv-data\.mount$/m);
  expect(dropIn).toMatch(/^ExecStartPre=\+\/usr\/lib\/hotpair\/hotpair-drbd may-start$/m);
  expect(dropIn).toMatch(/^TimeoutStopSec=1500ms$/m);
  expect(textOf("/etc/systemd/system/shop.service.d/60-hotpair.conf")).toMatch(
    new RegExp(`^After=srv-data\\.mount ${UNIT}$`, "m"),
  );
  expect(textOf("/etc/systemd/system/hotpair-active.target.d/60-volumes.conf")).toContain(
    `Wants=srv-data.mount ${UNIT} shop.service srv-files.mount`,
  );
  const { authority } = databaseDiskPair;
  if (authority === undefined) throw new Error("the pair has no authority");
  expect(stopChain({ ...databaseDiskPair, authority }).map(({ unit }) => unit)).toEqual([
    "hotpair-lease.service",
    "shop.service",
    UNIT,
  ]);
});

test("it cannot ask systemd for more time to stop, and nothing else starts it", () => {
  const unit = textOf(`/etc/systemd/system/${UNIT}`);
  expect(unit).toMatch(/^Type=exec$/m);
  expect(unit).not.toMatch(/^(NotifyAccess|TimeoutStopSec|\[Install\])/m);
  expect(textOf("/etc/systemd/system/mariadb.service.d/60-hotpair.conf")).toContain(
    "\nConditionPathExists=!/etc/hotpair/mariadb.json",
  );
});

test("changed settings change the unit, for which an active node hands over; nothing of it restarts the server", () => {
  const unit = (bufferPool: number) =>
    textOf(`/etc/systemd/system/${UNIT}`, {
      ...databaseDiskPair,
      volumes: databaseDiskPair.volumes.map((volume) =>
        volume.mariadb === undefined ? volume : { ...volume, mariadb: { ...volume.mariadb, bufferPool } },
      ),
    });
  expect(unit(2 ** 30)).not.toBe(unit(2 ** 31));
  const changes = mariadbVolume.plan(databaseDiskPair, "a")?.files.map(({ onChange }) => onChange.action);
  expect(new Set(changes)).toEqual(new Set(["none", "reload", "restart"]));
  const restarted = mariadbVolume
    .plan(databaseDiskPair, "a")
    ?.files.flatMap(({ onChange }) => (onChange.action === "restart" ? [onChange.unit] : []));
  expect(new Set(restarted)).toEqual(new Set(["hotpair-mariadb-volume-watch.service"]));
});

test("HAProxy takes whoever takes connections, and cuts off sessions with one that does not", () => {
  const text = textOf("/etc/haproxy/haproxy.cfg").split("\nbackend mariadb\n")[1]?.split("\n\n")[0] ?? "";
  expect(text).toContain("\n    option tcp-check\n");
  expect(text).not.toMatch(/httpchk|check port|http-check/);
  expect(text).toContain(
    "\n    default-server check inter 100ms fastinter 50ms fall 2 rise 1 maxconn 500 on-marked-down shutdown-sessions\n",
  );
  expect(text).toContain("\n    server node-a 198.18.0.11:3306\n    server node-b 198.18.0.12:3306");
});

test("a backend is missing, or looks too seldom: that is said as for a server that replicates", () => {
  const found = (pair: Pair) => collectFindings(pair).filter(({ rule }) => rule === "mariadb-check");
  expect(found(databaseDiskPair)).toEqual([]);
  expect(found({ ...databaseDiskPair, haproxy: undefined })).toMatchObject([
    { level: "advisory", path: "hotpair:pair.haproxy.backends" },
  ]);
});

test("its port is open to the other node's HAProxy, or to clients where there is none", () => {
  const own = (pair: Pair) => collectListeners(pair).filter(({ what }) => what === "MariaDB");
  expect(own(databaseDiskPair)).toEqual([
    { what: "MariaDB", network: "public", from: "peer", protocol: "tcp", port: 3306 },
  ]);
  expect(own({ ...databaseDiskPair, haproxy: undefined })).toMatchObject([{ from: "clients" }]);
});

const recovery = (failure: FailureClassId, pair: Pair = databaseDiskPair) =>
  estimate(pair)
    .find((one) => one.failure === failure)
    ?.terms.filter(({ service }) => service === "mariadb-volume")
    .map(({ step, upper }) => [step, upper]);

test("wherever a volume moves, its database recovers within what is stated, and HAProxy has to see it", () => {
  // The next check 100, and rise 1 needs no other.
  const expected = [
    ["recover", 5_000],
    ["recover", 100],
  ];
  for (const failure of ["node-power-cut", "planned-switch", "public-link-loss"] as const)
    expect(recovery(failure), failure).toEqual(expected);
  expect(recovery("standby-power-cut")).toEqual([]);
  // No less than its redo log bounds: start of the program 300 + recovery with 96 MiB 1700.
  const optimist: Pair = {
    ...databaseDiskPair,
    volumes: databaseDiskPair.volumes?.map((volume) => ({ ...volume, startWithin: ms(1_000) })),
  };
  expect(recovery("node-power-cut", optimist)?.[0]).toEqual(["recover", 2_000]);
  const slow: Pair = {
    ...databaseDiskPair,
    haproxy: databaseDiskPair.haproxy && {
      ...databaseDiskPair.haproxy,
      backends: databaseDiskPair.haproxy.backends.map((backend) => ({
        ...backend,
        check: { ...backend.check, interval: ms(1_000), rise: 3 },
      })),
    },
  };
  expect(recovery("node-power-cut", slow)?.[1]).toEqual(["recover", 1_100]);
});

test("killed or hung, it starts again where it was: no address and no lease moves", () => {
  const upper = (failure: FailureClassId) =>
    estimate(databaseDiskPair)
      .find((one) => one.failure === failure)
      ?.terms.filter(({ service }) => service !== "client")
      .map((term) => [term.service, term.upper]);
  // RestartSec 100 + what is stated.
  const again = [
    ["mariadb-volume", 5_100],
    ["mariadb-volume", 100],
  ];
  expect(upper("database-kill")).toEqual(again);
  expect(upper("database-hang")).toEqual([["mariadb-volume", 6_000], ...again]);
  const classes = estimate(databaseDiskPair).map(({ failure }) => failure);
  expect(classes).not.toContain("replica-loss");
  expect(estimate(diskPair).map(({ failure }) => failure)).not.toContain("database-kill");
  expect(unitOf("database", databaseDiskPair)).toBe(UNIT);
  expect(hasUnit("database", diskPair)).toBe(false);
  // Started on the standby it would take the volume, and the lease, along.
  expect(ensure(UNIT)).toBe(":");
});

test("every class of such a pair has an estimate, or says why it has none", () => {
  for (const { failure, rto, beyond } of estimate(databaseDiskPair))
    if (rto.upper === "unbounded") expect(beyond, failure).not.toMatch(/no service of this pair says/);
});

test("the bundle of a node stays within what a node takes", () => {
  for (const plan of planPair(databaseDiskPair))
    expect(makeBundle(plan, () => "aB3".repeat(9)).length).toBeLessThan(MAX_BUNDLE_BYTES);
});
