// The rules of hotpair-mariadb, its positions, wire format and files, tested where they are written: in Python, against a
// model of two servers wherever order matters. This file runs them and shows what failed.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const folder = join(import.meta.dirname, "mariadb_tests");
const suites = readdirSync(folder).filter((name) => /^test_.*\.py$/.test(name));

describe("hotpair-mariadb", () => {
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
    120_000,
  );
});
