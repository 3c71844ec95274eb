// Two branches that both drilled: a real `git merge` joins their histories without a conflict, both count in one order
// whichever was merged into which, and what is taken out of either branch, or changed in it, is noticed.

import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { canonical } from "../../infra/evidence/digest.ts";
import { sha256 } from "../../infra/evidence/history.ts";
import {
  historyFolder,
  pruneEvidence,
  readRecords,
  recordVersions,
  verifyEvidence,
} from "../../infra/evidence/records.ts";
import { UserError } from "../../infra/model/errors.ts";
import { keep, STACK } from "./trial.ts";

let repository: string;
let directory: string;
beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), "hotpair-merge-"));
  directory = join(repository, "evidence");
  git("init", "-q", "-b", "main");
});
afterEach(() => rmSync(repository, { recursive: true, force: true }));

/** Nothing of the machine's own git configuration, so that no merge driver or hook of somebody comes in between. */
const OWN = { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
const ME = ["-c", "user.name=ops", "-c", "user.email=ops@example.net"];
const git = (...words: readonly string[]): string =>
  execFileSync("git", ["-C", repository, ...ME, ...words], {
    encoding: "utf8",
    env: { ...process.env, ...OWN },
    stdio: ["ignore", "pipe", "pipe"],
  });
const commit = (message: string): void => {
  git("add", "-A");
  git("commit", "-q", "-m", message);
};

type Class = Parameters<typeof keep>[2];
const drill = (failure: Class, startedAt: string, changes = {}): string =>
  keep(directory, failure, failure, { startedAt, ...changes });
const anybody = { allowedSigners: undefined };
const read = () => readRecords(directory, STACK, anybody);
const verify = (since?: string) => verifyEvidence(directory, STACK, anybody, since);
const scenarios = () => read().drills.map(({ scenario }) => scenario);
const entries = (): readonly string[] =>
  readdirSync(historyFolder(directory, STACK)).map((name) => join(historyFolder(directory, STACK), name));

/** One drill on main, then two on each branch, in turns; ends on main, which has been given neither. */
function twoBranches(): void {
  drill("node-power-cut", "2026-03-01T03:00:00.000Z");
  commit("first");
  git("switch", "-q", "-c", "left");
  drill("clean-reboot", "2026-03-02T03:00:00.000Z");
  drill("keepalived-kill", "2026-03-04T03:00:00.000Z");
  commit("left");
  git("switch", "-q", "-c", "right", "main");
  drill("haproxy-kill", "2026-03-03T03:00:00.000Z");
  drill("heartbeat-link-loss", "2026-03-05T03:00:00.000Z");
  commit("right");
  git("switch", "-q", "main");
}
const merge = (branch: string): string => git("merge", "-q", "--no-edit", "--no-ff", branch);

const IN_TIME = ["node-power-cut", "clean-reboot", "haproxy-kill", "keepalived-kill", "heartbeat-link-loss"];

test.each([
  ["left", "right"],
  ["right", "left"],
])("merged without a conflict, %s then %s, all drills count, in the order of their time", (first, second) => {
  twoBranches();
  merge(first);
  merge(second);
  expect(verify()).toMatchObject({ broken: undefined, branches: 2, gone: [] });
  expect(verify().files.map(({ problem }) => problem)).toEqual(IN_TIME.map(() => undefined));
  expect(scenarios()).toEqual(IN_TIME);
});

test("the next drill joins both, and then neither's last entry can be taken out", () => {
  twoBranches();
  merge("left");
  merge("right");
  const before = entries();
  drill("backend-kill", "2026-03-06T03:00:00.000Z");
  expect(read()).toMatchObject({ branches: 1, broken: undefined });
  expect(read().drills.at(-1)?.entry.parents).toHaveLength(2);
  for (const file of before) {
    const text = readFileSync(file, "utf8");
    rmSync(file);
    expect(read().broken, file).toMatch(/follows an entry that is not there any more/);
    writeFileSync(file, text);
  }
  expect(read().broken).toBeUndefined();
});

test("what happened on one branch outdates the other's evidence by its time, not by its place in the merge", () => {
  drill("node-power-cut", "2026-03-01T03:00:00.000Z");
  commit("first");
  git("switch", "-q", "-c", "upgraded");
  recordVersions(directory, STACK, { versions: { keepalived: "2.3.4" }, at: "2026-03-03T03:00:00.000Z" });
  commit("upgraded");
  git("switch", "-q", "main");
  drill("clean-reboot", "2026-03-02T03:00:00.000Z");
  drill("haproxy-kill", "2026-03-04T03:00:00.000Z", { versions: { "keepalived@node-a": "2.3.4" } });
  commit("drilled");
  merge("upgraded");
  const { drills, sightings } = read();
  const order = [...drills, ...sightings].toSorted((one, other) => one.sequence - other.sequence);
  expect(order.map((one) => ("scenario" in one ? one.scenario : "upgrade"))).toEqual([
    "node-power-cut",
    "clean-reboot",
    "upgrade",
    "haproxy-kill",
  ]);
});

test("room that one branch made is made in the other one, too", () => {
  const old = drill("node-power-cut", "2026-01-01T03:00:00.000Z").split("/").at(-1) ?? "";
  drill("node-power-cut", "2026-03-01T03:00:00.000Z");
  commit("first");
  git("switch", "-q", "-c", "pruned");
  pruneEvidence(directory, STACK, { files: [old], at: "2026-03-02T03:00:00.000Z", sign: undefined });
  commit("pruned");
  git("switch", "-q", "main");
  drill("clean-reboot", "2026-03-03T03:00:00.000Z");
  commit("drilled");
  merge("pruned");
  expect(read().broken).toBeUndefined();
  expect(verify().files).toHaveLength(2);
  expect(verify().files.flatMap(({ problem }) => problem ?? [])).toEqual([]);
});

describe("after a merge", () => {
  beforeEach(() => {
    twoBranches();
    merge("left");
    merge("right");
  });

  test.each(["left", "right"])("a drill that %s brought, changed in one byte, does not count", (branch) => {
    const [file = ""] = git(
      "diff",
      "--name-only",
      "--diff-filter=A",
      "main^{/first}",
      branch,
      "--",
      `evidence/${STACK}/*.json`,
    )
      .split("\n")
      .filter((path) => !path.includes("/history/"));
    appendFileSync(join(repository, file), " ");
    expect(verify().files.flatMap(({ problem }) => problem ?? [])).toEqual([
      `${join(repository, file)} was changed after it was recorded`,
    ]);
  });

  test.each(["left", "right"])(
    "an entry that %s brought, changed or taken out, makes all of it count for nothing",
    (branch) => {
      const [first = "", last = ""] = git("diff", "--name-only", "--diff-filter=A", "main^{/first}", branch)
        .split("\n")
        .filter((path) => path.includes("/history/"))
        .map((path) => join(repository, path));
      const text = readFileSync(first, "utf8");
      // With the name that its new digest asks for: the entry after it still names the old one.
      const forged = text.replace('"passedRuns":2', '"passedRuns":1');
      rmSync(first);
      const name = first.replace(/[0-9a-f]{16}\.json$/, `${sha256(forged).slice(7, 23)}.json`);
      writeFileSync(name, forged);
      expect(read().broken).toBe(
        `${last} follows an entry that is not there any more: ${sha256(text)} was changed or taken out`,
      );
      rmSync(name);
      expect(read().broken).toContain(last);
      writeFileSync(first, text);
      appendFileSync(last, " ");
      expect(read().broken).toBe(`${last} was changed after it was recorded, or is the copy of another`);
    },
  );

  test("that the end of one branch was cut off is seen by comparing with the commit", () => {
    const last = entries().toSorted().at(-1) ?? "";
    rmSync(last);
    expect(verify()).toMatchObject({ broken: undefined, gone: [] });
    expect(verify("HEAD").gone).toEqual([`${last} was recorded at HEAD, and is gone`]);
    expect(verify("left").gone).toEqual([]);
  });

  test("a revision that there is not, or that is none, is a mistake", () => {
    expect(() => verify("nowhere")).toThrow(UserError);
    expect(() => verify("--output=x")).toThrow(/git does not say what .* was at --output=x/);
  });
});

describe("an old history of lines", () => {
  const lines = () => join(directory, STACK, "history.jsonl");
  const write = (...all: readonly string[]) => writeFileSync(lines(), all.map((line) => `${line}\n`).join(""));
  /** The line of a drill as the first version wrote it, behind another one. */
  const lineOf = (file: string, before?: string): string => {
    const { version, parents, ...facts } = JSON.parse(readFileSync(file, "utf8")).entry;
    const place = before === undefined ? { sequence: 1, previous: null } : { sequence: 2, previous: sha256(before) };
    return canonical({ entry: { ...facts, version: 1, ...place } });
  };
  let first = "";
  let left = "";
  let right = "";
  beforeEach(() => {
    drill("node-power-cut", "2026-03-01T03:00:00.000Z");
    drill("clean-reboot", "2026-03-02T03:00:00.000Z");
    drill("haproxy-kill", "2026-03-03T03:00:00.000Z");
    const [one = "", two = "", three = ""] = entries();
    first = lineOf(one);
    left = lineOf(two, first);
    right = lineOf(three, first);
    rmSync(historyFolder(directory, STACK), { recursive: true });
  });

  test("merges with the lines of both branches, and goes on", () => {
    write(first);
    writeFileSync(join(repository, ".gitattributes"), "history.jsonl merge=union\n");
    commit("first");
    git("switch", "-q", "-c", "left");
    write(first, left);
    commit("left");
    git("switch", "-q", "main");
    write(first, right);
    commit("right");
    merge("left");
    expect(read()).toMatchObject({ broken: undefined, branches: 2 });
    expect(scenarios()).toEqual(["node-power-cut", "clean-reboot", "haproxy-kill"]);
    drill("backend-kill", "2026-03-04T03:00:00.000Z");
    expect(read()).toMatchObject({ broken: undefined, branches: 1 });
    write(first, right);
    expect(read().broken).toContain(`not there any more: ${sha256(left)}`);
  });

  test("is compared with the commit, too", () => {
    write(first);
    commit("old");
    expect(verify("HEAD")).toMatchObject({ broken: undefined, gone: [] });
    write();
    expect(verify("HEAD").gone).toEqual([`${lines()}:1 was recorded at HEAD, and is gone`]);
  });
});
