// The table of scenarios: complete, undone on the server before anything is broken, and valid shell.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadStack } from "../../infra/cli/stack.ts";
import { neededPrograms, serverUndos } from "../../infra/drill/executor.ts";
import type { Place } from "../../infra/drill/host.ts";
import { restoreScript } from "../../infra/drill/operator.ts";
import { type Action, type Ground, type Stage, unfit } from "../../infra/drill/scenario.ts";
import { SCENARIOS } from "../../infra/drill/scenarios.ts";
import { armCommand } from "../../infra/drill/undo.ts";
import { CATALOGUE } from "../../infra/model/catalogue.ts";
import { failureClassesOf, needsData } from "../../infra/model/failure.ts";
import { statefulPair } from "../model/pairs.ts";

const { pair } = loadStack("lab");
// It has every daemon, so that every scenario has a text.
const [active, standby] = statefulPair.nodes;
const stage: Stage = { pair: statefulPair, active, standby, vips: statefulPair.vips };
const servers: Place = { pair: statefulPair, lab: undefined, hosts: {} as Place["hosts"] };
const flat = (actions: readonly Action[]): Action[] =>
  actions.flatMap((action) => (action.kind === "together" ? action.each.flatMap(flat) : [action]));
const actionsOf = (scenario: (typeof SCENARIOS)[number]): Action[] =>
  flat([...(scenario.setUp ?? []), ...scenario.actions]);
const each = SCENARIOS.map((scenario) => [scenario.name, scenario] as const);

test("names are unique and fit a command line, a unit and a file", () => {
  expect(new Set(SCENARIOS.map((scenario) => scenario.name)).size).toBe(SCENARIOS.length);
  for (const { name } of SCENARIOS) expect(name).toMatch(/^[a-z0-9-]{1,48}$/);
});

test.each([
  ["a pair without data", pair, []],
  // It has no nginx, and its binary log is on the root disk; two were never tried on it.
  [
    "a pair with data",
    statefulPair,
    ["backend-kill", "backend-hang", "disk-full", "memory-exhaustion", "switch-loss", "storage-device-failure"],
  ],
])("every failure class of %s that can be drilled has a scenario that applies to it", (_, one, without) => {
  const applying = SCENARIOS.filter((scenario) => scenario.inapplicable?.(one) === undefined);
  const left = failureClassesOf(one)
    .filter((id) => !("none" in CATALOGUE[id].drills))
    .filter((id) => !applying.some((scenario) => scenario.failure === id));
  expect(left).toEqual(without);
});

test.each(each)("%s: whatever it does by command, a unit armed on that server undoes", (name, scenario) => {
  const undos = serverUndos(servers, stage, scenario);
  for (const action of actionsOf(scenario)) {
    if (!("node" in action) || ["power-cut", "freeze", "panic"].includes(action.kind)) continue;
    // A reboot and a switch leave nothing to undo.
    if (name === "clean-reboot" || name === "planned-switch") continue;
    if (scenario.place === "lab" && ["drop-from", "cut-witness", "disk-failure"].includes(action.kind)) continue;
    expect(undos[action.node], `${action.kind} on ${action.node}`).toBeDefined();
  }
});

test.each(each)("%s: its shell is valid", (_, scenario) => {
  const undos = serverUndos(servers, stage, scenario);
  const scripts = [
    ...actionsOf(scenario).flatMap((action) =>
      action.kind === "run" || action.kind === "run-witness" ? action.command(stage) : [],
    ),
    ...(scenario.restores === undefined ? [] : [restoreScript("lab-stateful", scenario.restores(stage))]),
    ...Object.values(undos),
    ...Object.values(undos).map((command) => armCommand({ id: "x", description: "x", command, afterMs: 1_000 })),
  ];
  for (const script of scripts) {
    const { status, stderr } = spawnSync("sh", ["-n"], { input: script, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  }
});

test("every text that a script reads from itself ends on a line of its own", () => {
  const texts = SCENARIOS.flatMap((scenario) => [
    ...Object.values(scenario.undoOnServer ?? {}).map((undo) => undo(stage)),
    ...actionsOf(scenario).flatMap((action) => (action.kind === "run" ? [action.command(stage)] : [])),
  ]);
  const documents = texts.flatMap((text) => [...text.matchAll(/<<'(\w+)'/g)].map(([, end]) => ({ text, end })));
  expect(documents.length).toBeGreaterThan(2);
  for (const { text, end } of documents) expect(text.split("\n")).toContain(end);
});

test("what only a pair with data has says why it says nothing about any other", () => {
  for (const scenario of SCENARIOS.filter(({ failure }) => needsData(failure)))
    expect(scenario.inapplicable?.(pair), scenario.name).toBe("this pair keeps no data");
});

test("an undo never waits for a unit that may wait for it at boot", () => {
  for (const scenario of SCENARIOS)
    for (const undo of Object.values(scenario.undoOnServer ?? {}))
      for (const line of undo(stage).split("\n"))
        if (/systemctl (start|restart|reload)|hotpair-arbiter (switch|maintenance)/.test(line))
          expect(line).toMatch(/--no-block/);
});

test("members that a forced promotion leaves behind are taken in again until all three are healthy", () => {
  const forced = SCENARIOS.find(({ name }) => name === "forced-promotion");
  const script = restoreScript("shop", forced?.restores?.(stage) ?? []);
  for (const name of [statefulPair.witness?.name, active.name])
    expect(script).toMatch(new RegExp(`authority restore '${name}' --yes -s 'shop'`));
  expect(script).toMatch(/^until .* authority status -s 'shop'; do$/m);
});

test("what could hurt a production pair runs in the lab only", () => {
  for (const name of [
    "full-partition",
    "vip-conflict",
    "disk-full",
    "disk-failure",
    "memory-exhaustion",
    "switch-loss",
  ])
    expect(SCENARIOS.find((scenario) => scenario.name === name)?.place).toBe("lab");
});

test("what takes a kernel of the server's own, or a container, says so elsewhere", () => {
  const why = (name: string, ground: Ground) => {
    const scenario = SCENARIOS.find((one) => one.name === name);
    return scenario && unfit(scenario, pair, ground);
  };
  for (const name of ["kernel-panic", "clock-jump"])
    expect([why(name, "servers"), why(name, "containers"), why(name, "machines")]).toEqual([
      "it runs in the lab only",
      "it takes hosts with kernels of their own: hotpair lab up --machines",
      undefined,
    ]);
  for (const name of ["disk-failure", "memory-exhaustion"])
    expect([why(name, "containers"), why(name, "machines")]).toEqual([
      undefined,
      expect.stringContaining("a virtual machine"),
    ]);
});

test("on servers, lost packets need nft there", () => {
  const oneWay = SCENARIOS.find((scenario) => scenario.name === "heartbeat-one-way-from-active");
  expect(oneWay && neededPrograms(servers, stage, oneWay)).toEqual({ active: ["nft"], standby: [] });
});

test("the page of drills names every scenario", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/drills.md"), "utf8");
  expect(SCENARIOS.filter((scenario) => !page.includes(`\`${scenario.name}\``)).map((one) => one.name)).toEqual([]);
});
