// The database on a volume by its real units, with the real server and the real systemd, on one host of the lab. A memory file
// system stands in for the volume and a file for the lease, so that nothing but the service itself is looked at; the disks below
// are test/node/drbd.machine.test.ts's.

import { afterAll, beforeAll, expect, test } from "vitest";
import { newAuthority } from "../../infra/cli/certificates.ts";
import {
  accountNetwork,
  makeLedger,
  readLedger,
  readLedgerAnswer,
  removeLedger,
} from "../../infra/drill/ledger-account.ts";
import { labDown, labUp } from "../../infra/lab/lab.ts";
import type { Pair, SecretRef } from "../../infra/model/pair.ts";
import type { PlannedFile } from "../../infra/model/plan.ts";
import { MARIADB_VOLUME_UNIT as UNIT } from "../../infra/model/volume.ts";
import { planNode } from "../../infra/plan/plan.ts";
import { describeWithLab } from "../lab/skip.ts";
import { databaseDiskPair } from "../model/pairs.ts";
import { LabAuthority } from "./authority-lab.ts";

const LAB = "bvol";
const MOUNT = "srv-data.mount";

describeWithLab("a database on a volume", () => {
  let host: LabAuthority;
  let pair: Pair = databaseDiskPair;
  const sh = (command: string) => host.sh("a", command);
  const ok = (command: string) => host.ok("a", command);
  const sql = async (statement: string) => (await ok(`mariadb -BN -e "${statement}"`)).trim();
  const state = async () => (await sh(`systemctl is-active ${UNIT}`)).stdout.trim();

  const textOf = ({ content }: PlannedFile, secret: (ref: SecretRef) => string) =>
    typeof content === "string"
      ? content
      : content.map((part) => (typeof part === "string" ? part : secret(part))).join("");

  async function install(from: Pair): Promise<void> {
    for (const file of planNode(from, "a").files) {
      if (!file.path.includes("mariadb")) continue;
      await host.sh(
        "a",
        `install -D -m ${file.mode} -g ${file.group} /dev/stdin ${file.path}`,
        textOf(file, host.secrets),
      );
    }
    await ok("systemctl daemon-reload");
  }

  beforeAll(async () => {
    host = new LabAuthority(await labUp({ name: LAB, image: "ready", witness: true }));
    await host.certify(await newAuthority(host.pair.name, Date.now()));
    const { nodes } = host.pair;
    pair = { ...databaseDiskPair, nodes, authority: host.pair.authority };
    const stand = {
      "/etc/systemd/system/srv-data.mount":
        "[Mount]\nWhat=tmpfs\nWhere=/srv/data\nType=tmpfs\n[Unit]\nPartOf=hotpair-active.target\n",
      "/etc/systemd/system/hotpair-active.target": `[Unit]\nWants=${MOUNT} ${UNIT}\n`,
      "/usr/lib/hotpair/hotpair-drbd": '#!/bin/sh\n[ "$1" = may-start ] && [ -e /run/lease ]\n',
    };
    for (const [path, text] of Object.entries(stand)) await host.sh("a", `install -D -m 0755 /dev/stdin ${path}`, text);
    await install(pair);
  });
  afterAll(async () => {
    if (process.env.KEEP_LAB === undefined) await labDown(LAB);
  });

  test("its settings and its unit are what the server and systemd read, and a misspelt one is not", async () => {
    const plan = planNode(pair, "a");
    const validator = plan.validators.find(({ name }) => name === "mariadbd --help --verbose")?.command ?? "";
    expect(await sh(validator)).toMatchObject({ code: 0 });
    const verify = `systemd-analyze verify --man=no --recursive-errors=no ${UNIT} hotpair-mariadb-volume-watch.service`;
    expect(await sh(verify)).toMatchObject({ code: 0, text: "" });
    await ok(
      "cp /etc/hotpair/mariadb/my.cnf /root/kept && echo innodb_flush_log_at_trx = 1 >> /etc/hotpair/mariadb/my.cnf",
    );
    expect((await sh(validator)).code).not.toBe(0);
    await ok("mv /root/kept /etc/hotpair/mariadb/my.cnf");
  });

  test("without the lease it does not run; with it, a database is made and takes writes", async () => {
    await ok("systemctl start --no-block hotpair-active.target");
    await until(async () => (await ok(`systemctl show -p NRestarts --value ${UNIT}`)).trim() >= "2");
    expect((await sh("ls /srv/data")).stdout).toBe("");
    await ok("touch /run/lease");
    await until(async () => (await state()) === "active");
    // Active is what takes connections.
    expect(
      await sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT); INSERT INTO shop.t VALUES (1); SELECT @@datadir"),
    ).toBe("/srv/data/mariadb/");
    expect((await ok("ls -A /srv/data")).trim()).toBe("mariadb");
    const address = pair.nodes[0].networks.public.address.split("/")[0];
    expect(await ok("ss -ltnH 'sport = 3306'")).toContain(`${address}:3306`);
  });

  test("the package's own unit does not start beside it", async () => {
    await sh("systemctl start mariadb.service");
    expect((await sh("systemctl is-active mariadb.service")).stdout).toBe("inactive\n");
    expect(await state()).toBe("active");
  });

  test("killed, it comes back with what it acknowledged", async () => {
    await sql("INSERT INTO shop.t VALUES (2)");
    const before = await ok(`systemctl show -p MainPID --value ${UNIT}`);
    await ok(`systemctl kill --signal=KILL ${UNIT}`);
    await until(
      async () => (await state()) === "active" && (await ok(`systemctl show -p MainPID --value ${UNIT}`)) !== before,
    );
    expect(await sql("SELECT COUNT(*) FROM shop.t")).toBe("2");
  });

  test("hung, it is killed by its watch, and comes back", async () => {
    const before = await ok(`systemctl show -p MainPID --value ${UNIT}`);
    await ok("systemctl is-active hotpair-mariadb-volume-watch.service");
    await ok(`systemctl kill --signal=STOP ${UNIT}`);
    await until(
      async () => (await state()) === "active" && (await ok(`systemctl show -p MainPID --value ${UNIT}`)) !== before,
    );
    expect(await ok("journalctl -u hotpair-mariadb-volume-watch -o cat -n 5")).toContain("hangs and is killed");
    expect(await sql("SELECT COUNT(*) FROM shop.t")).toBe("2");
  });

  test("the ledger of a drill is made, read and removed where it runs, and nowhere else", async () => {
    expect((await sh(makeLedger("ab".repeat(24), accountNetwork("198.18.0.0/24")))).stdout).toBe("made\n");
    expect(readLedgerAnswer((await sh(readLedger)).stdout)).toEqual({ primary: true, rows: "" });
    expect(await sh(removeLedger)).toMatchObject({ code: 0, text: "" });
    expect(await sql("SHOW DATABASES LIKE 'hotpair_drill'")).toBe("");
  });

  test("certificates are read again under its clients", async () => {
    const before = await ok(`systemctl show -p MainPID --value ${UNIT}`);
    await ok(`systemctl reload ${UNIT}`);
    expect(await ok(`systemctl show -p MainPID --value ${UNIT}`)).toBe(before);
  });

  test("it ends with its volume, and one that hangs is killed at its stop timeout", async () => {
    await ok(`systemctl kill --signal=STOP ${UNIT}`);
    const began = Date.now();
    await ok("systemctl stop hotpair-active.target");
    await until(async () => (await sh(`systemctl is-active ${MOUNT}`)).stdout.trim() === "inactive");
    expect(Date.now() - began).toBeLessThan(1_500 + 4_000);
    expect((await sh("pgrep -x mariadbd")).stdout).toBe("");
    expect((await sh("systemctl is-active hotpair-mariadb-volume-watch.service")).stdout).toBe("inactive\n");
    for (const text of [makeLedger("ab".repeat(24), accountNetwork("198.18.0.0/24")), readLedger, removeLedger])
      expect(await sh(text)).toMatchObject({ code: 0, text: "" });
  });

  test("what lies there and is no database is refused once, with its name, and kept", async () => {
    await ok(`systemctl start ${MOUNT} && mkdir /srv/data/mariadb && touch /srv/data/mariadb/notes`);
    await sh(`systemctl start ${UNIT}`);
    await until(async () => (await state()) === "failed");
    expect(await ok(`journalctl -u ${UNIT} -n 20 -o cat`)).toContain("is not empty (notes)");
    expect(await ok(`systemctl show -p ExecMainStatus --value ${UNIT}`)).toBe("3\n");
    expect(await ok("ls /srv/data/mariadb")).toBe("notes\n");
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error("not within a minute");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
