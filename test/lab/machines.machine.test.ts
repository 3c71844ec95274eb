// Promises about hosts that are virtual machines: a kernel and a clock of their own, and faults from outside that are what they
// are called and end by themselves, whatever became of the command that brought them about.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isFrozen, isPaused, pause, powerCut, powerOn, resume, setLink } from "../../infra/lab/faults.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName } from "../../infra/lab/lab.ts";
import { addressOf, type Network, stateDirectoryOf } from "../../infra/lab/layout.ts";
import { hostInit } from "../../infra/lab/processes.ts";
import { disconnectAll, run } from "../../infra/ssh/run.ts";
import { claimedIndexes, leftovers } from "./leftovers.ts";
import { describeWith } from "./skip.ts";

const hotpair = join(import.meta.dirname, "../../bin/hotpair.mjs");
const name = "t-machines";
const killed = "t-machines-kill";

const describeWithMachines = await describeWith({ machines: true });

/** Runs `hotpair lab …` to its end, which no fault outlives but by its own undo. */
async function command(...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [hotpair, "lab", ...args, "--name", name], { stdio: "ignore" });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect([args.join(" "), code]).toEqual([args.join(" "), 0]);
}

async function eventually(what: string, holds: () => Promise<boolean> | boolean, withinMs = 30_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(20);
  }
}

describeWithMachines("a lab of virtual machines", () => {
  let lab: Lab;

  beforeAll(async () => {
    const started = Date.now();
    lab = await labUp({ name, machines: true });
    console.log(`two virtual machines up after ${Date.now() - started} ms`);
  });

  afterAll(async () => {
    disconnectAll();
    const index = lab?.index ?? -1;
    await labDown(name);
    await labDown(killed);
    expect(leftovers(name, [index])).toEqual([]);
  });

  const shell = (host: NodeName, script: string) => consoleRun(lab, host, ["sh", "-c", script]);
  const reaches = (from: NodeName, to: NodeName, network: Network) =>
    shell(from, `ping -q -c 1 -W 2 ${addressOf(lab.index, to, network)} > /dev/null && echo yes || echo no`).then(
      (text) => text.trim() === "yes",
    );
  /**
   * That hosts reach each other is what a lab promises, not that no answer is ever late: ping waits by the clock of its machine,
   * which goes on while whoever runs these tests has no processor left for one of the two.
   */
  const answers = (from: NodeName, to: NodeName, network: Network) =>
    eventually(`${to} answers ${from}, ${network}`, () => reaches(from, to, network));
  const carrier = (host: NodeName, network: Network) =>
    shell(host, `cat /sys/class/net/${lab.hosts[host].interface[network]}/carrier`).then((text) => text.trim());

  /** By how many milliseconds a host's clocks fell behind this machine's while something was done. */
  async function lost(host: NodeName, what: () => Promise<void>): Promise<number> {
    const uptime = async () => 1_000 * Number((await shell(host, "cut -d' ' -f1 /proc/uptime")).trim());
    const ahead = async () => {
      const asked = performance.now();
      const up = await uptime();
      return (asked + performance.now()) / 2 - up;
    };
    const before = await ahead();
    await what();
    return (await ahead()) - before;
  }

  test("each has a kernel of its own with DRBD in it, is reached by SSH, and may set its clock", async () => {
    for (const host of ["node-a", "node-b"] as const) {
      const driver = await shell(host, "modprobe drbd && head -1 /proc/drbd");
      expect(driver).toMatch(/^version: 8\.4\./);
      expect(await shell(host, "ls -l /dev/disk/by-id/virtio-data | wc -l; systemctl is-system-running --wait")).toBe(
        "1\nrunning\n",
      );
      const ops = await run({ ...lab.hosts[host].ssh, user: "ops" }, "id -u; hostname", {
        timeoutMs: 60_000,
        becomeRoot: true,
      });
      expect(ops.stdout).toBe(`0\n${host}\n`);
    }
    expect(await shell("node-a", "date -s '2040-01-01' > /dev/null; date +%Y")).toBe("2040\n");
    expect(await shell("node-b", "date +%Y")).not.toBe("2040\n");
    for (const network of ["public", "heartbeat", "storage"] as const) await answers("node-a", "node-b", network);
  });

  test("a word with quotes, spaces and dollars arrives on the console as it was", async () => {
    const words = ["it's", 'a "word"', "$HOME `id`", "back\\slash", ""];
    expect(await consoleRun(lab, "node-a", ["printf", "<%s>", ...words])).toBe(
      words.map((word) => `<${word}>`).join(""),
    );
  });

  test("a pulled cable takes the carrier inside, and comes back by itself", async () => {
    await setLink(lab, "node-a", "storage", false, { undoAfterMs: 6_000 });
    await eventually("no carrier", async () => (await carrier("node-a", "storage")) === "0");
    expect([await carrier("node-a", "heartbeat"), await carrier("node-b", "storage")]).toEqual(["1", "1"]);
    await eventually("carrier", async () => (await carrier("node-a", "storage")) === "1");
    await answers("node-b", "node-a", "storage");
  });

  test("a paused machine finds no time passed, and goes on by itself", async () => {
    const fell = await lost("node-a", async () => {
      await command("pause", "node-a", "--for", "12");
      expect(await isPaused(lab, "node-a")).toBe(true);
      expect(await reaches("node-b", "node-a", "heartbeat")).toBe(false);
      await expect(pause(lab, "node-a")).rejects.toThrow("is paused already");
      await eventually("goes on", async () => !(await isPaused(lab, "node-a")));
    });
    expect(fell).toBeGreaterThan(8_000);
    await resume(lab, "node-a");
  });

  test("a frozen machine finds that time has passed, and goes on by itself", async () => {
    const fell = await lost("node-b", async () => {
      await command("freeze", "node-b", "--for", "12");
      expect(isFrozen(lab, "node-b")).toBe(true);
      expect(await reaches("node-a", "node-b", "heartbeat")).toBe(false);
      await eventually("goes on", () => !isFrozen(lab, "node-b"));
    });
    expect(fell).toBeLessThan(5_000);
  });

  test("a power cut loses what was not synced and keeps what was; a pulled cable stays pulled over it", async () => {
    await setLink(lab, "node-b", "heartbeat", false);
    await shell("node-b", "sync; echo kept > /root/kept; sync /root/kept; sync /root; echo lost > /root/lost");
    await powerCut(lab, "node-b");
    expect(lab.hosts["node-b"].pid).toBeUndefined();
    expect(await reaches("node-a", "node-b", "public")).toBe(false);
    await expect(pause(lab, "node-b")).rejects.toThrow("is off");
    await powerOn(lab, "node-b");
    expect(await shell("node-b", "cat /root/kept; cat /root/lost 2> /dev/null || true")).toBe("kept\n");
    expect([await carrier("node-b", "heartbeat"), await carrier("node-b", "public")]).toEqual(["0", "1"]);
    await setLink(lab, "node-b", "heartbeat", true);
    await answers("node-a", "node-b", "heartbeat");
  });

  test("kill -9 of up while machines boot: down leaves nothing", async () => {
    const child = spawn(process.execPath, [hotpair, "lab", "up", "--machines", "--name", killed], { stdio: "ignore" });
    const stateDir = stateDirectoryOf(killed);
    const index = () => claimedIndexes(killed)[0] ?? -1;
    await eventually("node-b boots", () => hostInit({ index: index(), stateDir }, "node-b") !== undefined, 60_000);
    child.kill("SIGKILL");
    const indexes = claimedIndexes(killed);
    await labDown(killed);
    expect(indexes).toHaveLength(1);
    expect(leftovers(killed, indexes)).toEqual([]);
  });
});
