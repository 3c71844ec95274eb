// The apply transaction on a real pair: a change that needs a restart of what holds the active role moves the role
// first, and is refused when nobody can take it; the pair is locked as one; and the pair is taken down node by node.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readStack } from "../../infra/config/index.ts";
import { powerCut, powerOn } from "../../infra/lab/faults.ts";
import { type Lab, labDown, labUp, type NodeName } from "../../infra/lab/lab.ts";
import { stackFor } from "../../infra/lab/stack.ts";
import type { NodePlan } from "../../infra/model/plan.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { describeWithLab } from "../lab/skip.ts";
import { Server } from "./server.ts";

const LAB = "app-pair";
const KEEPALIVED = "/etc/keepalived/keepalived.conf";
const STACK = join(import.meta.dirname, "../../stacks/Pulumi.lab.yaml");

/** The same plan with a comment in keepalived's file, for which keepalived is restarted. */
const restarting = (plan: NodePlan, comment: string): NodePlan => ({
  ...plan,
  files: plan.files.map((file) =>
    file.path === KEEPALIVED
      ? {
          ...file,
          content: `${file.content}# ${comment}\n`,
          onChange: { action: "restart", unit: "keepalived.service" },
        }
      : file,
  ),
});

describeWithLab("apply on a pair", () => {
  let lab: Lab;
  let plans: Record<NodeName, NodePlan>;
  let servers: Record<NodeName, Server>;

  const vip = async (host: NodeName) => (await servers[host].sh("/usr/lib/hotpair/hotpair-arbiter role")).text.trim();
  const active = async (): Promise<NodeName> => ((await vip("node-a")) === "active" ? "node-a" : "node-b");
  const other = (host: NodeName): NodeName => (host === "node-a" ? "node-b" : "node-a");
  const whole = () =>
    expect
      .poll(async () => [await vip("node-a"), await vip("node-b")].sort().join(" "), { timeout: 60_000, interval: 300 })
      .toBe("active standby");

  beforeAll(async () => {
    lab = await labUp({ name: LAB, image: "ready" });
    const { pair } = readStack(stackFor(lab, readFileSync(STACK, "utf8")), "Pulumi.lab.yaml", "lab");
    const [a, b] = planPair(pair);
    plans = { "node-a": a, "node-b": b };
    const key = "5a".repeat(32);
    servers = {
      "node-a": new Server(lab, "node-a", { secret: key }),
      "node-b": new Server(lab, "node-b", { secret: key }),
    };
  });
  afterAll(() => labDown(LAB));

  test("two first applies make a pair, and a second of each touches nothing", async () => {
    for (const host of ["node-b", "node-a"] as const) {
      const { code, text } = await servers[host].apply(plans[host]);
      expect(text).toContain("applied");
      expect(code).toBe(0);
    }
    await whole();
    for (const host of ["node-a", "node-b"] as const)
      expect((await servers[host].apply(plans[host])).text).toMatch(/: unchanged\n$/);
  });

  test("a restart on the active node hands over first, and clients keep their service", async () => {
    const host = await active();
    const address = plans[host].vips[0]?.address.split("/")[0];
    // One repetition mends whatever a moving address does to a request, and a reset connection is part of that, which
    // --retry alone does not repeat.
    const probe = servers[other(host)].sh(
      `n=0 f=0; while [ $n -lt 60 ]; do curl -s -m 1 --retry 1 --retry-all-errors -o /dev/null http://${address}/ || f=$((f + 1)); n=$((n + 1)); sleep 0.05; done; echo $f`,
    );
    const { code, text } = await servers[host].apply(restarting(plans[host], "one"));
    expect(text).toContain("handed over to the peer: keepalived.service is restarted here");
    expect(text).toMatch(/applied 1 files, restarted keepalived\n$/);
    expect(code).toBe(0);
    expect(await active()).toBe(other(host));
    expect((await probe).text).toBe("0\n");
    await whole();
  });

  test("with the peer dead it is refused, and the service stays", async () => {
    const host = await active();
    await powerCut(lab, other(host));
    const { code, text } = await servers[host].apply(restarting(plans[host], "two"));
    expect(text).toContain("keepalived.service must be restarted, this node is active and the peer cannot take over");
    expect(text).toMatch(/nothing was changed\n$/);
    expect(code).toBe(1);
    expect(await vip(host)).toBe("active");
    await powerOn(lab, other(host));
    await whole();
  });

  test("both nodes are never changed at the same time", async () => {
    await servers["node-a"].hooks("pause armed");
    const first = servers["node-a"].apply(restarting(plans["node-a"], "three"));
    await servers["node-a"].paused("armed");
    const second = servers["node-b"].apply(restarting(plans["node-b"], "three"));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect((await servers["node-b"].sh("cat /run/hotpair/work.*/step")).text).toBe("1/8 lock\n");
    await servers["node-a"].hooks();
    expect((await first).code).toBe(0);
    expect((await second).code).toBe(0);
    await whole();
  });

  test("a pair is taken down: the active node hands over, the last one goes when the whole pair does", async () => {
    const host = await active();
    const first = await servers[host].remove();
    expect(first.text).toContain("handed over to the peer");
    expect(first.text).toContain("removed; the server is as it was before hotpair");
    expect(first.code).toBe(0);
    const last = servers[other(host)];
    const refused = await last.remove();
    expect(refused.text).toContain("this node is active and its peer cannot take over");
    expect(refused.code).toBe(1);
    await last.ok("/usr/lib/hotpair/hotpair-apply retire");
    const removed = await last.remove();
    expect(removed.text).toContain("removed; the server is as it was before hotpair");
    expect(removed.code).toBe(0);
    for (const server of [last, servers[host]])
      expect(
        await server.ok(
          "find / -xdev -name '*hotpair*' ! -path '/var/lib/apt/*' ! -path '/usr/share/*' ! -path '/var/log/*'; find /run -name '*hotpair*'; ip -o addr | grep -c /32 || :",
        ),
      ).toBe("0\n");
  });
});
