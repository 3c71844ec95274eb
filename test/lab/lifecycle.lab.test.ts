// Promises about a lab's beginning and end: it comes up, and whatever happens to the commands, nothing of it stays.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { consoleRun, findLab, hostsOf, labDown, labNames, labUp, runIn } from "../../infra/lab/lab.ts";
import { machineInterfaceOf, namespacesOf, stateDirectoryOf } from "../../infra/lab/layout.ts";
import { hostInit } from "../../infra/lab/processes.ts";
import { disconnectAll, run } from "../../infra/ssh/run.ts";
import { claimedIndexes, leftovers } from "./leftovers.ts";
import { describeWithLab } from "./skip.ts";

const hotpair = join(import.meta.dirname, "../../bin/hotpair.mjs");
const names = ["t-lab-1", "t-lab-2", "t-lab-kill"] as const;

interface Started {
  child: ChildProcess;
  ended: Promise<{ code: number | null; stderr: string }>;
}

function start(args: string[], env: NodeJS.ProcessEnv = process.env): Started {
  const child = spawn(process.execPath, [hotpair, "lab", ...args], { stdio: ["ignore", "ignore", "pipe"], env });
  let stderr = "";
  child.stderr?.on("data", (text) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.on("close", (code) => resolve({ code, stderr }));
  });
  return { child, ended };
}

/** Kills it with SIGKILL as soon as it has come that far. Throws when it ends before. */
async function killWhen({ child, ended }: Started, reached: () => boolean): Promise<void> {
  while (!reached()) {
    if (child.exitCode !== null) throw new Error(`it ended by itself: ${(await ended).stderr}`);
    await sleep(1);
  }
  child.kill("SIGKILL");
  await ended;
}

describeWithLab("the life of a lab", () => {
  afterAll(async () => {
    disconnectAll();
    for (const name of names) await labDown(name);
  });

  test("two labs side by side come up, know nothing of each other and go without a trace", async () => {
    const started = Date.now();
    const one = await labUp({ name: "t-lab-1" });
    console.log(`two hosts up after ${Date.now() - started} ms`);
    const two = await labUp({ name: "t-lab-2", image: "ready", witness: true });
    expect(one.index).not.toBe(two.index);
    for (const lab of [one, two]) {
      for (const host of [lab.hosts["node-a"], lab.hosts["node-b"]]) {
        const asRoot = await run(host.ssh, "hostname; systemctl is-system-running --wait", { timeoutMs: 20_000 });
        expect(asRoot.stdout).toBe(`${host.name}\nrunning\n`);
        const ops = await run({ ...host.ssh, user: "ops" }, "id -u", { timeoutMs: 20_000, becomeRoot: true });
        expect(ops.stdout).toBe("0\n");
      }
    }
    const installed = "for program in keepalived haproxy nginx; do command -v $program || true; done";
    expect(await consoleRun(one, "node-a", ["sh", "-c", installed])).toBe("");
    expect((await consoleRun(two, "node-a", ["sh", "-c", installed])).trim().split("\n")).toHaveLength(3);
    const active = "systemctl is-active keepalived haproxy nginx || true";
    expect(await consoleRun(two, "node-a", ["sh", "-c", active])).toBe("inactive\ninactive\ninactive\n");

    const programs = ["etcd", "etcdctl", "mariadbd", "mariadb-backup"];
    const look = `for program in ${programs.join(" ")}; do basename "$(command -v $program)"; done`;
    for (const { name } of hostsOf(two)) {
      const state = await consoleRun(two, name, ["sh", "-c", `${look}; systemctl is-active etcd mariadb || true`]);
      expect(state.trim().split("\n")).toEqual([...programs, "inactive", "inactive"]);
    }
    const useThem = "systemctl start mariadb etcd; mariadb -N -e 'select 1'; etcdctl put k v";
    expect(await consoleRun(two, "node-b", ["sh", "-c", useThem])).toBe("1\nOK\n");

    // A program in a client's namespace is a part of the lab too.
    const client = runIn(one.namespaces.client, ["sleep", "1000"], { stdio: "ignore" });
    const clientGone = new Promise((resolve) => client.on("close", resolve));
    await labDown("t-lab-1");
    expect(leftovers("t-lab-1", [one.index])).toEqual([]);
    await clientGone;
    expect(await consoleRun(two, "node-b", ["hostname"])).toBe("node-b\n");
    await labDown("t-lab-2");
    expect(leftovers("t-lab-2", [two.index])).toEqual([]);
    expect(await labNames()).not.toContain("t-lab-2");
  });

  test("down twice is down, and so is down of what never was", async () => {
    await labDown("t-lab-1");
    await labDown("t-lab-1");
    expect(leftovers("t-lab-1", [])).toEqual([]);
  });

  test("up twice is one lab, also when both run at once; another image is refused, and so are virtual machines", async () => {
    const [first, second] = await Promise.all([start(["up", "--name", "t-lab-1"]).ended, labUp({ name: "t-lab-1" })]);
    expect(first).toMatchObject({ code: 0 });
    const { pid } = second.hosts["node-a"];
    expect((await labUp({ name: "t-lab-1" })).hosts["node-a"].pid).toBe(pid);
    await expect(labUp({ name: "t-lab-1", image: "ready" })).rejects.toThrow("take it down first");
    await expect(labUp({ name: "t-lab-1", machines: true })).rejects.toThrow("virtual machines were asked for");
    await labDown("t-lab-1");
  });

  const stateDir = stateDirectoryOf("t-lab-kill");
  const index = () => claimedIndexes("t-lab-kill")[0] ?? -1;
  const stages: [string, () => boolean][] = [
    ["it has started", () => true],
    ["it has a state directory", () => existsSync(stateDir)],
    ["it has an index", () => index() >= 0],
    ["its first namespace exists", () => existsSync(`/run/netns/${namespacesOf(index()).hosts}`)],
    ["its network is complete", () => existsSync(`/sys/class/net/${machineInterfaceOf(index())}`)],
    ["a disk is being made", () => existsSync(join(stateDir, "node-a/disk.img"))],
    ["a host is being started", () => existsSync(join(stateDir, "node-b/console.log"))],
    ["the witness is being started", () => existsSync(join(stateDir, "witness/console.log"))],
    ["a host's first process runs", () => hostInit({ index: index(), stateDir }, "node-a") !== undefined],
  ];
  test.each(stages)("kill -9 of up when %s: down leaves nothing", async (_, reached) => {
    const up = start(["up", "--witness", "--name", "t-lab-kill"]);
    await killWhen(up, reached);
    const indexes = claimedIndexes("t-lab-kill");
    await labDown("t-lab-kill");
    expect(leftovers("t-lab-kill", indexes)).toEqual([]);
  });

  test.each([
    ["has begun", (): boolean => readFileSync(join(stateDir, "lab.json"), "utf8").includes('"complete": false')],
    ["has killed a host", () => hostInit({ index: index(), stateDir }, "node-a") === undefined],
    ["has removed a namespace", () => !existsSync(`/run/netns/${namespacesOf(index()).hosts}`)],
  ])("kill -9 of down when it %s: down again leaves nothing", async (_, reached) => {
    const lab = await labUp({ name: "t-lab-kill", witness: true });
    const down = start(["down", "--name", "t-lab-kill"]);
    await killWhen(down, reached);
    await labDown("t-lab-kill");
    expect(leftovers("t-lab-kill", [lab.index])).toEqual([]);
  });

  test("kill -9 of up, then up: the remains are replaced", async () => {
    const up = start(["up", "--witness", "--name", "t-lab-kill"]);
    await killWhen(up, () => hostInit({ index: index(), stateDir }, "node-b") !== undefined);
    const lab = await labUp({ name: "t-lab-kill" });
    expect(await consoleRun(lab, "node-b", ["hostname"])).toBe("node-b\n");
    expect(lab.hosts.witness).toBeUndefined();
    await expect(labUp({ name: "t-lab-kill", witness: true })).rejects.toThrow("made without a witness");
    await expect(consoleRun(lab, "witness", ["hostname"])).rejects.toThrow("hotpair lab up --witness");
    await labDown("t-lab-kill");
    expect(leftovers("t-lab-kill", [lab.index])).toEqual([]);
  });

  test("kill -9 of everything that keeps the hosts: down leaves nothing", async () => {
    const lab = await labUp({ name: "t-lab-kill" });
    const keepers = leftovers("t-lab-kill", [lab.index])
      .map((line) => /^process (\d+) .*host\.sh/.exec(line)?.[1])
      .filter((pid) => pid !== undefined);
    expect(keepers.length).toBeGreaterThanOrEqual(2);
    for (const pid of keepers) process.kill(Number(pid), "SIGKILL");
    await labDown("t-lab-kill");
    expect(leftovers("t-lab-kill", [lab.index])).toEqual([]);
  });

  test("kill -9 while the image is built: no process goes on, no mount stays, nothing counts as built", async () => {
    const cache = mkdtempSync(join(tmpdir(), "hotpair-test-cache-"));
    try {
      const building = start(["image"], { ...process.env, HOTPAIR_CACHE: cache });
      const images = join(cache, "images");
      await killWhen(building, () => globSync(".build-*/bare/var", { cwd: images }).length > 0);
      await sleep(500);
      const using = readdirSync("/proc").filter((pid) => {
        try {
          return existsSync(`/proc/${pid}/root/${cache}`) && readCommand(pid).includes(cache);
        } catch {
          return false;
        }
      });
      expect(using.map(readCommand)).toEqual([]);
      expect(readdirSync(images).filter((entry) => !entry.startsWith(".build-"))).toEqual([]);
    } finally {
      rmSync(cache, { recursive: true, force: true });
    }
  });

  test("a name that cannot be one is refused with an example", async () => {
    const { code, stderr } = await start(["up", "--name", "../x"]).ended;
    expect(code).toBe(2);
    expect(stderr).toContain('lab name "../x": expected lower-case letters');
  });

  test("a command on a lab that is not up says how to get it", async () => {
    expect(findLab("t-lab-1")).toBeUndefined();
    const { code, stderr } = await start(["exec", "--name", "t-lab-1", "node-a", "--", "true"]).ended;
    expect([code, stderr]).toEqual([2, "hotpair: lab t-lab-1 is not up: hotpair lab up --name t-lab-1\n"]);
  });
});

function readCommand(pid: string): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
}
