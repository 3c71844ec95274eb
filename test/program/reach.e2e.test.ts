// A pair whose servers are bare and hard to reach: packages come from the servers' own sources, one server stands behind
// a jump host, its key is a secret of the stack, and the storage network is said to carry jumbo frames. At the end the
// plain engine destroys it, and everything that came is gone.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stackTextFor } from "../../infra/cli/lab-pair.ts";
import { consoleRun, type Lab, labDown, labUp } from "../../infra/lab/lab.ts";
import { interfaceOf } from "../../infra/lab/layout.ts";
import { describeWithLab } from "../lab/skip.ts";
import { writeStack } from "./lab-stack.ts";

const ROOT = join(import.meta.dirname, "../..");
const STACK = "reach";
const HOSTS = ["node-a", "node-b"] as const;
const INSTALLED = "dpkg --get-selections | grep -w install";
const PACKAGES = ["keepalived", "haproxy", "nginx"];

describeWithLab("servers that are bare, behind a jump host, on jumbo frames", () => {
  let lab: Lab;
  let directory: string;
  let removeStack = (): void => {};
  const before = new Map<string, string>();

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-reach-"));
    await labDown(STACK);
    lab = await labUp({ name: STACK, image: "bare" });
    removeStack = writeStack(STACK, behindJumpHost(stackTextFor(lab), lab));
    for (const host of HOSTS) before.set(host, await on(host, INSTALLED));
    // Cards and switch ports of the storage network; the switch itself carries what its ports do.
    for (const host of HOSTS) await setMtu(host, 9000);
  });

  afterAll(async () => {
    removeStack();
    await labDown(STACK);
    rmSync(directory, { recursive: true, force: true });
  });

  const on = (host: (typeof HOSTS)[number], command: string): Promise<string> =>
    consoleRun(lab, host, ["sh", "-c", command]);

  async function setMtu(host: (typeof HOSTS)[number], mtu: number): Promise<void> {
    const name = interfaceOf(host, "storage");
    await on(host, `ip link set ${name} mtu ${mtu}`);
    await finished(spawn("ip", ["-n", lab.namespaces.hosts, "link", "set", name, "mtu", String(mtu)]));
  }

  function start(args: readonly string[], input?: string): ChildProcess {
    const child = spawn(process.execPath, [join(ROOT, "bin/hotpair.mjs"), ...args], {
      env: {
        ...process.env,
        PULUMI_BACKEND_URL: pathToFileURL(directory).href,
        PULUMI_CONFIG_PASSPHRASE: "hotpair-lab",
        PULUMI_STACK: STACK,
      },
      stdio: "pipe",
    });
    child.stdin?.end(input);
    return child;
  }

  const hotpair = (args: readonly string[], input?: string) => finished(start(args, input));

  it("takes its private key as a secret of the stack", async () => {
    const { code, said } = await hotpair(["pulumi", "--", "stack", "init", STACK]);
    expect(code, said).toBe(0);
    for (const index of [0, 1]) {
      const path = `hotpair:pair.nodes[${index}].ssh.key`;
      const set = await hotpair(
        ["pulumi", "--", "config", "set", "--path", "--secret", path],
        readFileSync(lab.keyFile, "utf8"),
      );
      expect(set.code, set.said).toBe(0);
    }
    const checked = await hotpair(["check"]);
    expect(checked.code, checked.said).toBe(0);
  });

  it("does not take a network for jumbo that drops large frames, and leaves nothing half-done", async () => {
    await setMtu("node-a", 1500);
    await on("node-a", `ip link set ${interfaceOf("node-a", "storage")} mtu 9000`);
    // The first server finds no peer to judge by before it is there; the second one does.
    const refused = await hotpair(["up", "--yes"]);
    expect(refused.code, refused.said).toBe(1);
    expect(refused.said).toContain("storage network carries 9000-byte frames");
    await setMtu("node-a", 9000);
  });

  it("installs the packages, reaches the server behind the jump host, and serves", async () => {
    const { code, said } = await hotpair(["up", "--yes"]);
    expect(code, said).toBe(0);
    for (const host of HOSTS) await on(host, `dpkg -s ${PACKAGES.join(" ")} >/dev/null`);
    const answer = await fetch(`http://${lab.prefix("public")}.100/`, { signal: AbortSignal.timeout(5_000) });
    expect(answer.status).toBe(200);
    const state = await hotpair(["pulumi", "--", "stack", "export"]);
    const privateKey = readFileSync(lab.keyFile, "utf8").split("\n")[2] ?? "";
    expect(state.said).not.toContain(privateKey);
  });

  it("is not taken down by the plain engine by mistake", async () => {
    const destroyed = await hotpair(["pulumi", "--", "destroy", "--yes"]);
    expect(destroyed.code).not.toBe(0);
    expect(destroyed.said).toContain("this node is active and its peer cannot take over");
    expect(destroyed.said).toContain("hotpair destroy");
    const repaired = await hotpair(["up", "--yes"]);
    expect(repaired.code, repaired.said).toBe(0);
  });

  it("takes the packages that it installed away again on request, and no others", async () => {
    // The plain engine gave the standby back with its packages, so there they are the server's own now.
    const role = await on("node-a", "/usr/lib/hotpair/hotpair-arbiter role");
    const [stayed, givenBack] = role.trim() === "active" ? HOSTS : ([HOSTS[1], HOSTS[0]] as const);
    const { code, said } = await hotpair(["destroy", "--yes", "--purge-packages"]);
    expect(code, said).toBe(0);
    expect(await on(stayed, INSTALLED)).toBe(before.get(stayed));
    await on(givenBack, `dpkg -s ${PACKAGES.join(" ")} >/dev/null`);
  });
});

/** node-b is reached through node-a only; both keys come from the stack; the storage network has jumbo frames. */
function behindJumpHost(text: string, lab: Lab): string {
  const { ssh, hostKey } = lab.hosts["node-a"];
  const jump = `\n          jump:\n            host: ${ssh.host}\n            hostKey: ${hostKey}`;
  return text
    .replaceAll(/\n *keyFile: .*/g, "")
    .replace(/(host: \S+\.12\n *hostKey: .*)/, `$1${jump}`)
    .replaceAll(/(interface: .-st\n( *)address: \S+)/g, "$1\n$2mtu: 9000");
}

async function finished(child: ChildProcess): Promise<{ readonly code: number; readonly said: string }> {
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (chunk: string) => said.push(chunk));
  const code = await new Promise<number>((resolve) => child.once("close", (status) => resolve(status ?? 1)));
  return { code, said: said.join("") };
}
