// What runs on a server is tested where it is written: in Python. This runs a folder's suites and shows what failed.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

interface With {
  /** Default: the machine's own. */
  readonly python?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** One test per `test_*.py` of `test/node/<folder>`; `timeoutMs` for each. */
export function runSuites(program: string, folder: string, timeoutMs: number, other: With = {}): void {
  const path = join(import.meta.dirname, folder);
  const suites = readdirSync(path).filter((name) => /^test_.*\.py$/.test(name));

  describe(program, () => {
    test.each(suites)(
      "%s",
      (suite) => {
        const result = spawnSync(
          other.python ?? "python3",
          ["-B", "-m", "unittest", "discover", "-s", path, "-t", import.meta.dirname, "-p", suite],
          {
            cwd: root,
            env: { ...process.env, ...other.environment, PYTHONPATH: join(root, "infra/node") },
            encoding: "utf8",
          },
        );
        expect(result.error).toBeUndefined();
        expect(result.stderr).toMatch(/\nOK\n$/);
      },
      timeoutMs,
    );
  });
}
