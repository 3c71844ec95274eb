// A campaign's steps: random faults at random moments, sometimes two at once, each step a pure function of seed and number,
// so that any of them can be repeated alone. What a step does is a scenario like any other; how a campaign goes through
// hours is campaign-run.ts.

import type { CampaignFaultRecord } from "../evidence/campaign.ts";
import type { NetworkName, Pair } from "../model/pair.ts";
import type { Action, Role, Scenario, Stage } from "./scenario.ts";
import { ensure, hasUnit, signal, UNITS, type Unit, unitOf, wake } from "./units.ts";

export type CampaignFault = {
  /** Milliseconds after the step's first fault. */
  readonly afterMs: number;
  readonly holdMs: number;
} & (
  | { readonly kind: "power-cut" | "freeze" | "cut-witness"; readonly node: Role }
  | { readonly kind: "link-down" | "drop-from"; readonly node: Role; readonly networks: readonly NetworkName[] }
  | { readonly kind: "kill" | "hang"; readonly node: Role; readonly unit: Unit }
  | { readonly kind: "witness-power-cut" | "kill-witness" | "switch" }
);

export interface Step {
  readonly number: number;
  /** One or two, the earlier one first. */
  readonly faults: readonly CampaignFault[];
}

/** Numbers from 0 up to, not including, 1; the same for the same seed, on every machine. Mulberry32 over FNV-1a. */
export function randomFrom(seed: string): () => number {
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(seed)) state = Math.imul(state ^ byte, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One step in three has two faults. */
const TWO_SHARE = 1 / 3;
/** The second one comes while the first is felt: within what a takeover of the pair takes, and a bit. */
const SECOND_WITHIN_MS = 3_000;
const HOLD_MS = [500, 6_000] as const;

export function stepOf(seed: string, number: number, pair: Pair): Step {
  const random = randomFrom(`${seed}/${number}`);
  const first = faultOf(random, pair, 0);
  if (random() >= TWO_SHARE) return { number, faults: [first] };
  const afterMs = Math.round(random() * SECOND_WITHIN_MS);
  // Not twice the same thing on the same target: that is one fault.
  for (;;) {
    const second = faultOf(random, pair, afterMs);
    if (nameOf(second) !== nameOf(first)) return { number, faults: [first, second] };
  }
}

type Make = (random: () => number, times: { afterMs: number; holdMs: number }) => CampaignFault;

const pick = <T>(random: () => number, values: readonly [T, ...T[]]): T =>
  values[Math.floor(random() * values.length)] ?? values[0];
const ROLES: readonly [Role, Role] = ["active", "standby"];

/** How often each kind comes: kinds that a real pair meets often, or that are hard, more often than the rest. */
function makers(pair: Pair): readonly [readonly [number, Make], ...(readonly [number, Make])[]] {
  const networks: readonly (readonly NetworkName[])[] = [
    ["public"],
    ["heartbeat"],
    ["public", "heartbeat"],
    ...(pair.networks.storage === undefined
      ? []
      : ([["storage"], ["heartbeat", "storage"], ["public", "heartbeat", "storage"]] as const)),
  ];
  const some = (random: () => number) => networks[Math.floor(random() * networks.length)] ?? ["public"];
  const [firstUnit = "keepalived", ...otherUnits] = UNITS.filter((unit) => hasUnit(unit, pair));
  const units: readonly [Unit, ...Unit[]] = [firstUnit, ...otherUnits];
  const witness: (readonly [number, Make])[] =
    pair.witness === undefined
      ? []
      : [
          [2, (_, times) => ({ ...times, kind: "witness-power-cut" })],
          [1, (_, times) => ({ ...times, kind: "kill-witness" })],
          [2, (random, times) => ({ ...times, kind: "cut-witness", node: pick(random, ROLES) })],
        ];
  return [
    [4, (_, times) => ({ ...times, kind: "power-cut", node: "active" })],
    [2, (_, times) => ({ ...times, kind: "power-cut", node: "standby" })],
    [3, (random, times) => ({ ...times, kind: "link-down", node: pick(random, ROLES), networks: some(random) })],
    [3, (random, times) => ({ ...times, kind: "drop-from", node: pick(random, ROLES), networks: some(random) })],
    [4, (random, times) => ({ ...times, kind: "kill", node: pick(random, ROLES), unit: pick(random, units) })],
    [4, (random, times) => ({ ...times, kind: "hang", node: pick(random, ROLES), unit: pick(random, units) })],
    [2, (_, times) => ({ ...times, kind: "switch" })],
    [2, (random, times) => ({ ...times, kind: "freeze", node: pick(random, ROLES) })],
    ...witness,
  ];
}

function faultOf(random: () => number, pair: Pair, afterMs: number): CampaignFault {
  const all = makers(pair);
  let left = random() * all.reduce((sum, [weight]) => sum + weight, 0);
  const holdMs = Math.round(HOLD_MS[0] + random() * (HOLD_MS[1] - HOLD_MS[0]));
  for (const [weight, make] of all) {
    left -= weight;
    if (left < 0) return make(random, { afterMs, holdMs });
  }
  return all[0][1](random, { afterMs, holdMs });
}

/** In words, without its times: `hang standby database`. Faults of the same name are counted together. */
export function nameOf(fault: CampaignFault): string {
  switch (fault.kind) {
    case "power-cut":
    case "freeze":
    case "cut-witness":
      return `${fault.kind} ${fault.node}`;
    case "link-down":
    case "drop-from":
      return `${fault.kind} ${fault.node} ${fault.networks.join("+")}`;
    case "kill":
    case "hang":
      return `${fault.kind} ${fault.node} ${fault.unit}`;
    case "witness-power-cut":
    case "kill-witness":
    case "switch":
      return fault.kind;
  }
}

export const recordOf = (faults: readonly CampaignFault[]): CampaignFaultRecord[] =>
  faults.map((fault) => ({ fault: nameOf(fault), afterMs: fault.afterMs, holdMs: fault.holdMs }));

const SWITCH = (stage: Stage) =>
  stage.vips.map((vip) => `/usr/lib/hotpair/hotpair-arbiter switch --vip ${vip.name} --wait 10`).join("\n");

/** A command on a node that another fault may have taken down meanwhile: then there is nothing to do. */
const run = (node: Role, command: (stage: Stage) => string): Action => ({
  kind: "run",
  node,
  command,
  mayFail: true,
  mayBeDown: true,
});

function actionOf(fault: CampaignFault): Action {
  switch (fault.kind) {
    case "power-cut":
      return { kind: "power-cut", node: fault.node, backAfterMs: fault.holdMs, mayBeDown: true };
    case "freeze":
      return { kind: "freeze", node: fault.node, forMs: fault.holdMs, mayBeDown: true };
    case "cut-witness":
      return { kind: "cut-witness", node: fault.node };
    case "link-down":
    case "drop-from":
      return { kind: fault.kind, node: fault.node, networks: fault.networks };
    case "kill":
    case "hang":
      return run(fault.node, ({ pair }) => signal(unitOf(fault.unit, pair), fault.kind === "kill" ? "KILL" : "STOP"));
    case "witness-power-cut":
      return { kind: "witness-power-cut", backAfterMs: fault.holdMs };
    case "kill-witness":
      return { kind: "run-witness", command: ({ pair }) => signal(unitOf("etcd", pair), "KILL"), mayFail: true };
    case "switch":
      return run("active", SWITCH);
  }
}

/** Recovery is measured and judged by nothing but that it comes; what may never happen is judged as in every drill. */
export function scenarioOf(step: Step): Scenario {
  const names = step.faults.map(nameOf);
  const undo = (role: Role) => (stage: Stage) =>
    step.faults
      .flatMap((fault) =>
        (fault.kind === "kill" || fault.kind === "hang") && fault.node === role
          ? [(fault.kind === "kill" ? ensure : wake)(unitOf(fault.unit, stage.pair))]
          : [],
      )
      .join("\n");
  const touched = (role: Role) =>
    step.faults.some((fault) => (fault.kind === "kill" || fault.kind === "hang") && fault.node === role);
  return {
    name: `campaign-${step.number}`,
    failure: "node-power-cut",
    fault: names.join(", and then ").concat("."),
    expectation: "Nothing acknowledged is lost, never two writers, and the pair is whole again.",
    undo: "Every fault ends by itself at a deadline that was armed before.",
    place: "lab",
    actions: [
      {
        kind: "together",
        each: step.faults.map((fault) => [{ kind: "wait", ms: fault.afterMs } as const, actionOf(fault)]),
      },
    ],
    undoOnServer: {
      ...(touched("active") ? { active: undo("active") } : {}),
      ...(touched("standby") ? { standby: undo("standby") } : {}),
    },
    holdMs: Math.max(...step.faults.map((fault) => fault.afterMs + fault.holdMs)),
    movement: "anywhere",
    healWithinMs: 180_000,
  };
}

/** Simpler steps that may show the same violation, the simplest first: each fault alone, then both at the same moment. */
export function simpler(step: Step): Step[] {
  const [first, second] = step.faults;
  if (first === undefined || second === undefined) return [];
  const alone = (fault: CampaignFault): Step => ({ ...step, faults: [{ ...fault, afterMs: 0 }] });
  const together: Step = { ...step, faults: [first, { ...second, afterMs: 0 }] };
  return [alone(first), alone(second), ...(second.afterMs === 0 ? [] : [together])];
}
