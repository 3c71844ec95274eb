// The lease's rules, settings and parts, tested where they are written: in Python, in virtual time wherever time matters.
// This file runs them and shows what failed. HOTPAIR_SCHEDULES=1000 runs that many random schedules.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const folder = join(import.meta.dirname, "lease_tests");
const suites = readdirSync(folder).filter((name) => /^test_.*\.py$/.test(name));

describe("hotpair-lease", () => {
  test.each(suites)(
    "%s",
    (suite) => {
      const result = spawnSync(
        "python3",
        ["-B", "-m", "unittest", "discover", "-s", folder, "-t", import.meta.dirname, "-p", suite],
        {
          cwd: root,
          env: { ...process.env, PYTHONPATH: join(root, "infra/node") },
          encoding: "utf8",
        },
      );
      expect(result.error).toBeUndefined();
      expect(result.stderr).toMatch(/\nOK\n$/);
    },
    600_000,
  );
});
