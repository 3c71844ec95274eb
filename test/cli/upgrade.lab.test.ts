// A rolling upgrade of a real pair from a package source of its own: it is refused while the pair is not redundant, keeps
// service up, leaves the active node alone, stops at a version that refuses its files, and has nothing to do afterwards.

import { afterAll, beforeAll, expect, test } from "vitest";
import { pairUp, stackTextFor } from "../../infra/cli/lab-pair.ts";
import { findLab, labDown, type NodeName } from "../../infra/lab/lab.ts";
import { disconnect } from "../../infra/ssh/run.ts";
import { describeWithLab } from "../lab/skip.ts";
import { Server } from "../node/server.ts";
import { newerPackages } from "./newer-packages.ts";
import { type Outcome, Project } from "./project.ts";

const LAB = "upg";
const NODES: readonly NodeName[] = ["node-a", "node-b"];
const PACKAGES = ["haproxy", "keepalived"];

describeWithLab("hotpair upgrade on a pair", () => {
  const project = new Project();
  let servers: Readonly<Record<NodeName, Server>>;
  let vip = "";

  const upgrade = (...args: readonly string[]): Promise<Outcome> =>
    project.hotpair(["upgrade", "-s", "upg", ...args], { NO_COLOR: "1" });
  const onBoth = (command: string) => Promise.all(NODES.map((name) => servers[name].ok(command)));
  const active = async (): Promise<NodeName> =>
    (await servers["node-a"].ok("/usr/lib/hotpair/hotpair-arbiter role")).trim() === "active" ? "node-a" : "node-b";
  const other = (name: NodeName): NodeName => (name === "node-a" ? "node-b" : "node-a");
  const versions = (): Promise<string[]> => onBoth("dpkg-query -W haproxy keepalived | cut -f 2");
  const started = "systemctl show -p MainPID --value haproxy keepalived hotpair-arbiter nginx";

  beforeAll(async () => {
    const { place } = await pairUp(LAB);
    const lab = findLab(LAB);
    if (lab === undefined) throw new Error("the lab came up and is not there");
    servers = { "node-a": new Server(lab, "node-a"), "node-b": new Server(lab, "node-b") };
    vip = place.pair.vips[0]?.address.split("/")[0] ?? "";
    project.write("upg", stackTextFor(lab));
  });
  afterAll(async () => {
    project.remove();
    await labDown(LAB);
  });

  test("nothing to do is said, and nothing is touched", async () => {
    const before = await onBoth(started);
    const { code, stdout } = await upgrade();
    expect(stdout).toMatch(/node-a: up to date\nnode-b: up to date\nnothing to do\n$/);
    expect(code).toBe(0);
    expect(await onBoth(started)).toEqual(before);
  });

  test("a dry run names packages and steps, and changes nothing", async () => {
    await onBoth(newerPackages("+upg1", PACKAGES));
    const [before, serving] = [await versions(), await active()];
    const { code, stdout } = await upgrade("--dry-run");
    expect(stdout.match(/^ {2}(haproxy|keepalived) (\S+) → \2\+upg1$/gm)).toHaveLength(4);
    expect(stdout).toContain(
      `steps\n  upgrade ${other(serving)}\n  hand over from ${serving} to ${other(serving)}\n  upgrade ${serving}\n`,
    );
    expect(code).toBe(0);
    expect(await versions()).toEqual(before);
  });

  test("while the pair is not redundant it is refused, with what is missing and what to do", async () => {
    const standby = other(await active());
    const before = await versions();
    await servers[standby].ok("systemctl stop nginx");
    const { code, stderr } = await upgrade();
    await servers[standby].ok("systemctl start nginx");
    expect(stderr).toContain("is not redundant: nothing was upgraded");
    expect(stderr).toContain(`missing: ${standby}: nginx is stopped`);
    expect(stderr).toMatch(new RegExp(`to do: ${standby}: nginx is stopped: journalctl -u nginx`));
    expect(code).toBe(2);
    expect(await versions()).toEqual(before);
  });

  test("standby first, one hand-over, and no request that is repeated once fails", async () => {
    const serving = await active();
    const [nginx, haproxy] = [await onBoth("systemctl show -p MainPID nginx"), await onBoth("pidof haproxy")];
    let looking = true;
    let failed = 0;
    const client = (async () => {
      const get = `curl -s -m 1 --retry 1 --retry-all-errors -o /dev/null http://${vip}/`;
      while (looking)
        failed += Number(
          await servers[other(serving)].ok(
            `f=0; for i in 1 2 3 4 5 6 7 8 9 10; do ${get} || f=$((f + 1)); sleep 0.05; done; echo $f`,
          ),
        );
    })();
    const { code, stdout, stderr } = await upgrade();
    looking = false;
    await client;
    expect(code, stderr).toBe(0);
    expect(failed).toBe(0);
    const turns = stderr.split("\n").filter((line) => / (upgrading|hands over)/.test(line));
    expect(turns.map((line) => line.replace(/^\[\d+ s\] /, ""))).toEqual([
      `${other(serving)}: upgrading`,
      `${serving} hands over to ${other(serving)}`,
      `${serving}: upgrading`,
    ]);
    expect(stderr).toMatch(/node-a: upgraded 2 packages, restarted keepalived haproxy\n/);
    expect(stdout).toContain("4 packages upgraded in ");
    for (const each of await versions()) expect(each).toMatch(/^\S+\+upg1\n\S+\+upg1\n$/);
    // What runs is what is installed; what had nothing newer was left alone.
    expect(await onBoth("pidof haproxy")).not.toEqual(haproxy);
    expect(await onBoth("systemctl show -p MainPID nginx")).toEqual(nginx);
    expect(await active()).toBe(other(serving));
    expect((await upgrade("--json")).stdout).toContain('"steps": []');
    expect(await onBoth("ls /usr/sbin/policy-rc.d 2>/dev/null || echo gone")).toEqual(["gone\n", "gone\n"]);
  });

  test("a version that refuses its files ends it on the standby, and its last words put the old one back", async () => {
    const serving = await active();
    const standby = other(serving);
    const before = await servers[standby].ok("pidof haproxy");
    await onBoth(
      newerPackages(
        "+upg2",
        ["haproxy"],
        "printf '#!/bin/sh\\necho I know none of this; exit 1\\n' >tree/usr/sbin/haproxy",
      ),
    );
    const { code, stderr } = await upgrade("--packages", "haproxy");
    expect(stderr).toContain("haproxy -c refuses its files as they are here (exit code 1)");
    expect(stderr).toContain("I know none of this");
    expect(code).toBe(1);
    expect(await servers[standby].ok("pidof haproxy")).toBe(before);
    expect(await servers[serving].ok("dpkg-query -W haproxy")).toMatch(/\+upg1$/m);
    await onBoth(newerPackages("+upg1", ["haproxy"]));
    const back = /(apt-get install --allow-downgrades haproxy=\S+)/.exec(stderr)?.[1] ?? "";
    await servers[standby].ok(`apt-get -qq update; ${back.replace("install", "-qq -y install")} >/dev/null`);
    expect(await servers[standby].ok("haproxy -c -q -f /etc/haproxy/haproxy.cfg; echo $?")).toBe("0\n");
  });

  test("a restart that somebody's upgrade by hand left undone is made good; a wanted reboot, when it is asked for", async () => {
    const standby = other(await active());
    const boot = "cat /proc/sys/kernel/random/boot_id";
    const before = await servers[standby].ok(boot);
    await servers[standby].ok("echo '*** System restart required ***' >/run/reboot-required");
    await servers[standby].ok("cd /usr/sbin && cp -p haproxy haproxy.new && mv haproxy.new haproxy");
    const left = await upgrade("--node", standby, "--dry-run");
    expect(left.stdout).toContain("restart haproxy.service: it runs on files that were replaced");
    expect(left.stdout).toContain("wants a reboot: System restart required (--reboot)");
    const { code, stderr } = await upgrade("--node", standby, "--reboot");
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`${standby}: is back after `);
    disconnect(servers[standby].target);
    expect(await servers[standby].ok(boot)).not.toBe(before);
    expect((await upgrade("--node", standby)).stdout).toBe(`${standby}: up to date\nnothing to do\n`);
  });

  test("killed before or after the packages are new, it says so, the pair serves, and the next one finishes it", async () => {
    const standby = other(await active());
    await onBoth(newerPackages("+upg3", ["haproxy"]));
    const before = await servers[standby].ok("pidof haproxy");
    for (const [point, version] of [
      ["upgrading", /\+upg1$/m],
      ["upgraded", /\+upg3$/m],
    ] as const) {
      await servers[standby].hooks(`kill ${point}`);
      const { code, stderr } = await upgrade("--packages", "haproxy");
      await servers[standby].hooks();
      expect(stderr).toContain("the transaction was killed");
      expect(code).toBe(1);
      expect(await servers[standby].ok("dpkg-query -W haproxy")).toMatch(version);
      expect(await servers[standby].ok("pidof haproxy")).toBe(before);
      expect(await servers[standby].ok("ls /usr/sbin/policy-rc.d 2>/dev/null || echo gone")).toBe("gone\n");
    }
    const { code, stderr } = await upgrade("--packages", "haproxy");
    expect(code, stderr).toBe(0);
    expect(await servers[standby].ok("pidof haproxy")).not.toBe(before);
    for (const each of await onBoth("dpkg-query -W haproxy")) expect(each).toMatch(/\+upg3$/m);
  });
});
