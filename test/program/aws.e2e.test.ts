// The stack in AWS with the real engine and the policy pack, as far as an engine can tell: preview, making, a change,
// and nothing left at the end. A stand-in for the AWS plugin writes down what it is told.

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stackPath } from "../../infra/cli/stack.ts";
import { readStack } from "../../infra/config/index.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { declareAws } from "../../infra/targets/aws.ts";
import { nodeDirectory, projectRoot } from "../../infra/toolchain/places.ts";
import { writeStack } from "./lab-stack.ts";

const STACK = "e2e-cloud";
// Nobody answers there, and at once: what is set up over SSH is not part of this.
const TEXT = readFileSync(stackPath("cloud"), "utf8").replaceAll(
  /host: 203\.0\.113\.(\d+)/g,
  "host: 127.0.0.$1\n          port: 9",
);

interface Noted {
  readonly act: string;
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

let directory: string;
let removeStack = (): void => {};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-e2e-"));
  mkdirSync(join(directory, "bin"));
  mkdirSync(join(directory, "state"));
  const plugin = join(directory, "bin/pulumi-resource-aws");
  const node = join(nodeDirectory, "node");
  writeFileSync(plugin, `#!/bin/sh\nexec "${node}" "${join(import.meta.dirname, "aws-plugin.mjs")}" "$@"\n`);
  chmodSync(plugin, 0o755);
  removeStack = writeStack(STACK, TEXT);
  expect(pulumi("stack", "init", STACK).code).toBe(0);
});

afterAll(() => {
  removeStack();
  rmSync(directory, { recursive: true, force: true });
});

function hotpair(...args: string[]): { code: number; text: string; stdout: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(projectRoot, "bin/hotpair.mjs"), ...args], {
    env: {
      ...process.env,
      PATH: [join(directory, "bin"), process.env.PATH].join(delimiter),
      PULUMI_BACKEND_URL: pathToFileURL(join(directory, "state")).href,
      PULUMI_CONFIG_PASSPHRASE: "hotpair-example",
      HOTPAIR_TEST_CLOUD: join(directory, "cloud.jsonl"),
    },
    encoding: "utf8",
  });
  return { code: status ?? 1, text: `${stdout}${stderr}`, stdout };
}

const pulumi = (...args: string[]) => hotpair("pulumi", "-s", STACK, "--", ...args, "--non-interactive");

/** Of the stack only what is made in AWS: the servers' own set-up needs servers. */
const inAws = (verb: "up" | "destroy") =>
  pulumi(
    ...[verb, "--yes", "--skip-preview", "--stack", STACK],
    ...["--target", `urn:pulumi:${STACK}::hotpair::hotpair:index:AwsServers**`],
    ...["--target", `urn:pulumi:${STACK}::hotpair::pulumi:providers:aws**`],
    ...(verb === "up" ? ["--policy-pack", join(projectRoot, "infra/policy")] : []),
  );

/** What the plug-in was told since it was asked the last time. */
function told(): readonly Noted[] {
  const file = join(directory, "cloud.jsonl");
  try {
    return readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Noted);
  } catch {
    return [];
  } finally {
    rmSync(file, { force: true });
  }
}

const { pair } = readStack(TEXT, "stacks/Pulumi.cloud.yaml", STACK);
if (pair.aws === undefined) throw new Error("the example is not in AWS");
const declared = declareAws({ ...pair, aws: pair.aws }, collectListeners(pair));

describe("a stack in AWS", () => {
  it("is previewed whole, policies and servers that do not exist yet included, and makes nothing by that", () => {
    const { code, text } = hotpair("preview", "-s", STACK);
    expect(text).toContain("cloud-a: is made first, and set up when it answers");
    expect(text).toContain("create  ec2/instance  instance-a");
    expect(text).not.toMatch(/policy |error/);
    expect(code).toBe(0);
    expect(told().filter(({ act }) => act !== "ask")).toEqual([]);
  });

  it("is made as it is declared, in an order in which everything is there that is needed", () => {
    const { code, text } = inAws("up");
    expect(text).not.toMatch(/\[mandatory\]/);
    expect(code, text).toBe(0);
    const made = told().filter(({ act }) => act === "create");
    expect(made.map(({ type, name }) => `${type} ${name}`).toSorted()).toEqual(
      declared.map(({ type, name }) => `${type} ${name}`).toSorted(),
    );
    const instance = made.find(({ name }) => name === "instance-a")?.inputs;
    expect(instance).toMatchObject({
      ami: "ami-newest",
      primaryNetworkInterface: { networkInterfaceId: "interface-public-a-1" },
      tags: { "hotpair:address": "address-1", "hotpair:pair": STACK, owner: "shop-team" },
    });
    expect(instance?.userData).toContain("-----BEGIN OPENSSH PRIVATE KEY-----");
    expect(instance?.userData).toMatch(/PermanentMACAddress=02:00:00:00:/);
    expect(made.find(({ name }) => name === "right-a")?.inputs.policy).toContain(
      "arn:aws:test:eu-central-1:123456789012:interface-public-a",
    );
  });

  it("keeps the host keys out of the state", () => {
    const { code, text } = pulumi("stack", "export", "--stack", STACK);
    expect(code).toBe(0);
    expect(text).toContain("instance-a");
    expect(text).not.toContain("PRIVATE KEY");
  });

  it("changes what changed and nothing else: a frontend's port opens and closes", () => {
    removeStack = writeStack(STACK, TEXT.replace('bind: "*:80"', 'bind: "*:8443"'));
    expect(inAws("up").code).toBe(0);
    const acts = told().filter(({ act }) => act !== "ask");
    expect(acts.map(({ act, name }) => `${act} ${name}`)).toEqual([
      "create in-public-tcp-8443-0.0.0.0-0",
      "delete in-public-tcp-80-0.0.0.0-0",
    ]);
  });

  it("does not end while its servers are protected", () => {
    const { code, text } = hotpair("destroy", "-s", STACK, "--yes");
    expect(code).toBe(2);
    expect(text).toContain("set hotpair:aws.instance.terminationProtection to false");
    expect(told().filter(({ act }) => act !== "ask")).toEqual([]);
  });

  it("leaves nothing behind", () => {
    expect(inAws("destroy").code).toBe(0);
    const deleted = told().filter(({ act }) => act === "delete");
    expect(deleted).toHaveLength(declared.length);
    expect(
      JSON.parse(pulumi("stack", "export", "--stack", STACK).stdout).deployment.resources ?? [],
    ).not.toContainEqual(expect.objectContaining({ type: expect.stringMatching(/^aws:/) }));
  });
});
