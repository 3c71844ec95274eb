// `hotpair evidence` as users run it: what was drilled, that a changed file is refused, and that making room is no change.

import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { historyFolder } from "../../infra/evidence/records.ts";
import { signerWith } from "../../infra/evidence/signature.ts";
import { daysAgo, keep, STACK, writeTrial } from "../evidence/trial.ts";
import { Project } from "./project.ts";

const project = new Project();
const directory = join(project.directory, "kept");
const evidence = (...words: readonly string[]) =>
  project.hotpair(["evidence", ...words, "-s", STACK, "--evidence", directory]);

beforeAll(() => project.write(STACK, project.read("lab")));
beforeEach(() => writeTrial(directory, "fixed"));
afterAll(() => project.remove());

test("list shows every drill with its verdict", async () => {
  const { code, stdout } = await evidence("list");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d +keepalived-kill +keepalived-kill +2 +passed +300ms +sha256:/m);
  expect(stdout).toMatch(/^ {2}haproxy-kill +2 of 2, so at least 22 % \(95 % confidence\)$/m);
  const { drills } = JSON.parse((await evidence("list", "--json")).stdout);
  expect(drills.map((drill: { scenario: string }) => drill.scenario)).toEqual([
    "keepalived-kill",
    "planned-switch",
    "haproxy-kill",
    "nginx-kill",
    "clean-reboot",
  ]);
});

describe("verify", () => {
  test("is content with what was recorded", async () => {
    expect(await evidence("verify")).toMatchObject({
      code: 0,
      stdout: "trial: 5 recorded drills, nothing was changed or taken out\n",
    });
  });

  test("refuses a changed file, and names it", async () => {
    writeTrial(directory, "broken");
    const { code, stderr } = await evidence("verify");
    expect(code).toBe(1);
    expect(stderr).toMatch(/is not what was recorded\n.*nginx-kill\.json was changed after it was recorded\n/);
    const { sound } = JSON.parse((await evidence("verify", "--json")).stdout);
    expect(sound).toBe(false);
  });

  test("refuses a changed history", async () => {
    const [first = ""] = readdirSync(historyFolder(directory, STACK));
    appendFileSync(join(historyFolder(directory, STACK), first), "{}\n");
    expect((await evidence("verify")).stderr).toContain(`history/${first} is no entry of a history`);
  });
});

test("verify tells that the end was cut off since a revision of git", async () => {
  const git = (...words: readonly string[]) =>
    execFileSync("git", ["-C", directory, "-c", "user.name=ops", "-c", "user.email=ops@example.net", ...words]);
  git("init", "-q");
  git("add", "-A");
  git("commit", "-q", "-m", "drilled");
  expect((await evidence("verify", "--since", "HEAD")).code).toBe(0);
  const last = readdirSync(historyFolder(directory, STACK)).find((name) =>
    readFileSync(join(historyFolder(directory, STACK), name), "utf8").includes('"clean-reboot"'),
  );
  rmSync(join(historyFolder(directory, STACK), last ?? ""));
  expect((await evidence("verify")).code).toBe(0);
  const { code, stderr } = await evidence("verify", "--since", "HEAD");
  expect([code, stderr]).toEqual([1, expect.stringContaining(`${last} was recorded at HEAD, and is gone`)]);
  expect((await evidence("verify", "--since", "nowhere")).code).toBe(2);
  rmSync(join(directory, ".git"), { recursive: true });
});

describe("evidence that must be signed", () => {
  const key = join(project.directory, "operator");
  beforeAll(() => {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    writeFileSync(join(project.directory, "signers"), `ops@example.net ${readFileSync(`${key}.pub`, "utf8")}`);
    project.write(
      STACK,
      project.read("lab").replace(/^( +)vips:/m, "$1evidence: { allowedSigners: signers }\n$1vips:"),
    );
  });
  afterAll(() => project.write(STACK, project.read("lab")));

  test("does not count without a signature, and list shows who signed", async () => {
    expect((await evidence("verify")).stderr).toMatch(/history\/\S+\.json is not signed/);
    keep(directory, "haproxy-hang", "haproxy-hang", {}, signerWith(key));
    expect((await evidence("list")).stdout).toMatch(/haproxy-hang .*ops@example\.net$/m);
  });

  test("is not recorded without a key", async () => {
    const pruned = await evidence("prune", "--older-than", "400d", "--yes");
    expect(pruned).toMatchObject({ code: 2, stderr: expect.stringContaining("name your key with --sign") });
  });
});

test("prune removes files, keeps the newest of each scenario, and the history stays sound", async () => {
  const old = keep(directory, "haproxy-hang", "haproxy-hang", { startedAt: daysAgo(500) });
  const older = keep(directory, "haproxy-hang", "haproxy-hang", { startedAt: daysAgo(600) });
  const young = keep(directory, "haproxy-hang", "haproxy-hang", {});
  expect((await evidence("prune", "--older-than", "400d")).stderr).toContain("Nobody can answer here: give --yes");
  const pruned = await evidence("prune", "--older-than", "400d", "--yes");
  expect(pruned).toMatchObject({ code: 0, stdout: "removed 2 files; the history keeps what came of them\n" });
  expect([old, older, young].map((file) => existsSync(file))).toEqual([false, false, true]);
  expect((await evidence("verify")).code).toBe(0);
  expect(readdirSync(join(directory, STACK))).toHaveLength(7);
  expect((await evidence("prune", "--older-than", "400d", "--yes")).stdout).toBe("nothing to remove\n");
});
