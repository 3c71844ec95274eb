// Promises about what the lab can do to its hosts: each fault is what it is called, and ends when it was said to end.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  armUndo,
  clearDrops,
  dropTraffic,
  failDisk,
  freeze,
  isFrozen,
  limitMemory,
  partition,
  powerCut,
  powerOn,
  setLink,
  thaw,
} from "../../infra/lab/faults.ts";
import {
  consoleRun,
  type HostName,
  hostOf,
  hostReady,
  type Lab,
  labDown,
  labUp,
  type Network,
  type NodeName,
  runIn,
} from "../../infra/lab/lab.ts";
import { addressOf } from "../../infra/lab/layout.ts";
import { disconnectAll, run, runOrThrow } from "../../infra/ssh/run.ts";
import { leftovers } from "./leftovers.ts";
import { describeWithLab } from "./skip.ts";

const name = "t-lab-faults";
const timeoutMs = 60_000;

describeWithLab("faults from outside", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await labUp({ name, witness: true, diskBytes: 1024 ** 3 });
  });

  afterAll(async () => {
    disconnectAll();
    const index = lab?.index ?? -1;
    await labDown(name);
    expect(leftovers(name, [index])).toEqual([]);
  });

  const shell = (host: HostName, script: string) => consoleRun(lab, host, ["sh", "-c", script]);
  const carrier = (host: NodeName, network: Network) =>
    shell(host, `cat /sys/class/net/${lab.hosts[host].interface[network]}/carrier`).then((text) => text.trim());

  /** Whether a ping from one host reaches the other and its answer comes back. */
  const reaches = (from: HostName, to: HostName, network: Network) =>
    shell(from, `ping -q -c 1 -W 1 ${addressOf(lab.index, to, network)} > /dev/null && echo yes || echo no`).then(
      (text) => text.trim(),
    );

  async function eventually(what: () => Promise<boolean> | boolean, withinMs: number): Promise<void> {
    const deadline = Date.now() + withinMs;
    while (!(await what())) {
      if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
      await sleep(20);
    }
  }

  /** What a client in one of the lab's namespaces hears from a port, within two seconds. */
  async function greeting(namespace: string, address: string): Promise<string> {
    const listen = `require("net").connect(22, "${address}").on("data", (d) => { process.stdout.write(d); process.exit(); })
      .on("error", () => process.exit(1)).setTimeout(2000, () => process.exit(1))`;
    const client = runIn(namespace, [process.execPath, "-e", listen], { stdio: ["ignore", "pipe", "inherit"] });
    let heard = "";
    client.stdout?.on("data", (data) => {
      heard += data;
    });
    await new Promise((resolve) => client.on("close", resolve));
    return heard;
  }

  test("all clients reach a host: next to it, beyond the router and from this machine", async () => {
    const { address, ssh } = lab.hosts["node-a"];
    expect(await greeting(lab.namespaces.client, address.public)).toContain("SSH-2.0");
    expect(await greeting(lab.namespaces.intruder, address.public)).toContain("SSH-2.0");
    expect(await greeting(lab.namespaces.remote, address.public)).toContain("SSH-2.0");
    expect(await greeting(lab.namespaces.client, address.heartbeat)).toBe("");
    const peer = await runOrThrow(ssh, 'echo "$SSH_CLIENT"', { timeoutMs });
    expect(peer).toMatch(new RegExp(`^${lab.prefix("public")}\\.1 `));
  });

  test("a bare host installs real packages without a way out", async () => {
    const { ssh } = lab.hosts["node-b"];
    const install =
      "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q -y install keepalived haproxy nginx";
    const { code, stderr } = await run(ssh, install, { timeoutMs: 120_000 });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const versions = await runOrThrow(ssh, "keepalived --version 2>&1; haproxy -v; nginx -v 2>&1", { timeoutMs });
    expect(versions).toMatch(/Keepalived v2\.[\s\S]*HAProxy version 3\.[\s\S]*nginx\/1\./);
    expect(await runOrThrow(ssh, "dpkg -s nginx-light 2>/dev/null; which nginx", { timeoutMs })).toContain(
      "/usr/sbin/nginx",
    );
  });

  test("in a lab with a witness, so do the packages of a pair that holds state", async () => {
    const options = "-q -y -o Dpkg::Options::=--force-unsafe-io";
    const install = `export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get ${options} install etcd-server`;
    const { code, stderr } = await run(hostOf(lab, "witness").ssh, install, { timeoutMs: 120_000 });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(await shell("witness", "etcd --version")).toContain("etcd Version: 3.5");
    const others = "etcd-server etcd-client mariadb-server mariadb-client mariadb-backup";
    expect(await shell("node-a", `apt-get -q update; apt-get -q --simulate install ${others}`)).toMatch(
      /Inst mariadb-backup \(1:11\.8/,
    );
  });

  test("a host may not set the clock, and may set its own network up as a server does", async () => {
    const { ssh } = lab.hosts["node-a"];
    const clock = await run(ssh, "date -s 2020-01-01", { timeoutMs });
    expect([clock.code, clock.stderr]).toEqual([1, expect.stringContaining("Operation not permitted")]);
    await runOrThrow(
      ssh,
      `set -e
      sysctl -q -w net.ipv4.ip_nonlocal_bind=1
      ip link add link ${lab.hosts["node-a"].interface.public} name vrrp.51 type macvlan mode private
      ip link delete vrrp.51
      nft add table inet probe && nft delete table inet probe
      chrt -f 10 true`,
      { timeoutMs },
    );
  });

  test("a reboot inside a host is one: another boot id, a fresh network, the same disk", async () => {
    const { ssh } = lab.hosts["node-a"];
    await runOrThrow(ssh, "echo kept > /root/mark; ip addr add 192.0.2.1/32 dev lo", { timeoutMs });
    const boot = await shell("node-a", "cat /proc/sys/kernel/random/boot_id");
    await run(ssh, "systemctl reboot", { timeoutMs: 10_000 }).catch(() => undefined);
    await eventually(
      async () => (await shell("node-a", "cat /proc/sys/kernel/random/boot_id").catch(() => boot)) !== boot,
      20_000,
    );
    await hostReady(lab, "node-a");
    expect(await shell("node-a", "cat /root/mark; ip -o addr show to 192.0.2.1")).toBe("kept\n");
    expect(await shell("node-a", "journalctl --list-boots -q | wc -l")).not.toBe("1\n");
  });

  test("a full disk is full for this host alone", async () => {
    const fill = "fallocate -l 800M /fill; head -c 400M /dev/zero > /fill2";
    const full = await run(lab.hosts["node-a"].ssh, fill, { timeoutMs });
    expect(full.code).not.toBe(0);
    expect(full.stderr).toContain("No space left on device");
    expect(await shell("node-b", "echo fine > /root/fine && sync /root/fine && cat /root/fine")).toBe("fine\n");
    expect(await shell("node-a", "rm /fill*; echo again > /more; cat /more")).toBe("again\n");
  });

  test("a pulled cable takes the carrier, of one network only, until it is plugged", async () => {
    await setLink(lab, "node-a", "heartbeat", false);
    expect([await carrier("node-a", "heartbeat"), await carrier("node-a", "public")]).toEqual(["0", "1"]);
    expect(await carrier("node-b", "heartbeat")).toBe("1");
    expect(await reaches("node-b", "node-a", "heartbeat")).toBe("no");
    expect(await reaches("node-b", "node-a", "storage")).toBe("yes");
    await setLink(lab, "node-a", "heartbeat", true);
    await eventually(async () => (await reaches("node-b", "node-a", "heartbeat")) === "yes", 5_000);
  });

  test("a pulled cable stays pulled over a power cycle", async () => {
    await setLink(lab, "node-b", "storage", false);
    await powerCut(lab, "node-b");
    await powerOn(lab, "node-b");
    expect([await carrier("node-b", "storage"), await carrier("node-b", "public")]).toEqual(["0", "1"]);
    await setLink(lab, "node-b", "storage", true);
    expect(await carrier("node-b", "storage")).toBe("1");
  });

  test("frames are lost in one direction only, on one network only", async () => {
    // A permanent neighbour entry, so that what is lost is the data and not the address resolution.
    const listen = (host: NodeName) => {
      const receive = `import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(("${lab.hosts[host].address.heartbeat}",9999)); s.settimeout(1.5)
try: print(s.recv(99).decode())
except TimeoutError: print("silence")`;
      return consoleRun(lab, host, ["python3", "-c", receive]);
    };
    const send = (from: NodeName, to: NodeName) =>
      shell(
        from,
        `sleep 0.4; python3 -c 'import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b"hello",("${lab.hosts[to].address.heartbeat}",9999))'`,
      );
    expect(await reaches("node-a", "node-b", "heartbeat")).toBe("yes");

    await dropTraffic(lab, "node-a", "node-b", "heartbeat");
    const [lost] = await Promise.all([listen("node-b"), send("node-a", "node-b")]);
    const [heard] = await Promise.all([listen("node-a"), send("node-b", "node-a")]);
    expect([lost, heard]).toEqual(["silence\n", "hello\n"]);
    expect([await carrier("node-a", "heartbeat"), await reaches("node-a", "node-b", "storage")]).toEqual(["1", "yes"]);

    await dropTraffic(lab, "node-b", "node-a", "heartbeat");
    await clearDrops(lab);
    expect(await reaches("node-a", "node-b", "heartbeat")).toBe("yes");
  });

  test("the public network can be cut between a client and a host", async () => {
    await dropTraffic(lab, "client", "node-a", "public");
    expect(await greeting(lab.namespaces.client, lab.hosts["node-a"].address.public)).toBe("");
    expect(await greeting(lab.namespaces.client, lab.hosts["node-b"].address.public)).toContain("SSH-2.0");
    await clearDrops(lab);
    expect(await greeting(lab.namespaces.client, lab.hosts["node-a"].address.public)).toContain("SSH-2.0");
  });

  test("a witness is a host like the others, on the public network only", async () => {
    const { ssh } = hostOf(lab, "witness");
    expect(await runOrThrow(ssh, "hostname; systemctl is-system-running --wait", { timeoutMs })).toBe(
      "witness\nrunning\n",
    );
    expect(await shell("witness", "ls /sys/class/net")).toBe("lo\nw-pub\n");
    expect(await reaches("witness", "node-a", "public")).toBe("yes");
    expect(await shell("node-b", "ping -q -c 1 -W 1 witness > /dev/null && echo yes")).toBe("yes\n");
    await expect(setLink(lab, "witness", "heartbeat", false)).rejects.toThrow("has no cable");

    await powerCut(lab, "witness");
    expect(lab.hosts.witness?.pid).toBeUndefined();
    expect(await reaches("node-a", "witness", "public")).toBe("no");
    expect((await labUp({ name })).hosts.witness?.pid).toBeDefined();
    await setLink(lab, "witness", "public", false);
    expect(await reaches("node-a", "witness", "public")).toBe("no");
    await setLink(lab, "witness", "public", true);
    await eventually(async () => (await reaches("node-b", "witness", "public")) === "yes", 5_000);
  });

  test("a node can be cut from the witness alone", async () => {
    await partition(lab, "node-a", ["witness"]);
    expect(await reaches("node-a", "witness", "public")).toBe("no");
    expect(await reaches("node-b", "witness", "public")).toBe("yes");
    expect(await reaches("node-a", "node-b", "public")).toBe("yes");
    await clearDrops(lab);
    expect(await reaches("node-a", "witness", "public")).toBe("yes");
  });

  test("a node can be cut from everybody but clients", async () => {
    await partition(lab, "node-b");
    for (const network of ["public", "heartbeat", "storage"] as const) {
      expect([network, await reaches("node-b", "node-a", network)]).toEqual([network, "no"]);
    }
    expect(await reaches("witness", "node-b", "public")).toBe("no");
    expect(await reaches("witness", "node-a", "public")).toBe("yes");
    expect(await greeting(lab.namespaces.client, lab.hosts["node-b"].address.public)).toContain("SSH-2.0");
    await clearDrops(lab);
    expect(await reaches("node-b", "node-a", "storage")).toBe("yes");
  });

  test("a frozen host stands still with all that runs on it, and goes on where it was", async () => {
    const ticks = async () => Number(await shell("node-a", "wc -c < /run/ticks"));
    await runOrThrow(
      lab.hosts["node-a"].ssh,
      "systemd-run -q sh -c 'while :; do printf . >> /run/ticks; sleep 0.05; done'",
      { timeoutMs },
    );
    await eventually(async () => (await ticks().catch(() => 0)) > 2, 10_000);
    const { at, latest } = await freeze(lab, "node-a");
    expect(latest - at).toBeLessThan(5_000);
    const before = await ticks();
    expect(await reaches("node-b", "node-a", "heartbeat")).toBe("no");
    expect(await ticks()).toBe(before);
    await expect(freeze(lab, "node-a")).rejects.toThrow("is frozen already");
    await thaw(lab, "node-a");
    await thaw(lab, "node-a");
    await eventually(async () => (await ticks()) > before, 10_000);
    expect(await reaches("node-b", "node-a", "heartbeat")).toBe("yes");
  });

  test("the power of a frozen host can be cut", async () => {
    await freeze(lab, "witness");
    await powerCut(lab, "witness");
    await powerOn(lab, "witness");
    expect(isFrozen(lab, "witness")).toBe(false);
    expect(await reaches("node-a", "witness", "public")).toBe("yes");
  });

  test("a disk that fails gives I/O errors until its power was cut, which happens at its time", async () => {
    const write = "date > /var/tmp/written && sync /var/tmp/written";
    await runOrThrow(lab.hosts["node-a"].ssh, write, { timeoutMs });
    await failDisk(lab, "node-a", { undoAfterMs: 2_000 });
    expect(await shell("node-a", `(${write}) 2>&1 || :`)).toMatch(/Input\/output error|Read-only file system/);
    await eventually(
      () =>
        shell("node-a", write).then(
          () => true,
          () => false,
        ),
      40_000,
    );
    await hostReady(lab, "node-a");
  });

  test("a host whose memory is limited loses whatever wants more, and nothing once the limit is gone", async () => {
    const eat = () => run(lab.hosts["node-b"].ssh, `python3 -c 'x = b"x" * (300 << 20)'; exit $?`, { timeoutMs });
    expect((await eat()).code).toBe(0);
    await limitMemory(lab, "node-b", 150, { undoAfterMs: 3_000 });
    expect((await eat()).code).toBe(137);
    await eventually(async () => (await eat()).code === 0, 15_000);
  });

  test("faults undo themselves at their time, even when their maker is killed", async () => {
    const maker = `
      const { findLab } = await import(${JSON.stringify(join(import.meta.dirname, "../../infra/lab/lab.ts"))});
      const faults = await import(${JSON.stringify(join(import.meta.dirname, "../../infra/lab/faults.ts"))});
      const lab = findLab("${name}");
      await faults.setLink(lab, "node-a", "storage", false, { undoAfterMs: 3000 });
      await faults.dropTraffic(lab, "node-a", "node-b", "heartbeat", { undoAfterMs: 3000 });
      await faults.partition(lab, "node-a", ["witness"], { undoAfterMs: 3000 });
      await faults.freeze(lab, "witness", { undoAfterMs: 3000 });
      await faults.powerCut(lab, "node-b", { undoAfterMs: 3000 });
      process.kill(process.pid, "SIGKILL");`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", maker], { stdio: "inherit" });
    await new Promise((resolve) => child.on("close", resolve));
    expect(child.signalCode).toBe("SIGKILL");
    expect(await carrier("node-a", "storage")).toBe("0");
    expect(lab.hosts["node-b"].pid).toBeUndefined();
    await eventually(async () => (await carrier("node-a", "storage")) === "1", 5_000);
    await eventually(() => lab.hosts["node-b"].pid !== undefined, 5_000);
    await hostReady(lab, "node-b");
    expect(await reaches("node-a", "node-b", "heartbeat")).toBe("yes");
    await eventually(() => !isFrozen(lab, "witness"), 5_000);
    expect(await reaches("node-a", "witness", "public")).toBe("yes");
  });

  test("what an operator would type is armed with the operator's environment", async () => {
    vi.stubEnv("HOTPAIR_CACHE", "/somewhere/else");
    armUndo(lab, "typed", 0, 'echo "cache: $HOTPAIR_CACHE, home: $HOME"');
    vi.unstubAllEnvs();
    const log = join(lab.stateDir, "undo.log");
    await eventually(
      () => readFileSync(log, "utf8").includes(`cache: /somewhere/else, home: ${process.env.HOME}`),
      5_000,
    );
  });

  test("an undo that is no longer needed does not come", async () => {
    await setLink(lab, "node-a", "storage", false, { undoAfterMs: 700 });
    await setLink(lab, "node-a", "storage", true);
    await setLink(lab, "node-a", "storage", false);
    await sleep(1_200);
    expect(await carrier("node-a", "storage")).toBe("0");
    await setLink(lab, "node-a", "storage", true);
  });

  test("a power cut is silent, sudden and loses what was not synced", async () => {
    await shell("node-a", "echo safe > /root/synced; sync /root/synced; echo gone > /root/unsynced");
    // A client with an open connection to the host would hear a dying process close it.
    const listen = `const s = require("net").connect(22, "${lab.hosts["node-a"].address.public}");
      s.on("data", () => console.log("open")).on("end", () => console.log("closed")).on("error", (e) => console.log(e.code));
      setTimeout(() => process.exit(), 2500);`;
    const client = runIn(lab.namespaces.client, [process.execPath, "-e", listen], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let heard = "";
    client.stdout?.on("data", (data) => {
      heard += data;
    });
    const clientGone = new Promise((resolve) => client.on("close", resolve));
    await eventually(() => heard === "open\n", 2_000);
    const before = Date.now();
    const { at, latest } = await powerCut(lab, "node-a");
    expect(at).toBeGreaterThanOrEqual(before - 1);
    expect(latest - at).toBeLessThan(1_000);
    console.log(
      `the cut's instant is known to ${(latest - at).toFixed(1)} ms; host off after ${(Date.now() - at).toFixed(0)} ms`,
    );
    expect(lab.hosts["node-a"].pid).toBeUndefined();
    await clientGone;
    expect(heard).toBe("open\n");
    await expect(powerCut(lab, "node-a")).rejects.toThrow("is off already");

    await powerOn(lab, "node-a");
    expect(await shell("node-a", "cat /root/synced; ls /root/unsynced 2>&1 || true")).toMatch(/^safe\n.*No such file/);
    expect(await shell("node-a", "systemctl is-system-running --wait")).toBe("running\n");
  });

  test("both lose power, one comes back with a late network", async () => {
    await Promise.all([powerCut(lab, "node-a"), powerCut(lab, "node-b")]);
    const started = Date.now();
    const back = powerOn(lab, "node-a", { delayNetworkMs: 2_000 });
    await eventually(() => lab.hosts["node-a"].pid !== undefined, 5_000);
    await eventually(async () => (await carrier("node-a", "public").catch(() => "?")) === "0", 1_500);
    await back;
    expect(Date.now() - started).toBeGreaterThan(1_900);
    expect(await carrier("node-a", "heartbeat")).toBe("1");
    await powerOn(lab, "node-b");
    await eventually(async () => (await reaches("node-a", "node-b", "heartbeat")) === "yes", 5_000);
  });

  test("a host that switches itself off is off until it is powered on", async () => {
    await run(lab.hosts["node-a"].ssh, "systemctl poweroff", { timeoutMs: 10_000 }).catch(() => undefined);
    await eventually(() => lab.hosts["node-a"].pid === undefined, 20_000);
    await expect(shell("node-a", "true")).rejects.toThrow("hotpair lab power-on node-a");
    expect((await labUp({ name })).hosts["node-a"].pid).toBeDefined();
  });
});
