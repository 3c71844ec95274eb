// The engine's part of examples/ci: the policies judge a stack's preview, by the very command of the examples, on a checkout
// with a state of its own. It reaches no server.

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LAB_TEXT } from "../config/sample.ts";
import { CI_COMMANDS } from "./ci.ts";
import { Project } from "./project.ts";

/** Whoever judges a change needs no key of the servers. */
const AGENT_TEXT = LAB_TEXT.replaceAll(/^ +keyFile: .*\n/gm, "");

const project = new Project();
const state = join(project.directory, "state");
const commands = [...new Set(Object.values(CI_COMMANDS).flat())].filter((command) =>
  command.includes("hotpair pulumi"),
);

const run = (command: string): { status: number | null; output: string } => {
  const { status, stdout, stderr } = spawnSync(
    "sh",
    ["-ec", command.replace("npx hotpair", '"$NODE" bin/hotpair.mjs')],
    {
      cwd: project.directory,
      encoding: "utf8",
      env: {
        ...process.env,
        NODE: process.execPath,
        PULUMI_BACKEND_URL: pathToFileURL(state).href,
        PULUMI_CONFIG_PASSPHRASE: "hotpair-lab",
      },
    },
  );
  return { status, output: `${stdout}${stderr}` };
};

beforeAll(() => {
  mkdirSync(state);
  cpSync(join(import.meta.dirname, "../../bin"), join(project.directory, "bin"), { recursive: true });
  project.write("prod", AGENT_TEXT);
  const made = run("npx hotpair pulumi -s prod -- stack init prod");
  expect(made.status, made.output).toBe(0);
});
afterAll(() => project.remove());

test("there is one such command, the same in every example", () => {
  expect(commands).toHaveLength(1);
});

test("it stops a stack that must be proven and is not, and passes it as soon as it is named as not drilled yet", () => {
  const proven = (lines: string) =>
    AGENT_TEXT.replace(/^( +)vips:/m, `$1evidence: { enforcement: mandatory${lines} }\n$1vips:`);
  project.write("prod", proven(""));
  const { status, output } = run(commands[0] ?? "");
  expect(status).not.toBe(0);
  const [, digest = ""] = /beforeDrill\.digest to (sha256:[0-9a-f]{12})/.exec(output.replaceAll(/\s+/g, " ")) ?? [];
  expect(digest, output).not.toBe("");
  project.write(
    "prod",
    proven(`, beforeDrill: { digest: "${digest}", until: "${new Date().toISOString().slice(0, 10)}" }`),
  );
  const allowed = run(commands[0] ?? "");
  expect(allowed.status, allowed.output).toBe(0);
  expect(allowed.output).toMatch(/\[advisory\] +evidence-present-advice/);
});
