// A campaign: the same seed gives the same steps on every machine, its journal survives being cut off anywhere, and what it
// adds up to is counted without mercy. The faults themselves are tested on real hosts.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { campaignTable } from "../../infra/cli/drill.ts";
import { nameOf, randomFrom, type Step, scenarioOf, simpler, stepOf } from "../../infra/drill/campaign.ts";
import { type CampaignHeader, type CampaignStep, summarizeCampaign } from "../../infra/evidence/campaign.ts";
import { appendStep, campaignPath, openCampaign, readCampaigns } from "../../infra/evidence/store.ts";
import { statefulPair } from "../model/pairs.ts";

const steps = (seed: string, count: number): Step[] =>
  Array.from({ length: count }, (_, index) => stepOf(seed, index + 1, statefulPair));

describe("its steps", () => {
  test("are the same for the same seed, whichever of them is asked for, and others for another", () => {
    expect(stepOf("night", 17, statefulPair)).toEqual(steps("night", 20)[16]);
    expect(steps("night", 20)).not.toEqual(steps("day", 20));
    // Written down once: a seed in a report must mean the same next year.
    const random = randomFrom("night/1");
    expect([random(), random(), random()].map((value) => Math.round(value * 1e6))).toEqual([577679, 25701, 722273]);
  });

  test("bring about everything there is, one fault or two, each for its own time", () => {
    const many = steps("all", 3_000).flatMap(({ faults }) => faults);
    const names = new Set(many.map(nameOf));
    for (const name of [
      "power-cut active",
      "power-cut standby",
      "witness-power-cut",
      "kill-witness",
      "cut-witness active",
      "hang active database",
      "kill active lease",
      "kill standby etcd",
      "link-down active public",
      "drop-from standby public+heartbeat+storage",
      "switch",
    ])
      expect(names).toContain(name);
    for (const { holdMs, afterMs } of many) {
      expect(holdMs).toBeGreaterThanOrEqual(500);
      expect(holdMs).toBeLessThanOrEqual(6_000);
      expect(afterMs).toBeLessThanOrEqual(3_000);
    }
    const two = steps("all", 3_000).filter(({ faults }) => faults.length === 2).length;
    expect(two / 3_000).toBeGreaterThan(0.28);
    expect(two / 3_000).toBeLessThan(0.38);
  });

  test("know no daemon that the pair does not have", () => {
    const plain = { ...statefulPair, witness: undefined, authority: undefined, mariadb: undefined, haproxy: undefined };
    const names = steps("all", 1).concat(
      Array.from({ length: 500 }, (_, index) => stepOf("all", index, plain)).slice(1),
    );
    const units = names.slice(1).flatMap(({ faults }) => faults.map(nameOf));
    expect(units.some((name) => /lease|etcd|database|quorum|haproxy|witness/.test(name))).toBe(false);
  });

  test("hold until the last of their faults has ended, and wake what they stopped", () => {
    const scenario = scenarioOf({
      number: 4,
      faults: [
        { kind: "hang", node: "active", unit: "database", afterMs: 0, holdMs: 2_000 },
        { kind: "power-cut", node: "standby", afterMs: 1_500, holdMs: 3_000 },
      ],
    });
    expect(scenario.holdMs).toBe(4_500);
    const stage = { pair: statefulPair, active: statefulPair.nodes[0], standby: statefulPair.nodes[1], vips: [] };
    expect(scenario.undoOnServer?.active?.(stage)).toContain("systemctl kill --signal=SIGCONT hotpair-mariadb.service");
    expect(scenario.undoOnServer?.standby).toBeUndefined();
  });

  test("shrink to each fault alone first, then to both at once", () => {
    const step: Step = {
      number: 1,
      faults: [
        { kind: "switch", afterMs: 0, holdMs: 900 },
        { kind: "power-cut", node: "active", afterMs: 700, holdMs: 2_000 },
      ],
    };
    expect(simpler(step).map(({ faults }) => faults.map((one) => [nameOf(one), one.afterMs]))).toEqual([
      [["switch", 0]],
      [["power-cut active", 0]],
      [
        ["switch", 0],
        ["power-cut active", 0],
      ],
    ]);
    expect(simpler({ number: 1, faults: step.faults.slice(0, 1) })).toEqual([]);
  });
});

const header: CampaignHeader = {
  version: 1,
  stack: "lab-stateful",
  seed: "night",
  configDigest: "sha256:0",
  versions: {},
  startedAt: "2026-01-02T03:04:05.000Z",
  quietMs: 2_000,
  reproduce: "hotpair drill -s lab-stateful --campaign 3 --seed night",
};
const none = { count: 0, first: [] };
const ledger = {
  attempts: 110,
  acknowledged: 100,
  failed: 6,
  unknown: 4,
  survived: 1,
  missing: none,
  duplicated: none,
  disordered: none,
  phantom: none,
};
const kept: CampaignStep = {
  step: 1,
  faults: [{ fault: "power-cut active", afterMs: 0, holdMs: 2_000 }],
  at: "2026-01-02T03:04:06.000Z",
  tookMs: 14_000,
  active: "a",
  outcome: {
    kind: "measured",
    reasons: [],
    rtoMs: 1_600,
    twoOwnersMs: 0,
    twoWritersMs: 0,
    redundantAfterMs: 6_000,
    ledger,
  },
};
const lost: CampaignStep = {
  ...kept,
  step: 2,
  faults: [...kept.faults, { fault: "witness-power-cut", afterMs: 300, holdMs: 900 }],
  outcome: {
    kind: "measured",
    reasons: ["1 acknowledged writes are lost on node-b (client/number 1/7)"],
    rtoMs: 2_000,
    twoOwnersMs: 0,
    twoWritersMs: 12,
    redundantAfterMs: null,
    ledger: { ...ledger, missing: { count: 1, first: ["1/7"] } },
  },
  shrunk: { faults: kept.faults, reasons: ["again"] },
  reruns: 1,
};

describe("its journal", () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-campaign-"));
    path = campaignPath(directory, "lab-stateful", "night");
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test("goes on where it was cut off, at every byte of it", () => {
    expect(openCampaign(path, header).steps).toEqual([]);
    appendStep(path, kept);
    const one = readFileSync(path);
    appendStep(path, lost);
    const two = readFileSync(path);
    for (let length = one.length; length < two.length; length += 7) {
      writeFileSync(path, two.subarray(0, length));
      expect(openCampaign(path, header).steps).toEqual([kept]);
      appendStep(path, lost);
      expect(openCampaign(path, header).steps).toEqual([kept, lost]);
    }
    expect(readCampaigns(directory, "lab-stateful")).toEqual([{ header, steps: [kept, lost] }]);
    expect(readCampaigns(directory, "other")).toEqual([]);
  });

  test("is not mixed with measurements of another configuration", () => {
    openCampaign(path, header);
    expect(() => openCampaign(path, { ...header, configDigest: "sha256:1" })).toThrow(/another configuration/);
  });

  test("a line that is not understood is named", () => {
    openCampaign(path, header);
    writeFileSync(path, `${readFileSync(path, "utf8")}{"step":1}\n`);
    expect(() => openCampaign(path, header)).toThrow(/night\.jsonl:2 is no line/);
  });
});

describe("what it comes to", () => {
  const broken: CampaignStep = { ...kept, step: 3, outcome: { kind: "broken-off", error: "no ssh" } };
  const sum = summarizeCampaign({ header, steps: [kept, lost, broken] });

  test("counts every loss, every overlap, and nothing that was not measured", () => {
    expect(sum).toMatchObject({
      steps: 3,
      faults: 3,
      brokenOff: 1,
      acknowledged: 200,
      lost: 1,
      twoWritersMs: 12,
      rto: { count: 2, p50Ms: 1_600, maxMs: 2_000 },
      redundantAfter: { count: 1, maxMs: 6_000 },
    });
    expect(sum.violations.map(({ step }) => step)).toEqual([2]);
    expect(sum.perFault).toMatchObject([
      { fault: "power-cut active", count: 2, violations: 1, rto: { count: 1, maxMs: 1_600 } },
      { fault: "witness-power-cut", count: 1, violations: 1, rto: { count: 0, maxMs: null } },
    ]);
  });

  test("says so to a person", () => {
    const text = campaignTable("night", sum);
    expect(text).toContain("campaign night: 3 faults in 3 steps, 1 steps measured nothing");
    expect(text).toContain("acknowledged writes 200, lost 1");
    expect(text).toContain("two writers at most 12ms");
    expect(text).toContain("smallest set that showed it again: power-cut active");
  });
});
