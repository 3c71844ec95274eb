// `hotpair cloud keys` and `hotpair cost` as a user runs them on a copy of the example, and what is said where the AWS plugin cannot be had.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { makesAnew, makesServer, requireAwsPlugin, typeThatRuns } from "../../infra/cli/engine.ts";
import { readStack } from "../../infra/config/index.ts";
import { AWS_PLUGIN_VERSION } from "../../infra/model/resource.ts";
import { CLOUD_TEXT } from "../config/sample.ts";
import { Project } from "./project.ts";

const PASSPHRASE = { PULUMI_CONFIG_PASSPHRASE: "of this test" };

let project: Project;
beforeAll(() => {
  project = new Project();
});
afterAll(() => project.remove());

/** The example without what is published in it, as its first lines say. */
const copied = (): string =>
  CLOUD_TEXT.replace(/^ +(beaconKey|hostKeys):\n( +.*\n)*?(?=( {4}\w| {2}\w|\w))/gm, "")
    .replace(/^ +hostKey: .*\n/gm, "")
    .replace(/^encryptionsalt: .*\n/m, "");

test("a copy gets keys of its own, under a passphrase of its own, and is then a right configuration", async () => {
  const text = copied();
  expect(text).not.toContain("secure:");
  project.write("prod", text);
  const { code, stdout, stderr } = await project.hotpair(["cloud", "keys", "-s", "prod"], PASSPHRASE);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("has a new host key of node a, a new host key of node b, a new beacon key");
  const written = project.read("prod");
  const { pair } = readStack(written, "stacks/Pulumi.prod.yaml", "prod");
  expect(pair.nodes[0].ssh.hostKey).toMatch(/^ssh-ed25519 /);
  expect(pair.nodes[0].ssh.hostKey).not.toBe(pair.nodes[1].ssh.hostKey);
  expect(written).not.toContain("PRIVATE KEY");
  expect(parse(written).config["hotpair:aws"].hostKeys.a.secure).toMatch(/^v1:/);
});

test("keys that are there stay: a server that runs would not be recognized", async () => {
  const before = project.read("prod");
  const { code, stdout } = await project.hotpair(["cloud", "keys", "-s", "prod"], PASSPHRASE);
  expect([code, stdout.split("\n")[0]]).toEqual([0, "stacks/Pulumi.prod.yaml has all its keys"]);
  expect(project.read("prod")).toBe(before);
});

test("a witness that is made with the servers has a host key of its own", async () => {
  const made = `    witness:
      zone: eu-central-1c
      prefix: 10.20.3.0/28
      type: m7g.medium
      elasticIp: eipalloc-0a1b2c3d4e5f60713
`;
  const described = `  hotpair:witness:
    address: 10.20.3.10
    ssh:
      host: 203.0.113.13
      user: admin
`;
  project.write("voted", `${copied().replace("    tags:\n", `${made}    tags:\n`).trimEnd()}\n${described}`);
  const { code, stdout, stderr } = await project.hotpair(["cloud", "keys", "-s", "voted"], PASSPHRASE);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("a new host key of the witness");
  expect(stdout).toContain("next: hotpair authority init -s voted, then hotpair check -s voted");
  const { config } = parse(project.read("voted"));
  expect(config["hotpair:aws"].witness.hostKey.secure).toMatch(/^v1:/);
  const keys = [...config["hotpair:pair"].nodes, config["hotpair:witness"]].map(({ ssh }) => ssh.hostKey);
  for (const key of keys) expect(key).toMatch(/^ssh-ed25519 /);
  expect(new Set(keys).size).toBe(3);
});

test("a stack on premises has no keys to make", async () => {
  const { code, stderr } = await project.hotpair(["cloud", "keys", "-s", "lab"], PASSPHRASE);
  expect(code).toBe(2);
  expect(stderr).toContain("stack lab makes no servers");
  expect(stderr).toContain("hotpair scan -s lab");
});

test("where the AWS plugin cannot be had, one error says so and where to put it", () => {
  const home = mkdtempSync(join(tmpdir(), "hotpair-home-"));
  try {
    vi.stubEnv("PULUMI_HOME", home);
    vi.stubEnv("PATH", "/nonexistent");
    const directory = join(home, "plugins", `resource-aws-v${AWS_PLUGIN_VERSION}`);
    expect(requireAwsPlugin).toThrow(/AWS plugin 7\.48\.0 is not here, and its vendor .* cannot be reached/);
    expect(() => {
      try {
        requireAwsPlugin();
      } catch (error) {
        throw new Error((error as { details: string[] }).details.join());
      }
    }).toThrow(directory);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "pulumi-resource-aws"), "", { mode: 0o755 });
    expect(requireAwsPlugin).not.toThrow();
  } finally {
    vi.unstubAllEnvs();
    rmSync(home, { recursive: true });
  }
});

test("a server that is about to be made is not one that fails to answer", () => {
  const urn = "urn:pulumi:cloud::hotpair::hotpair:index:AwsServers$aws:ec2/instance:Instance::instance-a";
  const step = (op: string) => ({
    steps: [{ op, urn, type: "aws:ec2/instance:Instance", oldInputs: {}, newInputs: {}, outputs: {} }],
  });
  expect(makesServer(step("create"), "a")).toBe(true);
  expect(makesServer(step("create-replacement"), "a")).toBe(true);
  expect(makesServer(step("same"), "a")).toBe(false);
  expect(makesServer(step("update"), "a")).toBe(false);
  expect(makesServer(step("create"), "b")).toBe(false);
  expect(makesServer(step("create"), "witness")).toBe(false);
});

test("a server that is made in the place of one that is gone is not set up by the engine", () => {
  const made = "urn:pulumi:cloud::hotpair::hotpair:index:AwsServers$aws:ec2/instance:Instance::instance-b";
  const command = "urn:pulumi:cloud::hotpair::hotpair:index:Pair$hotpair:index:Node$command:remote:Command::node-b";
  const outcome = (op: string) => ({
    steps: [
      { op: "create", urn: made, type: "aws:ec2/instance:Instance" },
      { op, urn: command, type: "command:remote:Command" },
    ].map((each) => ({ ...each, oldInputs: {}, newInputs: {}, outputs: {} })),
  });
  expect(makesAnew(outcome("create"), "b")).toBe(false);
  expect(makesAnew(outcome("same"), "b")).toBe(true);
  expect(makesAnew(outcome("same"), "a")).toBe(false);
});

test("a server that runs is known by its type, whatever the stack file says by now", () => {
  const urn = "urn:pulumi:cloud::hotpair::hotpair:index:AwsServers$aws:ec2/instance:Instance::instance-witness";
  const step = (op: string) => ({
    steps: [
      { op, urn, type: "aws:ec2/instance:Instance", oldInputs: { instanceType: "m7g.medium" } },
      { op, urn: "urn::instance-a", type: "aws:ec2/eip:Eip", oldInputs: {} },
    ].map((each) => ({ ...each, newInputs: {}, outputs: {} })),
  });
  expect(typeThatRuns(step("same"), "witness")).toBe("m7g.medium");
  expect(typeThatRuns(step("update"), "witness")).toBe("m7g.medium");
  expect(typeThatRuns(step("create"), "witness")).toBeUndefined();
  expect(typeThatRuns(step("same"), "a")).toBeUndefined();
});

test("what a stack costs is said with the date and source of its prices, and refused without them", async () => {
  const file = join(project.directory, "prices.yaml");
  const priced = async (text: string) => {
    writeFileSync(file, text);
    return project.hotpair(["cost", "-s", "prod", "--prices", file]);
  };
  const good = await priced(
    'currency: USD\ndate: "2026-11-20"\nsource: this test\nprices: {instance/m7i.large/eu-central-1: 0.1}\n',
  );
  expect([good.code, good.stderr]).toEqual([0, ""]);
  expect(good.stdout).toContain("prod: 146.00 USD a month; a single server of the same kind: 73.00 USD");
  expect(good.stdout).toContain("prices of 2026-11-20, from this test");
  expect(good.stdout).toMatch(/spares, expected: [\d.]+ to [\d.]+ hours a month less .*an hour costs you is not known/);
  const worth = await priced(
    'currency: USD\ndate: "2026-11-20"\nsource: this test\nprices: {}\ndowntimeHour: 1000\nonPremises: 420\n',
  );
  expect(worth.stdout).toContain("the pair on premises, by your word: 420.00 USD");
  const [, hours, money] = /expected: ([\d.]+) to .*server, ([\d.]+) USD to [\d.]+ USD at/.exec(worth.stdout) ?? [];
  expect(Number(hours)).toBeGreaterThan(0);
  expect(Number(money)).toBeCloseTo(1_000 * Number(hours), -2);
  expect(good.stdout).toMatch(/recovery-a +alarm\/eu-central-1 +1 month +no price/);
  const rumour = await priced("currency: USD\nprices: {}\n");
  expect(rumour.code).toBe(2);
  expect(rumour.stderr).toMatch(/date: .*\n.*source: /);
  const none = await project.hotpair(["cost", "-s", "prod"]);
  expect(none.stdout).toContain("No prices are known here");
  expect((await project.hotpair(["cost", "-s", "lab"])).stderr).toContain("makes nothing in AWS");
});
