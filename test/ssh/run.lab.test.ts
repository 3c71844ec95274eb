// Promises of the one way to run something on a server, against real sshd, sudo and networks.

import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { powerCut, powerOn } from "../../infra/lab/faults.ts";
import { clientKeyPair } from "../../infra/lab/keys.ts";
import { consoleRun, type Lab, labDown, labUp } from "../../infra/lab/lab.ts";
import {
  disconnect,
  disconnectAll,
  fingerprint,
  run,
  runOrThrow,
  SshError,
  type SshTarget,
  scanHostKeys,
  spawnStream,
} from "../../infra/ssh/run.ts";
import { describeWithLab } from "../lab/skip.ts";

const name = "t-ssh";
const timeoutMs = 20_000;

async function failure(work: Promise<unknown>): Promise<SshError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof SshError) return error;
  throw new Error(`expected an SshError, got ${String(error)}`);
}

describeWithLab("running commands on servers", () => {
  let lab: Lab;
  let a: SshTarget;
  let b: SshTarget;
  let own: string;

  beforeAll(async () => {
    lab = await labUp({ name });
    a = lab.hosts["node-a"].ssh;
    b = lab.hosts["node-b"].ssh;
    own = mkdtempSync(join(tmpdir(), "hotpair-test-"));
  });

  afterAll(async () => {
    disconnectAll();
    rmSync(own, { recursive: true, force: true });
    await labDown(name);
  });

  test("exit code, both streams and input are the command's own", async () => {
    const lines: string[] = [];
    const result = await run(a, "cat; echo oops >&2; exit 7", {
      input: "in\nput",
      timeoutMs,
      onLine: (line, stream) => lines.push(`${stream} ${line}`),
    });
    expect(result).toEqual({ code: 7, stdout: "in\nput", stderr: "oops\n" });
    expect(lines.toSorted()).toEqual(["stderr oops", "stdout in", "stdout put"]);
  });

  test("an exit code of 255 is the command's, not a broken connection", async () => {
    expect((await run(a, "exit 255", { timeoutMs })).code).toBe(255);
  });

  test("binary input arrives unchanged, also much of it", async () => {
    const input = Buffer.alloc(3_000_000, Buffer.from([0, 255, 10, 13, 128]));
    expect((await run(a, "cksum | cut -d' ' -f2", { input, timeoutMs })).stdout).toBe("3000000\n");
  });

  test("twenty commands at once share the connection", async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => run(a, `echo ${i}`, { timeoutMs })));
    expect(results.map((result) => result.stdout)).toEqual(Array.from({ length: 20 }, (_, i) => `${i}\n`));
  });

  test("a second command does not log in again", async () => {
    await run(a, "true", { timeoutMs });
    const count = "journalctl -b -u ssh -o cat | grep -c '^Accepted publickey'";
    const before = await run(a, count, { timeoutMs });
    await run(a, "true", { timeoutMs });
    expect((await run(a, count, { timeoutMs })).stdout).toBe(before.stdout);
  });

  test("a sudoer becomes root, and stays himself otherwise", async () => {
    const ops = { ...a, user: "ops" };
    expect(await runOrThrow(ops, "id -un", { timeoutMs })).toBe("ops\n");
    expect(await runOrThrow(ops, "id -un; cat", { timeoutMs, becomeRoot: true, input: "x" })).toBe("root\nx");
  });

  test("a user without sudo rights is told so", async () => {
    await consoleRun(lab, "node-b", ["mv", "/etc/sudoers.d/ops", "/root/"]);
    const error = await failure(run({ ...b, user: "ops" }, "id", { timeoutMs, becomeRoot: true }));
    await consoleRun(lab, "node-b", ["mv", "/root/ops", "/etc/sudoers.d/"]);
    expect(error.kind).toBe("auth");
    expect(error.message).toContain("ops may not become root without a password");
  });

  test("a failed command shows its own words and a line to paste", async () => {
    const error = await failure(runOrThrow(a, "echo no such pair >&2; exit 3", { timeoutMs }));
    expect(error.kind).toBe("command");
    expect(error.message).toBe(`${a.host}:22: the command ended with exit code 3`);
    expect(error.details[0]).toBe("no such pair");
    expect(error.details[1]).toContain(`root@${a.host}`);
  });

  test("another host key than the pinned one is refused, with both fingerprints", async () => {
    const error = await failure(run({ ...a, hostKey: b.hostKey }, "true", { timeoutMs }));
    expect(error.kind).toBe("host-key");
    expect(error.message).toContain(fingerprint(a.hostKey));
    expect(error.message).toContain(fingerprint(b.hostKey));
  });

  test("a pinned key of a type that the server does not have is refused", async () => {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const { n = "", e = "" } = publicKey.export({ format: "jwk" });
    const field = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, bytes.length >> 8, bytes.length & 255]), bytes]);
    const modulus = Buffer.concat([Buffer.from([0]), Buffer.from(n, "base64url")]);
    const blob = Buffer.concat([field(Buffer.from("ssh-rsa")), field(Buffer.from(e, "base64url")), field(modulus)]);
    const error = await failure(run({ ...a, hostKey: `ssh-rsa ${blob.toString("base64")}` }, "true", { timeoutMs }));
    expect(error.kind).toBe("host-key");
  });

  test("a key that the server does not know is refused by name", async () => {
    const file = join(own, "stranger");
    writeFileSync(file, clientKeyPair(99).privateKey, { mode: 0o600 });
    const error = await failure(run({ ...a, auth: { kind: "key", file } }, "true", { timeoutMs }));
    expect(error.kind).toBe("auth");
    expect(error.message).toContain(file);
  });

  test("a missing key file and a missing agent are said before anything is tried", async () => {
    const error = await failure(run({ ...a, auth: { kind: "key", file: "/nonexistent/key" } }, "true", { timeoutMs }));
    expect(error.kind).toBe("auth");
    expect(error.message).toContain("/nonexistent/key does not exist");
    const socket = process.env.SSH_AUTH_SOCK;
    delete process.env.SSH_AUTH_SOCK;
    const agentless = await failure(run({ ...a, auth: { kind: "agent" } }, "true", { timeoutMs }));
    if (socket) process.env.SSH_AUTH_SOCK = socket;
    expect(agentless.message).toContain("SSH_AUTH_SOCK is not set");
  });

  test("the agent's key opens a server", async () => {
    const socket = join(own, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
    const before = process.env.SSH_AUTH_SOCK;
    try {
      process.env.SSH_AUTH_SOCK = socket;
      let added = 1;
      for (let i = 0; added !== 0 && i < 50; i++) {
        await new Promise((resolve) => setTimeout(resolve, 40));
        const add = spawn("ssh-add", ["-q", lab.keyFile], { stdio: "ignore" });
        added = await new Promise((resolve) => add.on("close", (code) => resolve(code ?? 1)));
      }
      const target: SshTarget = { ...a, auth: { kind: "agent" } };
      expect(await runOrThrow(target, "id -un", { timeoutMs })).toBe("root\n");
      disconnect(target);
    } finally {
      agent.kill();
      if (before) process.env.SSH_AUTH_SOCK = before;
      else delete process.env.SSH_AUTH_SOCK;
    }
  });

  test("a port where nobody listens and a host that does not exist are unreachable, each in its own words", async () => {
    const refused = await failure(run({ ...a, port: 2222 }, "true", { timeoutMs }));
    expect(refused.kind).toBe("unreachable");
    expect(refused.message).toContain(`${a.host}:2222: connection refused`);
    const absent = await failure(run({ ...a, host: `${lab.prefix("public")}.99` }, "true", { timeoutMs }));
    expect(absent.kind).toBe("unreachable");
    const nameless = await failure(run({ ...a, host: "no-such-host.invalid" }, "true", { timeoutMs }));
    expect(nameless.message).toContain("its name cannot be resolved");
  });

  test("a command that does not end is given up at its time", async () => {
    const started = Date.now();
    const error = await failure(run(a, "echo begun >&2; sleep 60", { timeoutMs: 1_500 }));
    expect(error.kind).toBe("timeout");
    expect(error.message).toContain("did not end within 1.5 s");
    expect(error.details[0]).toBe("begun");
    expect(Date.now() - started).toBeLessThan(5_000);
    expect((await run(a, "echo again", { timeoutMs })).stdout).toBe("again\n");
  });

  test("a server behind a jump host is reached with both keys pinned", async () => {
    const { host, port, hostKey } = a;
    // Not reachable from this machine: the heartbeat network has no port here.
    const behind = { ...b, host: lab.hosts["node-b"].address.heartbeat, jump: { host, port, user: "ops", hostKey } };
    expect(await runOrThrow(behind, "hostname", { timeoutMs })).toBe("node-b\n");

    const wrongJump = await failure(
      run({ ...behind, jump: { ...behind.jump, hostKey: b.hostKey } }, "true", { timeoutMs }),
    );
    expect([wrongJump.kind, wrongJump.server]).toEqual(["host-key", `${a.host}:22`]);
    const wrongTarget = await failure(run({ ...behind, hostKey: a.hostKey }, "true", { timeoutMs }));
    expect([wrongTarget.kind, wrongTarget.server]).toEqual(["host-key", `${behind.host}:22`]);
    const closed = await failure(run({ ...behind, port: 2222 }, "true", { timeoutMs }));
    expect([closed.kind, closed.server]).toEqual(["unreachable", `${behind.host}:2222`]);
  });

  test("a scan finds the pinned key, directly and through a jump host", async () => {
    expect(await scanHostKeys(a.host)).toContainEqual({ hostKey: a.hostKey, fingerprint: fingerprint(a.hostKey) });
    const { host, port, user, hostKey, auth } = a;
    const via = { jump: { host, port, user, hostKey }, auth };
    const scanned = await scanHostKeys(lab.hosts["node-b"].address.storage, 22, via);
    expect(scanned.map((key) => key.hostKey)).toEqual([b.hostKey]);
    expect((await failure(scanHostKeys(a.host, 2222))).kind).toBe("unreachable");
  });

  test("a stream delivers lines while it runs and ends with its input", async () => {
    const stream = await spawnStream(a, "echo ready; cat; echo bye");
    const first = await new Promise((resolve) => stream.stdout.once("data", (data) => resolve(String(data))));
    expect(first).toBe("ready\n");
    let rest = "";
    stream.stdout.on("data", (data) => {
      rest += data;
    });
    stream.stdin.end("hello\n");
    await new Promise((resolve) => stream.once("close", resolve));
    expect(rest).toBe("hello\nbye\n");
  });

  test("a connection that breaks under a command is not taken for the command's end", async () => {
    const cut = () => void consoleRun(lab, "node-b", ["systemctl", "stop", "session-*.scope"]);
    const error = await failure(run(b, "echo on; sleep 60", { timeoutMs, onLine: cut }));
    expect(error.kind).toBe("unreachable");
    expect(error.message).toContain(`${b.host}:22: the connection broke`);
  });

  test("a command on a server that loses power is given up in time, and a new one works when it is back", async () => {
    const cut = () => void powerCut(lab, "node-b");
    const error = await failure(run(b, "echo on; sleep 60", { timeoutMs: 2_500, onLine: cut }));
    expect(error.kind).toBe("timeout");
    await powerOn(lab, "node-b");
    expect((await run(b, "hostname", { timeoutMs })).stdout).toBe("node-b\n");
  });

  test("the user's known_hosts and configuration play no part", async () => {
    const home = join(own, "home");
    const script = join(own, "one.mjs");
    const module = join(import.meta.dirname, "../../infra/ssh/run.ts");
    writeFileSync(
      script,
      `import { run } from ${JSON.stringify(module)};
       const target = JSON.parse(process.argv[2]);
       console.log(JSON.stringify(await run(target, "echo fine", { timeoutMs: 20000 })));`,
    );
    chmodSync(own, 0o700);
    const env = { ...process.env, HOME: home };
    const child = spawn(process.execPath, [script, JSON.stringify(a)], { env, stdio: ["ignore", "pipe", "inherit"] });
    let out = "";
    child.stdout.on("data", (data) => {
      out += data;
    });
    expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
    expect(JSON.parse(out).stdout).toBe("fine\n");
    expect(() => readFileSync(join(home, ".ssh/known_hosts"))).toThrow();
  });
});
