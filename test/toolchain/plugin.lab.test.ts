// Promises of hotpair's `command` plugin that no recording of the official one holds: what fails fails in bounded time,
// what is cancelled ends on the server too, and no secret input comes out in an error or a log line.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commandPluginBinary } from "./binaries.ts";
import { type Peers, startPeers } from "./peers.ts";
import { type Json, type JsonObject, type Plugin, startPlugin } from "./plugin.ts";
import { type Sshd, sshdProblem, startSshd } from "./sshd.ts";

const problem = sshdProblem();
if (problem) console.log(`skipped: the command plugin's own promises: ${problem}`);

const secret = (value: Json): JsonObject => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  value,
});

describe.skipIf(problem)("the command plugin", () => {
  let sshd: Sshd;
  let peers: Peers;
  let plugin: Plugin;
  let binary: string;
  let urns = 0;

  beforeAll(async () => {
    binary = await commandPluginBinary();
    sshd = await startSshd();
    peers = await startPeers(sshd);
    plugin = await startPlugin(binary, { environment: { ...process.env, SSH_AUTH_SOCK: "" } });
  }, 120_000);
  afterAll(async () => {
    await plugin?.stop();
    await peers?.stop();
    await sshd?.stop();
  });

  const connection = (more: JsonObject = {}): Json =>
    secret({
      host: sshd.host,
      port: sshd.port,
      user: sshd.user,
      privateKey: secret(sshd.keys.authorized),
      dialErrorLimit: 0,
      perDialTimeout: 5,
      ...more,
    });
  const newUrn = () => `urn:pulumi:dev${urns++}::p::command:remote:Command::r`;

  /** Creates a Command; the outcome is its outputs, or its error as "CODE text". */
  async function create(properties: JsonObject, more: JsonObject = {}, using = plugin, urn = newUrn()) {
    const started = performance.now();
    const done = using.call(
      "Create",
      { urn, properties: { connection: connection(), ...properties }, ...more },
      60_000,
    );
    const outcome = await done.then(
      ({ properties }) => ({ outputs: properties as JsonObject, error: "" }),
      (error: { code: string; message: string }) => ({
        outputs: {} as JsonObject,
        error: `${error.code} ${error.message}`,
      }),
    );
    const logged = using
      .logs(urn)
      .map(([, , text]) => text)
      .join("\n");
    return { ...outcome, logged, elapsed: performance.now() - started };
  }

  /** The process id that a remote command wrote to a file, once it has. */
  async function pidIn(file: string): Promise<number> {
    await until(() => existsSync(file) && /^\d+\n/.test(readFileSync(file, "utf8")));
    return Number(readFileSync(file, "utf8"));
  }
  /** Ten seconds at most; a concurrent test cannot poll through the shared `expect`. */
  async function until(holds: () => boolean): Promise<void> {
    for (let waited = 0; !holds(); waited += 50) {
      if (waited > 10_000) throw new Error(`still not so after 10 s: ${holds}`);
      await sleep(50);
    }
  }
  const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

  test.concurrent("notices within 30 s that the server went silent while a command runs", async () => {
    const file = join(sshd.scratch, "frozen");
    // Freezes the sshd process that serves this very connection.
    const running = create({ create: `echo $PPID > ${file}; kill -STOP $PPID; exec sleep 90 > /dev/null 2>&1` });
    const server = await pidIn(file);
    const { error, elapsed } = await running;
    process.kill(server, "SIGKILL");
    expect(error).toMatch(/^UNKNOWN connection lost: 127\.0\.0\.1:\d+ has not answered for 20s: running "/);
    expect(elapsed).toBeLessThan(30_000);
  });

  test.concurrent("ends a call and its connection when it is cancelled", async () => {
    const own = await startPlugin(binary);
    const [server, command] = [join(sshd.scratch, "server"), join(sshd.scratch, "command")];
    const running = create({ create: `echo $PPID > ${server}; echo $$ > ${command}; exec sleep 90` }, {}, own);
    const pids = [await pidIn(server), await pidIn(command)];
    const started = performance.now();
    await own.call("Cancel", {});
    expect((await running).error).toMatch(/^CANCELLED context canceled: running "/);
    expect(performance.now() - started).toBeLessThan(10_000);
    // sshd passes no signal on to a command of root's, and lets it go on without a connection.
    await until(() => !isAlive(pids[0] ?? 0));
    process.kill(pids[1] ?? 0);
    await own.stop();
  });

  test.concurrent("keeps to a custom timeout", async () => {
    const { error, elapsed } = await create({ create: "exec sleep 90" }, { timeout: 1 });
    expect(error).toMatch(/^DEADLINE_EXCEEDED context deadline exceeded: running "exec sleep 90"/);
    expect(elapsed).toBeLessThan(10_000);
  });

  test.concurrent("does not wait for ever for a jump host's channel to a silent server", async () => {
    const port = peers.ports.get(2293) ?? 0;
    const proxy = { host: sshd.host, port: sshd.port, user: sshd.user, privateKey: sshd.keys.authorized };
    const { error, elapsed } = await create({
      connection: connection({ port, proxy, perDialTimeout: 1 }),
      create: "x",
    });
    expect(error).toMatch(/^DEADLINE_EXCEEDED proxy: after 0 failed attempts: /);
    expect(elapsed).toBeLessThan(10_000);
  });

  test.concurrent("runs commands side by side", async () => {
    const started = performance.now();
    const all = await Promise.all([1, 2, 3, 4].map((i) => create({ create: `sleep 3; echo ${i}` })));
    expect(all.map(({ outputs }) => outputs.stdout)).toEqual(["1", "2", "3", "4"]);
    expect(performance.now() - started).toBeLessThan(11_000);
  });

  test.concurrent("masks what is secret in the inputs, whole and line by line, in errors and log lines", async () => {
    const stdin = "first secret line\nsecond secret line\n";
    const { error, logged } = await create({
      create: 'cat; echo "$TOKEN $connection"; echo "public"; exit 4',
      stdin: secret(stdin),
      environment: { TOKEN: secret("t0ken-value"), connection: secret("also-secret") },
    });
    expect(error).toContain("UNKNOWN Process exited with status 4");
    expect(error).toContain("public");
    expect(logged).toContain("public");
    for (const text of [error, logged]) {
      expect(text).not.toMatch(/first secret|second secret|t0ken-value|also-secret/);
      expect(text).toContain("[secret]");
    }
  });

  test.concurrent("masks a secret command and a secret previous output", async () => {
    const command = 'echo "hidden words"\nexit 5';
    const { error } = await create({ create: secret(command) });
    expect(error).toBe('UNKNOWN Process exited with status 5: running "[secret]":\nhidden words\n');

    const update = plugin.call("Update", {
      id: "r1",
      urn: newUrn(),
      olds: { connection: connection(), create: "x", stdout: secret("previous secret"), stderr: "" },
      news: { connection: connection(), create: "echo $PULUMI_COMMAND_STDOUT; exit 6" },
    });
    await expect(update).rejects.toThrow(/^(?!.*previous secret)[\s\S]*\[secret\]/);
  });

  test.concurrent("carries old outputs over without their secret marks, as the engine puts those back", async () => {
    const answer = await plugin.call("Update", {
      id: "r1",
      urn: newUrn(),
      olds: { connection: connection(), create: "x", stdout: secret("out"), stderr: secret("err") },
      news: { connection: connection() },
    });
    expect(answer.properties).toEqual({ connection: connection(), stdout: "out", stderr: "err" });
  });

  test.concurrent("says of the resources it does not have where to get them", async () => {
    for (const type of ["command:local:Command", "command:remote:CopyToRemote"]) {
      const call = plugin.call("Check", { urn: `urn:pulumi:dev::p::${type}::r`, olds: {}, news: {} });
      await expect(call).rejects.toThrow(/pulumi plugin install resource command 1\.2\.1/);
    }
  });

  test.concurrent("ends with the engine", async () => {
    const own = await startPlugin(binary);
    const ended = new Promise((resolve) => own.process.once("exit", resolve));
    own.process.kill("SIGINT");
    expect(await ended).toBe(0);
  });
});
