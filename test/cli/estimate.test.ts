// estimate as users run it: one line per failure class, and everything that is known of one.

import { afterAll, beforeAll, expect, test } from "vitest";
import { LAB_TEXT } from "../config/sample.ts";
import { Project } from "./project.ts";

let project: Project;
beforeAll(() => {
  project = new Project();
});
afterAll(() => project.remove());

test("every failure class has its cost, what it leaves and its drills", async () => {
  const { code, stdout } = await project.hotpair(["estimate", "-s", "lab"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^node-power-cut +191\.1ms\.\.431\.2ms +0ms +P2 +node-power-cut$/m);
  expect(stdout).toMatch(/^switch-loss +0ms\.\.unbounded +0ms +P0 +switch-loss$/m);
  expect(stdout).toMatch(/^kernel-panic +191\.1ms\.\.431\.2ms +0ms +P2 +kernel-panic$/m);
  expect(stdout).toMatch(/^site-loss +.* +-$/m);
});

test("a year is shown with the pair and without it, its budgets, and where it goes", async () => {
  const own = LAB_TEXT.replace(
    "\n      tier: standard\n",
    "\n      tier: standard\n      redundancyLost: 24h\n    failures:\n      - { class: both-power-cut, rate: 1/month, repair: 30m }\n",
  );
  project.write("dark", own);
  const { code, stdout } = await project.hotpair(["estimate", "-s", "dark"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/without service, one server alone +\d+\.\d h/);
  expect(stdout).toMatch(/both-power-cut +6 h +12\/year, repaired within 30m: the stack file/);
  expect(stdout).toMatch(/without a usable standby +\d+\.\d h +budget 24 h/);
  const { year, classes } = JSON.parse((await project.hotpair(["estimate", "-s", "dark", "--json"])).stdout);
  expect(year.downtimeAlone).toBeGreaterThan(year.downtime.upper);
  const cut = classes.find((each: { failure: string }) => each.failure === "both-power-cut");
  expect(cut.year).toMatchObject({ rate: 12, downtime: { upper: 12 * 30 * 60_000 }, redundancyLost: 12 * 30 * 60_000 });
});

test("of one class it says what is known: who notices, the sum, what would be needed, and where the checklist is", async () => {
  const { code, stdout } = await project.hotpair(["estimate", "site-loss", "-s", "lab"]);
  expect(code).toBe(0);
  for (const said of [
    /noticed by +clients; the other site/,
    /no bound +cannot be survived/,
    /needed +the nodes at two sites/,
    /left +P0: no service/,
    /drill +none: /,
    /what to do +docs\/failures\/site-loss\.md#what-to-do/,
  ])
    expect(stdout).toMatch(said);
  const { classes } = JSON.parse((await project.hotpair(["estimate", "haproxy-kill", "-s", "lab", "--json"])).stdout);
  expect(classes).toEqual([
    expect.objectContaining({
      failure: "haproxy-kill",
      severity: "none",
      detectedBy: "systemd",
      drills: ["haproxy-kill"],
    }),
  ]);
});

test("a class that the pair does not have is named with those that it has", async () => {
  expect(await project.hotpair(["estimate", "lease-loss", "-s", "lab"])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/"lease-loss" is no failure class of stack lab\n.*node-power-cut/),
  });
});
