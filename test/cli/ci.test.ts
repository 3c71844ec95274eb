// What CI gets: SARIF and JUnit in the shape that their readers require, a comment that says before → after, and examples
// whose commands run. The engine's own command of the examples runs in ci.e2e.test.ts.

import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { LAB_TEXT } from "../config/sample.ts";
import { CI_COMMANDS } from "./ci.ts";
import { Project } from "./project.ts";

const project = new Project();
const at = (name: string): string => join(project.directory, name);
const read = (name: string): string => readFileSync(at(name), "utf8");
const git = (...args: readonly string[]): string =>
  execFileSync("git", ["-c", "user.name=x", "-c", "user.email=x@example.net", ...args], {
    cwd: project.directory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

/** Slower adverts, a target that they miss, one that names nothing, and a service on the statistics' port. */
const CHANGED = LAB_TEXT.replace(/^( +)vips:/m, "$1vrrp: { advertInterval: 2s }\n$1vips:").replace(
  "tier: standard",
  "tier: standard\n      rto: { node-power-cut: 1s }",
);
const check = (...words: readonly string[]) => project.hotpair(["check", "-s", "prod", ...words]);

beforeAll(() => {
  project.write("prod", LAB_TEXT);
  rmSync(project.stackFile("lab"));
  writeFileSync(at(".gitignore"), "node_modules\n");
  git("init", "-q", "-b", "main");
  git("add", "stacks");
  git("commit", "-qm", "before");
});
beforeEach(() => project.write("prod", CHANGED));
afterAll(() => project.remove());

/** What sarif-schema-2.1.0.json requires of the parts that are written, and GitHub of a result (a place, a rule). */
const SARIF = z.object({
  $schema: z.url(),
  version: z.literal("2.1.0"),
  runs: z
    .array(
      z.object({
        tool: z.object({
          driver: z.object({
            name: z.string().min(1),
            rules: z.array(
              z.object({ id: z.string().min(1), shortDescription: z.object({ text: z.string().min(1) }) }),
            ),
          }),
        }),
        results: z.array(
          z.object({
            ruleId: z.string().min(1),
            ruleIndex: z.int().min(0),
            level: z.enum(["none", "note", "warning", "error"]),
            message: z.object({ text: z.string().min(1) }),
            locations: z
              .array(
                z.object({
                  physicalLocation: z.object({
                    artifactLocation: z.object({ uri: z.string().regex(/^[^\s\\:]+$/) }),
                    region: z.object({ startLine: z.int().min(1), startColumn: z.int().min(1) }),
                  }),
                }),
              )
              .min(1),
            partialFingerprints: z.record(z.string(), z.string()),
          }),
        ),
      }),
    )
    .length(1),
});

describe("SARIF", () => {
  const results = async () => {
    const { code } = await check("--sarif", at("out.sarif"));
    const log = SARIF.parse(JSON.parse(read("out.sarif")));
    for (const { ruleId, ruleIndex } of log.runs[0]?.results ?? [])
      expect(log.runs[0]?.tool.driver.rules[ruleIndex]?.id).toBe(ruleId);
    return { code, results: log.runs[0]?.results ?? [] };
  };

  test("has each finding with its rule, level and line", async () => {
    const { code, results: found } = await results();
    expect(code).toBe(3);
    const missed = found.find(({ ruleId }) => ruleId === "rto-within-target");
    const line = CHANGED.split("\n").findIndex((text) => text.includes("node-power-cut")) + 1;
    expect(missed).toMatchObject({
      level: "error",
      message: {
        text: expect.stringMatching(/^hotpair:pair\.objectives\.rto\.node-power-cut: .* the target is 1s: .*To fix: /),
      },
    });
    expect(missed?.locations[0]?.physicalLocation).toMatchObject({
      artifactLocation: { uri: "stacks/Pulumi.prod.yaml" },
      region: { startLine: line },
    });
    expect(found.find(({ ruleId }) => ruleId === "evidence-present")?.level).toBe("warning");
  });

  test("has mistakes that leave nothing to judge, too", async () => {
    project.write("prod", LAB_TEXT.replace("routerId: 51", "routerId: 0"));
    const { code, results: found } = await results();
    expect(code).toBe(2);
    const line = LAB_TEXT.split("\n").findIndex((text) => text.includes("routerId: 51")) + 1;
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({
      ruleId: "configuration",
      message: {
        text: expect.stringMatching(/^hotpair:pair\.vips\[0\]\.routerId: 0 is not a virtual router id[^()]*$/),
      },
      locations: [{ physicalLocation: { region: { startLine: line } } }],
    });
  });
});

/** By a parser that is not ours. */
function readXml(file: string): { tag: string; attributes: Record<string, string>; children: string[] }[] {
  const script = `
import json, sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
print(json.dumps([{"tag": one.tag, "attributes": one.attrib, "children": [child.tag for child in one]} for one in root.iter()]))`;
  return JSON.parse(execFileSync("python3", ["-c", script, file], { encoding: "utf8" }));
}

describe("JUnit", () => {
  test("has a case per failure class and per finding, and counts what it has", async () => {
    await check("--junit", at("out.xml"));
    const elements = readXml(at("out.xml"));
    const [root] = elements;
    const suites = elements.filter(({ tag }) => tag === "testsuite");
    const cases = elements.filter(({ tag }) => tag === "testcase");
    const failed = cases.filter(({ children }) => children.includes("failure"));
    expect(root).toMatchObject({
      tag: "testsuites",
      attributes: { tests: String(cases.length), failures: String(failed.length) },
    });
    expect(suites.map(({ attributes }) => attributes.name)).toEqual(["prod.targets", "prod.findings"]);
    const sum = (name: string) => suites.reduce((total, { attributes }) => total + Number(attributes[name]), 0);
    expect([sum("tests"), sum("failures"), sum("skipped")]).toEqual([
      cases.length,
      failed.length,
      cases.filter(({ children }) => children.includes("skipped")).length,
    ]);
    for (const { attributes } of cases) expect(Object.keys(attributes)).toEqual(["classname", "name", "file", "time"]);
    expect(failed.map(({ attributes }) => attributes.name)).toEqual([
      "node-power-cut: the active node loses power",
      "rto-within-target hotpair:pair.objectives.rto.node-power-cut",
    ]);
    expect(cases.find(({ attributes }) => attributes.name?.startsWith("full-partition"))?.children).toEqual([
      "skipped",
    ]);
  });

  test("stays well-formed whatever a mistake quotes", async () => {
    project.write("prod", LAB_TEXT.replace("name: web", 'name: "<a b=\\"&\\u0001]]>"'));
    await check("--junit", at("out.xml"));
    expect(readXml(at("out.xml")).filter(({ children }) => children.includes("failure"))).not.toEqual([]);
  });
});

describe("before and after", () => {
  test("against a revision of git: bounds and targets that differ, findings that came and went", async () => {
    const { code, stdout } = await check("--compare", "main", "--comment", at("out.md"));
    expect(code).toBe(3);
    expect(stdout).toMatch(/Against main:\n.* {2}node-power-cut +RTO 431\.2ms → 6\.\d+s/s);
    expect(stdout).toMatch(/new: mandatory rto-within-target at hotpair:pair\.objectives\.rto\.node-power-cut/);
    const comment = read("out.md");
    expect(comment).toMatch(/^<!-- hotpair prod -->\n### hotpair: stack `prod`: ❌ a target is missed\n/);
    expect(comment).toMatch(
      /^\| `node-power-cut` \| 431\.2ms → \*\*6\.\d+s\*\* \| 30s → \*\*1s\*\* \| ❌ missed \| 0ms \| within \| missing \|$/m,
    );
    expect(comment).toMatch(/^- ❌ `rto-within-target` at `hotpair:pair\.objectives\.rto\.node-power-cut`: /m);
    expect(comment).toMatch(/<summary>\d+ failure classes as before<\/summary>[\s\S]*\| `haproxy-kill` \|/);
    const widths = comment
      .split("\n")
      .flatMap((line) => (line.startsWith("|") ? [line.split(/(?<!\\)\|/).length] : []));
    expect(new Set(widths)).toEqual(new Set([9]));
  });

  test("against a file, and without any difference", async () => {
    writeFileSync(at("before.yaml"), CHANGED);
    const { stdout } = await check("--compare", at("before.yaml"), "--comment", at("out.md"), "--json");
    expect(JSON.parse(stdout).compared).toEqual({ with: at("before.yaml"), classes: [], appeared: [], gone: [] });
    expect(read("out.md")).toContain("No estimate differs from");
  });

  test("of a stack that is new, or was not valid, says so", async () => {
    project.write("fresh", LAB_TEXT.replace("name: lab", "name: fresh"));
    const fresh = await project.hotpair(["check", "-s", "fresh", "--compare", "main"]);
    rmSync(project.stackFile("fresh"));
    expect(fresh.stdout).toContain("Against main: the stack is new");
    writeFileSync(at("before.yaml"), "config: {}\n");
    expect((await check("--compare", at("before.yaml"))).stdout).toContain("its configuration is not valid");
  });

  test("against a revision that there is not is a mistake", async () => {
    const { code, stderr } = await check("--compare", "nowhere");
    expect(code).toBe(2);
    expect(stderr).toContain("--compare nowhere: is neither a file nor a revision of git that is here");
  });

  test("the comment of a configuration with mistakes lists them", async () => {
    project.write("prod", LAB_TEXT.replace("routerId: 51", "routerId: 0"));
    await check("--compare", "main", "--comment", at("out.md"));
    expect(read("out.md")).toMatch(/❌ wrong\n\n- hotpair:pair\.vips\\\[0\\\]\.routerId: 0 is not/);
  });
});

describe("the examples", () => {
  /** Stand-ins for what cannot be reached here; each notes how it was called. `npx hotpair` is the real one. */
  beforeAll(() => {
    cpSync(join(import.meta.dirname, "../../bin"), at("bin"), { recursive: true });
    mkdirSync(at("shims"), { recursive: true });
    const shim = (name: string, body: string) => {
      writeFileSync(at(`shims/${name}`), `#!/bin/sh\n${body}\n`);
      chmodSync(at(`shims/${name}`), 0o755);
    };
    const note = (name: string) => `echo "${name} $*" >> ${at("called")}`;
    shim("npm", note("npm"));
    shim("gh", `${note("gh")}\ntest -s hotpair.md`);
    shim("curl", `${note("curl")}\ntest -s hotpair.md`);
    shim(
      "npx",
      `shift\ncase $1 in setup|pulumi) ${note("hotpair")} ;; *) exec "${process.execPath}" ${at("bin/hotpair.mjs")} "$@" ;; esac`,
    );
    git("remote", "add", "origin", project.directory);
  });

  test.each(Object.entries(CI_COMMANDS))("%s: every command runs, and leaves what its steps read", (name, commands) => {
    for (const file of ["hotpair.md", "hotpair.xml", "hotpair.sarif", "called"]) rmSync(at(file), { force: true });
    const codes = commands.map((command) => {
      const { status, stderr } = spawnSync("sh", ["-ec", command], {
        cwd: project.directory,
        encoding: "utf8",
        env: {
          ...process.env,
          PATH: `${at("shims")}:${process.env.PATH}`,
          GITHUB_BASE_REF: "main",
          CI_MERGE_REQUEST_TARGET_BRANCH_NAME: "main",
          CHANGE_TARGET: "main",
          PULL_REQUEST: "7",
        },
      });
      return [command.split(" ").slice(0, 3).join(" "), status, status === 0 || status === 3 ? "" : stderr];
    });
    expect(codes).toHaveLength(name === "Jenkinsfile" ? 5 : 6);
    for (const [command, status, why] of codes)
      expect([command, status, why]).toEqual([command, command === "npx hotpair check" ? 3 : 0, ""]);
    expect(read("hotpair.md")).toContain("→");
    expect(existsSync(at(name === "github-actions.yml" ? "hotpair.sarif" : "hotpair.xml"))).toBe(true);
    const called = read("called");
    expect(called).toContain("npm ci\nhotpair setup\n");
    expect(called).toContain("hotpair pulumi -s prod -- preview --policy-pack infra/policy --non-interactive\n");
  });
});
