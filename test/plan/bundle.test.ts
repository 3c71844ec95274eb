// The bundle is read by a shell on another machine: these tests read it the way that shell does, with the real tools.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { UserError } from "../../infra/model/errors.ts";
import type { HostPlan, NodePlan } from "../../infra/model/plan.ts";
import { MAX_BUNDLE_BYTES, makeBundle } from "../../infra/plan/bundle.ts";
import { applyCommand, removeCommand } from "../../infra/plan/commands.ts";
import { appPlan, file, KEY, SECRET } from "../node/app-plan.ts";

const bundle = (plan: NodePlan = appPlan()) => makeBundle(plan, () => SECRET);

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

const digits = (count: number): string => randomBytes(count / 2).toString("hex");

/** Unpacked by the machine's own tar. */
function unpack(text: string): string {
  const directory = mkdtempSync(join(tmpdir(), "bundle-"));
  directories.push(directory);
  writeFileSync(join(directory, "tar"), Buffer.from(text.split("\n")[1] ?? "", "base64"));
  execFileSync("tar", ["-xf", "tar"], { cwd: directory });
  return directory;
}

describe("bundle", () => {
  test("starts with the digest and the size of its archive", () => {
    const [head = "", body = ""] = bundle().split("\n");
    const archive = Buffer.from(body, "base64");
    const sum = execFileSync("sha256sum", { input: archive }).toString().split(" ")[0];
    expect(head).toBe(`hotpair-bundle 1 ${sum} ${archive.length}`);
  });

  test("equal plans are equal bundles, in whatever order they were written down", () => {
    const plan = appPlan();
    expect(bundle({ ...plan, files: [...plan.files].reverse() })).toBe(bundle(plan));
    expect(bundle()).toBe(bundle());
  });

  test("tar finds every file with its mode, and the secret in its place alone", () => {
    const plan = appPlan();
    const directory = unpack(bundle(plan));
    for (const { path, mode } of plan.files)
      expect((statSync(join(directory, "files", path)).mode & 0o777).toString(8).padStart(4, "0"), path).toBe(mode);
    expect(readFileSync(join(directory, "files", KEY), "utf8")).toBe(`key ${SECRET}\n`);
    expect(
      execFileSync("grep", ["-rl", SECRET, "files", "plan", "validators", "health"], { cwd: directory }).toString(),
    ).toBe(`files${KEY}\n`);
    const times = execFileSync("tar", ["-tvf", "tar", "--full-time"], {
      cwd: directory,
      env: { TZ: "UTC" },
    }).toString();
    expect(new Set(times.match(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g))).toEqual(new Set(["2020-01-01 00:00:00"]));
  });

  test("the plan is lines of words that a shell reads without evaluating them", () => {
    const plan = readFileSync(join(unpack(bundle()), "plan"), "utf8");
    expect(plan).toMatch(
      /^hotpair-plan 1\nnode node-a\ninstall-packages yes\npackage nginx\npackage haproxy\nvip web 203.0.113.10\/24 lo\n/,
    );
    expect(plan).toMatch(/^file 0640 root haproxy secret none - [0-9a-f]{64} \/etc\/app\/app.key$/m);
    expect(plan).toMatch(
      /^file 0644 root root plain reload nginx.service [0-9a-f]{64} \/etc\/nginx\/conf.d\/app.conf$/m,
    );
    expect(plan).toMatch(/^unit hotpair-undo.service enabled -$/m);
    expect(plan).toMatch(/^health 0 3 nginx answers$/m);
    for (const line of plan.trim().split("\n")) expect(line).toMatch(/^[\x20-\x7e]+$/);
  });

  test("carries only the validators that cover one of its files", () => {
    const all = appPlan();
    const some = unpack(bundle({ ...all, files: all.files.filter(({ path }) => !path.startsWith("/etc/nginx")) }));
    expect(readdirSync(join(some, "validators"))).toEqual(["0"]);
    expect(readFileSync(join(some, "plan"), "utf8")).toContain("validator 0 haproxy -c\n");
  });

  test("long paths are parted as ustar wants it", () => {
    const path = `/etc/app/${"directory-with-a-long-name/".repeat(5)}file`;
    const directory = unpack(bundle(appPlan({ files: [file(path, "deep\n")] })));
    expect(readFileSync(join(directory, "files", path), "utf8")).toBe("deep\n");
  });

  test("what is too large names its biggest files", () => {
    const plan = appPlan({
      // Compressed, a hexadecimal digit takes half a byte.
      files: [file("/etc/app/huge", digits(2 * MAX_BUNDLE_BYTES)), file("/etc/app/big", digits(99_000))],
    });
    let error: unknown;
    try {
      bundle(plan);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(/^The files for node-a make a bundle of \d+ KB; at most 384 KB fit/);
    expect((error as UserError).details.slice(0, 2)).toEqual(["/etc/app/huge: 768 KB", "/etc/app/big: 97 KB"]);
  });

  test.each([
    ["/etc/../root/.bashrc", /not at a place/],
    ["/usr/bin/env", /not at a place/],
    ["/etc/with space", /not at a place/],
    ["/etc/app/$(reboot)", /not at a place/],
    ["/etc/app/.hidden/../x", /not at a place/],
    ["/var/lib/hotpair/manifest", /not at a place/],
    ["/var/lib/hotpair/undo/armed", /not at a place/],
  ])("refuses to plan %s", (path, message) => {
    expect(() => bundle(appPlan({ files: [file(path, "")] }))).toThrow(message);
  });

  test("refuses words that are more than a word, two files at one path, and a plan without its own program", () => {
    expect(() => bundle(appPlan({ files: [file("/etc/app/x", "", { owner: "root; reboot" })] }))).toThrow(
      "not one plain word",
    );
    expect(() => bundle(appPlan({ files: [file("/etc/app/x", "", { mode: "644" })] }))).toThrow("is not like 0644");
    expect(() => bundle(appPlan({ files: [file("/etc/app/x", ""), file("/etc/app/x", "")] }))).toThrow("planned twice");
    expect(() => bundle(appPlan({ without: ["/usr/lib/hotpair/hotpair-apply"] }))).toThrow("does not carry");
  });
});

describe("bundle of a witness", () => {
  const program = file("/usr/lib/hotpair/pairs/shop/hotpair-apply", "#!/bin/sh\n", { mode: "0755" });
  const plan: HostPlan = {
    ...appPlan({ files: [program], without: ["/usr/lib/hotpair/hotpair-apply"] }),
    node: "witness",
    vips: [],
    witnessOf: "shop",
    units: [{ name: "app.service", running: true, holdsRole: false, guard: "test -e /run/may-stop" }],
    state: ["/var/lib/hotpair/etcd/shop", "/var/lib/hotpair/etcd/shop.epoch"],
  };

  test("carries the pair's own program, what guards a restart and what goes with the member", () => {
    const directory = unpack(makeBundle(plan, () => SECRET));
    const text = readFileSync(join(directory, "plan"), "utf8");
    expect(text).toMatch(/^guard 0 app.service$/m);
    expect(text).toMatch(/^state \/var\/lib\/hotpair\/etcd\/shop\nstate \/var\/lib\/hotpair\/etcd\/shop.epoch$/m);
    expect(readFileSync(join(directory, "guards/0"), "utf8")).toBe("test -e /run/may-stop\n");
    expect(() => makeBundle({ ...plan, witnessOf: "mail" }, () => SECRET)).toThrow("does not carry");
  });

  test.each(["/var/lib/mysql", "/var/lib/hotpair/pairs/mail", "/var/lib/hotpair/manifest", "/var/lib/hotpair/../x"])(
    "refuses to remove %s with it",
    (path) => {
      expect(() => makeBundle({ ...plan, state: [path] }, () => SECRET)).toThrow("not below /var/lib/hotpair");
    },
  );
});

describe("commands", () => {
  test("are fixed texts in which nothing but the owner changes", () => {
    expect(applyCommand("b").replaceAll(" b'", " a'")).toBe(applyCommand("a"));
    expect(applyCommand("a")).toMatchInlineSnapshot(`
      "s=; [ "$(id -u)" = 0 ] || s="sudo -n"; $s sh -c 'set -eu; umask 077; export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
      d=$(mktemp -d /run/hotpair-bundle.XXXXXX); trap "rm -rf $d" EXIT
      read -r magic version digest size || :
      base64 -d >$d/tar 2>/dev/null || :
      echo "$digest  $d/tar" | sha256sum --check --status 2>/dev/null || {
        echo "hotpair-apply: FAILED on $(uname -n): the bundle arrived damaged or cut off ($(wc -c <$d/tar) of $size bytes); nothing was changed, run it again" >&2; exit 1; }
      tar -xmf $d/tar -C $d; rm $d/tar
      sh $d/files/usr/lib/hotpair/hotpair-apply start $d a'"
    `);
    expect(removeCommand("a")).toMatchInlineSnapshot(
      `"s=; [ "$(id -u)" = 0 ] || s="sudo -n"; $s sh -c '[ -x /usr/lib/hotpair/hotpair-apply ] || { [ -e /var/lib/hotpair/manifest ] || { echo "hotpair-apply: nothing of hotpair is installed here"; exit 0; }; echo "hotpair-apply: /usr/lib/hotpair/hotpair-apply is gone and /var/lib/hotpair/manifest is there: repair this server first (hotpair up)" >&2; exit 1; }; exec /usr/lib/hotpair/hotpair-apply remove --resource a'"`,
    );
    expect(removeCommand("a", { purgePackages: true, last: true })).toContain(
      "remove --resource a --purge-packages --last'",
    );
  });

  test("are POSIX shell", () => {
    const witness = [applyCommand("owner", "shop"), removeCommand("owner", { witnessOf: "shop" })];
    for (const command of [applyCommand(), applyCommand("owner"), removeCommand("owner"), ...witness])
      execFileSync("sh", ["-n"], { input: command });
  });

  test("refuse an owner that is not one word", () => {
    expect(() => applyCommand("a b")).toThrow("not one plain word");
    expect(() => removeCommand("$(reboot)")).toThrow("not one plain word");
  });
});
