// A pair from first `hotpair up` to `hotpair destroy`: the real engine, two real servers, state in a directory of its own.
// The tests build on one another, as a pair's life does; each says what a user does and what must then be true.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stackTextFor } from "../../infra/cli/lab-pair.ts";
import { powerCut, powerOn } from "../../infra/lab/faults.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";
import { writeStack } from "./lab-stack.ts";

const ROOT = join(import.meta.dirname, "../..");
const STACK = "e2e";
const HOSTS: readonly NodeName[] = ["node-a", "node-b"];
const WATCHED = "/etc /usr/lib/systemd /usr/lib/hotpair /var/lib/hotpair";

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly all: string;
}

describeWithLab("a pair's life", () => {
  let lab: Lab;
  let directory: string;
  let text: string;
  let removeStack = (): void => {};
  const before = new Map<NodeName, string>();
  const said: string[] = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-e2e-"));
    // What an interrupted run left is not "as before".
    await labDown("e2e");
    lab = await labUp({ name: "e2e", image: "ready" });
    // One server as root, the other through sudo.
    text = stackTextFor(lab).replace(/(host: \S+\.12)\n/, "$1\n          user: ops\n");
    removeStack = writeStack(STACK, text);
    for (const host of HOSTS) before.set(host, await snapshot(host));
  });

  afterAll(async () => {
    removeStack();
    await labDown("e2e");
    rmSync(directory, { recursive: true, force: true });
  });

  // --- what a user does --------------------------------------------------------------------------------------------

  const environment = () => ({
    ...process.env,
    PULUMI_BACKEND_URL: pathToFileURL(directory).href,
    PULUMI_CONFIG_PASSPHRASE: "hotpair-lab",
    PULUMI_STACK: STACK,
  });

  const start = (...args: string[]): ChildProcess =>
    spawn(process.execPath, [join(ROOT, "bin/hotpair.mjs"), ...args], {
      env: environment(),
      stdio: "pipe",
      detached: true,
    });

  async function hotpair(...args: string[]): Promise<Result> {
    const child = start(...args);
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => out.push(chunk));
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => err.push(chunk));
    const code = await new Promise<number>((resolve) => child.once("close", (status) => resolve(status ?? 1)));
    const result = { code, stdout: out.join(""), stderr: err.join(""), all: [...out, ...err].join("") };
    said.push(result.all);
    return result;
  }

  /** As `hotpair`, for what must succeed. */
  async function done(...args: string[]): Promise<Result> {
    const result = await hotpair(...args);
    expect(result.code, result.all).toBe(0);
    return result;
  }

  /** Edits the stack file as a user would. */
  function edit(change: (text: string) => string): void {
    const changed = change(text);
    expect(changed).not.toBe(text);
    text = changed;
    writeStack(STACK, text);
  }

  // --- what is true on a server ------------------------------------------------------------------------------------

  const on = (host: NodeName, command: string): Promise<string> => consoleRun(lab, host, ["sh", "-c", command]);

  const role = async (host: NodeName) => (await on(host, "/usr/lib/hotpair/hotpair-arbiter role")).trim();

  const owner = async (host: NodeName) => (await on(host, "sed -n 's/^resource //p' /var/lib/hotpair/manifest")).trim();

  /** Processes that a restart would change, and every state change of the VIP so far. */
  const running = (host: NodeName): Promise<string> =>
    on(
      host,
      "systemctl show -p MainPID --value keepalived haproxy hotpair-arbiter nginx; grep -c . /var/log/hotpair/audit.log || :",
    );

  const transactions = async (): Promise<number[]> => {
    const counts = HOSTS.map((host) => on(host, "journalctl -t hotpair-apply -o cat | grep -c '1/8. lock' || :"));
    return (await Promise.all(counts)).map(Number);
  };

  /** What a server has, without what daemons write by themselves. */
  async function snapshot(host: NodeName): Promise<string> {
    const files = `find ${WATCHED} -xdev -not -name '*.cache' -not -path '*/systemd/hwdb*' \\( -type f -exec sha256sum {} + -o -type l -printf 'link %p %l\\n' \\) 2>/dev/null | sort -k 2`;
    return on(host, `${files}; systemctl is-active nginx haproxy keepalived; sysctl net.ipv4.ip_nonlocal_bind`);
  }

  const serves = (): Promise<boolean> =>
    fetch(`http://${lab.prefix("public")}.100/`, { signal: AbortSignal.timeout(2_000) }).then(
      (answer) => answer.ok,
      () => false,
    );

  async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (!(await holds().catch(() => false))) {
      if (Date.now() > deadline) throw new Error(`not within 30 s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  // --- the life ----------------------------------------------------------------------------------------------------

  it("comes up: one server after the other, then the VIP answers", async () => {
    const { stderr } = await done("up", "--yes");
    expect(stderr).toMatch(/node-a: applied \d+ files.*node-b: applying.*node-b: applied \d+ files/s);
    await eventually("the VIP answers", serves);
    const roles = await Promise.all(HOSTS.map(role));
    expect(roles.toSorted()).toEqual(["active", "standby"]);
  });

  it("runs no remote command when nothing changed, by hotpair or by the plain CLI", async () => {
    const earlier = await transactions();
    expect((await done("up", "--yes")).stdout).toContain("no change: both servers are as described");
    const plain = await done("pulumi", "--", "up", "--yes", "--non-interactive");
    expect(plain.stdout).toMatch(/Resources:\s+6 unchanged\s/);
    expect(await transactions()).toEqual(earlier);
  });

  it("takes one changed HAProxy timeout as one update per node, a reload and no failover", async () => {
    edit((stack) => stack.replace("haproxy:\n", "haproxy:\n      timeouts:\n        server: 20s\n"));
    const earlier = await Promise.all(HOSTS.map(running));
    const counts = await transactions();
    const preview = await done("preview");
    expect(preview.stdout.match(/- {4}timeout server 30s\n +\+ {4}timeout server 20s/g)).toHaveLength(2);
    const active = (await role("node-a")) === "active" ? "node-a" : "node-b";
    const standby = active === "node-a" ? "node-b" : "node-a";
    const { stderr } = await done("up", "--yes");
    expect(stderr).toMatch(
      new RegExp(`${standby}: applied 1 files, reloaded haproxy.*${active}: applied 1 files, reloaded haproxy`, "s"),
    );
    expect(await Promise.all(HOSTS.map(running))).toEqual(earlier);
    expect(await transactions()).toEqual(counts.map((count) => count + 1));
  });

  it("shows what was changed by hand, and up puts it back", async () => {
    await on("node-b", "sed -i 's/timeout server 20s/timeout server 99s/' /etc/haproxy/haproxy.cfg");
    await on("node-b", "chmod 0644 /etc/hotpair/beacon.key");
    const drift = await hotpair("drift");
    expect(drift.code).toBe(3);
    expect(drift.stdout).toContain("node-a: no drift");
    expect(drift.stdout).toMatch(/haproxy\.cfg: content\n.*- {4}timeout server 20s\n +\+ {4}timeout server 99s/s);
    expect(drift.stdout).toMatch(/beacon\.key: mode\n +mode 0644, was 0600/);
    const { stdout, stderr } = await done("up", "--yes");
    expect(stdout).toMatch(/haproxy\.cfg \(reload haproxy\) \[changed on the server\]/);
    expect(stderr).toContain("node-b: repairing");
    expect((await done("drift")).stdout).toContain("node-b: no drift");
  });

  it("leaves the server untouched when its resource is replaced or gets another URN", async () => {
    const earlier = await Promise.all(HOSTS.map(running));
    const first = await owner("node-a");
    await done("pulumi", "--", "up", "--yes", "--skip-preview", "--replace", "**remote:Command::node-a");
    const second = await owner("node-a");
    expect(second).not.toBe(first);

    // The state of an earlier release that called its resources otherwise, and had no aliases.
    const state = join(directory, "renamed.json");
    await done("pulumi", "--", "stack", "export", "--file", state);
    writeFileSync(state, readFileSync(state, "utf8").replaceAll("::node-a", "::first-node"));
    await done("pulumi", "--", "stack", "import", "--file", state);
    const { stdout } = await done("pulumi", "--", "up", "--yes", "--skip-preview");
    expect(stdout).toMatch(/- +command:remote:Command first-node deleted/);
    expect(await owner("node-a")).not.toBe(second);
    expect(await Promise.all(HOSTS.map(running))).toEqual(earlier);
    expect((await done("up", "--yes")).stdout).toContain("no change");
  });

  it("keeps its servers when a node is renamed", async () => {
    const owners = await Promise.all(HOSTS.map(owner));
    edit((stack) => stack.replace("name: node-b", "name: node-c"));
    const preview = await done("pulumi", "--", "preview", "--non-interactive");
    expect(preview.stdout).not.toMatch(/replace|delete|create/);
    await done("up", "--yes");
    expect(await Promise.all(HOSTS.map(owner))).toEqual(owners);
    await eventually("the VIP answers", serves);
    // Applied with the next change.
    edit((stack) => stack.replace("name: node-c", "name: node-b"));
  });

  it("refuses another server for a node while the old one lives", async () => {
    const earlier = text;
    const present = `${lab.prefix("public")}.12`;
    edit((stack) => stack.replace(`host: ${present}`, `host: ${lab.prefix("public")}.77`));
    for (const command of [
      ["up", "--yes"],
      ["pulumi", "--", "up", "--yes", "--non-interactive"],
    ]) {
      const refused = await hotpair(...command);
      expect(refused.code).not.toBe(0);
      expect(refused.all).toMatch(
        /node-b points to another server.*is alive and configured as this node.*hotpair replace node-b/,
      );
    }
    edit(() => earlier);
  });

  it("replaces a server: the old one is given back, the new one set up", async () => {
    // The new server is the old machine under a second address: bare when it is reached, since it was given back.
    const [old, fresh] = [`${lab.prefix("public")}.12`, `${lab.prefix("public")}.13`];
    await on("node-b", `ip address add ${fresh}/24 dev b-pub`);
    const replaced = await owner("node-b");
    edit((stack) => stack.replace(`host: ${old}`, `host: ${fresh}`));
    const { all } = await done("replace", "node-b", "--yes");
    expect(all).toMatch(/198\.18\.\d+\.12:22: removed; the server is as it was before hotpair/);
    expect(all).toMatch(/node-b: applied \d+ files/);
    expect(await owner("node-b")).toBe(replaced);
    await eventually("both nodes have a role", async () => (await role("node-b")) !== "" && (await serves()));

    // Back again; this time the old address is dead, and only the operator can know what that means.
    await on("node-b", `ip address delete ${fresh}/24 dev b-pub`);
    edit((stack) => stack.replace(`host: ${fresh}`, `host: ${old}`));
    const consented = await done("replace", "node-b", "--old-is-off", "--yes");
    expect(consented.stdout).toContain("no change");
  });

  it("takes over a changed private key only when asked", async () => {
    const key = join(directory, "id_new");
    await new Promise((resolve) =>
      spawn("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "new", "-f", key]).once("close", resolve),
    );
    const authorized = readFileSync(`${key}.pub`, "utf8").trim();
    const everywhere = "/root/.ssh/authorized_keys /home/ops/.ssh/authorized_keys";
    for (const host of HOSTS) await on(host, `echo '${authorized}' | tee -a ${everywhere}`);
    edit((stack) => stack.replaceAll(/keyFile: .*/g, `keyFile: ${key}`));
    expect((await done("up", "--yes")).stdout).toContain("no change");
    await done("key", "rotate", "--yes");
    for (const host of HOSTS) await on(host, `echo '${authorized}' | tee ${everywhere}`);
    edit((stack) => stack.replace("server: 20s", "server: 21s"));
    await done("up", "--yes");
  });

  it("leaves the second server alone when the first refuses, and preview still compares with the servers", async () => {
    const counts = await transactions();
    const standby = (await role("node-a")) === "standby" ? 0 : 1;
    const good = text;
    edit((stack) => stack.replace("bind: web:80\n", "bind: web:80\n          certificate: /etc/ssl/missing.pem\n"));
    const failed = await hotpair("up", "--yes");
    expect(failed.code).toBe(1);
    expect(failed.all).toMatch(/FAILED on node-[ab] in step 3\/8 validate.*missing\.pem/s);
    expect(failed.all).not.toContain("mktemp");
    expect(await transactions()).toEqual(counts.map((count, index) => count + (index === standby ? 1 : 0)));
    const preview = await done("preview");
    expect(preview.stdout.match(/haproxy\.cfg/g)?.length).toBeGreaterThanOrEqual(2);
    edit(() => good);
    expect((await done("up", "--yes")).stdout).toContain("no change");
  });

  it("converges after a killed up, whose lock it takes away", async () => {
    edit((stack) => stack.replace("server: 21s", "server: 22s"));
    const child = start("up", "--yes");
    await new Promise<void>((resolve, reject) => {
      child.stderr?.setEncoding("utf8").on("data", (chunk: string) => chunk.includes(": applying") && resolve());
      child.once("close", () => reject(new Error("up ended before it could be killed")));
    });
    // The whole process group: hotpair, the engine, the program, the plugin.
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const locks = readdirSync(join(directory, ".pulumi/locks/organization/hotpair", STACK));
    expect(locks.filter((name) => name.endsWith(".json"))).toHaveLength(1);
    await done("up", "--yes");
    for (const host of HOSTS) expect(await on(host, "grep 'timeout server' /etc/haproxy/haproxy.cfg")).toContain("22s");
    expect((await done("drift")).code).toBe(0);
  });

  it("changes the living node alone when the other is dead", async () => {
    await powerCut(lab, "node-b");
    edit((stack) => stack.replace("server: 22s", "server: 23s"));
    const refused = await hotpair("up", "--yes");
    expect(refused.code).not.toBe(0);
    expect(refused.all).toContain("--only node-a");
    const started = Date.now();
    await done("up", "--yes", "--only", "node-a");
    expect(Date.now() - started).toBeLessThan(60_000);
    expect(await on("node-a", "grep 'timeout server' /etc/haproxy/haproxy.cfg")).toContain("23s");
    await powerOn(lab, "node-b");
    await done("up", "--yes");
    expect(await on("node-b", "grep 'timeout server' /etc/haproxy/haproxy.cfg")).toContain("23s");
  });

  it("keeps no secret in clear: not in the state, its history, or anything that was said", async () => {
    const beaconKey = (await on("node-a", "cut -d ' ' -f 2 /etc/hotpair/beacon.key")).trim();
    expect(beaconKey).toMatch(/^[0-9a-f]{64}$/);
    const privateKey = readFileSync(lab.keyFile, "utf8").split("\n")[2] ?? "";
    expect(privateKey.length).toBeGreaterThan(60);
    const exported = (await done("pulumi", "--", "stack", "export")).stdout;
    const files = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== "id_new")
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"));
    for (const secret of [beaconKey, privateKey, Buffer.from(beaconKey).toString("base64").slice(4, 60)])
      expect([exported, ...files, ...said].filter((each) => each.includes(secret))).toEqual([]);
  });

  it("gives both servers back as they were", async () => {
    const { stderr } = await done("destroy", "--yes");
    expect(stderr.match(/: given back/g)).toHaveLength(2);
    for (const host of HOSTS) expect(await snapshot(host)).toBe(before.get(host));
    expect((await done("destroy", "--yes")).stderr).toContain("nothing deployed");
  });

  it("gives the living server back when the other is dead, and forgets that one", async () => {
    await done("up", "--yes");
    await powerCut(lab, "node-b");
    const refused = await hotpair("destroy", "--yes");
    expect(refused.code).not.toBe(0);
    expect(refused.all).toContain("--abandon node-b");
    await done("destroy", "--yes", "--abandon", "node-b");
    expect(await snapshot("node-a")).toBe(before.get("node-a"));
    const exported = (await done("pulumi", "--", "stack", "export")).stdout;
    expect(JSON.parse(exported).deployment.resources ?? []).toEqual([]);
  });
});
