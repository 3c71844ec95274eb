// The history of a stack: every line follows from the one before it, and neither a line nor a file can be changed or taken
// out unnoticed.

import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseHistory, versionsThatMatter } from "../../infra/evidence/history.ts";
import { historyPath, readRecords, recordDrill, recordVersions } from "../../infra/evidence/records.ts";
import { writeEvidence } from "../../infra/evidence/store.ts";
import { SAMPLE } from "./sample.ts";
import { keep, STACK } from "./trial.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-history-"));
  path = historyPath(directory, STACK);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const threeDrills = (): readonly string[] => [
  keep(directory, "node-power-cut", "node-power-cut", {}),
  keep(directory, "clean-reboot", "clean-reboot", {}),
  keep(directory, "keepalived-kill", "keepalived-kill", {}),
];
const readHistory = () => parseHistory(readFileSync(path, "utf8"), "history.jsonl");
const anybody = { allowedSigners: undefined };
const distrusted = () => readRecords(directory, STACK, anybody).drills.map((drill) => drill.distrusted);

test("says of each drill what the gate needs to know", () => {
  threeDrills();
  const { entries, broken } = readHistory();
  expect(broken).toBeUndefined();
  expect(entries.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  expect(entries[0]).toMatchObject({
    kind: "drill",
    previous: null,
    failure: "node-power-cut",
    runs: 2,
    passedRuns: 2,
    rtoMaxMs: 300,
    versions: { keepalived: "2.3.3" },
  });
  expect(distrusted()).toEqual([undefined, undefined, undefined]);
});

test("a stack without one has no drills, and no mistake", () => {
  expect(readRecords(directory, "prod", anybody)).toEqual({ drills: [], sightings: [], broken: undefined });
});

test("an upgrade's versions are recorded once something was drilled, and are no drill", () => {
  const versions = { "haproxy@node-a": "3.0.12-1", "haproxy@node-b": "3.0.12-1" };
  recordVersions(directory, STACK, { versions, at: "2026-01-02T00:00:00.000Z" });
  expect(existsSync(path)).toBe(false);
  threeDrills();
  recordVersions(directory, STACK, { versions, at: "2026-01-02T00:00:00.000Z" });
  const { drills, sightings, broken } = readRecords(directory, STACK, anybody);
  expect([drills.length, broken]).toEqual([3, undefined]);
  expect(sightings).toMatchObject([{ sequence: 4, versions: { haproxy: "3.0.12" } }]);
});

test("a file that was changed, or is gone, does not count", () => {
  const [first = "", second = ""] = threeDrills();
  appendFileSync(first, "\n");
  rmSync(second);
  const [one, two, three] = distrusted();
  expect(one).toBe(`${first} was changed after it was recorded`);
  expect(two).toBe(`${second} is gone`);
  expect(three).toBeUndefined();
});

describe("lines", () => {
  const rewrite = (change: (lines: string[]) => string[]): string | undefined => {
    rmSync(path, { force: true });
    threeDrills();
    const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
    writeFileSync(
      path,
      change(lines)
        .map((line) => `${line}\n`)
        .join(""),
    );
    return readHistory().broken;
  };

  test("one that is taken out, put in twice or moved is noticed", () => {
    expect(rewrite(([one, , three]) => [one ?? "", three ?? ""])).toMatch(/:2 does not follow/);
    expect(rewrite(([, ...others]) => others)).toMatch(/:1 does not follow/);
    expect(rewrite(([one, two, three]) => [one, two, two, three] as string[])).toMatch(/:3 does not follow/);
    expect(rewrite((lines) => lines.toReversed())).toMatch(/:1 does not follow/);
  });

  test("one that is changed is noticed at the next, or by its file", () => {
    expect(rewrite((lines) => lines.map((line) => line.replace('"passedRuns":2', '"passedRuns":1')))).toMatch(
      /:2 does/,
    );
  });

  test("half a line is noticed, and nothing is recorded after it", () => {
    threeDrills();
    appendFileSync(path, '{"entry"');
    expect(readHistory().broken).toMatch(/its last line is not whole/);
    expect(() => keep(directory, "haproxy-kill", "haproxy-kill", {})).toThrow(/history before it cannot be believed/);
  });

  test("whatever byte but the last line feed is changed or lost, all that was written is not believed", () => {
    threeDrills();
    const whole = readFileSync(path, "utf8");
    const last = whole.lastIndexOf("\n", whole.length - 2) + 1;
    fc.assert(
      fc.property(fc.nat({ max: last - 1 }), fc.boolean(), (at, lost) => {
        const other = whole[at] === "x" ? "y" : "x";
        writeFileSync(path, `${whole.slice(0, at)}${lost ? "" : other}${whole.slice(at + 1)}`);
        expect(readHistory().broken).toBeDefined();
      }),
      { numRuns: 200 },
    );
  });
});

test("two recordings of one drill are two lines, and the second file counts", () => {
  const [sample] = SAMPLE;
  if (sample === undefined) throw new Error("no sample");
  for (const runs of [sample.runs.slice(0, 1), sample.runs]) {
    writeEvidence(directory, { ...sample, runs });
    recordDrill(directory, { ...sample, runs });
  }
  const { drills } = readRecords(directory, sample.stack, anybody);
  expect(drills.map(({ distrusted, runs }) => [distrusted === undefined, runs])).toEqual([
    [false, 1],
    [true, 2],
  ]);
});

test("of a version the upstream part counts, of the kernel two numbers, and nodes only where they differ", () => {
  expect(
    versionsThatMatter({
      hotpair: "0.1.0",
      "haproxy@node-a": "3.0.11-1+deb13u1",
      "haproxy@node-b": "3.0.11-1+deb13u2",
      "linux@node-a": "6.12.48+deb13-amd64",
      "keepalived@node-a": "2.3.3",
      "keepalived@node-b": "2.3.4",
    }),
  ).toEqual({ hotpair: "0.1.0", haproxy: "3.0.11", linux: "6.12", keepalived: "2.3.3 and 2.3.4" });
});
