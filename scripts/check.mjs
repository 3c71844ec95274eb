// `npm run check`: everything about the sources that a machine can judge. Each check is named, timed, and prints its
// output only when it fails; all of them run even if one fails.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { elapsed, projectEnvironment, ROOT } from "./project.mjs";
import { pythonTool } from "./setup.mjs";

/** Programs for the servers, by their first line. */
function nodePrograms(interpreter) {
  const folder = join(ROOT, "infra", "node");
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => readFileSync(file, "utf8").split("\n", 1)[0]?.match(interpreter));
}

const CHECKS = {
  "format, lint, import direction": () => ["biome", ["ci", "--colors=off", "--error-on-warnings", "."]],
  types: () => ["tsc", ["-p", "."]],
  "generated files are up to date": () => ["node", ["infra/config/generate.ts", "--check"]],
  "shell of the servers": () => ["shellcheck", nodePrograms(/^#!\/bin\/sh/)],
  // Which files, and by which rules: pyproject.toml.
  "python of the servers: lint": () => [pythonTool("ruff"), ["check"]],
  "python of the servers: format": () => [pythonTool("ruff"), ["format", "--check"]],
  "python of the servers: types": () => [pythonTool("mypy"), []],
  "go of the stand-ins": () => [
    "sh",
    ["-c", 'test -z "$(gofmt -l .)" || { gofmt -d . ; exit 1; }'],
    "infra/toolchain/go",
  ],
};

/** Runs every check; true when all are fine. */
export async function check() {
  let fine = true;
  for (const [name, describe] of Object.entries(CHECKS)) {
    const started = performance.now();
    const [command, args, folder = "."] = describe();
    const result = spawnSync(command, args, {
      cwd: join(ROOT, folder),
      env: { ...projectEnvironment(), NO_COLOR: "1" },
      encoding: "utf8",
    });
    const passed = result.status === 0;
    console.log(`check: ${name}: ${passed ? "fine" : "FAILED"} (${elapsed(performance.now() - started)})`);
    if (!passed) console.log(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error ?? ""}`);
    fine &&= passed;
  }
  return fine;
}

const startedDirectly =
  process.argv[1] !== undefined &&
  existsSync(process.argv[1]) &&
  pathToFileURL(process.argv[1]).href === import.meta.url;
if (startedDirectly) process.exit((await check()) ? 0 : 1);
