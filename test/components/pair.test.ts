// The pair as Pulumi resources, registered under the SDK's mocks: names, options, secrets, order. What the engine makes
// of them is proven in test/program.

import * as pulumi from "@pulumi/pulumi";
import { beforeEach, describe, expect, it } from "vitest";
import { HotPair, type HotPairArgs } from "../../infra/components/pair.ts";
import type { HostId, Pair } from "../../infra/model/pair.ts";
import type { HostPlan, NodePlan, PlannedFile } from "../../infra/model/plan.ts";
import type { Connection } from "../../infra/targets/onprem.ts";

const BEACON_KEY = "5ec2e7".repeat(10);

interface Registered {
  readonly type: string;
  readonly name: string;
  readonly props: Record<string, unknown>;
  readonly opts: pulumi.CustomResourceOptions;
}

let registered: Registered[] = [];

beforeEach(async () => {
  registered = [];
  await pulumi.runtime.setMocks({
    newResource: ({ name, inputs }) => ({ id: `${name}-id`, state: { ...inputs, stdout: "done" } }),
    call: () => ({}),
  });
});

describe("resources of the pair", () => {
  it("have names that depend on positions, not on what servers are called", async () => {
    await deploy();
    const parent = ({ opts }: Registered) => (opts.parent as { __name?: string } | undefined)?.__name;
    expect(registered.map((one) => [one.type, one.name, parent(one)])).toEqual([
      ["hotpair:index:Pair", "pair", undefined],
      ["hotpair:index:Node", "node-a", "pair"],
      ["command:remote:Command", "node-a", "node-a"],
      ["hotpair:index:Node", "node-b", "pair"],
      ["command:remote:Command", "node-b", "node-b"],
    ]);
  });

  it("show the pair as plain JSON without secret values, for policy packs and the state", async () => {
    await deploy();
    const [pair] = registered;
    expect(await plain(pair?.props.pair)).toMatchObject({
      name: "lab",
      secrets: { beaconKey: { secret: "beaconKey" } },
    });
  });

  it("show each file, and of a secret file only a keyed digest", async () => {
    await deploy();
    const files = (await plain(find("hotpair:index:Node", "node-a").props.files)) as Record<string, string>;
    expect(files["/etc/haproxy/haproxy.cfg"]).toBe("maxconn 100\n");
    expect(files["/etc/hotpair/beacon.key"]).toMatch(/^secret, hmac-sha256 [0-9a-f]{64}$/);
  });

  it("give another digest when the secret changes", async () => {
    await deploy();
    await deploy({ secrets: () => "another" });
    const [one, other] = registered.filter(({ type, name }) => type === "hotpair:index:Node" && name === "node-a");
    const digest = async (node: Registered | undefined) =>
      ((await plain(node?.props.files)) as Record<string, string>)["/etc/hotpair/beacon.key"];
    expect(await digest(one)).not.toBe(await digest(other));
  });

  it("carry no secret value outside a secret", async () => {
    await deploy();
    for (const { props } of registered) {
      const open = JSON.stringify(await withoutSecrets(props));
      expect(open).not.toContain(BEACON_KEY);
      expect(open).not.toContain(Buffer.from(BEACON_KEY).toString("base64").slice(4, 20));
      expect(open).not.toContain("PRIVATE KEY");
    }
  });
});

describe("the witness", () => {
  it("is a resource of its own kind with the same form of command, and books under the pair's name", async () => {
    await deploy({ witness });
    expect(registered.map(({ type, name }) => [type, name])).toContainEqual(["hotpair:index:Witness", "witness"]);
    const { props, opts } = command("witness");
    expect(await pulumi.isSecret(props.stdin as pulumi.Output<string>)).toBe(true);
    expect(String(props.create)).toContain("/usr/lib/hotpair/pairs/lab/hotpair-apply --pair lab start");
    expect(String(props.delete)).toContain("/usr/lib/hotpair/pairs/lab/hotpair-apply --pair lab remove");
    expect(opts.ignoreChanges).toEqual(expect.arrayContaining(["create", "delete"]));
  });
});

describe("the command of a node", () => {
  it("runs one text at create and update, carries its bundle on standard input, and logs nothing", async () => {
    await deploy();
    const { props } = command("a");
    expect(props.update).toBeUndefined();
    expect(props.triggers).toBeUndefined();
    expect(props.addPreviousOutputInEnv).toBe(false);
    expect(props.logging).toBe("none");
    expect(await pulumi.isSecret(props.stdin as pulumi.Output<string>)).toBe(true);
    expect(await plain(props.stdin)).toMatch(/^hotpair-bundle 1 /);
  });

  it("has an owner token of its own, the same in create and delete, kept by the engine through updates", async () => {
    await deploy();
    await deploy();
    const commands = registered.filter(({ type }) => type === "command:remote:Command");
    const tokens = commands.map(({ props }) => {
      const [token] = /\b[0-9a-f]{32}\b/.exec(String(props.delete)) ?? [];
      expect(String(props.create)).toContain(token);
      return token;
    });
    expect(new Set(tokens).size).toBe(4);
    for (const { opts } of commands) expect(opts.ignoreChanges).toEqual(expect.arrayContaining(["create", "delete"]));
  });

  it("is created before its predecessor is deleted: the other order would empty a healthy server", async () => {
    await deploy();
    expect(command("a").opts.deleteBeforeReplace).not.toBe(true);
  });

  it("does not wait minutes for a server that is switched off", async () => {
    await deploy();
    expect(await plain(command("a").props.connection)).toMatchObject({ dialErrorLimit: 2, perDialTimeout: 5 });
  });

  it("keeps the private key out of comparisons unless a rotation is asked for", async () => {
    await deploy();
    expect(command("a").opts.ignoreChanges).toContain("connection.privateKey");
    expect(command("b").opts.ignoreChanges).not.toContain("connection.privateKey");
    registered = [];
    await deploy({ rotateKey: true });
    expect(command("a").opts.ignoreChanges).not.toContain("connection.privateKey");
  });
});

describe("order", () => {
  const waitsFor = (node: HostId) =>
    ([command(node).opts.dependsOn ?? []].flat() as { __name?: string }[]).map((one) => one.__name);

  it.each([
    ["a", [], ["node-a"]],
    ["b", ["node-b"], []],
    [undefined, [], []],
  ] as const)("with %s first, a waits for %j and b for %j", async (first, a, b) => {
    await deploy({ first });
    expect(waitsFor("a")).toEqual(a);
    expect(waitsFor("b")).toEqual(b);
  });

  it("puts the witness before both nodes: alone, the first member of an authority has no majority", async () => {
    await deploy({ witness, first: "b" });
    expect(waitsFor("witness")).toEqual([]);
    expect(waitsFor("b")).toEqual(["witness"]);
    expect(waitsFor("a")).toEqual(["witness", "node-b"]);
  });

  it("sets a server up when it is there: a witness that is made, too", async () => {
    const made = new pulumi.ComponentResource("test:index:Server", "instance-witness");
    await deploy({ witness, first: "a", servers: { a: [], b: [], witness: [made] } });
    expect(waitsFor("witness")).toEqual(["instance-witness"]);
    expect(waitsFor("a")).toEqual(["witness"]);
  });

  it("waits for no witness that is left out because it is dead", async () => {
    await deploy({ witness, first: "a", leftOut: ["witness"] });
    expect(waitsFor("a")).toEqual([]);
    expect(waitsFor("b")).toEqual(["node-a"]);
  });
});

async function deploy(change: Partial<HotPairArgs> = {}): Promise<void> {
  const waiting: Promise<unknown>[] = [];
  const pair = new HotPair(
    "pair",
    {
      pair: { name: "lab", vips: [{ name: "web", address: "198.18.0.100/24" }], secrets } as unknown as Pair,
      plans: [plan("a"), plan("b")],
      witness: undefined,
      connections: { a: connection("a"), b: connection("b") },
      servers: { a: [], b: [], witness: [] },
      secrets: () => BEACON_KEY,
      first: "a",
      leftOut: [],
      beforeUpdate: [],
      rotateKey: false,
      ...change,
    },
    {
      transformations: [
        ({ resource, type, name, props, opts }) => {
          waiting.push(new Promise((resolve) => setImmediate(() => resource.urn.apply(resolve))));
          registered.push({ type, name, props, opts });
          return undefined;
        },
      ],
    },
  );
  await plain(pair.vips);
  await Promise.all(waiting);
}

const secrets = { beaconKey: { secret: "beaconKey" }, previousBeaconKey: undefined };

function find(type: string, name: string): Registered {
  const found = registered.find((one) => one.type === type && one.name === name);
  if (found === undefined) throw new Error(`${type} ${name} was not registered`);
  return found;
}

const command = (host: HostId): Registered =>
  find("command:remote:Command", host === "witness" ? host : `node-${host}`);

const plain = (value: unknown): Promise<unknown> =>
  new Promise((resolve) => (pulumi.output(value) as pulumi.Output<unknown>).apply((known) => resolve(known)));

/** What would stand in the state in clear. */
async function withoutSecrets(value: unknown): Promise<unknown> {
  if (pulumi.Output.isInstance(value)) return (await pulumi.isSecret(value)) ? "[secret]" : await plain(value);
  if (Array.isArray(value)) return await Promise.all(value.map(withoutSecrets));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(async ([key, inner]) => [key, await withoutSecrets(inner)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function plan(node: "a" | "b"): NodePlan {
  const file = (path: string, content: PlannedFile["content"], secret = false): PlannedFile => ({
    path,
    owner: "root",
    group: "root",
    mode: secret ? "0600" : "0644",
    content,
    secret,
    onChange: { action: "none" },
  });
  return {
    node,
    name: `${node}.example.net`,
    vips: [],
    installPackages: true,
    packages: [],
    files: [
      file("/etc/haproxy/haproxy.cfg", "maxconn 100\n"),
      file("/etc/hotpair/beacon.key", ["1 ", { secret: "beaconKey" }, "\n"], true),
      file("/usr/lib/hotpair/hotpair-apply", "#!/bin/sh\n"),
    ],
    units: [],
    validators: [],
    health: [],
  };
}

const witnessPlan: HostPlan = {
  ...plan("a"),
  node: "witness",
  name: "witness.example.net",
  witnessOf: "lab",
  files: [
    ...plan("a").files.filter(({ path }) => !path.startsWith("/usr")),
    { ...programOf(plan("a")), path: "/usr/lib/hotpair/pairs/lab/hotpair-apply" },
  ],
};

const witness = { plan: witnessPlan, connection: connection("witness") };

function programOf({ files }: NodePlan): PlannedFile {
  const program = files.find(({ path }) => path.endsWith("/hotpair-apply"));
  if (program === undefined) throw new Error("the plan has no program");
  return program;
}

/** Node a is reached with a key, b through the agent. */
function connection(node: HostId): Connection {
  const patience = { dialErrorLimit: 2, perDialTimeout: 5 };
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
  return {
    host: `198.18.0.1${node === "a" ? 1 : 2}`,
    port: 22,
    user: "root",
    hostKey: "ssh-ed25519 AAAA",
    ...(node === "a" ? { privateKey: key } : {}),
    ...patience,
  };
}
