// The armed undo as text, and run for real with the system's shell: units in a scratch directory, systemctl recorded.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { armCommand, DRILL_DIRECTORY } from "../../infra/drill/undo.ts";

let scratch: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "hotpair-undo-"));
  mkdirSync(join(scratch, "bin"));
  writeFileSync(join(scratch, "bin/systemctl"), `#!/bin/sh\necho "$@" >> ${scratch}/systemctl\n`, { mode: 0o755 });
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

const undo = {
  id: "keepalived-stop-a1b2c3",
  description: "keepalived-stop",
  command: "touch SCRATCH/undone",
  afterMs: 10_500,
};
const units = "/etc/systemd/system";

/** The text with the server's directories moved into the scratch directory. */
const moved = (text: string): string =>
  text
    .replaceAll(units, join(scratch, "units"))
    .replaceAll(DRILL_DIRECTORY, join(scratch, "drill"))
    .replaceAll("SCRATCH", scratch);

const sh = (script: string) =>
  spawnSync("sh", ["-s"], {
    input: script,
    encoding: "utf8",
    env: { PATH: `${join(scratch, "bin")}:${process.env.PATH}` },
  });

test("arming puts the undo on disk and enables it before it starts the timer", () => {
  mkdirSync(join(scratch, "units"));
  const armed = sh(moved(armCommand(undo)));
  expect(armed.stderr).toBe("");
  expect(armed.status).toBe(0);
  const service = readFileSync(join(scratch, "units/hotpair-drill-keepalived-stop-a1b2c3.service"), "utf8");
  expect(service).toMatch(/^Before=keepalived\.service hotpair-arbiter\.service/m);
  const timer = readFileSync(join(scratch, "units/hotpair-drill-keepalived-stop-a1b2c3.timer"), "utf8");
  expect(timer).toMatch(/^OnActiveSec=10500ms$/m);
  // At boot, too: by a link as `systemctl enable` would make it, without reloading an active node.
  expect(existsSync(join(scratch, "units/multi-user.target.wants/hotpair-drill-keepalived-stop-a1b2c3.service"))).toBe(
    true,
  );
  expect(readFileSync(join(scratch, "systemctl"), "utf8")).toBe("start hotpair-drill-keepalived-stop-a1b2c3.timer\n");
});

test("the undo does its work, also twice, and leaves nothing behind", () => {
  mkdirSync(join(scratch, "units"));
  sh(moved(armCommand(undo)));
  const script = join(scratch, "drill", undo.id, "undo");
  const text = readFileSync(script, "utf8");
  expect(sh(text).stdout).toBe("hotpair drill keepalived-stop-a1b2c3 undone\n");
  expect(existsSync(join(scratch, "undone"))).toBe(true);
  expect(existsSync(join(scratch, "drill"))).toBe(false);
  expect(existsSync(join(scratch, "units/hotpair-drill-keepalived-stop-a1b2c3.service"))).toBe(false);
  expect(existsSync(join(scratch, "units/hotpair-drill-keepalived-stop-a1b2c3.timer"))).toBe(false);
  expect(sh(text).status).toBe(0);
});
