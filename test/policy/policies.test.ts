// The pack as a whole: one file and one test per rule, every finding has its policy, nothing reports a value.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { proofOf } from "../../infra/drill/proof.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { policies } from "../../infra/policy/policies.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { STACK } from "../evidence/trial.ts";
import { labPair } from "../model/pairs.ts";
import { MORE_VIOLATIONS, VIOLATIONS } from "../model/violations.ts";
import { reports } from "./judge.ts";

const here = import.meta.dirname;
const rules = policies.map((policy) => policy.name).filter((name) => !name.endsWith("-advice"));
const filesIn = (directory: string, ending: string): readonly string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length));

test("one file per rule, and one test that mirrors it by name", () => {
  const rooms = new Set(["pack", "policies", "policy"]);
  expect(filesIn(join(here, "../../infra/policy"), ".ts").filter((name) => !rooms.has(name))).toEqual(
    [...rules].sort(),
  );
  const tests = filesIn(here, ".test.ts").filter((name) => !name.startsWith("policies") && !name.startsWith("engine"));
  expect(tests).toEqual([...rules].sort());
});

test("every rule is broken by some example, and every finding of the examples has its policy", () => {
  expect(Object.keys(VIOLATIONS).sort()).toEqual([...rules].sort());
  const broken = [...Object.values(VIOLATIONS), ...MORE_VIOLATIONS].map((violation) => violation.broken);
  const found = new Set(
    broken.flatMap((pair) => collectFindings(pair, proofOf(STACK, pair)).map((finding) => finding.rule)),
  );
  expect([...found].filter((rule) => !rules.includes(rule))).toEqual([]);
});

test("the pack and the program read the same findings", async () => {
  for (const { broken } of Object.values(VIOLATIONS)) {
    const said = await reports(policies, { pair: broken });
    expect(said).toHaveLength(collectFindings(broken, proofOf(STACK, broken)).length);
  }
});

test("reports name paths, never values", async () => {
  const value = "5eed".repeat(16);
  const pair: Pair = { ...labPair, secrets: { ...labPair.secrets, beaconKey: value as never } };
  const said = (await reports(policies, { pair })).join("\n");
  expect(said).toContain("hotpair:pair.beaconKey");
  expect(said).not.toContain(value);
});

test("a pair without its configuration is a defect, not a pass", async () => {
  await expect(reports(policies, {})).rejects.toThrow('has no input "pair"');
});
