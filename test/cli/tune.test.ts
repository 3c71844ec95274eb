// tune as users run it: what it proposes, what it writes, and that exactly this makes a missed target pass.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LAB_TEXT } from "../config/sample.ts";
import { Project } from "./project.ts";

let project: Project;
beforeAll(() => {
  project = new Project();
});
afterAll(() => project.remove());

/** The lab's file with its targets replaced, and a section of hand-written timers with comments of their owner's. */
const withTimers = (objectives: string): string =>
  LAB_TEXT.replace(
    /\n {4}objectives:\n {6}tier: standard\n/,
    `\n    objectives:\n${objectives}    # set by hand in spring\n    vrrp: { advertInterval: 1s, priority: 100 } # was 3s\n`,
  );
const proposedOf = (text: string): readonly string[] =>
  (JSON.parse(text) as { changes: { path: string }[] }).changes.map(({ path }) => path.replace("hotpair:pair.", ""));

describe("a stack whose timers miss its target", () => {
  const missing = withTimers("      rto: { default: 30s, node-power-cut: 700ms }\n");

  test("is told what to change, and why, and nothing is written", async () => {
    project.write("slow", missing);
    expect((await project.hotpair(["check", "-s", "slow"])).code).toBe(3);
    const outcome = await project.hotpair(["tune", "-s", "slow"]);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(outcome.stdout).toMatch(
      /vrrp\.advertInterval +1s +→ \d+ms +\d+ms silence of the active node \(\S+ × the ordinary 61ms\)/,
    );
    expect(outcome.stdout).toMatch(/node-power-cut: at most \S+ in place of 3\.\S+s, target 700ms/);
    expect(outcome.stdout).toContain("the same with --write");
    expect(project.read("slow")).toBe(missing);
  });

  test("passes once exactly that is written, comments and all else kept", async () => {
    project.write("slow", missing);
    const outcome = await project.hotpair(["tune", "-s", "slow", "--write", "--json"]);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(proposedOf(outcome.stdout)).toEqual(
      expect.arrayContaining(["vrrp.advertInterval", "vrrp.priority", "arbiter.silence"]),
    );
    const text = project.read("slow");
    const [line] = /^ {4}vrrp: .*$/m.exec(text) ?? [];
    expect(line).toMatch(/^ {4}vrrp: \{ advertInterval: \d+ms, priority: 253 \} # was 3s$/);
    // What was left to its default, which follows the adverts, stays so.
    const others = (all: string): string[] => all.split("\n").filter((each) => !each.includes("vrrp:"));
    expect(others(text)).toEqual(others(missing));
    expect((await project.hotpair(["check", "-s", "slow"])).code).toBe(0);
    expect((await project.hotpair(["tune", "-s", "slow", "--write"])).stdout).toContain("nothing to write");
    expect(project.read("slow")).toBe(text);
  });
});

test("a target that no timers keep ends with exit code 3, the term and the reason", async () => {
  project.write("never", withTimers("      rto: { default: 30s, haproxy-kill: 500ms }\n"));
  const outcome = await project.hotpair(["tune", "-s", "never"]);
  expect(outcome.code).toBe(3);
  expect(outcome.stdout).toMatch(/haproxy-kill: target 500ms, with every timer as short as it may be 910ms/);
  expect(outcome.stdout).toMatch(/cannot be shorter: systemd starts HAProxy again .*no timer of the configuration/);
});

test("limits that are given are used, and written with the timers that they ask for", async () => {
  project.write("pausing", LAB_TEXT);
  const given = ["tune", "-s", "pausing", "--pause", "300ms"];
  expect(proposedOf((await project.hotpair([...given, "--json"])).stdout)).toContain("vrrp.advertInterval");
  expect((await project.hotpair([...given, "--write"])).code).toBe(0);
  expect(project.read("pausing")).toMatch(/\n {4}limits:\n {6}pause: 300ms\n/);
  expect((await project.hotpair(["check", "-s", "pausing"])).stdout).not.toContain("timers-agree");
  const wrong = await project.hotpair(["tune", "-s", "pausing", "--round-trip", "soon"]);
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("--round-trip soon is not a time") });
});
