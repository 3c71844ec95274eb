// Lines of the journal and of the audit file, as a run keeps them.

import { expect, test } from "vitest";
import { readLine } from "../../infra/drill/log.ts";

const FAULT = 1_795_183_023_816;

test("a journal line keeps its unit and its microseconds, on the drill's clock", () => {
  const line = JSON.stringify({
    __REALTIME_TIMESTAMP: "1795183024116250",
    _SYSTEMD_UNIT: "keepalived.service",
    MESSAGE: "(web) Entering MASTER STATE",
  });
  expect(readLine(line, "node-b", FAULT, 0)).toEqual({
    atMs: 300.25,
    node: "node-b",
    source: "keepalived",
    text: "(web) Entering MASTER STATE",
  });
  expect(readLine(line, "node-b", FAULT, 100)?.atMs).toBe(200.25);
});

test("what systemd says of a unit belongs to that unit, and bytes are text", () => {
  const line = JSON.stringify({
    __REALTIME_TIMESTAMP: "1795183023816000",
    _SYSTEMD_UNIT: "init.scope",
    UNIT: "nginx.service",
    MESSAGE: [72, 105, 228],
  });
  expect(readLine(line, "node-a", FAULT, 0)).toMatchObject({ source: "nginx", text: "Hiä" });
});

test("a state change of the audit file says from, to and why; other lines are left out", () => {
  const change = { at: FAULT + 20, vip: "web", from: "backup", to: "master", reason: "the peer gave it up" };
  expect(readLine(JSON.stringify(change), "node-b", FAULT, 0)).toEqual({
    atMs: 20,
    node: "node-b",
    source: "audit",
    text: "web: backup to master (the peer gave it up)",
  });
  for (const other of ["", "-- No entries --", "7", '{"x":1}']) expect(readLine(other, "n", FAULT, 0)).toBeUndefined();
});
