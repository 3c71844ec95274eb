// `hotpair drill` as far as it goes without breaking anything: what it lists, refuses and ends with.

import { Command } from "commander";
import { afterEach, expect, test, vi } from "vitest";
import { exitCode, register } from "../../infra/cli/drill.ts";
import { SCENARIOS } from "../../infra/drill/scenarios.ts";
import type { Evidence, Run } from "../../infra/evidence/schema.ts";
import { SAMPLE } from "../evidence/sample.ts";

afterEach(() => vi.restoreAllMocks());

async function hotpair(...words: string[]): Promise<string> {
  const lines: string[] = [];
  vi.spyOn(console, "log").mockImplementation((...parts) => void lines.push(parts.join(" ")));
  const program = new Command("hotpair").exitOverride();
  register(program);
  await program.parseAsync(words, { from: "user" });
  return lines.join("\n");
}

test("lists every scenario with what must happen, and why one says nothing about this pair", async () => {
  const plain = await hotpair("drill", "-s", "lab", "--list");
  for (const { name, expectation } of SCENARIOS) {
    expect(plain).toContain(name);
    expect(plain).toContain(expectation);
  }
  expect(plain).toMatch(/vip-conflict .*\(lab only\)/);
  const json = JSON.parse(await hotpair("drill", "-s", "lab", "--list", "--json")) as {
    name: string;
    inapplicable: string | null;
  }[];
  expect(json.map((one) => one.name)).toEqual(SCENARIOS.map((one) => one.name));
  const why = Object.fromEntries(json.map((one) => [one.name, one.inapplicable]));
  expect(why).toMatchObject({ "node-power-cut": null, "witness-loss": "this pair keeps no data" });
});

test("a scenario that there is not, is named with those that there are", async () => {
  await expect(hotpair("drill", "-s", "lab", "--scenario", "meteor")).rejects.toMatchObject({
    name: "UserError",
    message: "there is no scenario meteor",
    details: [expect.stringContaining("node-power-cut")],
  });
});

test("0 when all was kept, 3 when nothing but a target was missed, 1 when a promise was broken", () => {
  const [first] = SAMPLE;
  const [run] = first?.runs ?? [];
  if (first === undefined || run === undefined) throw new Error("no sample");
  const withRun = (changes: Partial<Run>): Evidence => ({ ...first, runs: [{ ...run, ...changes }] });
  const kept = withRun({});
  const missed = withRun({ verdict: "failed", reasons: ["the target of 1s was missed: 1500ms"], missedTarget: true });
  const broken = withRun({ verdict: "failed", reasons: ["web had two owners for 3ms"], missedTarget: false });
  expect(exitCode([kept])).toBe(0);
  expect(exitCode([kept, missed])).toBe(3);
  expect(exitCode([missed, broken])).toBe(1);
});
