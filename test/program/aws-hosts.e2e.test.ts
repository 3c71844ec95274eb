// A stack in AWS from `hotpair up` to `hotpair destroy` with real servers: the engine makes what the stack declares in an
// account of moto, lab hosts stand in the places of the instances, and a stand-in for AWS's endpoints, metadata service and
// routing is around them (test/node/moto_tests/lab_cloud.py). On the hosts everything is as hotpair renders it.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { settingsFor, stackTextFor } from "../../infra/cli/lab-pair.ts";
import { openSalt } from "../../infra/cli/passphrase.ts";
import { LAB_PASSPHRASE } from "../../infra/cli/secrets.ts";
import { readStack } from "../../infra/config/index.ts";
import { type DrillSettings, drill, waitUntilWhole } from "../../infra/drill/runner.ts";
import { scenarioNamed } from "../../infra/drill/scenarios.ts";
import type { Run } from "../../infra/evidence/schema.ts";
import { clientKeyPair, hostKeyPair } from "../../infra/lab/keys.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName } from "../../infra/lab/lab.ts";
import { macOf, publicOctet } from "../../infra/lab/layout.ts";
import type { NodeId } from "../../infra/model/pair.ts";
import { nodeDirectory, projectRoot } from "../../infra/toolchain/places.ts";
import { describeWithLab } from "../lab/skip.ts";
import { motoPython } from "../moto.ts";
import { writeStack } from "./lab-stack.ts";

const STACK = "e2e-aws-hosts";
const LAB = "aws";
const VIP = "203.0.113.100";
const REGION = "eu-central-1";
const HOST: Readonly<Record<NodeId, NodeName>> = { a: "node-a", b: "node-b" };
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
  /** What has happened so far; first, what the next calls of a node are to meet. */
  now(order?: { readonly node: NodeId; readonly faults: readonly string[] }): Promise<Now>;
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

describeWithLab("a pair in AWS on real servers", () => {
  let directory: string;
  let lab: Lab;
  let cloud: Cloud;
  let settings: DrillSettings;
  let removeStack = (): void => {};

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-e2e-"));
    for (const name of ["bin", "state"]) mkdirSync(join(directory, name));
    const plugin = join(directory, "bin/pulumi-resource-aws");
    const node = join(nodeDirectory, "node");
    writeFileSync(plugin, `#!/bin/sh\nexec "${node}" "${join(import.meta.dirname, "aws-plugin.mjs")}" "$@"\n`);
    chmodSync(plugin, 0o755);
    await labDown(LAB);
    lab = await labUp({ name: LAB, image: "ready" });
    cloud = await startCloud(lab);
    await Promise.all([asInstance(lab, cloud, "a"), asInstance(lab, cloud, "b")]);
    const id = await made("CreateVpc", { CidrBlock: "198.18.0.0/16" }, "vpcId");
    const routeTable = await made("CreateRouteTable", { VpcId: id }, "routeTableId");
    const text = await stackText(lab, { id, routeTable });
    removeStack = writeStack(STACK, text);
    settings = { ...(await settingsFor(STACK, readStack(text, "the test's", STACK).pair)), quietMs: 2_500 };
  });

  afterAll(async () => {
    removeStack();
    cloud?.stop();
    await labDown(LAB);
    rmSync(directory, { recursive: true, force: true });
  });

  async function made(action: string, parameters: Record<string, string>, element: string): Promise<string> {
    const scope = `Credential=test/20260101/${REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0`;
    const answer = await fetch(cloud.url, {
      method: "POST",
      headers: { authorization: `AWS4-HMAC-SHA256 ${scope}` },
      body: new URLSearchParams({ Action: action, Version: "2016-11-15", ...parameters }),
    });
    return new RegExp(`<${element}>(.*?)</${element}>`).exec(await answer.text())?.[1] ?? "";
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

  const on = (id: NodeId, command: string): Promise<string> => consoleRun(lab, HOST[id], ["sh", "-c", command]);

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
    await cloud.now({ node: to, faults });
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
    const { url } = cloud;
    const interfaces = await fetch(url, {
      method: "POST",
      headers: {
        authorization: `AWS4-HMAC-SHA256 Credential=x/20260101/${REGION}/ec2/aws4_request, SignedHeaders=host, Signature=0`,
      },
      body: new URLSearchParams({ Action: "DescribeNetworkInterfaces", Version: "2016-11-15" }),
    });
    const address = lab.hosts[HOST[peer(active)]].address.public;
    const item =
      (await interfaces.text()).split("<networkInterfaceId>").find((one) => one.includes(`>${address}<`)) ?? "";
    const tables = await made(
      "DescribeRouteTables",
      { "Filter.1.Name": "route.destination-cidr-block", "Filter.1.Value.1": `${VIP}/32` },
      "routeTableId",
    );
    await made(
      "ReplaceRoute",
      { RouteTableId: tables, DestinationCidrBlock: `${VIP}/32`, NetworkInterfaceId: item.split("<")[0] ?? "" },
      "return",
    );
    expect((await cloud.now()).owner).toBe(peer(active));
    await until("the owner has it back", (now) => now.owner === active, 12_000);
    expect(await owner()).toBe(active);
  });

  it("is given back, servers and account", async () => {
    const { code, text } = hotpair("destroy", "-s", STACK, "--yes");
    expect(code, text).toBe(0);
    expect(await made("DescribeNetworkInterfaces", {}, "networkInterfaceId")).toBe("");
    for (const id of ["a", "b"] as const)
      expect(
        await on(id, "systemctl is-active hotpair-address keepalived || :; ls /etc/hotpair 2>/dev/null || :"),
      ).not.toContain("\nactive");
  });
});
