// The stack in AWS with the real engine, the classes of @pulumi/aws and the policy pack: preview, making, a node that takes
// the address by each of the four methods, a witness that is made for a pair with data, a change, drift, and an account that
// is empty at the end. A stand-in for the AWS plugin carries out in moto what it is told.

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
import { type Moto, motoPython, startMoto } from "../moto.ts";
import { writeStack } from "./lab-stack.ts";

const STACK = "e2e-cloud";
// Nobody answers there, and at once: what is set up over SSH is not part of this.
const EXAMPLE = readFileSync(stackPath("cloud"), "utf8").replaceAll(
  /host: 203\.0\.113\.(\d+)/g,
  "host: 127.0.0.$1\n          port: 9",
);
/** The example with Elastic IPs that the operator has allocated. */
let TEXT = EXAMPLE;

interface Noted {
  readonly act: string;
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

let directory: string;
let moto: Moto;
let removeStack = (): void => {};
/** What the account has before anything is made. */
let before: Readonly<Record<string, number>>;
/** Of the operator, in Route 53. */
let zone = "";
/** A third Elastic IP of the operator's. */
let thirdAddress = "";

beforeAll(async () => {
  moto = await startMoto();
  for (const id of EXAMPLE.match(/eipalloc-\w+/g) ?? []) TEXT = TEXT.replace(id, await allocate());
  thirdAddress = await allocate();
  zone = await hostedZone("example.net");
  before = await account();
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
  moto.stop();
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
      HOTPAIR_TEST_AWS: moto.url,
    },
    encoding: "utf8",
  });
  return { code: status ?? 1, text: `${stdout}${stderr}`, stdout };
}

const pulumi = (...args: string[]) => hotpair("pulumi", "-s", STACK, "--", ...args, "--non-interactive");

/** Of the stack only what is made in AWS: the servers' own set-up needs servers. */
const inAws = (verb: "up" | "destroy", ...more: readonly string[]) =>
  pulumi(
    ...[verb, ...more, "--yes", "--skip-preview", "--stack", STACK],
    ...["--target", `urn:pulumi:${STACK}::hotpair::hotpair:index:AwsServers**`],
    ...["--target", `urn:pulumi:${STACK}::hotpair::pulumi:providers:aws**`],
    ...(verb === "up" ? ["--policy-pack", join(projectRoot, "infra/policy")] : []),
  );

/** A question to the account, past the engine. */
async function ask(
  service: string,
  Action: string,
  parameters: Readonly<Record<string, string>> = {},
): Promise<string> {
  const scope = `Credential=test/20260101/eu-central-1/${service}/aws4_request, SignedHeaders=host, Signature=0`;
  const version = { ec2: "2016-11-15", iam: "2010-05-08", monitoring: "2010-08-01" }[service] ?? "";
  const answer = await fetch(moto.url, {
    method: "POST",
    headers: { authorization: `AWS4-HMAC-SHA256 ${scope}` },
    body: new URLSearchParams({ Action, Version: version, ...parameters }),
  });
  return answer.text();
}

async function allocate(): Promise<string> {
  return (
    /<allocationId>(.*?)</.exec(await ask("ec2", "AllocateAddress", { Domain: "vpc" }))?.[1] ??
    "no address was allocated"
  );
}

/** Takes an opening away in AWS itself, as somebody would in its console. */
async function close(group: string, port: number): Promise<void> {
  const named = { "Filter.1.Name": "tag:Name", "Filter.1.Value.1": `${STACK}-${group}` };
  const [, groupId = ""] = /<groupId>(.*?)</.exec(await ask("ec2", "DescribeSecurityGroups", named)) ?? [];
  const ofGroup = { "Filter.1.Name": "group-id", "Filter.1.Value.1": groupId };
  const rules = (await ask("ec2", "DescribeSecurityGroupRules", ofGroup)).split("<item>");
  const rule = rules.find((item) => item.includes(`<toPort>${port}<`)) ?? "";
  const [, id = ""] = /<securityGroupRuleId>(.*?)</.exec(rule) ?? [];
  const gone = { GroupId: groupId, "SecurityGroupRuleId.1": id };
  expect(await ask("ec2", "RevokeSecurityGroupIngress", gone)).toContain("<return>true</return>");
}

/** Its id begins with Z, as AWS's own do; moto's begin with anything. */
async function hostedZone(name: string): Promise<string> {
  const authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/route53/aws4_request";
  const namespace = "https://route53.amazonaws.com/doc/2013-04-01/";
  for (let number = 1; number < 1_000; number++) {
    const answer = await fetch(`${moto.url}/2013-04-01/hostedzone`, {
      method: "POST",
      headers: { authorization, "content-type": "application/xml" },
      body: `<CreateHostedZoneRequest xmlns="${namespace}"><Name>${name}</Name><CallerReference>${number}</CallerReference></CreateHostedZoneRequest>`,
    });
    const [, id = ""] = /<Id>\/hostedzone\/(Z.*?)<\/Id>/.exec(await answer.text()) ?? [];
    if (id !== "") return id;
  }
  throw new Error("no hosted zone of moto's has an id like AWS's");
}

/** Has the second node bring the address to itself, by what is rendered for it; and stop the first one where that is asked. */
function takeOver(fence = false): unknown {
  const rendered = mkdtempSync(join(directory, "rendered-"));
  expect(hotpair("render", "-s", STACK, "--out", rendered).code).toBe(0);
  const settings = join(rendered, "cloud-b/etc/hotpair/address.json");
  const words = ["-B", "-m", "moto_tests.on_node", moto.url, settings, STACK, "b", ...(fence ? ["a"] : [])];
  const { stdout, stderr } = spawnSync(motoPython(), words, {
    cwd: join(projectRoot, "test/node"),
    env: { ...process.env, PYTHONPATH: join(projectRoot, "infra/node") },
    encoding: "utf8",
  });
  return JSON.parse(stdout || JSON.stringify(stderr));
}

/** What the engine had done to resources since it was asked the last time, e.g. `create address`. */
const acts = () =>
  told()
    .filter(({ act }) => act !== "ask")
    .map(({ act, name }) => `${act} ${name}`);

const LISTS: readonly (readonly [service: string, action: string, element: RegExp])[] = [
  ["ec2", "DescribeVpcs", /<vpcId>/g],
  ["ec2", "DescribeSubnets", /<subnetId>/g],
  ["ec2", "DescribeRouteTables", /<routeSet>/g],
  ["ec2", "DescribeInternetGateways", /<internetGatewayId>/g],
  ["ec2", "DescribeSecurityGroups", /<groupName>/g],
  ["ec2", "DescribeNetworkInterfaces", /<networkInterfaceId>/g],
  ["ec2", "DescribeAddresses", /<allocationId>/g],
  ["ec2", "DescribeKeyPairs", /<keyName>/g],
  ["ec2", "DescribeInstances", /<name>(pending|running|stopping|stopped)<\/name>/g],
  ["iam", "ListRoles", /<RoleName>/g],
  ["iam", "ListInstanceProfiles", /<InstanceProfileName>/g],
  ["monitoring", "DescribeAlarms", /<AlarmName>/g],
  ["s3", "ListBuckets", /<Bucket>/g],
];

/** Those that answer in JSON: a path, or an action in a header. */
const JSON_LISTS: readonly (readonly [service: string, question: string])[] = [
  ["backup", "/backup-vaults/"],
  ["backup", "/backup/plans/"],
  ["budgets", "DescribeBudgets"],
];

const listing = (service: string) => `AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/${service}/aws4_request`;

/** How much of everything the account has, by the question. */
async function account(): Promise<Readonly<Record<string, number>>> {
  const counts = LISTS.map(async ([service, action, element]) => {
    const list = { authorization: listing("s3") };
    const text =
      service === "s3" ? await (await fetch(moto.url, { headers: list })).text() : await ask(service, action);
    return [action, (text.match(element) ?? []).length] as const;
  });
  const inJson = JSON_LISTS.map(async ([service, question]) => {
    const asked = question.startsWith("/")
      ? fetch(`${moto.url}${question}`, { headers: { authorization: listing(service) } })
      : fetch(moto.url, {
          method: "POST",
          headers: { authorization: listing(service), "x-amz-target": `AWSBudgetServiceGateway.${question}` },
          body: JSON.stringify({ AccountId: "123456789012" }),
        });
    const answer = Object.values((await (await asked).json()) as Record<string, unknown>).find(Array.isArray);
    if (answer === undefined) throw new Error(`moto did not say what ${question} asks for`);
    return [question, answer.length] as const;
  });
  const list = { authorization: listing("route53") };
  const records = await (await fetch(`${moto.url}/2013-04-01/hostedzone/${zone}/rrset`, { headers: list })).text();
  return {
    ...Object.fromEntries(await Promise.all([...counts, ...inJson])),
    records: (records.match(/<ResourceRecordSet>/g) ?? []).length,
  };
}

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

/** With servers that may be ended. */
const unprotected = (text: string): string =>
  text.replace(/^( +)type: m7i\.large\n/m, "$&$1terminationProtection: false\n");

const { pair } = readStack(EXAMPLE, "stacks/Pulumi.cloud.yaml", STACK);
if (pair.aws === undefined) throw new Error("the example is not in AWS");
const declared = declareAws({ ...pair, aws: pair.aws }, collectListeners(pair));

describe("a stack in AWS", () => {
  it("is previewed whole, policies and servers that do not exist yet included, and makes nothing by that", () => {
    const { code, text } = hotpair("preview", "-s", STACK);
    expect(text).toContain("cloud-a: is made first, and set up when it answers");
    expect(text).toContain("create  ec2/instance  instance-a");
    expect(text).not.toMatch(/policy |error/);
    expect(code).toBe(0);
    expect(acts()).toEqual([]);
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
      ami: expect.stringMatching(/^ami-/),
      primaryNetworkInterface: { networkInterfaceId: expect.stringMatching(/^eni-/) },
      tags: { "hotpair:address": expect.stringMatching(/^eipalloc-/), "hotpair:pair": STACK, owner: "shop-team" },
    });
    expect(instance?.userData).toContain("-----BEGIN OPENSSH PRIVATE KEY-----");
    expect(instance?.userData).toMatch(/PermanentMACAddress=02:/);
    expect(made.find(({ name }) => name === "right-a")?.inputs.policy).toMatch(
      /arn:aws:ec2:eu-central-1:123456789012:network-interface\/eni-/,
    );
  });

  it("is in the account: two servers with their tags, in their zones, at their fixed addresses", async () => {
    const shown = await ask("ec2", "DescribeInstances", {
      "Filter.1.Name": "tag:hotpair:pair",
      "Filter.1.Value.1": STACK,
      "Filter.2.Name": "instance-state-name",
      "Filter.2.Value.1": "running",
    });
    expect(shown.match(/<instanceId>i-/g)).toHaveLength(2);
    for (const address of ["10.20.0.11", "10.20.0.139", "10.20.1.11", "10.20.2.139"])
      expect(shown).toContain(`<privateIpAddress>${address}</privateIpAddress>`);
    const after = await account();
    expect(after.DescribeVpcs).toBe((before.DescribeVpcs ?? 0) + 1);
    expect(after.DescribeSubnets).toBe((before.DescribeSubnets ?? 0) + 6);
    expect(after.ListRoles).toBe((before.ListRoles ?? 0) + 2);
    expect(after.ListBuckets).toBe(1);
  });

  it("lets a node take the address and stop the other one by what was made and tagged, and up leaves that alone", () => {
    expect(takeOver(true)).toEqual({
      before: false,
      after: true,
      fence: { code: 0, said: expect.stringMatching(/^i-[0-9a-f]+: stopped\n$/) },
      states: { a: "stopped", b: "running" },
    });
    const { code, text } = inAws("up");
    expect(code, text).toBe(0);
    expect(acts()).toEqual([]);
  });

  it("keeps the host keys out of the state", () => {
    const { code, text } = pulumi("stack", "export", "--stack", STACK);
    expect(code).toBe(0);
    expect(text).toContain("instance-a");
    expect(text).not.toContain("PRIVATE KEY");
  });

  it("changes what changed and nothing else: a frontend's port opens and closes, and no server stops for another type", () => {
    const larger = TEXT.replace("type: m7i.large", "type: m7i.xlarge");
    removeStack = writeStack(STACK, larger.replace('bind: "*:80"', 'bind: "*:8443"'));
    const { code, text } = inAws("up");
    expect(code, text).toBe(0);
    expect(acts()).toEqual(["create in-public-tcp-8443-0.0.0.0-0", "delete in-public-tcp-80-0.0.0.0-0"]);
    expect(hotpair("preview", "-s", STACK).text).toContain(
      "cloud-b: runs as m7i.large, and the stack file says m7i.xlarge; no change stops a server for that",
    );
  });

  it("has what somebody took away in AWS itself back after a refresh, and that alone", async () => {
    await close("group-public", 9);
    const { code, text } = inAws("up", "--refresh");
    expect(code, text).toBe(0);
    // The address that a node has taken meanwhile was seen, too, and stays there.
    expect(acts()).toEqual(["create ssh-9-203.0.113.0-24"]);
  });

  it("does not end while its servers are protected", () => {
    const { code, text } = hotpair("destroy", "-s", STACK, "--yes");
    expect(code).toBe(2);
    expect(text).toContain("set hotpair:aws.instance.terminationProtection to false");
    // Nor by the plain CLI, nor before an up has lifted the protection.
    const plain = pulumi("destroy", "--yes", "--stack", STACK);
    expect(plain.code).not.toBe(0);
    expect(plain.text).toContain("cannot be deleted");
    removeStack = writeStack(STACK, unprotected(TEXT));
    const early = hotpair("destroy", "-s", STACK, "--yes");
    expect(early.code).toBe(2);
    expect(early.text).toContain("its file says false by now; run: hotpair up");
    expect(acts()).toEqual([]);
  });

  it("leaves nothing behind", async () => {
    expect(inAws("up").code).toBe(0);
    expect(acts()).toEqual(expect.arrayContaining(["update instance-a", "update instance-b"]));
    const { code, text } = inAws("destroy");
    expect(code, text).toBe(0);
    expect(await account()).toEqual(before);
    const deleted = acts();
    expect(deleted).toHaveLength(declared.length);
    // Whoever has the Elastic IP has let go of it before it is released.
    for (const id of ["a", "b"])
      expect(deleted.indexOf(`delete interface-public-${id}`)).toBeLessThan(deleted.indexOf("delete address"));
    expect(
      JSON.parse(pulumi("stack", "export", "--stack", STACK).stdout).deployment.resources ?? [],
    ).not.toContainEqual(expect.objectContaining({ type: expect.stringMatching(/^aws:/) }));
  });
});

/** The example with a database in the place of its pages, a witness in a third zone, daily images and a budget. */
const withData = (text: string): string =>
  text
    .replace(/^ {6}frontends:\n[\s\S]*?(?=^ {4}objectives:)/m, DATABASE)
    .replace(/^ {4}tags:\n/m, `${MADE.replace("ELASTIC_IP", thirdAddress)}$&`)
    .replace(/^encryptionsalt:/m, `${WITNESS}$&`);
const DATABASE = `\
      frontends:
        - { name: data, bind: "*:3307", mode: tcp, backend: data }
      backends:
        - { name: data, mode: tcp, service: mariadb }
    mariadb:
      port: 3306
`;
const MADE = `\
    witness:
      zone: eu-central-1c
      prefix: 10.20.3.0/28
      type: m7g.medium
      elasticIp: ELASTIC_IP
    backup:
      role: arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole
    budget:
      monthly: 300
      email: [ops@example.net]
`;
const WITNESS = `\
  hotpair:witness:
    address: 10.20.3.10
    ssh:
      host: 127.0.0.13
      port: 9
      user: admin
`;

describe("a pair that keeps data in AWS", () => {
  const made = [
    ...["subnet", "routes", "group", "out", "interface", "instance", "operators", "recovery"].map(
      (what) => `create ${what}-witness`,
    ),
    ...["in-witness-tcp-2379", "in-witness-tcp-2380", "ssh-witness-9-203.0.113.0-24"].map((rule) => `create ${rule}`),
  ];

  it("has keys, a password and certificates by two commands, and is previewed with its witness", () => {
    removeStack = writeStack(STACK, unprotected(withData(TEXT)));
    for (const words of [
      ["cloud", "keys"],
      ["authority", "init"],
    ]) {
      const { code, text } = hotpair(...words, "-s", STACK);
      expect(code, text).toBe(0);
    }
    const { code, text } = hotpair("preview", "-s", STACK);
    expect(text).toContain("witness: is made first, and set up when it answers");
    expect(text).toContain("create  ec2/instance  instance-witness");
    expect(text).not.toMatch(/policy |error/);
    expect(code).toBe(0);
    expect(acts()).toEqual([]);
  });

  it("is made with a third server, in a third zone, at its address, without a role", async () => {
    const { code, text } = inAws("up");
    expect(code, text).toBe(0);
    const created = told().filter(({ act }) => act === "create");
    expect(created.map(({ act, name }) => `${act} ${name}`)).toEqual(expect.arrayContaining(made));
    const { userData = "" } = created.find(({ name }) => name === "instance-witness")?.inputs ?? {};
    expect(userData).toContain("-----BEGIN OPENSSH PRIVATE KEY-----");
    const shown = await ask("ec2", "DescribeInstances", {
      "Filter.1.Name": "tag:hotpair:node",
      "Filter.1.Value.1": "witness",
      "Filter.2.Name": "instance-state-name",
      "Filter.2.Value.1": "running",
    });
    expect(shown.match(/<instanceId>i-/g)).toHaveLength(1);
    for (const said of ["<privateIpAddress>10.20.3.10<", "<instanceType>m7g.medium<"]) expect(shown).toContain(said);
    expect(shown).not.toContain("<iamInstanceProfile>");
    const after = await account();
    expect(after.ListRoles).toBe((before.ListRoles ?? 0) + 2);
    // Daily images of the nodes and a budget, which this stack asks for as well.
    for (const question of ["/backup-vaults/", "/backup/plans/", "DescribeBudgets"])
      expect([question, after[question]]).toEqual([question, (before[question] ?? 0) + 1]);
    // moto's instances have no zone of their own; the interface's subnet has.
    const subnet = { "Filter.1.Name": "tag:Name", "Filter.1.Value.1": `${STACK}-subnet-witness` };
    expect(await ask("ec2", "DescribeSubnets", subnet)).toContain("<availabilityZone>eu-central-1c<");
  });

  it("hears its members at another port when the stack file says so, and at the old one no more", () => {
    const file = stackPath(STACK);
    const etcd = "    authority:\n      etcd:\n        clientPort: 2381\n";
    writeFileSync(file, readFileSync(file, "utf8").replace(/^ {4}authority:\n/m, etcd));
    const { code, text } = inAws("up");
    expect(code, text).toBe(0);
    const rules = (port: number) =>
      ["public-tcp-N-peer", "public-tcp-N-witness", "witness-tcp-N"].map((rule) => rule.replace("N", String(port)));
    expect(acts().toSorted()).toEqual(
      [...rules(2381).map((rule) => `create in-${rule}`), ...rules(2379).map((rule) => `delete in-${rule}`)].toSorted(),
    );
  });

  it("has back what somebody closed, and the witness that somebody ended, in AWS itself, and that alone", async () => {
    await close("group-witness", 2380);
    const named = { "Filter.1.Name": "tag:Name", "Filter.1.Value.1": `${STACK}-instance-witness` };
    const [, id = ""] = /<instanceId>(.*?)</.exec(await ask("ec2", "DescribeInstances", named)) ?? [];
    expect(await ask("ec2", "TerminateInstances", { "InstanceId.1": id })).toContain("shutting-down");
    const { code, text } = inAws("up", "--refresh");
    expect(code, text).toBe(0);
    // The alarm is the new one's.
    expect(acts()).toEqual(["create in-witness-tcp-2380", "create instance-witness", "update recovery-witness"]);
  });

  it("leaves nothing behind", async () => {
    const { code, text } = inAws("destroy");
    expect(code, text).toBe(0);
    expect(acts()).toEqual(expect.arrayContaining(["delete instance-witness", "delete subnet-witness"]));
    expect(await account()).toEqual(before);
  });
});

/** The example by each of the other methods. */
const METHODS: Readonly<Record<string, (text: string) => string>> = {
  "secondary-ip": (text) =>
    moving("secondary-ip")(text)
      .replace("      - eu-central-1b\n", "    accepted:\n      oneZone: clients are in this zone\n")
      .replace("address: 198.18.0.100/32", "address: 10.20.0.100/24"),
  route: moving("route"),
  dns: (text) =>
    moving("dns")(text).replace(
      "method: dns\n",
      `method: dns\n      hostedZone: ${zone}\n      record: shop.example.net\n      ttl: 5s\n`,
    ),
};

function moving(method: string): (text: string) => string {
  return (text) => text.replace(/method: elastic-ip\n +addresses:\n +a: .*\n +b: .*\n/, `method: ${method}\n`);
}

describe("an address that moves in AWS", () => {
  it.each(Object.entries(METHODS))(
    "%s: is taken by a node, stays there through a refresh, and goes",
    async (method, change) => {
      const text = unprotected(change(TEXT));
      expect(text).toContain(`method: ${method}\n`);
      removeStack = writeStack(STACK, text);
      const up = inAws("up");
      expect(up.code, up.text).toBe(0);
      told();
      const taken = { before: false, after: true };
      expect(takeOver()).toEqual(taken);
      const again = inAws("up", "--refresh");
      expect(again.code, again.text).toBe(0);
      expect(acts()).toEqual([]);
      expect(takeOver()).toEqual({ ...taken, before: true });
      const down = inAws("destroy");
      expect(down.code, down.text).toBe(0);
      expect(await account()).toEqual(before);
    },
  );
});
