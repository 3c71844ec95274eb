// The history of a stack: every entry follows from those before it, and neither an entry nor a file can be changed or taken
// out unnoticed. What becomes of it when branches are merged is merge.test.ts.

import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { canonical } from "../../infra/evidence/digest.ts";
import { nextEntry, parseHistory, sha256, versionsThatMatter } from "../../infra/evidence/history.ts";
import { historyFolder, readRecords, recordDrill, recordVersions } from "../../infra/evidence/records.ts";
import { writeEvidence } from "../../infra/evidence/store.ts";
import { SAMPLE } from "./sample.ts";
import { keep, STACK } from "./trial.ts";

let directory: string;
let folder: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hotpair-history-"));
  folder = historyFolder(directory, STACK);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const threeDrills = (): readonly string[] => [
  keep(directory, "node-power-cut", "node-power-cut", {}),
  keep(directory, "clean-reboot", "clean-reboot", {}),
  keep(directory, "keepalived-kill", "keepalived-kill", {}),
];
const anybody = { allowedSigners: undefined };
const read = () => readRecords(directory, STACK, anybody);
const broken = () => read().broken;
const distrusted = () => read().drills.map((drill) => drill.distrusted);
/** In the order in which they were recorded. */
const entryFiles = (): readonly string[] => {
  const files = readdirSync(folder).map((name) => join(folder, name));
  const parents = (file: string) => JSON.parse(readFileSync(file, "utf8")).entry.parents as string[];
  const chain: string[] = [];
  for (let last: readonly string[] = []; chain.length < files.length; ) {
    const next = files.find((file) => parents(file).join() === last.join());
    if (next === undefined) throw new Error("no chain");
    chain.push(next);
    last = [sha256(readFileSync(next))];
  }
  return chain;
};

test("says of each drill what the gate needs to know", () => {
  threeDrills();
  const { drills } = read();
  expect(broken()).toBeUndefined();
  expect(drills.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  expect(drills[0]?.entry).toMatchObject({
    kind: "drill",
    parents: [],
    failure: "node-power-cut",
    runs: 2,
    passedRuns: 2,
    rtoMaxMs: 300,
    versions: { keepalived: "2.3.3" },
  });
  expect(drills[1]?.entry.parents).toEqual([drills[0]?.entry.address]);
  expect(distrusted()).toEqual([undefined, undefined, undefined]);
});

test("a stack without one has no drills, and no mistake", () => {
  expect(readRecords(directory, "prod", anybody)).toEqual({
    drills: [],
    sightings: [],
    broken: undefined,
    branches: 0,
  });
});

test("an upgrade's versions are recorded once something was drilled, and are no drill", () => {
  const versions = { "haproxy@node-a": "3.0.12-1", "haproxy@node-b": "3.0.12-1" };
  recordVersions(directory, STACK, { versions, at: "2026-01-02T00:00:00.000Z" });
  expect(read().sightings).toEqual([]);
  threeDrills();
  recordVersions(directory, STACK, { versions, at: "2026-01-02T00:00:00.000Z" });
  const { drills, sightings } = read();
  expect([drills.length, broken()]).toEqual([3, undefined]);
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

describe("an entry", () => {
  test("that another one follows cannot be taken out", () => {
    threeDrills();
    const [one = "", two = "", three = ""] = entryFiles();
    for (const [gone, names] of [
      [one, two],
      [two, three],
    ] as const) {
      renameSync(gone, `${gone}.away`);
      expect(broken()).toMatch(
        `${names} follows an entry that is not there any more: ${sha256(readFileSync(`${gone}.away`))}`,
      );
      renameSync(`${gone}.away`, gone);
    }
    expect(broken()).toBeUndefined();
  });

  test("that is changed in whatever byte, or lost one, is noticed, the last one too", () => {
    threeDrills();
    const entries = entryFiles().map((file) => ({ file, text: readFileSync(file, "utf8") }));
    fc.assert(
      fc.property(fc.constantFrom(...entries), fc.nat(), fc.boolean(), ({ file, text }, where, lost) => {
        const at = where % text.length;
        const other = text[at] === "x" ? "y" : "x";
        writeFileSync(file, `${text.slice(0, at)}${lost ? "" : other}${text.slice(at + 1)}`);
        expect(broken()).toContain(file);
        writeFileSync(file, text);
      }),
      { numRuns: 200 },
    );
    expect(broken()).toBeUndefined();
  });

  test("that is copied, or has another one's name, is noticed", () => {
    threeDrills();
    const [one = "", two = ""] = entryFiles();
    const copy = two.replace(/.{5}\.json$/, "00000.json");
    copyFileSync(two, copy);
    expect(broken()).toBe(`${copy} was changed after it was recorded, or is the copy of another`);
    rmSync(copy);
    copyFileSync(two, one);
    expect(broken()).toBe(`${one} was changed after it was recorded, or is the copy of another`);
  });

  test("that is wrong lets nothing be recorded after it", () => {
    threeDrills();
    appendFileSync(entryFiles()[2] ?? "", " ");
    expect(() => keep(directory, "haproxy-kill", "haproxy-kill", {})).toThrow(/history before it cannot be believed/);
  });
});

test("entries of whatever branches have one order for all, parents first, and none that is followed can be missing", () => {
  // Each names one or two of those before it, or none: a branch, a merge, a beginning of its own.
  const step = fc.record({ parents: fc.array(fc.nat(), { maxLength: 2 }), minutes: fc.nat({ max: 100_000 }) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(), (steps, from) => {
      const files: { name: string; text: string; address: string }[] = [];
      for (const [index, { parents, minutes }] of steps.entries()) {
        const named = parents.flatMap((parent) => files[parent % (index + 1)]?.address ?? []);
        const at = new Date(Date.UTC(2026, 0, 1) + minutes * 60_000).toISOString();
        const facts = { kind: "versions", at, versions: { step: String(index) } } as const;
        const { name, text } = nextEntry({ heads: [...new Set(named)] }, facts);
        files.push({ name, text, address: sha256(text) });
      }
      const parse = (some: typeof files) =>
        parseHistory({
          lines: { file: "", text: "" },
          files: some.map(({ name, text }) => ({ file: name, name, text })),
        });
      const { entries, heads, broken: none } = parse(files);
      expect(none).toBeUndefined();
      const rotated = files
        .map((_, index) => files[(index + from) % files.length] ?? files[0])
        .flatMap((one) => one ?? []);
      expect(parse(rotated).entries.map(({ address }) => address)).toEqual(entries.map(({ address }) => address));
      const place = new Map(entries.map(({ address, sequence }) => [address, sequence]));
      for (const { parents, sequence } of entries)
        for (const parent of parents) expect(place.get(parent)).toBeLessThan(sequence);
      for (const one of files) {
        const without = parse(files.filter((each) => each !== one));
        if (heads.includes(one.address)) expect(without.broken).toBeUndefined();
        else expect(without.broken).toContain(one.address);
      }
    }),
    { numRuns: 100 },
  );
});

describe("a history of the first version", () => {
  const lines = (): string => join(directory, STACK, "history.jsonl");

  /** As hotpair wrote it then: one line per entry, each with its number and the digest of the line before. */
  function toLines(): readonly string[] {
    const written: string[] = [];
    for (const file of entryFiles()) {
      const { version, parents, ...facts } = JSON.parse(readFileSync(file, "utf8")).entry;
      const last = written.at(-1);
      const previous = last === undefined ? null : sha256(last);
      written.push(canonical({ entry: { ...facts, version: 1, sequence: written.length + 1, previous } }));
    }
    rmSync(folder, { recursive: true });
    write(written);
    return written;
  }
  const write = (all: readonly string[]) => writeFileSync(lines(), all.map((line) => `${line}\n`).join(""));

  test("is read, and goes on in files", () => {
    threeDrills();
    const before = toLines();
    expect(distrusted()).toEqual([undefined, undefined, undefined]);
    keep(directory, "haproxy-kill", "haproxy-kill", {});
    const { drills, branches } = read();
    expect(drills.map(({ sequence, scenario }) => `${sequence} ${scenario}`)).toEqual([
      "1 node-power-cut",
      "2 clean-reboot",
      "3 keepalived-kill",
      "4 haproxy-kill",
    ]);
    expect([branches, broken()]).toEqual([1, undefined]);
    expect(readFileSync(lines(), "utf8")).toBe(before.map((line) => `${line}\n`).join(""));
    write(before.slice(0, 2));
    expect(broken()).toContain(`not there any more: ${sha256(before[2] ?? "")}`);
  });

  test("is refused with a line that is taken out, put in twice, moved or changed", () => {
    threeDrills();
    const [one = "", two = "", three = ""] = toLines();
    const refused = (...all: readonly string[]): string | undefined => {
      write(all);
      return broken();
    };
    expect(refused(one, three)).toMatch(/:2 does not follow/);
    expect(refused(two, three)).toMatch(/:1 does not follow/);
    expect(refused(one, two, two, three)).toMatch(/:3 does not follow/);
    expect(refused(three, two, one)).toMatch(/:1 does not follow/);
    expect(refused(one.replace('"passedRuns":2', '"passedRuns":1'), two, three)).toMatch(/:2 does/);
    writeFileSync(lines(), `${one}\n{"entry"`);
    expect(broken()).toMatch(/its last line is not whole/);
  });

  test("of two branches counts with the lines of both", () => {
    const [, , third = ""] = threeDrills();
    const [one = "", two = "", three = ""] = toLines();
    const { entry } = JSON.parse(three);
    const other = canonical({ entry: { ...entry, sequence: 2, previous: sha256(one) } });
    write([one, two, other]);
    expect(read()).toMatchObject({ branches: 2, broken: undefined });
    expect(read().drills.map(({ entry: { file } }) => file)).toContain(third.split("/").at(-1));
  });

  test("whatever byte but the last line feed is changed or lost, all that was written is not believed", () => {
    threeDrills();
    const whole = `${toLines().join("\n")}\n`;
    const last = whole.lastIndexOf("\n", whole.length - 2) + 1;
    fc.assert(
      fc.property(fc.nat({ max: last - 1 }), fc.boolean(), (at, lost) => {
        const other = whole[at] === "x" ? "y" : "x";
        const text = `${whole.slice(0, at)}${lost ? "" : other}${whole.slice(at + 1)}`;
        expect(parseHistory({ lines: { file: "history.jsonl", text }, files: [] }).broken).toBeDefined();
      }),
      { numRuns: 200 },
    );
  });
});

test("two recordings of one drill are two entries, and the second file counts", () => {
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
