// What travels to a host for an upgrade: who judges its daemons, and nothing of what they are configured with.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { upgradeCommand, upgradesCommand } from "../../infra/plan/commands.ts";
import { planHosts } from "../../infra/plan/plan.ts";
import { upgradeBundle, upgradePlan } from "../../infra/plan/upgrade.ts";
import { labPair, statefulPair } from "../model/pairs.ts";

const scratch = mkdtempSync(join(tmpdir(), "hotpair-upgrade-"));
afterAll(() => rmSync(scratch, { recursive: true }));

describe.each([labPair, statefulPair])("an upgrade of the pair $name", (pair) => {
  describe.each(planHosts(pair))("on $name", (plan) => {
    const light = upgradePlan(pair, plan);

    test("takes its own program along and no other file, so no secret either", () => {
      expect(light.files.map(({ path }) => path.split("/").at(-1))).toEqual(["hotpair-apply"]);
      const directory = join(scratch, `${pair.name}-${plan.name}`);
      mkdirSync(directory);
      const archive = Buffer.from(upgradeBundle(pair, plan).split("\n")[1] ?? "", "base64");
      execFileSync("tar", ["-xz", "-C", directory], { input: archive });
      const lines = readFileSync(join(directory, "plan"), "utf8").split("\n");
      expect(lines.filter((line) => line.startsWith("validator "))).toHaveLength(plan.validators.length);
      expect(readdirSync(join(directory, "health"))).toHaveLength(plan.health.length);
    });

    test("every judge, guard and check of the plan comes along", () => {
      expect(light.validators.map(({ name }) => name)).toEqual(plan.validators.map(({ name }) => name));
      expect(light.units.slice(0, plan.units.length)).toEqual(plan.units);
      expect(light.health).toEqual(plan.health);
    });

    test("a reboot asks every member of an authority that is on the host", () => {
      const guard = light.units.find(({ name }) => name === "reboot.target")?.guard;
      expect(guard !== undefined).toBe(pair.authority !== undefined);
      if (guard === undefined) return;
      execFileSync("sh", ["-n"], { input: guard });
      expect(guard).toContain("$program $pair may-stop || exit 1");
    });
  });
});

test("the commands are POSIX shell, and no name of a package can be more than one", () => {
  const commands = [
    upgradesCommand("known", []),
    upgradesCommand("fetch", ["nginx", "libstdc++6"], "shop"),
    upgradeCommand([], false),
    upgradeCommand(["nginx"], true, "shop"),
  ];
  for (const command of commands) execFileSync("sh", ["-n"], { input: command });
  expect(upgradeCommand(["nginx"], true, "shop")).toContain(
    "/usr/lib/hotpair/pairs/shop/hotpair-apply --pair shop upgrade $d yes nginx'",
  );
  expect(() => upgradeCommand(["nginx; reboot"], false)).toThrow("is not the name of a package");
});
