// init, secrets, check and render as users run them: what is written, what is said, how it ends.

import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSalt } from "../../infra/cli/passphrase.ts";
import { readStack, readStackFile } from "../../infra/config/index.ts";
import { LAB_TEXT } from "../config/sample.ts";
import { Project } from "./project.ts";

let project: Project;
beforeAll(() => {
  project = new Project();
});
afterAll(() => project.remove());

const phrase = { PULUMI_CONFIG_PASSPHRASE: "correct horse" };
const labPhrase = { PULUMI_CONFIG_PASSPHRASE: "hotpair-lab" };
const node = (name: string, last: number) =>
  `name=${name},ssh=ops@192.0.2.${last}:2222,public=eth0:192.0.2.${last}/24,heartbeat=eth1:198.18.101.${last}/24`;
const flags = ["--node", node("alpha", 11), "--node", node("beta", 12), "--vip", "web=192.0.2.100"];

/** The only secret of a stack file, decrypted. */
async function beaconKey(text: string, passphrase: string, name = "beaconKey"): Promise<string> {
  const { pairInput, encryptionSalt = "" } = readStackFile(text, "any");
  const secret = (pairInput as Record<string, { secure: string }>)[name];
  return (await openSalt(encryptionSalt, passphrase)).decrypt(secret?.secure ?? "");
}

describe("init", () => {
  test("writes a stack file that lacks only what the servers know, with secrets of its own", async () => {
    const outcome = await project.hotpair(["init", "-s", "prod", ...flags], phrase);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(outcome.stdout).toContain("wrote stacks/Pulumi.prod.yaml");
    const check = await project.hotpair(["check", "-s", "prod"]);
    expect(check.code).toBe(2);
    expect(check.stderr).toContain(
      "hotpair:pair.nodes[0].ssh.hostKey: is missing; fetch it with `hotpair scan` (stacks/Pulumi.prod.yaml:13:9)",
    );
    expect(check.stderr.match(/hotpair:pair\./g)).toHaveLength(2);
    const text = project.read("prod");
    expect(await beaconKey(text, "correct horse")).toMatch(/^[0-9a-f]{64}$/);
    await expect(beaconKey(text, "wrong")).rejects.toThrow("the passphrase is not this stack's");
  });

  test("never overwrites a stack file", async () => {
    const before = LAB_TEXT;
    expect(await project.hotpair(["init", "-s", "lab", ...flags], phrase)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("stack lab exists: stacks/Pulumi.lab.yaml is left as it is"),
    });
    expect(project.read("lab")).toBe(before);
  });

  test("writes nothing when the answers are wrong, and says all that is", async () => {
    const wrong = [...flags.slice(0, 2), "--node", node("alpha", 11), "--vip", "web=198.51.100.1/24"];
    const outcome = await project.hotpair(["init", "-s", "wrong", ...wrong], phrase);
    expect(outcome.code).toBe(2);
    for (const mistake of ["is the name of nodes[0] too", "a pair is two servers", "is outside networks.public"])
      expect(outcome.stderr).toContain(mistake);
    expect(readdirSync(join(project.directory, "stacks"))).not.toContain("Pulumi.wrong.yaml");
  });

  test("asks nobody where there is no terminal", async () => {
    expect(await project.hotpair(["init", "-s", "silent"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("give --node twice and --vip"),
    });
    expect(await project.hotpair(["init", "-s", "silent", ...flags])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("PULUMI_CONFIG_PASSPHRASE"),
    });
  });

  test("two VIPs prefer one node each; a service that hotpair does not manage; no HAProxy", async () => {
    const file = join(project.directory, "phrase");
    writeFileSync(file, "from a file\n");
    const two = [
      ...flags,
      "--vip",
      "api=192.0.2.101/32",
      "--router-id",
      "255",
      "--service",
      "app:9000",
      "--tier",
      "critical",
    ];
    expect(await project.hotpair(["init", "-s", "two", ...two], { PULUMI_CONFIG_PASSPHRASE_FILE: file })).toMatchObject(
      { code: 2, stderr: expect.stringContaining("256 is not a virtual router id") },
    );
    two[two.indexOf("255")] = "7";
    expect((await project.hotpair(["init", "-s", "two", ...two], { PULUMI_CONFIG_PASSPHRASE_FILE: file })).code).toBe(
      0,
    );
    expect(readStackFile(project.read("two"), "two").pairInput).toMatchObject({
      vips: [
        { name: "web", address: "192.0.2.100/24", routerId: 7, preferred: "alpha" },
        { name: "api", address: "192.0.2.101/32", routerId: 8, preferred: "beta" },
      ],
      haproxy: {
        frontends: [
          { bind: "web:80", backend: "app" },
          { bind: "api:80", backend: "app" },
        ],
      },
      external: { name: "app", port: 9000 },
      objectives: { tier: "critical" },
    });
    expect(await beaconKey(project.read("two"), "from a file")).toMatch(/^[0-9a-f]{64}$/);
    await project.hotpair(["init", "-s", "bare", ...flags, "--service", "none"], phrase);
    expect(Object.keys(readStackFile(project.read("bare"), "bare").pairInput as object)).toEqual([
      "networks",
      "nodes",
      "vips",
      "objectives",
      "beaconKey",
    ]);
  });
});

describe("secrets", () => {
  test("a rotation keeps the old key until it is finished, and the rest of the file as it is", async () => {
    const before = project.read("lab");
    const oldKey = await beaconKey(before, "hotpair-lab");
    expect((await project.hotpair(["secrets", "rotate", "-s", "lab"], labPhrase)).code).toBe(0);
    const during = project.read("lab");
    expect(await beaconKey(during, "hotpair-lab", "previousBeaconKey")).toBe(oldKey);
    const newKey = await beaconKey(during, "hotpair-lab");
    expect(newKey).toMatch(/^[0-9a-f]{64}$/);
    expect(newKey).not.toBe(oldKey);

    expect(await project.hotpair(["secrets", "rotate", "-s", "lab"], labPhrase)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("a rotation is under way already"),
    });
    expect(project.read("lab")).toBe(during);
    const list = await project.hotpair(["secrets", "list", "-s", "lab", "--json"]);
    expect(JSON.parse(list.stdout)).toMatchObject({
      rotating: true,
      secrets: [
        { path: "hotpair:pair.beaconKey", state: "encrypted" },
        { path: "hotpair:pair.previousBeaconKey", state: "encrypted" },
      ],
    });

    expect((await project.hotpair(["secrets", "rotate", "--finish", "-s", "lab"])).code).toBe(0);
    const after = project.read("lab");
    expect(await beaconKey(after, "hotpair-lab")).toBe(newKey);
    expect(after.replace(/secure: .*/, "")).toBe(before.replace(/secure: .*/, ""));
    expect((await project.hotpair(["secrets", "rotate", "--finish", "-s", "lab"])).code).toBe(2);
  });

  test("of a pair with data, the replication password is made and rotated with it", async () => {
    project.write("data", LAB_TEXT.replace("    nginx:\n", "    mariadb: {}\n    nginx:\n"));
    expect((await project.hotpair(["secrets", "rotate", "-s", "data"], labPhrase)).code).toBe(0);
    const password = () =>
      (readStackFile(project.read("data"), "data").pairInput as { mariadb: Record<string, { secure: string }> })
        .mariadb;
    const first = password().replicationPassword;
    expect(Object.keys(password())).toEqual(["replicationPassword"]);
    expect((await project.hotpair(["secrets", "rotate", "--finish", "-s", "data"])).code).toBe(0);

    expect((await project.hotpair(["secrets", "rotate", "-s", "data"], labPhrase)).code).toBe(0);
    expect(password().previousReplicationPassword).toEqual(first);
    expect((await project.hotpair(["secrets", "rotate", "--finish", "-s", "data"])).code).toBe(0);
    expect(Object.keys(password())).toEqual(["replicationPassword"]);
    expect(password().replicationPassword).not.toEqual(first);
  });

  test("a wrong passphrase changes nothing", async () => {
    const before = project.read("lab");
    expect(await project.hotpair(["secrets", "rotate", "-s", "lab"], phrase)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("the passphrase is not this stack's"),
    });
    expect(project.read("lab")).toBe(before);
  });

  test("a key in plain text is listed, not shown, and replaced by a rotation", async () => {
    const plain = "0f".repeat(32);
    project.write("plain", LAB_TEXT.replace(/beaconKey:\n +secure: .*\n/, `beaconKey: ${plain}\n`));
    const list = await project.hotpair(["secrets", "list", "-s", "plain"]);
    expect(list.code).toBe(2);
    expect(list.stdout).toMatch(/^hotpair:pair\.beaconKey +plain text +stacks\/Pulumi\.plain\.yaml:64\n$/);
    await project.hotpair(["secrets", "rotate", "-s", "plain"], labPhrase);
    expect(project.read("plain")).not.toContain(plain);
    expect(await beaconKey(project.read("plain"), "hotpair-lab")).toMatch(/^[0-9a-f]{64}$/);
    expect(project.read("plain")).not.toContain("previousBeaconKey");
  });
});

describe("check", () => {
  test("a right configuration that keeps its targets ends with 0", async () => {
    const outcome = await project.hotpair(["check", "-s", "lab"]);
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/node-power-cut +[\d.]+ms\.\.[\d.]+ms +30s +within/);
    expect(outcome.stdout).toMatch(/\nlab: good\n$/);
  });

  test("a missed target ends with 3", async () => {
    project.write(
      "strict",
      LAB_TEXT.replace("tier: standard", "tier: standard\n      rto:\n        node-power-cut: 10ms"),
    );
    const outcome = await project.hotpair(["check", "-s", "strict", "--json"]);
    expect(outcome.code).toBe(3);
    const facts = JSON.parse(outcome.stdout);
    expect(facts.verdict).toBe("target missed");
    expect(facts.estimates.find((each: { failure: string }) => each.failure === "node-power-cut").rto).toMatchObject({
      verdict: "missed",
      target: { value: 10 },
    });
  });

  test("an unsafe configuration ends with 2", async () => {
    project.write("unsafe", LAB_TEXT.replace("          check:\n", "          check:\n            fall: 1\n"));
    const outcome = await project.hotpair(["check", "-s", "unsafe"]);
    expect(outcome.code).toBe(2);
    expect(outcome.stdout).toContain("hotpair:pair.haproxy.backends[0].check.fall:");
    expect(outcome.stdout).toContain("mandatory  haproxy-check-timers (stacks/Pulumi.unsafe.yaml:59:19)");
    expect(outcome.stdout).toMatch(/\nunsafe: wrong\n$/);
  });

  test("mistakes are facts, too, for who reads JSON", async () => {
    project.write("mistaken", LAB_TEXT.replace("routerId: 51", "routerId: 0"));
    const outcome = await project.hotpair(["check", "-s", "mistaken", "--json"]);
    expect(outcome.code).toBe(2);
    expect(JSON.parse(outcome.stdout)).toMatchObject({
      verdict: "wrong",
      mistakes: [expect.stringContaining("0 is not a virtual router id from 1 to 255")],
    });
  });

  test("an unknown stack ends with 2 and lists the existing ones", async () => {
    expect(await project.hotpair(["check", "-s", "nope"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/there is no stack nope.*\n.*existing stacks: .*lab/),
    });
  });

  test("another stack with the same address and router id on the same network is pointed out", async () => {
    project.write("twin", LAB_TEXT.replace("name: lab", "name: twin"));
    const outcome = await project.hotpair(["check", "-s", "twin"]);
    expect(outcome.stdout).toContain(
      'hotpair:pair.vips[0].routerId: 51 is also the virtual router id of VIP "web" in stack lab',
    );
    expect(outcome.stdout).toContain('hotpair:pair.vips[0].address: 198.18.0.100/24 is also VIP "web" of stack lab');
  });
});

describe("render", () => {
  test("writes each node's files with their modes, and names instead of secrets", async () => {
    const out = join(project.directory, "out");
    expect((await project.hotpair(["render", "-s", "lab", "--out", out])).code).toBe(0);
    expect(readdirSync(out).sort()).toEqual(["node-a", "node-b"]);
    expect(readFileSync(join(out, "node-a/etc/haproxy/haproxy.cfg"), "utf8")).toContain("bind 198.18.0.100:80");
    expect(statSync(join(out, "node-a/usr/lib/hotpair/hotpair-apply")).mode & 0o777).toBe(0o755);
    const key = join(out, "node-b/etc/hotpair/beacon.key");
    expect(readFileSync(key, "utf8")).toContain("<secret beaconKey>");
    expect(statSync(key).mode & 0o777).toBe(0o600);
  });

  test("with secrets only for who has the passphrase, in a directory of their own", async () => {
    const out = join(project.directory, "secret-out");
    expect((await project.hotpair(["render", "-s", "lab", "--out", out, "--with-secrets"], phrase)).code).toBe(2);
    expect((await project.hotpair(["render", "-s", "lab", "--out", out, "--with-secrets"], labPhrase)).code).toBe(0);
    expect(readFileSync(join(out, "node-a/etc/hotpair/beacon.key"), "utf8")).toContain(
      await beaconKey(project.read("lab"), "hotpair-lab"),
    );
    expect(statSync(out).mode & 0o777).toBe(0o700);
  });

  test("does not mix with what is there", async () => {
    const out = join(project.directory, "full");
    mkdirSync(out);
    writeFileSync(join(out, "mine"), "");
    expect(await project.hotpair(["render", "-s", "lab", "--out", out])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is not empty"),
    });
    expect(readdirSync(out)).toEqual(["mine"]);
  });
});

test("the lab's stack is what readers expect of it", () => {
  const { pair } = readStack(LAB_TEXT, "stacks/Pulumi.lab.yaml", "lab");
  expect(pair.nodes.map(({ ssh }) => ssh.auth)).toEqual(
    Array(2).fill({ kind: "keyFile", file: "~/.cache/hotpair/lab/default/id_ed25519" }),
  );
});
