// `hotpair scan` and `hotpair init` against a real sshd and on a real terminal: a host key is pinned only when somebody
// vouches for its fingerprint.

import { execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSalt } from "../../infra/cli/passphrase.ts";
import { readStackFile } from "../../infra/config/index.ts";
import { fingerprint } from "../../infra/ssh/run.ts";
import { type Sshd, sshdProblem, startSshd } from "../toolchain/sshd.ts";
import { Project } from "./project.ts";

const problem = sshdProblem();
if (problem) console.warn(`skipped: ${problem}`);

describe.skipIf(problem !== undefined)("host keys", () => {
  let project: Project;
  let sshd: Sshd;
  let hostKey: string;
  let stack: (extra?: string) => string;

  beforeAll(async () => {
    project = new Project();
    sshd = await startSshd();
    hostKey = sshd.keys.hostEd25519.split(" ").slice(0, 2).join(" ");
    const text = project
      .read("lab")
      .replace(/ +hostKey: .*\n/, "")
      .replace("host: 198.18.0.11", `host: 127.0.0.1 # on loopback\n          port: ${sshd.port}`);
    stack = (extra = "") => text.replace("# on loopback", `# on loopback${extra}`);
  });
  afterAll(async () => {
    await sshd.stop();
    project.remove();
  });

  test("without somebody to vouch for it, a key is shown and not pinned", async () => {
    project.write("one", stack());
    const outcome = await project.hotpair(["scan", "-s", "one", "--node", "node-a"]);
    expect(outcome.code).toBe(1);
    expect(outcome.stdout).toContain(`hotpair scan --accept ${fingerprint(hostKey)}`);
    expect(project.read("one")).toBe(stack());
  });

  test("an accepted fingerprint is pinned, and nothing else changes", async () => {
    project.write("two", stack());
    const accept = ["--accept", fingerprint(hostKey)];
    const outcome = await project.hotpair(["scan", "-s", "two", "--node", "node-a", ...accept]);
    expect(outcome).toMatchObject({ code: 0, stdout: expect.stringContaining("wrote stacks/Pulumi.two.yaml") });
    const text = project.read("two");
    expect(text.replace(`          hostKey: ${hostKey}\n`, "")).toBe(stack());
    const again = await project.hotpair(["scan", "-s", "two", "--node", "node-a"]);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining("is pinned already") });
    expect(project.read("two")).toBe(text);
  });

  test("another key than the pinned one is a warning, and stays out without consent", async () => {
    const [type, blob] = sshd.keys.otherHostEd25519.split(" ");
    const pinned = stack(`\n          hostKey: ${type} ${blob}`);
    project.write("three", pinned);
    const outcome = await project.hotpair(["scan", "-s", "three", "--node", "node-a"]);
    expect(outcome).toMatchObject({ code: 1, stdout: expect.stringContaining("WARNING: another key is pinned") });
    expect(project.read("three")).toBe(pinned);
  });

  test("a server that does not answer is said to be that", async () => {
    project.write("four", stack().replace(`port: ${sshd.port}`, "port: 1"));
    const outcome = await project.hotpair(["scan", "-s", "four", "--node", "node-a"]);
    expect(outcome.code).toBe(2);
    expect(outcome.stderr).toContain("127.0.0.1");
  });

  test("other mistakes come first", async () => {
    project.write("five", stack().replace("routerId: 51", "routerId: 0"));
    const outcome = await project.hotpair(["scan", "-s", "five"]);
    expect(outcome).toMatchObject({ code: 2, stderr: expect.stringContaining("0 is not a virtual router id") });
    expect(outcome.stderr).not.toContain("hostKey");
  });

  test("on a terminal, the answer decides", async () => {
    project.write("six", stack());
    await onTerminal(project, ["scan", "-s", "six", "--node", "node-a"], [["Is SHA256:", "no"]]);
    expect(project.read("six")).toBe(stack());
    await onTerminal(project, ["scan", "-s", "six", "--node", "node-a"], [["Is SHA256:", "yes"]]);
    expect(project.read("six")).toContain(`hostKey: ${hostKey}`);
  });

  test("init asks for everything on a terminal, and does not show the passphrase", async () => {
    const answers: [question: string, answer: string][] = [
      ["Name of the stack", "asked"],
      ["Node a: host name", ""],
      ["Node a: SSH", "ops@192.0.2.11"],
      ["Node a: private key file", "~/.ssh/pair"],
      ["Node a: public interface", ""],
      ["Node a: address with prefix on eth0", "192.0.2.11/24"],
      ["Node a: heartbeat interface", ""],
      ["Node a: address with prefix on eth1", "198.18.101.11/24"],
      ["storage network", "n"],
      ["Node b: host name", ""],
      ["Node b: SSH", "ops@192.0.2.12"],
      ["Node b: private key file", ""],
      ["Node b: public interface", ""],
      ["Node b: address with prefix on eth0", "192.0.2.12/24"],
      ["Node b: heartbeat interface", ""],
      ["Node b: address with prefix on eth1", "198.18.101.12/24"],
      ["Name of the VIP", ""],
      ["Address of the VIP", "192.0.2.100"],
      ["A second VIP", "n"],
      ["virtual router id", "77"],
      ["Service", ""],
      ["Port of HAProxy", "8000"],
      ["Recovery targets", ""],
      ["Passphrase of stack asked", "hidden words"],
      ["The same again", "hidden words"],
      ["host keys now", "n"],
    ];
    const shown = await onTerminal(project, ["init"], answers);
    expect(shown).toContain("wrote stacks/Pulumi.asked.yaml");
    expect(shown).not.toContain("hidden words");
    const { pairInput, encryptionSalt } = readStackFile(project.read("asked"), "asked");
    expect(pairInput).toMatchObject({
      nodes: [
        { name: "node-a", ssh: { host: "192.0.2.11", user: "ops", keyFile: "~/.ssh/pair" } },
        { name: "node-b", ssh: { host: "192.0.2.12", user: "ops", keyFile: "~/.ssh/pair" } },
      ],
      vips: [{ name: "web", address: "192.0.2.100/24", routerId: 77 }],
      haproxy: { frontends: [{ bind: "web:8000" }] },
    });
    await openSalt(encryptionSalt ?? "", "hidden words");
  });
});

/** Runs a command on a pseudo-terminal of util-linux `script` and answers its questions as they come. */
async function onTerminal(
  project: Project,
  args: readonly string[],
  answers: readonly (readonly [question: string, answer: string])[],
): Promise<string> {
  const command = [process.execPath, join(project.directory, "infra/cli/main.ts"), ...args].join(" ");
  const child = spawn("script", ["-qefc", command, "/dev/null"], { cwd: project.directory });
  let shown = "";
  let next = 0;
  let seen = 0;
  const closed = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
  child.stdout.on("data", (chunk: Buffer) => {
    // Without the escape sequences by which the prompt is drawn.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they begin with one.
    shown += chunk.toString("utf8").replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "");
    const [question, answer] = answers[next] ?? [];
    if (question === undefined || !shown.slice(seen).includes(question) || !/[:\]?] $/.test(shown)) return;
    seen = shown.length;
    next += 1;
    child.stdin.write(`${answer}\r`);
  });
  const patience = setTimeout(() => child.kill(), 60_000);
  await closed;
  clearTimeout(patience);
  if (next < answers.length) throw new Error(`was not asked for "${answers[next]?.[0]}":\n${shown}`);
  return shown;
}

// The tool that makes the terminal is part of every Debian; elsewhere the test says what it lacks.
execFileSync("script", ["--version"], { stdio: "ignore" });
