// A pair in a lab of any name, for tests and measurements: the committed stack of the default lab with that lab's addresses
// and keys, applied by the transaction itself. How a user brings a pair up is apply.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readStack, secretPaths } from "../config/index.ts";
import { placeOf } from "../drill/host.ts";
import { type DrillSettings, versionsOf, waitUntilWhole } from "../drill/runner.ts";
import { configDigest } from "../evidence/digest.ts";
import { findLab, type Lab, labUp } from "../lab/lab.ts";
import { stackFor } from "../lab/stack.ts";
import { DEFAULT_CLIENT } from "../model/estimate.ts";
import type { Pair } from "../model/pair.ts";
import { planHosts, planPair } from "../plan/plan.ts";
import { estimate } from "../services/estimate.ts";
import { labStack } from "./lab-stack.ts";
import { openSecrets, repair, targetOf, targetsOf } from "./servers.ts";

const STACK = join(import.meta.dirname, "../../stacks/Pulumi.lab.yaml");
const DATA_STACK = join(import.meta.dirname, "../../stacks/Pulumi.lab-stateful.yaml");
/** Beacon key of this lab: guards nothing. */
const KEY = "5a".repeat(32);

/** The stack file of a lab. */
export const stackTextFor = (lab: Lab): string => stackFor(lab, readFileSync(STACK, "utf8"));

/** What a drill needs in a lab whose pair is up; `change` edits the text of the stack file before it is read. */
export async function settingsOf(name: string, change = (text: string) => text): Promise<DrillSettings> {
  const lab = findLab(name);
  if (lab === undefined) throw new Error(`the lab ${name} is not up`);
  const text = change(stackTextFor(lab));
  return settingsFor("lab", readStack(text, "Pulumi.lab.yaml", "lab").pair);
}

/** What a drill needs of a pair that is up in a lab. */
export async function settingsFor(stack: string, pair: Pair): Promise<DrillSettings> {
  return {
    stack,
    place: await placeOf(pair, () => ""),
    estimates: estimate(pair),
    configDigest: configDigest(pair),
    versions: {},
    directory: undefined,
    intervalMs: DEFAULT_CLIENT.interval,
    deadlineMs: DEFAULT_CLIENT.deadline,
    onProgress: (text) => console.log(text),
  };
}

/** Brings the lab up and applies the pair, the standby first. */
export async function pairUp(name: string, change?: (text: string) => string): Promise<DrillSettings> {
  await labUp({ name, image: "ready" });
  const settings = await settingsOf(name, change);
  const { place } = settings;
  for (const plan of [...planPair(place.pair)].reverse())
    await repair(place.hosts[plan.node].target, plan, () => KEY, "drill-test");
  return whole(settings, 60_000);
}

/** The same with the pair that keeps data: its witness first, and the two databases in sync at the end. */
export async function dataPairUp(name: string, change = (text: string) => text): Promise<DrillSettings> {
  const stack = "lab-stateful";
  const lab = await labUp({ name, image: "ready", witness: true });
  const text = change(await labStack(lab, readFileSync(DATA_STACK, "utf8")));
  const read = readStack(text, DATA_STACK, stack);
  const secrets = await openSecrets({ stack, file: DATA_STACK, text, ...read }, secretPaths(read.pair));
  const settings = await settingsFor(stack, read.pair);
  const targets = targetsOf(read.pair, secrets);
  const plans = planHosts(read.pair);
  for (const id of ["witness", "b", "a"] as const) {
    const plan = plans.find(({ node }) => node === id);
    if (plan !== undefined) await repair(targetOf(targets, id), plan, secrets, "drill-test");
  }
  return whole(settings, 120_000);
}

async function whole(settings: DrillSettings, withinMs: number): Promise<DrillSettings> {
  const { problems } = await waitUntilWhole(settings.place, withinMs);
  if (problems.length > 0) throw new Error(`the pair did not become whole: ${problems.join("; ")}`);
  return { ...settings, versions: await versionsOf(settings.place) };
}
