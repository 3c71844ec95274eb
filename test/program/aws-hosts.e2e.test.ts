// A stack in AWS from `hotpair up` to `hotpair destroy` with real servers: the engine makes what the stack declares in an
// account of moto, lab hosts stand in the places of the instances, and a stand-in for AWS's endpoints, roles, metadata
// service and routing is around them (test/node/moto_tests/lab_cloud.py). A host whose instance is stopped loses its power.
// On the hosts everything is as hotpair renders it. The tests build on one another.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { settingsFor, stackTextFor } from "../../infra/cli/lab-pair.ts";
import { openSalt } from "../../infra/cli/passphrase.ts";
import { LAB_PASSPHRASE } from "../../infra/cli/secrets.ts";
import { stackPath } from "../../infra/cli/stack.ts";
import { readStack } from "../../infra/config/index.ts";
import { type DrillSettings, drill, waitUntilWhole } from "../../infra/drill/runner.ts";
import { scenarioNamed } from "../../infra/drill/scenarios.ts";
import type { Run } from "../../infra/evidence/schema.ts";
import { freeze, powerCut } from "../../infra/lab/faults.ts";
import { clientKeyPair, hostKeyPair } from "../../infra/lab/keys.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName, startHost } from "../../infra/lab/lab.ts";
import { macOf, publicOctet } from "../../infra/lab/layout.ts";
import { NODE_IDS, type NodeId, type VipMethod } from "../../infra/model/pair.ts";
import type { FencingShot } from "../../infra/model/status.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { declareAws } from "../../infra/targets/aws.ts";
import { nodeDirectory, projectRoot } from "../../infra/toolchain/places.ts";
import { describeWithLab } from "../lab/skip.ts";
import { motoPython } from "../moto.ts";
import { writeStack } from "./lab-stack.ts";

const STACK = "e2e-aws-hosts";
const LAB = "aws";
const VIP = "203.0.113.100";
const REGION = "eu-central-1";
const HOST: Readonly<Record<NodeId, NodeName>> = { a: "node-a", b: "node-b" };
/** For a shot, seconds: three attempts and their answers, on a machine that is busy. */
const FENCED_WITHIN = 12;
const FENCE = "/usr/lib/hotpair/hotpair-fence";
const peer = (id: NodeId): NodeId => (id === "a" ? "b" : "a");

interface Call {
  readonly at: number;
  readonly node: NodeId | "";
  readonly action: string;
  readonly dry: boolean;
  readonly status: number;
  readonly fault: string;
}

interface Now {
  readonly owner: NodeId | "";
  /** Of the instances, e.g. "running"; empty: there is none. */
  readonly states: Readonly<Record<NodeId, string>>;
  readonly calls: readonly Call[];
  /** Questions to the metadata service without its token. */
  readonly refused: number;
  /** Faults on order that nobody has met yet. */
  readonly faults: number;
}

/** The stand-in for AWS around a lab. */
interface Cloud {
  readonly url: string;
  /** Certificate by which its endpoints are known, PEM. */
  readonly authority: string;
  /** What has happened so far; first, what the next calls of a node, of one action or any, are to meet. */
  now(order?: { readonly node: NodeId; readonly faults: readonly string[]; readonly action?: string }): Promise<Now>;
  stop(): void;
}

async function startCloud(lab: Lab): Promise<Cloud> {
  const address = `${lab.prefix("public")}.${publicOctet.machine}`;
  const node = (id: NodeId) => [lab.hosts[HOST[id]].address.public, macOf(lab.index, HOST[id], "public")];
  const clients = [lab.namespaces.client, lab.namespaces.router];
  const child: ChildProcess = spawn(motoPython(), ["-B", "-m", "moto_tests.lab_cloud"], {
    cwd: join(projectRoot, "test/node"),
    stdio: ["pipe", "pipe", "inherit"],
  });
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error("the stand-in for AWS has no standard input and output");
  const lines = createInterface(stdout)[Symbol.asyncIterator]();
  const ask = async (order: unknown): Promise<string> => {
    stdin.write(`${JSON.stringify(order)}\n`);
    const { value } = await lines.next();
    if (value === undefined) throw new Error("the stand-in for AWS ended");
    return value;
  };
  const nodes = { a: node("a"), b: node("b") };
  const started = JSON.parse(await ask({ pair: STACK, address, nodes, vip: VIP, clients }));
  return { ...started, now: async (order) => JSON.parse(await ask(order ?? {})), stop: () => stdin.end() };
}

/** What an instance has and a lab host has not: AWS's names, its authority, and the metadata service at its address. */
function asInstance(lab: Lab, { authority }: Cloud, id: NodeId): Promise<string> {
  const address = `${lab.prefix("public")}.${publicOctet.machine}`;
  const script = `set -e
echo '${address} ec2.${REGION}.amazonaws.com route53.amazonaws.com' >> /etc/hosts
cat > /usr/local/share/ca-certificates/test.crt <<'END'
${authority}END
update-ca-certificates > /dev/null 2>&1
cat > /etc/systemd/system/metadata.socket <<'END'
[Socket]
ExecStartPre=ip address replace 169.254.169.254/32 dev lo
ListenStream=169.254.169.254:80
[Install]
WantedBy=sockets.target
END
cat > /etc/systemd/system/metadata.service <<'END'
[Service]
ExecStart=/usr/lib/systemd/systemd-socket-proxyd ${address}:${id === "a" ? 8170 : 8171}
END
systemctl daemon-reload
systemctl enable --quiet --now metadata.socket
sync`;
  return consoleRun(lab, HOST[id], ["sh", "-c", script]);
}

/** What a server is to its instance: stopped by AWS it has no power, and started it has. Until told to end. */
async function keepPower(lab: Lab, cloud: Cloud, signal: AbortSignal): Promise<void> {
  let before = (await cloud.now()).states;
  while (!signal.aborted) {
    const { states } = await cloud.now();
    for (const id of NODE_IDS) {
      if (before[id] === "running" && states[id] === "stopped") await powerCut(lab, HOST[id]);
      if (before[id] === "stopped" && states[id] === "running") await startHost(lab, HOST[id]);
    }
    before = states;
    await sleep(100);
  }
}

/** The lab's pair as one in AWS, in a VPC that is there and with an address that is routed. */
async function stackText(lab: Lab, vpc: { readonly id: string; readonly routeTable: string }): Promise<string> {
  const text = stackTextFor(lab);
  const [, salt = ""] = /encryptionsalt: (.*)/.exec(text) ?? [];
  const crypter = await openSalt(salt, LAB_PASSPHRASE);
  const key = (id: NodeId) => crypter.encrypt(hostKeyPair(lab.index, HOST[id]).privateKey);
  const aws = `  hotpair:aws:
    region: ${REGION}
    zones:
      - ${REGION}a
    accepted:
      oneZone: both servers are on one machine
    vpc:
      prefix: 198.18.0.0/16
      id: ${vpc.id}
      routeTable: ${vpc.routeTable}
    vip:
      method: route
    instance:
      type: m7i.large
      terminationProtection: false
    ssh:
      from:
        - 198.18.0.0/16
      publicKey: ${clientKeyPair(lab.index).publicKey}
    hostKeys:
      a:
        secure: ${key("a")}
      b:
        secure: ${key("b")}
encryptionsalt:`;
  return text
    .replace("    name: lab\n", "    target: aws\n")
    .replace(/address: \S+\.100\/24/, `address: ${VIP}/32`)
    .replace("encryptionsalt:", aws);
}

/** The pair with a database besides, a witness elsewhere, and fencing by AWS. */
function withData(lab: Lab, text: string): string {
  const { witness } = lab.hosts;
  if (witness === undefined) throw new Error("the lab has no witness");
  const [database = ""] = /^ {4}mariadb:\n(?: {6}.*\n)+/m.exec(readFileSync(stackPath("lab-stateful"), "utf8")) ?? [];
  const apart = `  hotpair:witness:
    name: witness
    address: ${witness.address.public}
    ssh:
      host: ${witness.address.public}
      hostKey: ${witness.hostKey}
      keyFile: ${lab.keyFile}
  hotpair:fencing:
    timeout: ${FENCED_WITHIN}s
    agents:
${NODE_IDS.map((id) => `      - node: ${HOST[id]}\n        agent: aws\n`).join("")}`;
  return text.replace("    objectives:\n", `${database}$&`).replace("  hotpair:aws:\n", `${apart}$&`);
}

const ROUTE53 = {
  authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/route53/aws4_request",
  "content-type": "application/xml",
};

interface Way {
  readonly method: VipMethod;
  /** /etc/hotpair/address.json of each node. */
  readonly programs: Readonly<Record<NodeId, unknown>>;
  /** What each node's role may do for it, with references to the stack's resources. */
  readonly rights: Readonly<Record<NodeId, unknown>>;
}

/** What a stack whose address is routed would have if it moved another way. `prefix`: of the public network, "198.18.0.". */
function otherWays(text: string, prefix: string, zone: string): readonly Way[] {
  const everywhere = text.replace("bind: web:80", 'bind: "*:80"');
  const by = (method: VipMethod, more: readonly string[] = [], from = everywhere) =>
    from.replace("method: route\n", `${[`method: ${method}`, ...more].join("\n      ")}\n`);
  const texts: Readonly<Record<string, string>> = {
    "elastic-ip": by("elastic-ip", ["addresses:", `  a: ${prefix}21`, `  b: ${prefix}22`]),
    "secondary-ip": by("secondary-ip", [], text).replace(`${VIP}/32`, `${prefix}100/24`),
    dns: by("dns", [`hostedZone: ${zone}`, "record: shop.example.net", "ttl: 5s"]),
  };
  return Object.entries(texts).map(([method, changed]) => {
    const { pair } = readStack(changed, method, STACK);
    const { aws } = pair;
    if (aws?.vip.method !== method) throw new Error(`the address does not move by ${method}`);
    const declared = declareAws({ ...pair, aws }, collectListeners(pair));
    const plans = planPair(pair);
    const of = (id: NodeId) => {
      const { policy } = declared.find(({ name }) => name === `right-${id}`)?.inputs ?? {};
      const content = plans
        .find(({ node }) => node === id)
        ?.files.find(({ path }) => path === "/etc/hotpair/address.json")?.content;
      return {
        right: (policy as { readonly json: { readonly Statement: readonly unknown[] } }).json.Statement[0],
        // The VIP by which the nodes know who is the owner is the first way's, and so is the record of what was done.
        program: { ...JSON.parse(String(content)), vips: [VIP], state: `/run/ways/${method}.state` },
      };
    };
    const [a, b] = [of("a"), of("b")];
    return {
      method: aws.vip.method,
      programs: { a: a.program, b: b.program },
      rights: { a: a.right, b: b.right },
    };
  });
}

describeWithLab("a pair in AWS on real servers", () => {
  let directory: string;
  let lab: Lab;
  let cloud: Cloud;
  let settings: DrillSettings;
  let removeStack = (): void => {};
  const ended = new AbortController();
  let power: Promise<void> = Promise.resolve();

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-e2e-"));
    for (const name of ["bin", "state"]) mkdirSync(join(directory, name));
    const plugin = join(directory, "bin/pulumi-resource-aws");
    const node = join(nodeDirectory, "node");
    writeFileSync(plugin, `#!/bin/sh\nexec "${node}" "${join(import.meta.dirname, "aws-plugin.mjs")}" "$@"\n`);
    chmodSync(plugin, 0o755);
    await labDown(LAB);
    lab = await labUp({ name: LAB, image: "ready", witness: true });
    cloud = await startCloud(lab);
    power = keepPower(lab, cloud, ended.signal);
    await Promise.all([asInstance(lab, cloud, "a"), asInstance(lab, cloud, "b")]);
    const id = await made("CreateVpc", { CidrBlock: "198.18.0.0/16" }, "vpcId");
    const routeTable = await made("CreateRouteTable", { VpcId: id }, "routeTableId");
    const text = await stackText(lab, { id, routeTable });
    removeStack = writeStack(STACK, text);
    settings = { ...(await settingsFor(STACK, readStack(text, "the test's", STACK).pair)), quietMs: 2_500 };
  });

  afterAll(async () => {
    removeStack();
    ended.abort();
    await power;
    cloud?.stop();
    await labDown(LAB);
    rmSync(directory, { recursive: true, force: true });
  });

  /** By the account's owner, whom nobody limits. */
  async function ask(service: "ec2" | "iam", Action: string, parameters: Record<string, string>): Promise<string> {
    const scope = `Credential=test/20260101/${REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`;
    const Version = { ec2: "2016-11-15", iam: "2010-05-08" }[service];
    const answer = await fetch(cloud.url, {
      method: "POST",
      headers: { authorization: `AWS4-HMAC-SHA256 ${scope}` },
      body: new URLSearchParams({ Action, Version, ...parameters }),
    });
    return answer.text();
  }

  const made = async (action: string, parameters: Record<string, string>, element: string): Promise<string> =>
    new RegExp(`<${element}>(.*?)</${element}>`).exec(await ask("ec2", action, parameters))?.[1] ?? "";

  const byNode = async (ask: (id: NodeId) => Promise<string>): Promise<Readonly<Record<NodeId, string>>> => ({
    a: await ask("a"),
    b: await ask("b"),
  });
  const filtered = (...filters: readonly (readonly [name: string, value: string])[]) =>
    Object.fromEntries(
      filters.flatMap(([name, value], index) => [
        [`Filter.${index + 1}.Name`, name],
        [`Filter.${index + 1}.Value.1`, value],
      ]),
    );
  const instanceOf = (id: NodeId): Promise<string> =>
    made(
      "DescribeInstances",
      {
        ...filtered(["tag:hotpair:pair", STACK], ["tag:hotpair:node", id], ["instance-state-name", "running"]),
        "Filter.3.Value.2": "stopped",
      },
      "instanceId",
    );
  const interfaceOf = (id: NodeId): Promise<string> =>
    made(
      "DescribeNetworkInterfaces",
      filtered(["private-ip-address", lab.hosts[HOST[id]].address.public]),
      "networkInterfaceId",
    );

  /** The policy of a node's role, JSON. */
  async function right(id: NodeId): Promise<string> {
    const shown = await ask("iam", "GetRolePolicy", { RoleName: `role-${id}`, PolicyName: `right-${id}` });
    return decodeURIComponent((/<PolicyDocument>(.*?)</s.exec(shown)?.[1] ?? "").replaceAll("+", " "));
  }
  const setRight = (id: NodeId, PolicyDocument: string): Promise<string> =>
    ask("iam", "PutRolePolicy", { RoleName: `role-${id}`, PolicyName: `right-${id}`, PolicyDocument });

  /** Its id begins with Z, as AWS's own do; moto's begin with anything. */
  async function hostedZone(): Promise<string> {
    for (let number = 1; number < 1_000; number++) {
      const body = `<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>example.net</Name><CallerReference>${number}</CallerReference></CreateHostedZoneRequest>`;
      const answer = await fetch(`${cloud.url}/2013-04-01/hostedzone`, { method: "POST", headers: ROUTE53, body });
      const id = /<Id>\/hostedzone\/(Z.*?)<\/Id>/.exec(await answer.text())?.[1];
      if (id !== undefined) return id;
    }
    throw new Error("no hosted zone of moto's has an id like AWS's");
  }

  function hotpair(...args: string[]): { readonly code: number; readonly text: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(projectRoot, "bin/hotpair.mjs"), ...args], {
      env: {
        ...process.env,
        PATH: [join(directory, "bin"), process.env.PATH].join(delimiter),
        PULUMI_BACKEND_URL: pathToFileURL(join(directory, "state")).href,
        PULUMI_CONFIG_PASSPHRASE: LAB_PASSPHRASE,
        HOTPAIR_TEST_CLOUD: join(directory, "cloud.jsonl"),
        HOTPAIR_TEST_AWS: cloud.url,
      },
      encoding: "utf8",
    });
    return { code: status ?? 1, text: `${stdout}${stderr}` };
  }

  const on = (id: NodeId, command: string, input?: string): Promise<string> =>
    consoleRun(lab, HOST[id], ["sh", "-c", command], input);

  async function owner(): Promise<NodeId> {
    const roles = await Promise.all(
      (["a", "b"] as const).map(async (id) => [id, await on(id, "/usr/lib/hotpair/hotpair-arbiter role")] as const),
    );
    const active = roles.filter(([, role]) => role.trim() === "active").map(([id]) => id);
    expect(active, JSON.stringify(roles)).toHaveLength(1);
    return active[0] ?? "a";
  }

  async function until(what: string, holds: (now: Now) => boolean, withinMs = 30_000): Promise<Now> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const now = await cloud.now();
      if (holds(now)) return now;
      if (Date.now() > deadline)
        throw new Error(`not within ${withinMs} ms: ${what}; ${JSON.stringify(now.calls.slice(-20))}`);
      await sleep(50);
    }
  }

  /** Lines of the address's unit since then, on one node. */
  const said = (id: NodeId, since: number): Promise<string> =>
    on(id, `journalctl -u hotpair-address -o cat --no-pager --since=@${(since / 1000).toFixed(3)}`);

  async function givenBack(): Promise<void> {
    const { code, text } = hotpair("destroy", "-s", STACK, "--yes");
    expect(code, text).toBe(0);
    expect((await cloud.now()).states).toEqual({ a: "terminated", b: "terminated" });
    expect(await made("DescribeNetworkInterfaces", {}, "networkInterfaceId")).toBe("");
    for (const id of NODE_IDS)
      expect(
        await on(id, "systemctl is-active hotpair-address keepalived || :; ls /etc/hotpair 2>/dev/null || :"),
      ).not.toContain("\nactive");
  }

  const once = async (name: string): Promise<Run> => {
    const scenario = scenarioNamed(name);
    if (scenario === undefined) throw new Error(`no scenario ${name}`);
    const [run] = (await drill(scenario, 1, settings)).runs;
    if (run === undefined) throw new Error("nothing was measured");
    return run;
  };

  /**
   * A switch by the operator while AWS answers the new owner so: its calls from then on, its journal, and what the old owner
   * has called after the new one began, which must be nothing.
   */
  async function switchUnder(faults: readonly string[]) {
    await waitUntilWhole(settings.place, 30_000);
    const from = await owner();
    const to = peer(from);
    await cloud.now({ node: to, faults, action: "ReplaceRoute" });
    const since = Date.now();
    const of = (node: NodeId, { calls }: Now) =>
      calls.filter((call) => call.node === node && call.at * 1000 > since).toSorted((one, other) => one.at - other.at);
    await on(from, "/usr/lib/hotpair/hotpair-arbiter switch --wait 10");
    const now = await until(
      `node ${to} has the address, and knows it`,
      (each) => each.owner === to && of(to, each).some(({ fault, status }) => fault === "" && status === 200),
    );
    // Its word is on the way to the journal.
    await sleep(500);
    const calls = of(to, now);
    const late = of(from, now).filter(({ at }) => at > (calls[0]?.at ?? 0));
    return { calls, late, journal: await said(to, since) };
  }

  it("comes up: servers, network and rights in the account, then the services on the servers, which may move the address", async () => {
    const { code, text } = hotpair("up", "-s", STACK, "--yes");
    expect(code, text).toBe(0);
    expect(text).toMatch(/node-a: applied \d+ files/);
    const now = await until("an owner has the address", ({ calls }) =>
      calls.some(({ dry, status }) => !dry && status === 200),
    );
    const asked = now.calls.filter(({ dry }) => dry);
    expect(new Set(asked.map(({ node, status }) => `${node} ${status}`))).toEqual(new Set(["a 412", "b 412"]));
    expect(now.owner).toBe(await owner());
    expect(await said(now.owner || "a", 0)).toMatch(/route: the address is at this node, acknowledged after \d/);
  });

  it("knows its credentials by a token alone", async () => {
    const ask = (header: string) =>
      on(
        "a",
        `curl -s -o /dev/null -w '%{http_code}' ${header} http://169.254.169.254/latest/meta-data/iam/security-credentials/`,
      );
    expect(await ask("")).toBe("401");
    expect(await ask("-H 'X-aws-ec2-metadata-token: guessed'")).toBe("401");
  });

  it("is switched: clients follow the address within the estimate, and the evidence says where it is", async () => {
    const before = await owner();
    const run = await once("planned-switch");
    expect(run.reasons).toEqual([]);
    expect((await cloud.now()).owner).toBe(peer(before));
    const [move] = run.address?.moves ?? [];
    expect(move).toMatchObject({ vip: "web", node: peer(before), attempts: 1 });
    expect(move?.atMs).toBeGreaterThan(0);
    expect(run.log.some(({ source, text }) => source === "hotpair-address" && /acknowledged after/.test(text))).toBe(
      true,
    );
  });

  it("loses power: the survivor has the address, nobody else called, and status says so", async () => {
    const before = await owner();
    const run = await once("node-power-cut");
    expect(run.reasons).toEqual([]);
    expect(run.address?.moves).toMatchObject([{ vip: "web", node: peer(before) }]);
    const now = await cloud.now();
    expect(now.owner).toBe(peer(before));
    const called = now.calls.filter((call) => call.at * 1000 > run.faultAt && !call.dry);
    expect(new Set(called.map(({ node }) => node))).toEqual(new Set([peer(before)]));
    const { code, text } = hotpair("status", "-s", STACK);
    expect(code, text).toBe(0);
    expect(text).toMatch(before === "b" ? /clients in AWS +SENT HERE .* -$/m : /clients in AWS +- +SENT HERE /m);
  });

  it("is throttled: calls go out ever more slowly, one line says why", async () => {
    const { calls, late, journal } = await switchUnder(Array(4).fill("503 RequestLimitExceeded"));
    expect(late).toEqual([]);
    expect(calls.slice(0, 5).map(({ status }) => status)).toEqual([503, 503, 503, 503, 200]);
    const pauses = calls.slice(1, 5).map(({ at }, index) => at - (calls[index]?.at ?? 0));
    expect(pauses[0]).toBeGreaterThan(0.15);
    expect(pauses[2]).toBeGreaterThan(1.5);
    expect(journal.match(/not moved yet: RequestLimitExceeded/g)).toHaveLength(1);
    expect(journal).toMatch(/the address is at this node, acknowledged after ([3-9]|\d\d)/);
  });

  it("gets no answer, in three ways: gives each call up at its deadline, and has the address in the end", async () => {
    const { late, journal } = await switchUnder(["silence 4", "cut", "late 4"]);
    expect(late).toEqual([]);
    expect(journal).toMatch(/not moved yet: ec2\.eu-central-1\.amazonaws\.com: .*timed out/);
    expect(journal).toMatch(/not moved yet: ec2\.eu-central-1\.amazonaws\.com: Remote end closed connection/);
    expect(journal).toMatch(/the address is at this node, acknowledged after ([4-9]|\d\d)/);
  });

  it("has credentials that have expired: asks for fresh ones and goes on", async () => {
    const { calls, late, journal } = await switchUnder(["expire"]);
    expect(late).toEqual([]);
    expect(calls.slice(0, 2).map(({ status }) => status)).toEqual([400, 200]);
    expect(journal).toMatch(/not moved yet: RequestExpired/);
  });

  it("finds a late call of the old owner and puts it right", async () => {
    const active = await owner();
    const tables = await made(
      "DescribeRouteTables",
      filtered(["route.destination-cidr-block", `${VIP}/32`]),
      "routeTableId",
    );
    await made(
      "ReplaceRoute",
      { RouteTableId: tables, DestinationCidrBlock: `${VIP}/32`, NetworkInterfaceId: await interfaceOf(peer(active)) },
      "return",
    );
    expect((await cloud.now()).owner).toBe(peer(active));
    await until("the owner has it back", (now) => now.owner === active, 12_000);
    expect(await owner()).toBe(active);
  });

  it("moves its address by each of the other ways, too, which are set up beside the first one", async () => {
    await waitUntilWhole(settings.place, 30_000);
    const [instances, interfaces] = [await byNode(instanceOf), await byNode(interfaceOf)];
    const address = await made("AllocateAddress", { Domain: "vpc" }, "allocationId");
    const tagged = { "ResourceId.1": instances.a, "ResourceId.2": instances.b };
    await ask("ec2", "CreateTags", { ...tagged, "Tag.1.Key": "hotpair:address", "Tag.1.Value": address });
    const zone = await hostedZone();
    const ways = otherWays(readFileSync(stackPath(STACK), "utf8"), `${lab.prefix("public")}.`, zone);
    const own = `arn:aws:ec2:${REGION}:123456789012`;
    const arns: Readonly<Record<string, string>> = {
      address: `${own}:elastic-ip/${address}`,
      ...Object.fromEntries(NODE_IDS.map((id) => [`instance-${id}`, `${own}:instance/${instances[id]}`])),
      ...Object.fromEntries(
        NODE_IDS.map((id) => [`interface-public-${id}`, `${own}:network-interface/${interfaces[id]}`]),
      ),
    };
    for (const id of NODE_IDS) {
      const { Version, Statement } = JSON.parse(await right(id));
      const more = ways.map(({ rights }) =>
        JSON.parse(
          JSON.stringify(rights[id]).replaceAll(/\{"of":"([\w-]+)","output":"arn"\}/g, (_, name) =>
            JSON.stringify(arns[name] ?? name),
          ),
        ),
      );
      await setRight(id, JSON.stringify({ Version, Statement: [...Statement, ...more] }));
      for (const { method, programs } of ways) {
        await on(id, `mkdir -p /run/ways; cat > /run/ways/${method}.json`, JSON.stringify(programs[id]));
        const run = `systemd-run -q -E HOTPAIR_ADDRESS_SETTINGS=/run/ways/${method}.json`;
        await on(id, `${run} --unit=way-${method} /usr/lib/hotpair/hotpair-address hold`);
      }
    }
    const whereby = async (): Promise<Readonly<Record<string, NodeId | undefined>>> => {
      const nodeWith = (text: string, said: Readonly<Record<NodeId, string>>) =>
        NODE_IDS.find((id) => text.includes(`>${said[id]}<`));
      const shown = await ask("ec2", "DescribeNetworkInterfaces", {});
      const [withVip = ""] = shown.split("<networkInterfaceId>").filter((one) => one.includes(`>${VIP}<`));
      const records = await fetch(`${cloud.url}/2013-04-01/hostedzone/${zone}/rrset`, { headers: ROUTE53 });
      return {
        "elastic-ip": nodeWith(await ask("ec2", "DescribeAddresses", {}), interfaces),
        "secondary-ip": NODE_IDS.find((id) => withVip.startsWith(`${interfaces[id]}<`)),
        dns: nodeWith(await records.text(), {
          a: lab.hosts["node-a"].address.public,
          b: lab.hosts["node-b"].address.public,
        }),
      };
    };
    const everyWay = async (id: NodeId): Promise<void> => {
      const wanted = { "elastic-ip": id, "secondary-ip": id, dns: id };
      for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(200))
        if (JSON.stringify(await whereby()) === JSON.stringify(wanted)) return;
      expect(await whereby()).toEqual(wanted);
    };
    const active = await owner();
    await everyWay(active);
    const since = Date.now();
    await on(active, "/usr/lib/hotpair/hotpair-arbiter switch --wait 10");
    await everyWay(peer(active));
    const { calls } = await cloud.now();
    for (const action of ["AssociateAddress", "AssignPrivateIpAddresses", "ChangeResourceRecordSets"]) {
      const later = calls.filter((call) => call.action === action && call.at * 1000 > since);
      const first = later.findIndex(({ node }) => node === peer(active));
      expect(
        later.slice(first).filter(({ node, status }) => node === active || status !== 200),
        action,
      ).toEqual([]);
    }
    for (const { method } of ways) {
      const journal = await on(peer(active), `journalctl -u way-${method} -o cat --no-pager`);
      expect(journal).toMatch(new RegExp(`${method}: the address is at this node, acknowledged after \\d`));
    }
    const asked = "HOTPAIR_ADDRESS_SETTINGS=/run/ways/elastic-ip.json /usr/lib/hotpair/hotpair-address preflight";
    expect(await on("a", asked)).toMatch(/^elastic-ip: allowed, answered after \d/);
    for (const id of NODE_IDS) await on(id, "systemctl stop 'way-*'; rm -r /run/ways");
  });

  it("is given back, servers and account", givenBack);

  it("comes up as one that keeps data and fences: each role may stop the other server, which each server has asked for", async () => {
    const file = stackPath(STACK);
    writeFileSync(file, withData(lab, readFileSync(file, "utf8")));
    expect(hotpair("authority", "init", "-s", STACK).text).toContain("has the pair's own certificate authority");
    const since = Date.now();
    const { code, text } = hotpair("up", "-s", STACK, "--yes");
    expect(code, text).toBe(0);
    const { calls, states } = await cloud.now();
    const stops = calls.filter(({ at, action }) => at * 1000 > since && action === "StopInstances");
    expect(new Set(stops.map(({ node, dry, status }) => `${node} ${dry} ${status}`))).toEqual(
      new Set(["a true 412", "b true 412"]),
    );
    expect(states).toEqual({ a: "running", b: "running" });
    settings = await settingsFor(STACK, readStack(readFileSync(file, "utf8"), "the test's", STACK).pair);
    const { problems } = await waitUntilWhole(settings.place, 120_000);
    expect(problems).toEqual([]);
  });

  const lastShot = async (id: NodeId): Promise<FencingShot | null> =>
    JSON.parse(await on(id, `${FENCE} status --json`)).last;
  const isOn = (id: NodeId): boolean => lab.hosts[HOST[id]].pid !== undefined;
  /** Calls to stop a server since then, dry runs not counted. */
  const stopsSince = (since: number, { calls }: Now): readonly Call[] =>
    calls.filter(({ at, action, dry }) => at * 1000 > since && action === "StopInstances" && !dry);

  it("stands still: AWS stops it for the next owner, throttled and with expired credentials first, and it is off", async () => {
    await waitUntilWhole(settings.place, 30_000);
    const frozen = await owner();
    const next = peer(frozen);
    await cloud.now({ node: next, faults: ["503 RequestLimitExceeded", "expire"], action: "StopInstances" });
    const since = Date.now();
    await freeze(lab, HOST[frozen], { undoAfterMs: 90_000 });
    const now = await until("its instance is stopped", ({ states }) => states[frozen] === "stopped");
    expect(stopsSince(since, now).map(({ node, status }) => `${node} ${status}`)).toEqual([
      `${next} 503`,
      `${next} 400`,
      `${next} 200`,
    ]);
    let shot: FencingShot | null = null;
    for (const deadline = Date.now() + 20_000; shot?.outcome !== "confirmed" && Date.now() < deadline; await sleep(200))
      shot = await lastShot(next);
    expect(shot).toMatchObject({ outcome: "confirmed", by: "takeover", detail: "its power is off" });
    expect(shot?.why).toMatch(/did not give the lease back, and does not say that it stopped/);
    expect(shot?.elapsedMs).toBeLessThan(FENCED_WITHIN * 1_000);
    expect(isOn(frozen)).toBe(false);
    expect(isOn(next)).toBe(true);
    expect((await cloud.now()).states[next]).toBe("running");
    const journal = await on(next, "journalctl -u hotpair-fence -o cat --no-pager");
    expect(journal).toMatch(
      new RegExp(`${HOST[frozen]}: unknown -> off: aws after ${shot?.elapsedMs} ms, by takeover: `),
    );
    await until("the next owner has the address", (each) => each.owner === next);
    console.log(
      `stopped ${Math.round((stopsSince(since, now).at(-1)?.at ?? 0) * 1000 - since)} ms after the freeze; the shot: ${shot?.elapsedMs} ms`,
    );
    // As docs/fencing.md says: it stays off until somebody starts it.
    await ask("ec2", "StartInstances", { "InstanceId.1": await instanceOf(frozen) });
    const { problems } = await waitUntilWhole(settings.place, 60_000);
    expect(problems).toEqual([]);
    expect(await owner()).toBe(next);
  });

  it("stops nobody by a role that names another server, nor without an answer: not confirmed, within the stated time", async () => {
    const instances = await byNode(instanceOf);
    const document = await right("a");
    expect(document).toContain(`instance/${instances.b}`);
    await setRight("a", document.replace(`instance/${instances.b}`, `instance/${instances.a}`));
    await cloud.now({ node: "b", faults: Array(50).fill("silence 3"), action: "DescribeInstances" });
    const since = Date.now();
    // Two operators, each of whom says that the other server is down: nothing else would let both of them shoot.
    await Promise.all(NODE_IDS.map((id) => on(id, `${FENCE} peer --i-know-the-peer-is-down || :`)));
    const now = await cloud.now({ node: "b", faults: [] });
    for (const [id, why] of [
      ["a", /not confirmed within 12 s: off: AWS: UnauthorizedOperation: .*; status: on/],
      ["b", /not confirmed within 12 s: off: AWS: ec2\.eu-central-1\.amazonaws\.com: .*timed out/],
    ] as const) {
      const shot = await lastShot(id);
      expect(shot).toMatchObject({ outcome: "unconfirmed", by: "operator", detail: expect.stringMatching(why) });
      expect(shot?.elapsedMs).toBeLessThan((FENCED_WITHIN + 2) * 1_000);
      expect(await on(id, "grep -a fencing /var/log/hotpair/audit.log | tail -n 1")).toMatch(
        /"to":"not confirmed off"/,
      );
    }
    const stops = stopsSince(since, now);
    expect(new Set(stops.map(({ node, status }) => `${node} ${status}`))).toEqual(new Set(["a 403"]));
    expect(stops.length).toBeLessThanOrEqual(FENCED_WITHIN / 0.5);
    expect(now.states).toEqual({ a: "running", b: "running" });
    expect(NODE_IDS.map(isOn)).toEqual([true, true]);
  });

  it("is given back again", givenBack);
});
