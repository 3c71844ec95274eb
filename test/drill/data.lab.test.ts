// Drills of the pair that keeps data, on real hosts with real databases: what is acknowledged is kept, whoever falls, and
// never two could acknowledge it. How long that takes is measured elsewhere (`npm run bench -- failover-data`): a machine that
// is busy with other tests is no measure.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { dataPairUp } from "../../infra/cli/lab-pair.ts";
import { campaign } from "../../infra/drill/campaign-run.ts";
import { type DrillSettings, drill } from "../../infra/drill/runner.ts";
import { scenarioNamed } from "../../infra/drill/scenarios.ts";
import type { Run } from "../../infra/evidence/schema.ts";
import { labDown } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";

const LAB = "drs";
const QUIET_MS = 1_500;
/** Of a run's reasons those that speak of how long it took, which depends on what else this machine does. */
const OF_TIME = /^clients were out for|^service came back|^the target of/;

describeWithLab("a drill of a pair that keeps data", () => {
  let settings: DrillSettings;
  beforeAll(async () => {
    settings = { ...(await dataPairUp(LAB)), quietMs: QUIET_MS };
  }, 300_000);
  afterAll(() => labDown(LAB), 60_000);

  /** Runs a scenario and holds what must be so after every one of them. */
  const kept = async (name: string): Promise<Run> => {
    const scenario = scenarioNamed(name);
    if (scenario === undefined) throw new Error(`no scenario ${name}`);
    const [run] = (await drill(scenario, 1, settings)).runs;
    if (run?.ledger === undefined || run.writers === undefined) throw new Error("nothing was measured");
    expect(run.reasons.filter((reason) => !OF_TIME.test(reason))).toEqual([]);
    const { primary, replica } = run.ledger;
    if (replica === undefined) throw new Error("the replica's part of the ledger was not read");
    for (const side of [primary, replica]) {
      expect(side.acknowledged).toBeGreaterThan(100);
      expect([side.missing.count, side.duplicated.count, side.disordered.count, side.phantom.count]).toEqual([
        0, 0, 0, 0,
      ]);
    }
    expect(run.writers).toMatchObject({ twoWritersMs: 0, twoLeasesMs: 0 });
    expect(run.ownership.twoOwnersMs).toEqual({ web: 0 });
    // Redundant again at the end: both are in sync.
    expect(run.writers.redundantAfterMs).not.toBeNull();
    return run;
  };
  const writers = (run: Run) => run.writers?.spans.map(({ node }) => node) ?? [];

  test("the primary loses power under write load: the other one writes on", async () => {
    const run = await kept("node-power-cut");
    expect(new Set(writers(run)).size).toBe(2);
    expect(run.clients.direct?.rtoMs).toBeGreaterThan(500);
  });

  test("the operator switches under write load: each writes in its turn", async () => {
    const run = await kept("planned-switch");
    expect(writers(run)).toHaveLength(2);
  });

  test("the primary's database is killed: the other one writes on before it would have recovered", async () => {
    const run = await kept("database-kill");
    expect(new Set(writers(run)).size).toBe(2);
  });

  test("the primary stands still and wakes up: it acknowledges nothing any more, and the new one goes on", async () => {
    const run = await kept("freeze-primary");
    expect(run.ownership.spans.length).toBeGreaterThan(1);
  });

  test("the replica loses power: writes wait until nobody counts on it, and go on where they were", async () => {
    const run = await kept("standby-power-cut");
    expect(new Set(writers(run)).size).toBe(1);
    expect(run.writers?.insync.some(({ nodes }) => nodes.length === 1)).toBe(true);
  });

  test("without the witness nobody takes over from a dead primary, and nothing is lost when it is back", async () => {
    await kept("witness-down-then-power-cut");
  });

  test("random faults, some of them two at once", async () => {
    const directory = mkdtempSync(join(tmpdir(), "hotpair-campaign-"));
    try {
      const { steps } = await campaign(settings, { seed: "ci", steps: 3, directory });
      expect(steps).toHaveLength(3);
      for (const { outcome } of steps) {
        if (outcome.kind !== "measured") throw new Error(outcome.error);
        expect(outcome.ledger?.missing.count).toBe(0);
        expect([outcome.twoOwnersMs, outcome.twoWritersMs, outcome.twoLeasesMs]).toEqual([0, 0, 0]);
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
