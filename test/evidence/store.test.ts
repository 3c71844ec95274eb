// Evidence on disk: written whole, read back the same, and wrong files named with their mistakes.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { evidencePath, parseEvidence, readStackEvidence, writeEvidence } from "../../infra/evidence/store.ts";
import { UserError } from "../../infra/model/errors.ts";
import { SAMPLE } from "./sample.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-evidence-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("what is written is read back the same, one sample per line, and no draft stays", () => {
  for (const one of SAMPLE) writeEvidence(directory, one);
  const read = readStackEvidence(directory, "lab");
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
  const byName = (all: readonly { scenario: string }[]) => all.toSorted((a, b) => (a.scenario < b.scenario ? -1 : 1));
  expect(byName(read)).toEqual(plain(byName(SAMPLE)));
  expect(readdirSync(join(directory, "lab")).every((name) => name.endsWith(".json"))).toBe(true);
  const first = SAMPLE[0];
  if (first === undefined) throw new Error("no sample");
  expect(evidencePath(directory, first)).toBe(join(directory, "lab/20260101T000000Z-node-power-cut.json"));
  expect(readFileSync(evidencePath(directory, first), "utf8")).toMatch(/^\s+\[-500,1\.5,1,"node-a"\],$/m);
});

test("a later state of the same drill replaces the earlier one", () => {
  const first = SAMPLE[0];
  if (first === undefined) throw new Error("no sample");
  writeEvidence(directory, { ...first, runs: [] });
  writeEvidence(directory, first);
  expect(readStackEvidence(directory, "lab")).toHaveLength(1);
  expect(readStackEvidence(directory, "lab")[0]?.runs).toHaveLength(first.runs.length);
});

test("no evidence is no error", () => {
  expect(readStackEvidence(directory, "prod")).toEqual([]);
});

test("a broken file is named with what is wrong in it", () => {
  const first = SAMPLE[0];
  if (first === undefined) throw new Error("no sample");
  const details = (text: string): { message: string; details: readonly string[] } => {
    try {
      parseEvidence(text, "evidence/lab/x.json");
    } catch (error) {
      if (error instanceof UserError) return { message: error.message, details: error.details };
      throw error;
    }
    throw new Error("it was accepted");
  };
  expect(details("{").message).toMatch(/^evidence\/lab\/x\.json is not JSON/);
  expect(details('{"version":7}').message).toBe("evidence/lab/x.json: version is 7; this hotpair reads version 1");
  const wrong = { ...first, failure: "meteor", estimate: { ...first.estimate, rtoUpperMs: "soon" } };
  const found = details(JSON.stringify(wrong)).details.map((line) => line.split(":")[0]);
  expect(found).toEqual(expect.arrayContaining(["failure", "estimate.rtoUpperMs"]));
  writeFileSync(join(directory, "x.json"), "");
});
