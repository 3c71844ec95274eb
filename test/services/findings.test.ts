// Every rule: a pair that breaks it is told where and what to change, and following the advice ends the finding.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { proofOf } from "../../infra/drill/proof.ts";
import type { Finding } from "../../infra/model/finding.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { collectFindings } from "../../infra/services/findings.ts";
import { STACK, writeTrial } from "../evidence/trial.ts";
import { externalService, labPair, tls, twoVips, virtualMac } from "../model/pairs.ts";
import { DECLARED, MORE_VIOLATIONS, VIOLATIONS } from "../model/violations.ts";

const all = [
  ...Object.entries(VIOLATIONS).map(([rule, violation]) => ({ rule, name: rule, ...violation })),
  ...MORE_VIOLATIONS.map((violation) => ({ ...violation, name: `${violation.rule}: ${violation.name}` })),
];

const drilled = { broken: mkdtempSync(join(tmpdir(), "hotpair-")), fixed: mkdtempSync(join(tmpdir(), "hotpair-")) };
for (const state of ["broken", "fixed"] as const) writeTrial(drilled[state], state);
afterAll(() => {
  for (const directory of Object.values(drilled)) rmSync(directory, { recursive: true, force: true });
});

describe.each(all)("$name", ({ rule, level, path, message, fix, broken, fixed }) => {
  const find = (pair: Pair, state: "broken" | "fixed"): Finding | undefined =>
    collectFindings(pair, proofOf(STACK, pair, drilled[state])).find(
      (finding) => finding.rule === rule && finding.path === path,
    );

  test("is found, with place, numbers and what to change", () => {
    const finding = find(broken, "broken");
    expect(finding).toMatchObject({ level, message: expect.stringMatching(message), fix: expect.stringMatching(fix) });
  });

  test("is gone when the advice was followed", () => {
    expect(find(fixed, "fixed")).toBeUndefined();
  });
});

test.each([
  ["one VIP", labPair],
  ["two VIPs", twoVips],
  ["virtual MAC", virtualMac],
  ["TLS", tls],
  ["external service", externalService],
])("a sound pair has no mandatory finding: %s", (_name, pair) => {
  expect(collectFindings(pair).filter((finding) => finding.level === "mandatory")).toEqual([]);
});

test("the undecidable partition is declared for every pair without state", () => {
  expect(collectFindings(labPair)).toContainEqual(expect.objectContaining({ ...DECLARED, level: "advisory" }));
});

test("mandatory findings come first, and the order does not depend on anything else", () => {
  const broken: Pair = {
    ...labPair,
    base: { ...labPair.base, persistentJournal: false },
    vrrp: { ...labPair.vrrp, priority: 100, garp: { ...labPair.vrrp.garp, repeat: 0 } },
  };
  const levels = collectFindings(broken).map((finding) => finding.level);
  expect(levels).toEqual([...levels].sort().reverse());
  expect(collectFindings(structuredClone(broken))).toEqual(collectFindings(broken));
});

test("no finding repeats a secret's value", () => {
  const value = "5eed".repeat(16);
  const broken = { ...labPair, secrets: { ...labPair.secrets, beaconKey: value as never } };
  expect(JSON.stringify(collectFindings(broken))).not.toContain(value);
});
