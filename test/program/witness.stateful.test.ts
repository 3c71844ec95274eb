// A pair with a witness as its owner meets it: certificates made by a command, three servers brought up by the real
// engine, a dead witness that holds nobody up, certificates exchanged, a lost member taken in again, everything given back.
// The tests build on one another.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stackTextFor } from "../../infra/cli/lab-pair.ts";
import { stackPath } from "../../infra/cli/stack.ts";
import { powerCut, powerOn } from "../../infra/lab/faults.ts";
import { consoleRun, type HostName, hostReady, type Lab, labDown, labUp } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";
import { writeStack } from "./lab-stack.ts";

const ROOT = join(import.meta.dirname, "../..");
const STACK = "e2ewitness";
const LAB = "betcd";
const UNIT = "hotpair-etcd-lab";

describeWithLab("a pair with a witness", () => {
  let lab: Lab;
  let directory: string;
  let removeStack = (): void => {};

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-e2e-"));
    await labDown(LAB);
    lab = await labUp({ name: LAB, image: "ready", witness: true });
    removeStack = writeStack(STACK, withWitness(lab));
  });
  afterAll(async () => {
    if (process.env.KEEP_LAB !== undefined) return;
    removeStack();
    await labDown(LAB);
    rmSync(directory, { recursive: true, force: true });
  });

  async function hotpair(...args: string[]): Promise<{ code: number; all: string }> {
    const child = spawn(process.execPath, [join(ROOT, "bin/hotpair.mjs"), ...args], {
      env: {
        ...process.env,
        PULUMI_BACKEND_URL: pathToFileURL(directory).href,
        PULUMI_CONFIG_PASSPHRASE: "hotpair-lab",
        PULUMI_STACK: STACK,
      },
    });
    let all = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        all += chunk;
      });
    const code = await new Promise<number>((resolve) => child.once("close", (status) => resolve(status ?? 1)));
    return { code, all };
  }

  async function done(...args: string[]): Promise<string> {
    const { code, all } = await hotpair(...args);
    expect(code, all).toBe(0);
    return all;
  }

  const on = (host: HostName, command: string): Promise<string> => consoleRun(lab, host, ["sh", "-c", command]);
  function edit(what: RegExp, by: string): void {
    const changed = file().replace(what, by);
    expect(changed).not.toBe(file());
    writeFileSync(stackPath(STACK), changed);
  }
  const file = () => readFileSync(stackPath(STACK), "utf8");
  const pid = (host: HostName) => on(host, `systemctl show -p MainPID --value ${UNIT}`);

  it("gets its certificates by a command; their keys are secrets of the stack", async () => {
    const before = await hotpair("check");
    expect(before.code).toBe(2);
    expect(before.all).toContain("hotpair:pair.authority: is missing");
    expect(await done("authority", "init")).toContain("has the pair's own certificate authority");
    expect(file()).not.toContain("PRIVATE KEY");
    expect(file().match(/-----BEGIN CERTIFICATE-----/g)).toHaveLength(4);
    const secrets = await done("secrets", "list");
    for (const path of ["authority.caKey", "authority.members.a.key", "authority.members.witness.key"])
      expect(secrets).toContain(`hotpair:pair.${path}`);
    expect((await hotpair("authority", "init")).all).toContain("has an authority already");
  });

  it("comes up witness first, and a second run touches nothing", async () => {
    const said = await done("up", "--yes");
    expect(said.indexOf("witness: applied")).toBeGreaterThan(0);
    expect(said.indexOf("witness: applied")).toBeLessThan(said.indexOf("node-a: applying"));
    expect(await done("authority", "status")).toMatch(/authority of lab: 3 of 3 members healthy, epoch 1\n/);
    expect(await done("up", "--yes")).toContain("no change: all servers are as described");
    expect(await done("drift")).toContain("witness: no drift");
    const state = await done("pulumi", "--", "stack", "export");
    expect(state).not.toContain("PRIVATE KEY");
  });

  it("without data, too, one node holds the lease, and a switch hands it over", async () => {
    const lease = async (host: HostName) =>
      JSON.parse(await on(host, "/usr/lib/hotpair/hotpair-lease status --json")) as Record<string, unknown>;
    const holders = async () => {
      const said = await Promise.all([lease("node-a"), lease("node-b")]);
      return said.flatMap(({ holding }, index) => (holding === true ? [index === 0 ? "node-a" : "node-b"] : []));
    };
    await until(async () => (await holders()).length === 1);
    const [first] = await holders();
    expect((await lease("node-a")).insync).toEqual({ a: "-", b: "-" });
    const second = first === "node-a" ? "node-b" : "node-a";
    await done("status", "--wait", "20");
    await done("switch", "--to", second);
    await until(async () => (await holders()).join() === second);
  });

  it("a dead witness holds nobody up", async () => {
    await powerCut(lab, "witness");
    edit(/^( *)nginx:\n/m, "$&$1  healthPath: /alive\n");
    // What does not concern it goes on without it; the exit code says that it could not be asked.
    const without = await hotpair("up", "--yes");
    expect(without.code).toBe(1);
    expect(without.all).toContain("witness: could not be asked");
    expect(without.all).toContain("node-b: applied");
    edit(/^( *)nginx:\n/m, "$1base:\n$1  persistentJournal: false\n$&");
    const refused = await hotpair("up", "--yes");
    expect(refused.code, refused.all).toBe(2);
    expect(refused.all).toContain(`hotpair up -s ${STACK} --only node-a --only node-b`);
    expect(await done("up", "--yes", "--only", "node-a", "--only", "node-b")).toContain("node-b: applied");
    const status = await hotpair("authority", "status");
    expect(status.code).toBe(1);
    expect(status.all).toContain("2 of 3 members healthy");
    await powerOn(lab, "witness");
    await hostReady(lab, "witness");
    await until(async () => (await hotpair("authority", "status")).code === 0);
    await done("up", "--yes");
  });

  it("exchanges its certificates in three steps, none of which may overtake a server", async () => {
    expect(await done("authority", "rotate")).toContain("1 of 3");
    const early = await hotpair("authority", "rotate");
    expect(early.code).toBe(2);
    expect(early.all).toContain("witness does not have the certificates of the stack file yet");
    await done("up", "--yes");
    const before = await pid("witness");
    expect(await done("authority", "rotate")).toContain("2 of 3");
    await done("up", "--yes");
    expect(await pid("witness"), "its own certificate is read at every connection").toBe(before);
    expect(await done("authority", "rotate")).toContain("3 of 3");
    await done("up", "--yes");
    expect(file()).not.toContain("previousCaCertificate");
    expect(await done("authority", "status")).toContain("3 of 3 members healthy");
  });

  it("takes a member in again that lost its data", async () => {
    await on("witness", `systemctl stop ${UNIT}; rm -rf /var/lib/hotpair/etcd/lab; systemctl start ${UNIT}`);
    await until(async () => (await hotpair("authority", "status")).all.includes("authority restore witness"));
    expect((await hotpair("authority", "defragment")).all).toContain("only while all three are healthy");
    expect(await done("authority", "restore", "witness", "--yes")).toContain("witness is a member again, in epoch 1");
    await until(async () => (await hotpair("authority", "status")).code === 0);
    expect(await done("authority", "defragment")).toMatch(
      /(node-a|node-b|witness): \d+\.\d MiB before, \d+\.\d MiB after/,
    );
    expect((await hotpair("authority", "restore", "witness", "--yes")).all).toContain("is healthy: there is nothing");
  });

  it("gives three servers back", async () => {
    expect(await done("destroy", "--yes")).toContain("witness: given back");
    for (const host of ["node-a", "node-b", "witness"] as const)
      expect(await on(host, "ls -d /etc/hotpair /usr/lib/hotpair /var/lib/hotpair 2>/dev/null || :"), host).toBe("");
  });
});

/** The lab's stack with its third host, described as a user would. */
function withWitness(lab: Lab): string {
  const { witness } = lab.hosts;
  if (witness === undefined) throw new Error("the lab has no witness");
  const described = [
    "  hotpair:witness:",
    "    name: witness",
    `    address: ${witness.address.public}`,
    "    ssh:",
    `      host: ${witness.address.public}`,
    `      hostKey: ${witness.hostKey}`,
    `      keyFile: ${lab.keyFile}`,
    "",
  ].join("\n");
  return stackTextFor(lab).replace(/^encryptionsalt:/m, `${described}encryptionsalt:`);
}

async function until(condition: () => Promise<boolean>, milliseconds = 40_000): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
