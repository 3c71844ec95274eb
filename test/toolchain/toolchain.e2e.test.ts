// Promises of the toolchain as a whole, with the real CLI over SSH to a real sshd: what is declared is run once and
// kept in the state as the official plugin keeps it; a policy stops before anything is touched; mistakes are reported
// quickly and without secrets; nothing is left when the CLI is killed.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Json, JsonObject } from "./plugin.ts";
import { type Sshd, sshdProblem, startSshd } from "./sshd.ts";
import { type Declared, makeStack, type Stack } from "./stack.ts";

const problem = sshdProblem();
if (problem) console.log(`skipped: the toolchain end to end: ${problem}`);

const signature = "4dabf18193072939515e22adb298388d";

describe.skipIf(problem)("the toolchain end to end", () => {
  let sshd: Sshd;
  let stack: Stack;

  beforeAll(async () => {
    sshd = await startSshd();
  });
  afterAll(() => sshd?.stop());
  beforeEach(async () => {
    stack = await makeStack();
  });
  afterEach(() => stack?.remove());

  const connection = (more: JsonObject = {}): JsonObject => ({
    host: sshd.host,
    port: sshd.port,
    user: sshd.user,
    privateKey: sshd.keys.authorized,
    hostKey: sshd.keys.hostEd25519,
    ...more,
  });
  const command = (args: JsonObject, more: Partial<Declared> = {}): Declared => ({
    name: "a",
    args: { connection: connection(), ...args },
    ...more,
  });
  const up = (declared: Declared[], ...flags: string[]) => stack.run(["up", "-s", "dev", "--yes", ...flags], declared);
  const ran = () => readFileSync(join(sshd.scratch, "ran"), "utf8").trim().split("\n");

  test("create, nothing to do, update, destroy: each command runs once, and an unchanged stack runs none", async () => {
    const log = join(sshd.scratch, "ran");
    const args = {
      create: `echo created >> ${log}`,
      update: `echo updated >> ${log}`,
      delete: `echo deleted >> ${log}`,
    };
    const first = await up([command(args)]);
    expect(first.text).toContain("2 created");
    const second = await up([command(args)]);
    expect(second.text).toContain("2 unchanged");
    expect(ran()).toEqual(["created"]);
    const third = await up([command({ ...args, stdin: "new" })]);
    expect(third.text).toContain("1 updated");
    expect(ran()).toEqual(["created", "updated"]);
    const last = await stack.run(["destroy", "-s", "dev", "--yes"], []);
    expect(last.text).toContain("2 deleted");
    expect(ran()).toEqual(["created", "updated", "deleted"]);
    expect([first, second, third, last].map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  });

  test("the state is the official plugin's to the letter, with the connection's credentials secret in a secret", async () => {
    await up(
      [command({ create: "cat; echo hi; echo err >&2", stdin: "s3cr3t" }, { secret: ["stdin"] })],
      "--skip-preview",
    );
    const state = await stack.export("--show-secrets");
    const resources = (state.deployment as { resources: JsonObject[] }).resources;
    const secret = (value: Json) => ({
      [signature]: "1b47061264138c4ac30d75fd1eb44270",
      plaintext: JSON.stringify(value),
    });
    const [provider, resource] = ["pulumi:providers:command", "command:remote:Command"].map((type) =>
      resources.find((one) => one.type === type),
    );
    // As recorded in cli/up-create of the vectors: the marker is what the official plugin writes.
    expect(provider?.outputs).toEqual({ "__pulumi-go-provider-version": "v1.5.0", version: "1.2.1" });
    const checked = {
      connection: secret({
        dialErrorLimit: 10,
        host: sshd.host,
        hostKey: sshd.keys.hostEd25519,
        perDialTimeout: 15,
        port: sshd.port,
        privateKey: secret(sshd.keys.authorized),
        user: "root",
      }),
      create: "cat; echo hi; echo err >&2",
      stdin: secret("s3cr3t"),
    };
    expect(unordered(resource?.inputs)).toEqual(unordered(checked));
    expect(unordered(resource?.outputs)).toEqual(unordered({ ...checked, stderr: "err", stdout: "s3cr3thi" }));
    expect(resource?.id).toMatch(/^a[0-9a-f]{8}$/);
  });

  test("a mandatory policy violation stops before the server is touched, and says what and where", async () => {
    const file = join(sshd.scratch, "touched");
    const outcome = await stack.run(
      ["up", "-s", "dev", "--yes", "--policy-pack", stack.policyPack],
      [command({ create: `echo x > ${file}` })],
      { FORBIDDEN: "touched" },
    );
    expect(outcome.code).not.toBe(0);
    expect(outcome.text).toMatch(/\[mandatory\]\s+no-forbidden-command\s+\(command:remote:Command: a\)/);
    expect(outcome.text).toContain("the create command contains a forbidden word");
    expect(readdirSync(sshd.scratch)).not.toContain("touched");

    const allowed = await stack.run(
      ["up", "-s", "dev", "--yes", "--policy-pack", stack.policyPack],
      [command({ create: `echo x > ${file}` })],
    );
    expect(allowed.code).toBe(0);
    expect(readdirSync(sshd.scratch)).toContain("touched");
  });

  test("a wrong host key fails at once, without a retry, and names both keys", async () => {
    const wrong = connection({ hostKey: sshd.keys.otherHostEd25519 });
    const outcome = await up([command({ connection: wrong, create: "true" })], "--skip-preview");
    expect(outcome.code).not.toBe(0);
    expect(outcome.text).toMatch(
      /ssh: host key mismatch: 127\.0\.0\.1:\d+ presented ssh-ed25519 SHA256:\S+, expected ssh-ed25519 SHA256:/,
    );
    expect(outcome.text).not.toContain("retrying");
    // The ten retries of the official plugin alone take 11 s.
    expect(outcome.milliseconds).toBeLessThan(11_000);
  });

  test("a secret on standard input is in no failure text and in no exported state", async () => {
    const value = "correct horse\nbattery staple";
    const declared = command({ create: "cat >&2; exit 3", stdin: value }, { secret: ["stdin"] });
    const failed = await up([declared], "--skip-preview");
    expect(failed.code).not.toBe(0);
    expect(failed.text).toContain("Process exited with status 3");
    expect(failed.text).not.toMatch(/correct horse|battery staple/);

    const succeeded = await up([command({ create: "cat > /dev/null", stdin: value }, { secret: ["stdin"] })]);
    expect(succeeded.code).toBe(0);
    const exported = JSON.stringify(await stack.export());
    expect(exported).not.toMatch(/correct horse|battery staple|OPENSSH PRIVATE KEY/);
  });

  test("standard input of 2 MiB goes through a create and an update", async () => {
    const args = { create: "wc -c", stdin: "x".repeat(2 * 1024 * 1024), addPreviousOutputInEnv: false };
    expect((await up([command(args)], "--skip-preview")).text).toContain("2097152");
    const changed = await up([command({ ...args, stdin: "y".repeat(2 * 1024 * 1024 - 1) })], "--skip-preview");
    expect(changed.text).toContain("2097151");
    expect(changed.code).toBe(0);
  });

  test("a program's mistake is shown, and the CLI fails", async () => {
    const outcome = await up([{ name: "a", args: { create: "true" } }]);
    expect(outcome.code).not.toBe(0);
    expect(outcome.text).toContain("Missing required property 'connection'");
  });

  test("a killed CLI leaves no process behind", { timeout: 60_000 }, async () => {
    const file = join(sshd.scratch, "pid");
    const cli = stack.start(
      ["up", "-s", "dev", "--yes", "--skip-preview"],
      [command({ create: `echo $$ > ${file}; exec sleep 60` })],
    );
    await expect.poll(() => readdirSync(sshd.scratch), { timeout: 20_000 }).toContain("pid");
    await expect.poll(() => readFileSync(file, "utf8").trim()).toMatch(/^\d+$/);
    expect(marked(stack.mark).length).toBeGreaterThan(2);
    cli.kill("SIGKILL");
    await expect.poll(() => marked(stack.mark), { timeout: 5_000 }).toEqual([]);
    // Without a terminal sshd lets a command outlive its connection, as it is for whoever relies on that.
    process.kill(Number(readFileSync(file, "utf8")));
  });

  // The recorded runs of the official plugin: the order of calls shows that the engine takes ours for the same.
  describe("the engine calls the plugin as it called the recorded one:", () => {
    const recorded = (name: string): string[] => {
      const vectors = readFileSync(join(import.meta.dirname, "vectors", "remote-command.jsonl"), "utf8")
        .trim()
        .split("\n");
      const vector = vectors.map((line) => JSON.parse(line)).find((one) => one.name === `cli/${name}/sequence`);
      return vector.response as string[];
    };
    const quick = ["--skip-preview"];

    test("up-create, up-noop, refresh, destroy", async () => {
      const declared = [command({ create: "echo hi; echo err >&2" })];
      await up(declared);
      expect(stack.calls()).toEqual(recorded("up-create"));
      await up(declared, ...quick);
      expect(stack.calls()).toEqual(recorded("up-noop"));
      await stack.run(["refresh", "-s", "dev", "--yes", ...quick], declared);
      expect(stack.calls()).toEqual(recorded("refresh"));
      await stack.run(["destroy", "-s", "dev", "--yes", ...quick], declared);
      expect(stack.calls()).toEqual(recorded("destroy"));
    });

    test("up-trigger-change, up-trigger-change-deleteBeforeReplace", async () => {
      const triggered = (trigger: string, options: JsonObject = {}) =>
        command({ create: "echo c:$PULUMI_COMMAND_STDOUT", delete: "echo bye", triggers: [trigger] }, { options });
      await up([triggered("t1")], ...quick);
      await up([triggered("t2")]);
      expect(stack.calls()).toEqual(recorded("up-trigger-change"));
      await up([triggered("t3", { deleteBeforeReplace: true })], ...quick);
      expect(stack.calls()).toEqual(recorded("up-trigger-change-deleteBeforeReplace"));
    });

    test("up-create-fails, up-update-fails, destroy-delete-fails", async () => {
      await up([command({ create: "echo out; echo err>&2; exit 3" })], ...quick);
      expect(stack.calls()).toEqual(recorded("up-create-fails"));
      await up([command({ create: "echo ok1", delete: "echo nodel; exit 9" })], ...quick);
      const failed = await up([command({ create: "echo bad; exit 4", delete: "echo nodel; exit 9" })], ...quick);
      expect(failed.text).toContain('Process exited with status 4: running "echo bad; exit 4"');
      expect(stack.calls()).toEqual(recorded("up-update-fails"));
      const destroyed = await stack.run(["destroy", "-s", "dev", "--yes", ...quick], []);
      expect(destroyed.code).not.toBe(0);
      expect(stack.calls()).toEqual(recorded("destroy-delete-fails"));
    });

    test("preview-unknown-host, up-secret-inputs, import-option", async () => {
      const first = { ...command({ create: "echo 127.0.0.1" }), name: "l" };
      await stack.run(["preview", "-s", "dev"], [first, { ...command({ create: "x" }), name: "r", hostFrom: "l" }]);
      expect(stack.calls()).toEqual(recorded("preview-unknown-host"));
      await up(
        [command({ create: "echo topsecret", stdin: "s3cr3tstdin" }, { secret: ["create", "stdin"] })],
        ...quick,
      );
      expect(stack.calls()).toEqual(recorded("up-secret-inputs"));
      const imported = { ...command({ create: "echo c" }, { options: { import: "anyid" } }), name: "i" };
      await up([imported], ...quick);
      expect(stack.calls().filter((call) => call !== "DiffConfig")).toEqual(recorded("import-option"));
    });
  });
});

/** Ids of the processes that carry a stack's mark in their environment. */
function marked(mark: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`HOTPAIR_TEST_MARK=${mark}`);
      } catch {
        return false; // gone, or a kernel thread
      }
    })
    .map(Number);
}

/** Secrets with their plaintext parsed, at every depth: the order of properties in it does not matter. */
function unordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unordered);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === "plaintext" && typeof inner === "string" ? unordered(JSON.parse(inner)) : unordered(inner),
    ]),
  );
}
