// What kept drills prove: every way in which evidence can fail to count is told apart, and a stack that was never drilled
// can be deployed.

import { expect, test } from "vitest";
import { days, ms, seconds } from "../../infra/model/duration.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { type DrillRecord, evidenceFindings, type Proof, proofOfClasses } from "../../infra/model/proof.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { labPair } from "./pairs.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const pair: Pair = {
  ...labPair,
  objectives: { tier: "custom", rto: { "node-power-cut": seconds(1), "full-partition": seconds(5) }, rpo: {} },
};
const strict = (changes: Partial<Pair["evidence"]> = {}): Pair => ({
  ...pair,
  evidence: { ...pair.evidence, enforcement: "mandatory", ...changes },
});

const drill = (changes: Partial<DrillRecord> = {}): DrillRecord => ({
  sequence: 0,
  scenario: "node-power-cut",
  failure: "node-power-cut",
  startedAt: "2026-03-01T00:00:00.000Z",
  configDigest: DIGEST,
  versions: { keepalived: "2.3.3" },
  runs: 3,
  passedRuns: 3,
  rtoMaxMs: 300,
  distrusted: undefined,
  ...changes,
});
const proof = (drills: readonly DrillRecord[], changes: Partial<Proof> = {}): Proof => ({
  stack: "prod",
  asOf: "2026-04-01T12:00:00.000Z",
  configDigest: DIGEST,
  drillable: { "node-power-cut": ["node-power-cut"], "clean-reboot": ["clean-reboot"] },
  drills: drills.map((each, index) => ({ ...each, sequence: index + 1 })),
  sightings: [],
  broken: undefined,
  ...changes,
});
const stateOf = (drills: readonly DrillRecord[], of: Pair = pair): string | undefined =>
  proofOfClasses(of, estimate(of), proof(drills)).find(({ failure }) => failure === "node-power-cut")?.state;
const findings = (of: Pair, drills: readonly DrillRecord[], changes: Partial<Proof> = {}) =>
  evidenceFindings(of, estimate(of), proof(drills, changes)).map(({ level, rule }) => `${level} ${rule}`);

test("a pair that was never drilled is told so and can be deployed", () => {
  expect(findings(pair, [])).toEqual(["advisory evidence-present"]);
  expect(findings(strict(), [])).toEqual(["mandatory evidence-present"]);
});

test("a passed drill of this configuration is enough", () => {
  expect(stateOf([drill()])).toBe("proven");
  expect(findings(strict(), [drill()])).toEqual([]);
});

test("nothing is demanded without a target, nor of a class that can be drilled in the lab only", () => {
  const none: Pair = { ...strict(), objectives: { tier: "custom", rto: {}, rpo: {} } };
  expect(findings(none, [])).toEqual([]);
  const states = proofOfClasses(pair, estimate(pair), proof([]));
  expect(states.find(({ failure }) => failure === "full-partition")?.state).toBe("not demanded");
  expect(states.find(({ failure }) => failure === "clean-reboot")?.state).toBe("not demanded");
});

test("what a pair without data cannot lose needs no proof, however many targets say so", () => {
  const both: Pair = { ...strict(), objectives: { tier: "custom", rto: {}, rpo: { default: seconds(0) } } };
  expect(findings(both, [])).toEqual([]);
});

test("what was measured in the lab only is believed when it failed", () => {
  const named = drill({ failure: "full-partition", scenario: "full-partition", passedRuns: 1 });
  expect(findings(strict(), [drill(), named])).toEqual(["mandatory evidence-passed"]);
});

test("the newest drill of each scenario decides", () => {
  const failed = drill({ passedRuns: 2, startedAt: "2026-03-02T00:00:00.000Z" });
  const again = drill({ startedAt: "2026-03-03T00:00:00.000Z" });
  expect(stateOf([drill(), failed])).toBe("failed");
  expect(stateOf([drill(), failed, again])).toBe("proven");
  const other = { ...again, scenario: "node-power-cut-hard" };
  expect(stateOf([drill(), failed, other])).toBe("failed");
});

test("a drill that was slower than the target of today is a failure of today", () => {
  const slow = drill({ rtoMaxMs: 700 });
  expect(stateOf([slow])).toBe("proven");
  const tightened: Pair = { ...pair, objectives: { tier: "custom", rto: { "node-power-cut": ms(600) }, rpo: {} } };
  expect(stateOf([slow], tightened)).toBe("failed");
  expect(stateOf([drill({ rtoMaxMs: null })])).toBe("failed");
});

test("evidence ends with its age, to the day that is configured", () => {
  const aged = { ...pair, evidence: { ...pair.evidence, maxAge: days(31) } };
  const at = (startedAt: string) => stateOf([drill({ startedAt })], aged);
  expect(at("2026-03-01T12:00:00.000Z")).toBe("proven");
  expect(at("2026-03-01T11:59:59.999Z")).toBe("old");
});

test("another configuration and other daemons prove nothing for this one", () => {
  const other = `sha256:${"b".repeat(64)}`;
  expect(stateOf([drill({ configDigest: other })])).toBe("other configuration");
  // An upgrade shows in the first drill after it, whatever that was of.
  const after = drill({ failure: "clean-reboot", scenario: "clean-reboot", versions: { keepalived: "2.3.4" } });
  expect(stateOf([drill(), after])).toBe("other configuration");
  expect(stateOf([drill(), drill({ versions: { keepalived: "2.3.4" } })])).toBe("proven");
  // And an upgrade itself, also one that was taken back: nobody knows what it left.
  const upgraded = { sequence: 2, versions: { keepalived: "2.3.4" } };
  expect(findings(strict(), [drill()], { sightings: [upgraded] })).toEqual(["mandatory evidence-matches"]);
  const back = [upgraded, { sequence: 3, versions: { keepalived: "2.3.3" } }];
  expect(findings(strict(), [drill()], { sightings: back })).toEqual(["mandatory evidence-matches"]);
  const before = [{ sequence: 0, versions: { keepalived: "2.2.8", nginx: "1.26" } }];
  expect(findings(strict(), [drill()], { sightings: before })).toEqual([]);
  // Going back to a configuration that was drilled needs no new drill.
  expect(stateOf([drill(), drill({ configDigest: other })])).toBe("proven");
});

test("what cannot be believed does not count, and is said", () => {
  expect(findings(strict(), [drill({ distrusted: "x.json was changed after it was recorded" })])).toEqual([
    "mandatory evidence-trusted",
    "mandatory evidence-present",
  ]);
  // A drill that was made again replaces it, and one of another configuration decides nothing here.
  const changed = drill({ distrusted: "x.json is gone" });
  expect(findings(strict(), [changed, drill()])).toEqual([]);
  expect(findings(strict(), [{ ...changed, configDigest: "sha256:b" }, drill()])).toEqual([]);
  expect(findings(strict(), [drill(), changed])).toEqual(["mandatory evidence-trusted"]);
  expect(findings(strict(), [drill()], { broken: "history.jsonl:2 does not follow" })).toEqual([
    "mandatory evidence-trusted",
  ]);
});

test("a configuration may be applied before it is drilled: this one alone, and until the day that is stated", () => {
  const allowed = (digest: string, until: string) => strict({ beforeDrill: { digest, until } });
  expect(findings(allowed(DIGEST.slice(0, 19), "2026-04-01"), [])).toEqual(["advisory evidence-present"]);
  expect(findings(allowed(DIGEST.slice(0, 19), "2026-03-31"), [])).toEqual(["mandatory evidence-present"]);
  expect(findings(allowed("sha256:bbbbbbbbbbbb", "2026-04-01"), [])).toEqual(["mandatory evidence-present"]);
  // Not a way around a drill that failed, nor around evidence that somebody changed.
  expect(findings(allowed(DIGEST, "2026-04-01"), [drill({ passedRuns: 0 })])).toEqual(["mandatory evidence-passed"]);
  expect(findings(allowed(DIGEST, "2026-04-01"), [drill()], { broken: "x" })).toEqual(["mandatory evidence-trusted"]);
});

test("the fix names the digest to write and the drill to run", () => {
  const [finding] = evidenceFindings(strict(), estimate(strict()), proof([]));
  expect(finding?.fix).toBe(
    "to apply it before it is drilled, set hotpair:pair.evidence.beforeDrill.digest to sha256:aaaaaaaaaaaa and .until to the last day of that; then run: hotpair drill -s prod --scenario node-power-cut",
  );
});

test("without a proof nobody asked, and nothing is said", () => {
  expect(evidenceFindings(strict(), estimate(strict()), undefined)).toEqual([]);
});
