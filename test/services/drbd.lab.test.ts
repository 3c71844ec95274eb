// DRBD's own tools, without its driver: drbdadm of Debian reads both dialects as the driver of each would, refuses the other's,
// understands every order that hotpair-drbd gives, and its metadata leave an adopted file system whole. The tools come from
// this machine's apt and are unpacked beside it; what they look at is in a temporary directory and a network of their own.

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Duration, ms, seconds } from "../../infra/model/duration.ts";
import type { Drbd, Pair } from "../../infra/model/pair.ts";
import { DIALECTS, drbd } from "../../infra/services/drbd.ts";
import { describeWithLab } from "../lab/skip.ts";
import { diskPair } from "../model/pairs.ts";

const DIRECTORY = "/etc/hotpair/drbd";
const SECRET = "aB3".repeat(9);
const node = join(import.meta.dirname, "../../infra/node/drbd");

describeWithLab("drbdadm of this machine's Debian", () => {
  let work = "";

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "hotpair-drbd-"));
    // Not as apt's own user, who may not write here.
    await promisify(execFile)("apt-get", ["-q", "-o", "APT::Sandbox::User=root", "download", "drbd-utils"], {
      cwd: work,
    });
    const [deb = ""] = readdirSync(work).filter((name) => name.endsWith(".deb"));
    await promisify(execFile)("dpkg-deb", ["-x", join(work, deb), join(work, "utils")]);
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  /** Writes the first node's files below a directory of their own; `change` breaks the text of some. */
  function written(pair: Pair, name: string, change = (text: string) => text): string {
    const root = join(work, name);
    for (const { path, content } of drbd.plan(pair, "a")?.files ?? []) {
      if (!path.startsWith(`${DIRECTORY}/`)) continue;
      const text =
        typeof content === "string"
          ? content
          : content.map((part) => (typeof part === "string" ? part : SECRET)).join("");
      const file = join(root, path.slice(DIRECTORY.length));
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, change(text).replaceAll(DIRECTORY, root));
    }
    return root;
  }

  /** What the tools say on node-a with its address on the storage network: exit code, and both streams. */
  async function said(script: string): Promise<{ readonly code: number; readonly text: string }> {
    const tools = [
      join(work, "utils/lib/drbd"),
      join(work, "utils/usr/lib/drbd"),
      join(work, "utils/sbin"),
      join(work, "utils/usr/sbin"),
    ];
    const whole = [
      "set -e; mount -t tmpfs none /var/lib; ip link set lo up; ip address add 198.18.2.11/32 dev lo",
      `export PATH=${tools.join(":")}:$PATH __DRBD_NODE__=node-a`,
      script,
    ].join("\n");
    return promisify(execFile)("unshare", ["--net", "--mount", "sh", "-c", whole]).then(
      ({ stdout, stderr }) => ({ code: 0, text: stdout + stderr }),
      ({ code, stdout, stderr }) => ({ code, text: stdout + stderr }),
    );
  }

  const drbdadm = (root: string, dialect: string, version: string, words: string) =>
    `DRBD_DRIVER_VERSION_OVERRIDE=${version} drbdadm -c ${root}/${dialect}/drbd.conf ${words}`;

  const asynchronous: Pair = {
    ...diskPair,
    drbd: { ...diskPair.drbd, protocol: "A", onIoError: "pass_on", checksum: "sha256", sharedSecret: undefined },
  };

  test.each(DIALECTS)("reads what is for a driver of version $name", async ({ name, version }) => {
    for (const [pair, directory] of [
      [diskPair, "usual"],
      [asynchronous, "asynchronous"],
    ] as const) {
      const { code, text } = await said(drbdadm(written(pair, directory), name, version, "dump"));
      expect(code, text).toBe(0);
      for (const resource of diskPair.drbd.resources) expect(text).toContain(`resource ${resource.name} {`);
      expect(text).toContain('fence-peer       "/usr/lib/hotpair/hotpair-drbd fence-peer";');
      expect(text).toMatch(/fencing +resource-and-stonith;/);
      expect(text).toMatch(new RegExp(`protocol +${pair.drbd?.protocol};`));
      expect(text.includes(SECRET)).toBe(pair === diskPair);
    }
  });

  test("a driver of version 8.4 refuses what is for 9, so the node has to know which one it has", async () => {
    const { code, text } = await said(drbdadm(written(diskPair, "other"), "9", "8.4.11", "dump"));
    expect(code, text).not.toBe(0);
    expect(text).toMatch(/quorum/);
  });

  test("takes the smallest and the largest of everything that a stack file can say", async () => {
    const extreme = (changes: Partial<Drbd>, roundTrip: Duration): Pair => ({
      ...diskPair,
      limits: { ...diskPair.limits, roundTrip },
      drbd: { ...diskPair.drbd, ...changes, protocol: "A" },
    });
    const small: Partial<Drbd> = { pingInterval: seconds(1), pingTimeout: ms(100), crashResync: seconds(1) };
    const large: Partial<Drbd> = { pingInterval: seconds(120), pingTimeout: seconds(30), crashResync: seconds(3_600) };
    const speed = (bytes: number) => ({ diskPerSecond: bytes, networkPerSecond: bytes });
    const pairs = [
      extreme({ ...small, ...speed(1024 ** 2), sendBuffer: 64 * 1024 }, ms(0)),
      extreme({ ...large, ...speed(64 * 1024 ** 3), sendBuffer: 10 * 1024 ** 2 }, seconds(1)),
    ];
    for (const [index, pair] of pairs.entries())
      for (const { name, version } of DIALECTS) {
        const { code, text } = await said(drbdadm(written(pair, `extreme-${index}`), name, version, "dump"));
        expect(code, text).toBe(0);
      }
  });

  test("refuses a setting that it does not know, in either dialect", async () => {
    const root = written(diskPair, "misspelt", (text) => text.replace("ping-int", "ping-interval"));
    for (const { name, version } of DIALECTS) {
      const { code, text } = await said(drbdadm(root, name, version, "dump"));
      expect(code, text).not.toBe(0);
      expect(text).toContain("ping-interval");
    }
  });

  test("takes a configuration without resources, as it is before the dialect is known", async () => {
    writeFileSync(join(work, "none.conf"), `include "${work}/nothing/*.conf";\n`);
    for (const { version } of DIALECTS) {
      const { code, text } = await said(`DRBD_DRIVER_VERSION_OVERRIDE=${version} drbdadm -c ${work}/none.conf dump`);
      expect(code, text).toBe(0);
    }
  });

  test("understands every order that hotpair-drbd gives it, in both dialects", async () => {
    const programs = readdirSync(node)
      .filter((name) => name.endsWith(".py"))
      .map((name) => readFileSync(join(node, name), "utf8"))
      .join("");
    // `kernel.order("adjust", name)`, `tell("primary", "--force", device.name)`
    const orders = [...programs.matchAll(/\b(?:order|tell)\(("[^)]*?)(?:, timeout[^)]*)?\)/g)].map(([, words = ""]) =>
      words
        .split(",")
        .map((word) => word.trim())
        .map((word) => (word.startsWith('"') ? word.slice(1, -1) : word.startsWith("f") ? "data/0" : "data"))
        .join(" "),
    );
    expect(orders).toEqual(
      expect.arrayContaining([
        "adjust data",
        "primary --force data",
        "new-current-uuid --clear-bitmap data/0",
        "verify data",
      ]),
    );
    const root = written(diskPair, "orders");
    for (const { name, version } of DIALECTS)
      for (const order of new Set(orders)) {
        const { code, text } = await said(drbdadm(root, name, version, `-d ${order}`));
        expect(code, `${order}: ${text}`).toBe(0);
        expect(text, order).toMatch(/^drbd(setup|setup-84|meta) /m);
      }
  });

  test("its metadata fit behind a file system that was shrunk for them, and leave it whole", async () => {
    const disk = join(work, "disk");
    const script = [
      `truncate -s 256M ${disk}`,
      // As `prepare --adopt` asks for it.
      `room=$(PYTHONPATH=${join(node, "..")} python3 -B -c 'from drbd import probe; print(probe.metadata_bytes(256 << 20))')`,
      `mkfs.ext4 -q -F ${disk} $(( ((256 << 20) - room) / 1024 ))K`,
      `cp ${disk} ${disk}.before`,
      ...["v08", "v09"].map(
        (version) =>
          `cp ${disk}.before ${disk}; drbdmeta --force 0 ${version} ${disk} internal create-md ${version === "v09" ? "1" : ""} >/dev/null 2>&1; ` +
          `cmp -n $(( (256 << 20) - room )) ${disk} ${disk}.before; e2fsck -fn ${disk} >/dev/null 2>&1; ` +
          `PYTHONPATH=${join(node, "..")} python3 -B -c 'from drbd import probe; print(probe.probe("${disk}").kind)'`,
      ),
    ].join("\n");
    const { code, text } = await said(script);
    expect(code, text).toBe(0);
    expect(text.trim().split("\n")).toEqual(["drbd", "drbd"]);
  });
});
