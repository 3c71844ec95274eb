// Goes through a campaign: step after step on a loaded pair, each one appended to the journal as soon as it is measured, so
// that a campaign that ends early goes on where it ended. A violation is repeated with fewer faults until the smallest set
// that shows it is known. Which faults a step has is campaign.ts.

import { setTimeout as sleep } from "node:timers/promises";
import {
  CAMPAIGN_VERSION,
  type Campaign,
  type CampaignHeader,
  type CampaignOutcome,
  type CampaignStep,
} from "../evidence/campaign.ts";
import type { Run } from "../evidence/schema.ts";
import { appendStep, campaignPath, keepViolation, openCampaign } from "../evidence/store.ts";
import { UserError } from "../model/errors.ts";
import { hasDatabase, type NodeId } from "../model/pair.ts";
import { recordOf, type Step, scenarioOf, simpler, stepOf } from "./campaign.ts";
import { undoOutside } from "./executor.ts";
import { type DrillSettings, measure, undoArmed, waitUntilWhole } from "./runner.ts";

export interface CampaignSettings {
  /** [A-Za-z0-9._-]{1,40}: also names the journal. */
  readonly seed: string;
  /** Steps in all, those that the journal has already included. */
  readonly steps: number;
  /** Repeats this step alone and keeps nothing. */
  readonly only?: number | undefined;
  readonly directory: string;
}

/** Long enough to tell an end of an outage from a pause in it, short enough for thousands of steps. */
export const CAMPAIGN_QUIET_MS = 2_000;
/** A violation that depends on the moment does not come every time. */
const RERUNS = 2;
const HEAL_MS = 180_000;
/** Whatever keeps steps from being measured is not to use up the rest of them. */
const BROKEN_OFF_IN_A_ROW = 5;

/** Rejects with UserError when the pair does not become whole again by itself: the campaign goes on once somebody mended it. */
export async function campaign(drill: DrillSettings, settings: CampaignSettings): Promise<Campaign> {
  const { place } = drill;
  if (!hasDatabase(place.pair))
    throw new UserError("a campaign proves with numbered writes that nothing is lost, and this pair has no database", [
      "drill its scenarios instead: hotpair drill",
    ]);
  if (place.lab === undefined)
    throw new UserError("a campaign breaks a pair in every way for hours, and runs in the lab only");
  const quietMs = drill.quietMs ?? CAMPAIGN_QUIET_MS;
  const own: DrillSettings = {
    ...drill,
    quietMs,
    // Writers that write as fast as they may: what is under way at the fault is what can be lost.
    load: drill.load ?? { loop: "closed", intervalMs: 5 },
  };
  const { seed, only } = settings;
  if (only !== undefined) {
    const step = stepOf(seed, only, place.pair);
    return { header: headerOf(drill, settings, quietMs), steps: [await one(step, own)] };
  }
  const path = campaignPath(settings.directory, drill.stack, seed);
  const keep = (step: Step, run: Run) =>
    drill.onProgress(`all that was seen: ${keepViolation(path, step.number, run)}`);
  const { header, steps: before } = openCampaign(path, headerOf(drill, settings, quietMs));
  const steps = [...before];
  const known = new Set(steps.map(({ step }) => step));
  const todo = Array.from({ length: settings.steps }, (_, index) => index + 1).filter((number) => !known.has(number));
  if (known.size > 0) drill.onProgress(`the journal has ${known.size} steps already: ${path}`);
  let brokenOff = 0;
  for (const number of todo) {
    drill.signal?.throwIfAborted();
    await wholeAgain(own);
    const step = stepOf(seed, number, place.pair);
    const done = await withShrinking(step, await one(step, own, (run) => keep(step, run)), own);
    appendStep(path, done);
    steps.push(done);
    drill.onProgress(`step ${number} of ${settings.steps}: ${inWords(done)}`);
    brokenOff = done.outcome.kind === "broken-off" ? brokenOff + 1 : 0;
    if (brokenOff === BROKEN_OFF_IN_A_ROW)
      throw new UserError(`${brokenOff} steps after each other could not be measured: the campaign stops here`, [
        done.outcome.kind === "broken-off" ? done.outcome.error : "",
        "the same command goes on with the next step",
      ]);
  }
  return { header, steps };
}

const headerOf = (drill: DrillSettings, { seed, steps }: CampaignSettings, quietMs: number): CampaignHeader => ({
  version: CAMPAIGN_VERSION,
  stack: drill.stack,
  seed,
  configDigest: drill.configDigest,
  versions: drill.versions,
  startedAt: new Date().toISOString(),
  quietMs,
  reproduce: `hotpair drill -s ${drill.stack} --campaign ${steps} --seed ${seed}`,
});

async function one(
  step: Step,
  drill: DrillSettings,
  onViolation: (run: Run) => void = () => undefined,
): Promise<CampaignStep> {
  const started = Date.now();
  let outcome: CampaignOutcome;
  let active: NodeId = "a";
  try {
    const measured = await measure(scenarioOf(step), drill);
    const { run } = measured;
    active = measured.active;
    if (run.reasons.length > 0) onViolation(run);
    outcome = {
      kind: "measured",
      reasons: run.reasons,
      rtoMs: run.clients.direct?.rtoMs ?? null,
      twoOwnersMs: Math.max(0, ...Object.values(run.ownership.twoOwnersMs)),
      ...(run.writers && {
        twoWritersMs: run.writers.twoWritersMs,
        twoLeasesMs: run.writers.twoLeasesMs,
        redundantAfterMs: run.writers.redundantAfterMs,
      }),
      ...(run.ledger && { ledger: run.ledger.primary }),
    };
  } catch (error) {
    drill.signal?.throwIfAborted();
    outcome = { kind: "broken-off", error: error instanceof Error ? error.message : String(error) };
  }
  return {
    step: step.number,
    faults: recordOf(step.faults),
    at: new Date(started).toISOString(),
    tookMs: Date.now() - started,
    active,
    outcome,
  };
}

const violated = ({ outcome }: CampaignStep): boolean => outcome.kind === "measured" && outcome.reasons.length > 0;

async function withShrinking(step: Step, done: CampaignStep, drill: DrillSettings): Promise<CampaignStep> {
  if (!violated(done)) return done;
  let reruns = 0;
  for (const candidate of [...simpler(step), step])
    for (let turn = 0; turn < RERUNS; turn++) {
      await wholeAgain(drill);
      reruns++;
      drill.onProgress(`step ${step.number} again, with ${recordOf(candidate.faults).map(inFaultWords).join(" and ")}`);
      const again = await one(candidate, drill);
      if (violated(again) && again.outcome.kind === "measured")
        return { ...done, reruns, shrunk: { faults: again.faults, reasons: again.outcome.reasons } };
    }
  return { ...done, reruns };
}

/** Between steps the pair must be whole; what a broken-off step left is put right from outside. */
async function wholeAgain(drill: DrillSettings): Promise<void> {
  const { place, signal } = drill;
  if ((await waitUntilWhole(place, HEAL_MS, signal)).problems.length === 0) return await undoArmed(place);
  signal?.throwIfAborted();
  await undoOutside(place);
  await undoArmed(place);
  await sleep(1_000);
  const { problems } = await waitUntilWhole(place, HEAL_MS, signal);
  signal?.throwIfAborted();
  if (problems.length > 0)
    throw new UserError("the pair does not become whole again by itself: the campaign stops here", [
      ...problems,
      "mend it, then start the same command again: it goes on with the next step",
    ]);
}

const inFaultWords = ({ fault, afterMs, holdMs }: CampaignStep["faults"][number]): string =>
  `${fault}${afterMs > 0 ? ` after ${afterMs} ms` : ""} for ${holdMs} ms`;

function inWords({ faults, outcome, tookMs }: CampaignStep): string {
  const what = faults.map(inFaultWords).join(" and ");
  if (outcome.kind === "broken-off") return `${what}: broken off: ${outcome.error}`;
  const rto =
    outcome.rtoMs === null
      ? "not back"
      : outcome.rtoMs === 0
        ? "no write failed"
        : `out for ${Math.round(outcome.rtoMs)} ms`;
  const lost =
    outcome.ledger === undefined
      ? ""
      : `, ${outcome.ledger.acknowledged} acknowledged, ${outcome.ledger.missing.count} lost`;
  const verdict = outcome.reasons.length === 0 ? "" : `; VIOLATED: ${outcome.reasons.join("; ")}`;
  return `${what}: ${rto}${lost}, two writers ${outcome.twoWritersMs ?? 0} ms, took ${Math.round(tookMs / 1000)} s${verdict}`;
}
