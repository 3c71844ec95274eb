// The real engine runs the pack over a program that registers one pair per policy that breaks it, and one that is sound:
// what it says is read from its own output. Nothing here reaches a server.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Pair } from "../../infra/model/pair.ts";
import { findToolchain } from "../../infra/toolchain/find.ts";
import { STACK, writeTrial } from "../evidence/trial.ts";
import { labPair } from "../model/pairs.ts";
import { VIOLATIONS } from "../model/violations.ts";

const root = join(import.meta.dirname, "../..");
const pack = join(root, "infra/policy");
const directory = mkdtempSync(join(tmpdir(), "hotpair-policy-"));

const PROGRAM = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
const { pairs, secret } = JSON.parse(readFileSync("pairs.json", "utf8"));
class Pair extends pulumi.ComponentResource {
  constructor(name, inputs) { super("hotpair:index:Pair", name, inputs); this.registerOutputs({}); }
}
for (const [name, pair] of Object.entries(pairs)) new Pair(name, { pair, unrelated: pulumi.secret(secret) });
`;
const SECRET = "never-to-be-seen-41c7";

/** One line per violation, `LEVEL POLICY RESOURCE`, and the exit code. */
interface Seen {
  readonly code: number | null;
  readonly output: string;
  readonly violations: readonly string[];
}

let pulumi: (...args: readonly string[]) => Promise<Seen>;

beforeAll(async () => {
  const toolchain = await findToolchain();
  const env = {
    ...process.env,
    ...toolchain.env,
    PULUMI_BACKEND_URL: pathToFileURL(join(directory, "state")).href,
    PULUMI_CONFIG_PASSPHRASE: "policy-trial",
    HOTPAIR_EVIDENCE: join(directory, "evidence"),
  };
  mkdirSync(join(directory, "state"));
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
  writeFileSync(
    join(directory, "Pulumi.yaml"),
    "name: policy-trial\nruntime: {name: nodejs, options: {typescript: false}}\n",
  );
  writeFileSync(join(directory, "package.json"), '{"name": "policy-trial", "type": "module", "main": "program.mjs"}');
  writeFileSync(join(directory, "program.mjs"), PROGRAM);
  pulumi = (...args) =>
    new Promise((settle, fail) => {
      const run = spawn(toolchain.pulumi, [...args, "--non-interactive", "--color", "never"], { cwd: directory, env });
      let output = "";
      run.stdout.on("data", (text) => {
        output += text;
      });
      run.stderr.on("data", (text) => {
        output += text;
      });
      run.on("error", fail);
      run.on("close", (code) => settle({ code, output, violations: violationsIn(output) }));
    });
  const made = await pulumi("stack", "init", STACK);
  expect(made.output).toContain("Created stack");
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** `- [mandatory]  advert-interval  (hotpair:index:Pair: name)`. */
const violationsIn = (output: string): readonly string[] =>
  [...output.matchAll(/^\s+- \[(\w+)\]\s+(\S+)\s+\(hotpair:index:Pair: (\S+)\)$/gm)].map(
    ([, level, policy, resource]) => `${level} ${policy} ${resource}`,
  );

const write = (pairs: Readonly<Record<string, Pair>>): void =>
  writeFileSync(join(directory, "pairs.json"), JSON.stringify({ pairs, secret: SECRET }));

const preview = (): Promise<Seen> => pulumi("preview", "--stack", STACK, "--policy-pack", pack);

describe("pairs that break one rule each", () => {
  let seen: Seen;
  beforeAll(async () => {
    writeTrial(join(directory, "evidence"), "broken");
    write(Object.fromEntries(Object.entries(VIOLATIONS).map(([rule, { broken }]) => [rule, broken])));
    seen = await preview();
  });

  test("stop the preview", () => {
    expect(seen.code).not.toBe(0);
    expect(seen.output).toContain("preview failed");
  });

  test.each(Object.entries(VIOLATIONS))("%s is reported with what to change", (rule, { level, path, fix }) => {
    const policy = level === "mandatory" ? rule : `${rule}-advice`;
    expect(seen.violations).toContain(`${level} ${policy} ${rule}`);
    expect(seen.output).toContain(`${path}: `);
    expect(seen.output).toMatch(fix);
  });

  test("secrets of the resource are in no report", () => {
    expect(seen.output).not.toContain(SECRET);
  });
});

describe("pairs that keep every rule", () => {
  let seen: Seen;
  beforeAll(async () => {
    writeTrial(join(directory, "evidence"), "fixed");
    write({
      sound: labPair,
      ...Object.fromEntries(Object.entries(VIOLATIONS).map(([rule, { fixed }]) => [rule, fixed])),
    });
    seen = await preview();
  });

  test("pass", () => {
    expect(seen.code, seen.output).toBe(0);
    expect(seen.violations.filter((violation) => violation.startsWith("mandatory"))).toEqual([]);
  });

  test.each(Object.keys(VIOLATIONS))("%s has nothing to say", (rule) => {
    const declared = rule === "vip-ownership-safe";
    expect(seen.violations.filter((violation) => violation.endsWith(` ${rule}-advice ${rule}`))).toEqual(
      declared ? [`advisory ${rule}-advice ${rule}`] : [],
    );
  });
});

test("a violation stops an update before anything is created", async () => {
  const violation = VIOLATIONS["advert-interval"];
  write({ pair: violation?.broken ?? labPair });
  const seen = await pulumi("up", "--stack", STACK, "--policy-pack", pack, "--skip-preview", "--yes");
  expect(seen.code).not.toBe(0);
  const state = await pulumi("stack", "export", "--stack", STACK);
  expect(state.output).not.toContain("hotpair:index:Pair");
});
