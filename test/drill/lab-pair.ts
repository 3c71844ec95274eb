// A pair in a lab of the drills' own: the committed stack of the default lab with this lab's addresses and keys, applied
// by the transaction itself. How a user brings a pair up is tested elsewhere.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readStack } from "../../infra/config/index.ts";
import { placeOf } from "../../infra/drill/host.ts";
import { type DrillSettings, versionsOf, waitUntilWhole } from "../../infra/drill/runner.ts";
import { configDigest } from "../../infra/evidence/digest.ts";
import { findLab, type Lab, labUp } from "../../infra/lab/lab.ts";
import { DEFAULT_CLIENT } from "../../infra/model/estimate.ts";
import { makeBundle } from "../../infra/plan/bundle.ts";
import { applyCommand } from "../../infra/plan/commands.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { runOrThrow } from "../../infra/ssh/run.ts";

const STACK = join(import.meta.dirname, "../../stacks/Pulumi.lab.yaml");
/** Beacon key of this lab: guards nothing. */
const KEY = "5a".repeat(32);

/** The text of the lab's stack file for another lab: its networks, host keys and key file. */
export function stackTextFor(lab: Lab): string {
  let text = readFileSync(STACK, "utf8");
  for (const [network, third] of [
    ["public", 0],
    ["heartbeat", 1],
    ["storage", 2],
  ] as const)
    text = text.replaceAll(`198.18.${third}.`, `NETWORK-${network}.`);
  for (const network of ["public", "heartbeat", "storage"] as const)
    text = text.replaceAll(`NETWORK-${network}.`, `${lab.prefix(network)}.`);
  const keys = [lab.hosts["node-a"].hostKey, lab.hosts["node-b"].hostKey];
  return text
    .replace(/hostKey: .*/g, () => `hostKey: ${keys.shift()}`)
    .replace(/keyFile: .*/g, `keyFile: ${lab.keyFile}`);
}

/** The drills' own lab. */
export const LAB = "drl";

/** What a drill needs in a lab whose pair is up. */
export async function settingsOf(name: string): Promise<DrillSettings> {
  const lab = findLab(name);
  if (lab === undefined) throw new Error(`the lab ${name} is not up`);
  const { pair } = readStack(stackTextFor(lab), "Pulumi.lab.yaml", "lab");
  const place = await placeOf(pair, () => "");
  return {
    stack: "lab",
    place,
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
export async function pairUp(name: string): Promise<DrillSettings> {
  await labUp({ name, image: "ready" });
  const settings = await settingsOf(name);
  const { place } = settings;
  for (const plan of [...planPair(place.pair)].reverse())
    await runOrThrow(place.hosts[plan.node].target, applyCommand("drill-test"), {
      input: makeBundle(plan, () => KEY),
      timeoutMs: 120_000,
    });
  const { problems } = await waitUntilWhole(place, 60_000);
  if (problems.length > 0) throw new Error(`the pair did not become whole: ${problems.join("; ")}`);
  return { ...settings, versions: await versionsOf(place) };
}
