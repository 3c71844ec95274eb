// One Pair, whoever read the configuration: hotpair the stack file, or the Pulumi engine for its program.

import { expect, test } from "vitest";
import {
  readPair,
  readStack,
  secretPaths,
  secretStates,
  secretsOf,
  withPlaceholders,
} from "../../infra/config/index.ts";
import { type Input, LAB_TEXT, labInput, mistakesIn } from "./sample.ts";

const KEY = "0f".repeat(32);
const inEngine = (input: Input): Input => ({ ...input, beaconKey: KEY });

test("the engine's object and the stack file give the same Pair to the byte", () => {
  const fromFile = readStack(LAB_TEXT, "stacks/Pulumi.lab.yaml", "lab").pair;
  const sorted = JSON.parse(JSON.stringify(inEngine(labInput()), sortedKeys));
  expect(JSON.stringify(readPair(sorted, { stack: "lab" }))).toBe(JSON.stringify(fromFile));
});

/** Go marshals maps with sorted keys. */
const sortedKeys = (_: string, value: Input): Input =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(
        Object.keys(value)
          .sort()
          .map((key) => [key, value[key]]),
      )
    : value;

test("a Pair is plain JSON and holds references where the secrets were", () => {
  const input = inEngine(labInput());
  input.nodes[1].ssh = {
    host: "b",
    hostKey: input.nodes[1].ssh.hostKey,
    key: "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n",
  };
  input.previousBeaconKey = "1e".repeat(32);
  const pair = readPair(input, { stack: "lab" });
  expect(pair).toEqual(JSON.parse(JSON.stringify(pair)));
  expect(secretPaths(pair)).toEqual(["beaconKey", "previousBeaconKey", "nodes[1].ssh.key"]);
  expect([...secretsOf(input).keys()]).toEqual(secretPaths(pair));
  for (const value of secretsOf(input).values()) expect(JSON.stringify(pair)).not.toContain(value.trim());
});

test("a value that decrypts to something else is refused without being shown", () => {
  expect(mistakesIn(() => readPair({ ...labInput(), beaconKey: "hunter2" }, { stack: "lab" }))).toEqual([
    "hotpair:pair.beaconKey: does not decrypt to a beacon key (value not shown); make one with `hotpair secrets rotate`",
  ]);
});

test("defaults follow the advert interval", () => {
  const arbiterAt = (advertInterval: string) => {
    const input = { ...labInput(), vrrp: { advertInterval } };
    return readPair(input, { stack: "lab", locate: () => undefined }).arbiter;
  };
  expect(arbiterAt("100ms")).toMatchObject({ beaconInterval: 20, silence: 150, evidence: 200, hold: 45_000 });
  expect(arbiterAt("1s")).toMatchObject({ beaconInterval: 20, silence: 1_500, evidence: 2_000 });
  expect(arbiterAt("50ms")).toMatchObject({ beaconInterval: 10, silence: 75, evidence: 200 });
});

test("the stack's name stands in for the pair's", () => {
  const { name: _, ...input } = labInput();
  expect(readPair(input, { stack: "prod", locate: () => undefined }).name).toBe("prod");
  expect(mistakesIn(() => readPair(input, { stack: "Prod_1", locate: () => undefined }))).toEqual([
    'hotpair:pair.name: is missing, and the stack\'s name "Prod_1" cannot stand in for it; expected at most 32 lower-case letters, digits and inner hyphens, e.g. shop',
  ]);
});

test("a backend without servers goes to the service on both nodes, with its health path", () => {
  const input = labInput();
  input.haproxy.backends = [{ name: "nginx" }, { name: "app", mode: "tcp", service: "app" }];
  input.external = { name: "app", port: 9000 };
  const { haproxy } = readPair(input, { stack: "lab", locate: () => undefined });
  expect(haproxy?.backends).toMatchObject([
    {
      servers: [
        { name: "node-a", address: "198.18.0.11", port: 8080 },
        { name: "node-b", address: "198.18.0.12", port: 8080 },
      ],
      check: { path: "/healthz" },
    },
    {
      servers: [
        { name: "node-a", address: "198.18.0.11", port: 9000 },
        { name: "node-b", address: "198.18.0.12", port: 9000 },
      ],
      check: { path: undefined },
    },
  ]);
});

test("objectives hold what is stated; tiers belong to the estimate", () => {
  const input = {
    ...labInput(),
    objectives: { tier: "critical", rto: { "both-power-cut": "10m" }, rpo: { default: "0s" } },
  };
  expect(readPair(input, { stack: "lab", locate: () => undefined }).objectives).toEqual({
    tier: "critical",
    rto: { "both-power-cut": 600_000 },
    rpo: { default: 0 },
  });
});

test("states of secrets are known in a file with mistakes", () => {
  const input = labInput();
  input.nodes[0].ssh.key = "plain";
  delete input.beaconKey;
  expect(secretStates(input)).toEqual([
    { path: "beaconKey", state: "missing" },
    { path: "nodes[0].ssh.key", state: "plain text" },
  ]);
});

test("before the host keys are known everything else can be checked", () => {
  const input = labInput();
  delete input.nodes[0].ssh.hostKey;
  input.nodes[1].ssh.hostKey = "to be scanned";
  input.nodes[1].ssh.jump = { host: "bastion" };
  const pair = readPair(withPlaceholders(input), { stack: "lab", locate: () => undefined });
  expect(new Set([pair.nodes[0].ssh.hostKey, pair.nodes[1].ssh.hostKey, pair.nodes[1].ssh.jump?.hostKey]).size).toBe(3);
});
