// A rolling upgrade of a pair that keeps data, under load: etcd on three hosts and MariaDB on two get newer packages. The
// witness comes last, no acknowledged write is lost, and nobody is left out of sync.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { labStack } from "../../infra/cli/lab-stack.ts";
import { LAB_PASSPHRASE } from "../../infra/cli/secrets.ts";
import { keyPathsOf, openSecrets, repair, targetOf, targetsOf } from "../../infra/cli/servers.ts";
import { loadStack } from "../../infra/cli/stack.ts";
import { secretPaths } from "../../infra/config/index.ts";
import { type Place, placeOf } from "../../infra/drill/host.ts";
import { openLedger } from "../../infra/drill/ledger-run.ts";
import { waitUntilWhole } from "../../infra/drill/runner.ts";
import { consoleRun, type HostName, type Lab, labDown, labUp } from "../../infra/lab/lab.ts";
import { planHosts } from "../../infra/plan/plan.ts";
import { describeWithLab } from "../lab/skip.ts";
import { newerPackages } from "./newer-packages.ts";
import { type Outcome, Project } from "./project.ts";

const LAB = "upg";
const STACK = "upg";
const TEXT = join(import.meta.dirname, "../../stacks/Pulumi.lab-stateful.yaml");
const HOSTS: readonly HostName[] = ["witness", "node-a", "node-b"];

describeWithLab("hotpair upgrade on a pair that keeps data", () => {
  const project = new Project();
  let lab: Lab;
  let place: Place;

  const on = (host: HostName, command: string): Promise<string> => consoleRun(lab, host, ["sh", "-c", command]);
  const upgrade = (...args: readonly string[]): Promise<Outcome> =>
    project.hotpair(["upgrade", "-s", STACK, ...args], { NO_COLOR: "1" });
  const pidOf = (host: HostName, unit: string): Promise<string> =>
    on(host, `systemctl show -p MainPID --value ${unit}`);

  beforeAll(async () => {
    lab = await labUp({ name: LAB, image: "ready", witness: true });
    project.write(STACK, await labStack(lab, readFileSync(TEXT, "utf8")));
    process.env.PULUMI_CONFIG_PASSPHRASE = LAB_PASSPHRASE;
    const stack = loadStack(STACK, join(project.directory, "stacks"));
    const secrets = await openSecrets(stack, [...secretPaths(stack.pair), ...keyPathsOf(stack.pair)]);
    const targets = targetsOf(stack.pair, secrets);
    for (const plan of planHosts(stack.pair))
      await repair(targetOf(targets, plan.node), plan, secrets, `owner-${plan.node}`);
    place = await placeOf(stack.pair, secrets);
    expect((await waitUntilWhole(place, 180_000)).problems).toEqual([]);
  });
  afterAll(async () => {
    project.remove();
    await labDown(LAB);
  });

  test("standby, hand-over, the other node, the witness; every acknowledged write is there", async () => {
    const etcd = `hotpair-etcd-${place.pair.name}`;
    await on("witness", newerPackages("+upg1", ["etcd-server"]));
    for (const host of ["node-a", "node-b"] as const)
      await on(host, newerPackages("+upg1", ["etcd-server", "mariadb-server", "mariadb-server-core"]));
    const before = await Promise.all(HOSTS.map((host) => pidOf(host, etcd)));
    const ledger = await openLedger(place, { loop: "open", intervalMs: 50, deadlineMs: 1_000, lifetimeMs: 900_000 });
    try {
      const { code, stderr } = await upgrade();
      expect(code, stderr).toBe(0);
      const turns = stderr.split("\n").filter((line) => / (upgrading|hands over)/.test(line));
      // `[0 s] node-b: upgrading`, `[9 s] node-a hands over to node-b`, `[12 s] node-a: upgrading`, `[20 s] witness: upgrading`
      const [standby, serving, then, last] = turns.map((line) => line.replace(/^\[\d+ s\] (\S+).*/, "$1"));
      expect(standby).toMatch(/^node-[ab]:$/);
      expect(then).toBe(`${serving}:`);
      expect(then).not.toBe(standby);
      expect(last).toBe("witness:");
      expect(turns.map((line) => line.includes("hands over"))).toEqual([false, true, false, false]);
      expect(stderr).toMatch(/node-a: upgraded 3 packages, restarted hotpair-etcd-\S+ hotpair-mariadb\n/);
      const after = await Promise.all(HOSTS.map((host) => pidOf(host, etcd)));
      for (const [index, pid] of after.entries()) expect(pid).not.toBe(before[index]);
      await ledger.client.stop();
      const { reasons, ledger: account } = await ledger.prove(true);
      expect(reasons).toEqual([]);
      expect(account?.primary.acknowledged).toBeGreaterThan(100);
    } finally {
      await ledger.close();
    }
    expect((await waitUntilWhole(place, 10_000)).problems).toEqual([]);
    expect((await upgrade()).stdout).toContain("nothing to do");
  });

  test("a member that is not healthy stops it before anything is done", async () => {
    await on("witness", newerPackages("+upg2", ["etcd-server"]));
    await on("node-b", `systemctl stop hotpair-etcd-${place.pair.name}`);
    const { code, stderr } = await upgrade("--node", "witness");
    await on("node-b", `systemctl start hotpair-etcd-${place.pair.name}`);
    expect(stderr).toContain("is not redundant: nothing was upgraded");
    expect(stderr).toContain("missing: the etcd member on node-b is not healthy");
    expect(code).toBe(2);
    expect(await on("witness", "dpkg-query -W etcd-server")).toMatch(/\+upg1$/m);
  });
});
