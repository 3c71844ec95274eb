// Evidence with known figures for the report's tests: a power cut whose requests failed from 4 ms to 304 ms after the
// fault, a heartbeat cut in which nothing moved, and one drill that failed with two owners.

import { EVIDENCE_VERSION, type Evidence, type Run, type Sample } from "../../infra/evidence/schema.ts";

function samples(failedFromMs: number, failedToMs: number): Sample[] {
  return Array.from({ length: 300 }, (_, index): Sample => {
    const atMs = -500 + index * 10;
    const failed = atMs >= failedFromMs && atMs < failedToMs;
    return [atMs, failed ? 1_000 : 1.5, failed ? 0 : 1, failed ? "" : atMs < failedFromMs ? "node-a" : "node-b"];
  });
}

function run(number: number, rtoMs: number, changes: Partial<Run> = {}): Run {
  return {
    number,
    verdict: "passed",
    reasons: [],
    faultAt: Date.UTC(2026, 0, 1),
    clients: {
      direct: {
        requests: 300,
        failed: rtoMs / 10,
        slow: 0,
        rtoMs,
        rtoFromFaultMs: rtoMs === 0 ? 0 : rtoMs + 4,
        samples: samples(4, 4 + rtoMs),
        p50Ms: 1.5,
        p99Ms: 2.5,
      },
      persistent: undefined,
      beyondRouter: undefined,
    },
    ownership: {
      spans: [
        { vip: "web", node: "a", fromMs: -5_000, untilMs: rtoMs === 0 ? null : 0 },
        ...(rtoMs === 0 ? [] : [{ vip: "web", node: "b" as const, fromMs: rtoMs, untilMs: null }]),
      ],
      twoOwnersMs: { web: 0 },
      noOwnerMs: { web: rtoMs },
      clockErrorMs: 0,
    },
    log: [
      {
        atMs: rtoMs,
        node: "node-b",
        source: "keepalived",
        text: "(web) Entering MASTER STATE <script>alert(1)</script>",
      },
    ],
    ...changes,
  };
}

const common = {
  version: EVIDENCE_VERSION,
  stack: "lab",
  undo: "power on",
  startedAt: "2026-01-01T00:00:00.000Z",
  configDigest: "0123456789abcdef",
  versions: { "keepalived@node-a": "2.3.3" },
  place: "lab",
} as const;

export const SAMPLE: readonly Evidence[] = [
  {
    ...common,
    scenario: "node-power-cut",
    failure: "node-power-cut",
    fault: "the active node loses power",
    expectation: "the standby takes the VIP",
    estimate: { rtoLowerMs: 201, rtoUpperMs: 341, rtoTarget: 1_000, formula: "detect 3 × 100ms + skew 1.17ms" },
    runs: [
      run(1, 300, {
        address: { method: "route", moves: [{ vip: "web", node: "b", atMs: 420, tookMs: 120, attempts: 2 }] },
      }),
      run(2, 280),
    ],
    reproduce: "hotpair drill -s lab --scenario node-power-cut --runs 2",
  },
  {
    ...common,
    scenario: "heartbeat-down",
    failure: "heartbeat-link-loss",
    fault: "the heartbeat network is cut",
    expectation: "nothing moves",
    estimate: { rtoLowerMs: 0, rtoUpperMs: 0, rtoTarget: 1_000, formula: "0ms" },
    runs: [run(1, 0)],
    reproduce: "hotpair drill -s lab --scenario heartbeat-down",
  },
  {
    ...common,
    scenario: "full-partition",
    failure: "full-partition",
    fault: "all networks are cut",
    expectation: "declared undecidable without a witness",
    estimate: { rtoLowerMs: 0, rtoUpperMs: "unbounded", rtoTarget: null, formula: "unbounded" },
    runs: [
      run(1, 300, {
        verdict: "failed",
        reasons: ["two owners of web for 420 ms"],
        ownership: {
          spans: [
            { vip: "web", node: "a", fromMs: -5_000, untilMs: null },
            { vip: "web", node: "b", fromMs: 300, untilMs: 720 },
          ],
          twoOwnersMs: { web: 420 },
          noOwnerMs: { web: 0 },
          clockErrorMs: 0,
        },
      }),
    ],
    reproduce: "hotpair drill -s lab --scenario full-partition",
  },
];
