// What a node gets to shoot its peer: the peer's agent and nothing of its own, secrets in one file, the package of the agent.

import { expect, test } from "vitest";
import { seconds, UNBOUNDED } from "../../infra/model/duration.ts";
import type { Fencing, Pair } from "../../infra/model/pair.ts";
import { planHosts, planPair } from "../../infra/plan/plan.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { agentPackages, fencing, SHOT } from "../../infra/services/fencing.ts";
import { statefulPair } from "../model/pairs.ts";

const settings = (changes: Partial<Fencing>): Pair => {
  if (statefulPair.fencing === undefined) throw new Error("the pair that keeps data has fencing");
  return { ...statefulPair, fencing: { ...statefulPair.fencing, ...changes } };
};
const fileOf = (pair: Pair, id: "a" | "b", path: string) =>
  fencing.plan(pair, id)?.files.find((file) => file.path.endsWith(path));

test("each node has what shoots its peer, and nothing that shoots itself", () => {
  for (const [id, own, others] of [
    ["a", 0, 1],
    ["b", 1, 0],
  ] as const) {
    const options = fileOf(statefulPair, id, "/fencing.options");
    expect(options).toMatchObject({ mode: "0600", owner: "root", secret: true });
    expect(options?.content).toEqual([
      "ip=",
      `198.18.3.${11 + others}`,
      "\n",
      "password=",
      { secret: `fencing.agents[${others}].secrets.password` },
      "\n",
    ]);
    const everything = JSON.stringify(fencing.plan(statefulPair, id));
    expect(everything).not.toContain(`agents[${own}]`);
    expect(everything).not.toContain(`198.18.3.${11 + own}`);
  }
});

test("no secret and no option stands in a command line or in a readable file", () => {
  const readable = (fencing.plan(statefulPair, "a")?.files ?? []).filter(({ secret }) => !secret);
  for (const { content } of readable) expect(typeof content).toBe("string");
  const json = JSON.parse(String(fileOf(statefulPair, "a", "/fencing.json")?.content));
  expect(json).toMatchObject({ command: ["/usr/sbin/fence_ipmilan"], secrets: ["password"] });
});

test("a pair without fencing gets nothing of it, and no witness ever does", () => {
  const paths = planPair({ ...statefulPair, fencing: undefined }).flatMap(({ files }) => files.map(({ path }) => path));
  expect(paths.filter((path) => /fenc/.test(path))).toEqual([]);
  const [witness] = planHosts(statefulPair);
  expect(witness?.files.filter(({ path }) => /fenc/.test(path))).toEqual([]);
});

test("packages are those that Debian 13 has the agents in", () => {
  expect(agentPackages("fence_ipmilan")).toEqual(["fence-agents-ipmilan"]);
  expect(agentPackages("fence_redfish")).toEqual(["fence-agents-redfish"]);
  expect(agentPackages("fence_aws")).toEqual(["fence-agents-aws"]);
  expect(agentPackages("fence_idrac")).toEqual(["fence-agents-ipmilan"]);
  expect(agentPackages("fence_apc_snmp")).toEqual(["fence-agents-apc-snmp"]);
  expect(agentPackages("lab")).toEqual([]);
  expect(agentPackages("aws")).toEqual([]);
});

test("the fence is shot by the lease's holder alone: its unit ends with the lease", () => {
  const unit = String(fileOf(statefulPair, "a", "/hotpair-fence.service")?.content);
  expect(unit).toMatch(/^BindsTo=hotpair-lease\.service$/m);
  expect(unit).toMatch(/^After=hotpair-lease\.service$/m);
  expect(unit).toMatch(/^ExecStart=\/usr\/lib\/hotpair\/hotpair-fence takeover$/m);
});

test("the promotion waits for it only where it is required, and then no time is promised for what needs it", () => {
  const promotion = "/hotpair-mariadb-primary.service.d/60-fencing.conf";
  const required = settings({ required: true, timeout: seconds(30) });
  expect(fileOf(statefulPair, "a", promotion)).toBeUndefined();
  expect(String(fileOf(required, "a", promotion)?.content)).toMatch(/^Requires=hotpair-fence\.service$/m);
  expect(String(fileOf(required, "a", "/hotpair-fence.service")?.content)).toContain("takeover --until-confirmed");
  for (const failure of SHOT) {
    const of = (pair: Pair) => estimate(pair).find((one) => one.failure === failure)?.rto;
    expect(of(statefulPair)?.upper, failure).toBe(of({ ...statefulPair, fencing: undefined })?.upper);
    expect(of(required)?.upper, failure).toBe(UNBOUNDED);
    expect(of(required)?.verdict, failure).toBe("beyond");
    expect(of(required)?.formula, failure).toContain("confirmed off");
  }
});

test("in AWS a node asks for its peer by what the stack knows, and proves before it counts as set up that it may stop it", () => {
  const agent = (plug: string) => ({ agent: "aws", options: { pair: "shop", plug, region: "eu-central-1" } });
  const pair = settings({ agents: { a: agent("a"), b: agent("b") }, required: true, timeout: seconds(120) });
  expect(fileOf(pair, "a", "/fencing.options")?.content).toEqual([
    ...["pair=", "shop", "\n", "plug=", "b", "\n", "region=", "eu-central-1", "\n"],
  ]);
  const json = JSON.parse(String(fileOf(pair, "a", "/fencing.json")?.content));
  expect(json).toMatchObject({ agent: "aws", command: ["/usr/lib/hotpair/hotpair-fence", "aws"], secrets: [] });
  expect(fencing.plan(pair, "a")?.packages).toEqual(["python3"]);
  expect(fencing.plan(pair, "a")?.health).toEqual([
    expect.objectContaining({ command: "/usr/lib/hotpair/hotpair-fence preflight --wait 45" }),
  ]);
  expect(fencing.plan(statefulPair, "a")?.health).toEqual([]);
  expect(fencing.timing(pair).map(({ formula }) => formula)).toContain(
    "≤ 2m, stated, to be measured in your account: AWS does not promise how long a stop takes",
  );
});
