// When hotpair-mariadb-volume makes a database and when it refuses: the real program against temporary directories, with
// stand-ins for what needs root, a mounted volume or MariaDB.

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const PROGRAM = join(import.meta.dirname, "../../infra/node/hotpair-mariadb-volume");

let work = "";
let mount = "";
let data = "";

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "hotpair-volume-"));
  mount = join(work, "volume");
  data = join(mount, "mariadb");
  mkdirSync(join(mount, "lost+found"), { recursive: true });
  const settings = {
    version: 1,
    mountPoint: mount,
    dataDirectory: data,
    socket: join(work, "run/sock"),
    defaults: "/my.cnf",
  };
  writeFileSync(join(work, "mariadb.json"), `${JSON.stringify({ ...settings, port: 3306 }, undefined, 2)}\n`);
  standIn("mountpoint", "exit $NOT_MOUNTED");
  standIn("systemctl", 'echo "systemctl $*" >>"$LOG"; [ "$1" != is-active ] || exit "$PACKAGE_RUNS"');
  standIn("install", 'for last; do :; done; mkdir -p "$last"');
  standIn("sync", ":");
  standIn(
    "mariadb-install-db",
    'echo "install $*" >>"$LOG"; d=$(echo "$*" | sed "s/.*--datadir=\\([^ ]*\\).*/\\1/"); [ -z "$HALF" ] || { : >"$d/ibdata1"; exit 1; }; mkdir "$d/mysql"',
  );
  standIn("mariadbd", 'echo "mariadbd $*" >>"$LOG"');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

function standIn(name: string, body: string): void {
  mkdirSync(join(work, "bin"), { recursive: true });
  writeFileSync(join(work, "bin", name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}

function run(words: readonly string[] = ["start"], environment: Readonly<Record<string, string>> = {}) {
  const log = join(work, "log");
  rmSync(log, { force: true });
  const { status, stderr } = spawnSync("sh", [PROGRAM, ...words], {
    encoding: "utf8",
    env: {
      PATH: `${join(work, "bin")}:/usr/bin:/bin`,
      HOTPAIR_MARIADB_SETTINGS: join(work, "mariadb.json"),
      LOG: log,
      NOT_MOUNTED: "0",
      PACKAGE_RUNS: "3",
      HALF: "",
      ...environment,
    },
  });
  const did = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
  return { status, stderr, did: did.filter((line) => !line.startsWith("systemctl is-active")) };
}

const SERVER = "mariadbd --defaults-file=/my.cnf --user=mysql";

test("where nothing is, a database is made beside its place and moved there whole, then the server runs", () => {
  const { status, stderr, did } = run();
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(did).toHaveLength(2);
  expect(did[0]).toContain(`--datadir=${mount}/.hotpair-mariadb-new `);
  expect(did[1]).toBe(SERVER);
  expect(readdirSync(data)).toEqual(["mysql"]);
  expect(readdirSync(mount).sort()).toEqual(["lost+found", "mariadb"]);
});

test("an empty directory is nothing, too", () => {
  mkdirSync(data);
  expect(run().status).toBe(0);
  expect(readdirSync(data)).toEqual(["mysql"]);
});

test("what is a database is never made again", () => {
  run();
  writeFileSync(join(data, "mysql/kept"), "");
  expect(run().did).toEqual([SERVER]);
  expect(readdirSync(join(data, "mysql"))).toEqual(["kept"]);
});

test("one that was interrupted while it was made is not taken for a database, and made anew", () => {
  const broken = run(["start"], { HALF: "yes" });
  expect(broken).toMatchObject({ status: 1, stderr: expect.stringContaining("mariadb-install-db failed") });
  expect(broken.did).not.toContain(SERVER);
  expect(existsSync(data)).toBe(false);
  expect(run().did.at(-1)).toBe(SERVER);
  expect(readdirSync(data)).toEqual(["mysql"]);
});

test.each([
  ["a directory with other things in it", () => writeIn(data, "notes of mine"), /is not empty \(notes of mine\)/],
  ["a link", () => symlinkSync("lost+found", data), /mariadb is not a directory/],
  ["a file", () => writeFileSync(data, "x"), /mariadb is not a directory/],
  ["a database in the mount point itself", () => writeFileSync(join(mount, "ibdata1"), ""), /lies in .*volume itself/],
])("%s is refused with what was found, and stays as it is", (_what, make, expected) => {
  make();
  const before = readdirSync(mount, { recursive: true }).sort();
  const { status, stderr, did } = run();
  expect({ status, stderr }).toEqual({ status: 3, stderr: expect.stringMatching(expected) });
  expect(stderr).toContain("nothing was changed");
  expect(did).toEqual([]);
  expect(readdirSync(mount, { recursive: true }).sort()).toEqual(before);
});

function writeIn(directory: string, name: string): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, name), "");
}

test("without its volume nothing is made below the mount point", () => {
  const { status, stderr, did } = run(["start"], { NOT_MOUNTED: "32" });
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(`${mount} is not mounted`) });
  expect(did).toEqual([]);
  expect(existsSync(data)).toBe(false);
});

test("a server that the package's own unit runs lets go of the socket first", () => {
  const { did } = run(["start"], { PACKAGE_RUNS: "0" });
  expect(did.slice(1)).toEqual(["systemctl stop mariadb.service", SERVER]);
});

test("ready: when the socket is there; not for a server that has ended", async () => {
  expect(run(["ready", "999999999"])).toMatchObject({ status: 1, stderr: expect.stringContaining("ended before") });
  mkdirSync(join(work, "run"));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(work, "run/sock"), resolve));
  expect(run(["ready", "999999999"]).status).toBe(0);
  await new Promise((resolve) => server.close(resolve));
});

test("settings that are missing or not understood are named", () => {
  const named = run(["start"], { HOTPAIR_MARIADB_SETTINGS: join(work, "none") });
  expect(named).toMatchObject({ status: 1, stderr: expect.stringContaining("hotpair up") });
  writeFileSync(join(work, "mariadb.json"), "{}\n");
  expect(run()).toMatchObject({ status: 1, stderr: expect.stringContaining("not understood") });
  expect(run(["stop"]).status).toBe(1);
});
