// Asks every service what each host must look like and makes of the answers its plans: ordered, free of contradictions,
// pure data. How a plan travels belongs to bundle.ts; how it is applied, to `infra/node`.

import { type HostId, NODE_IDS, type Node, type NodeId, type Pair } from "../model/pair.ts";
import type { Contribution, HostPlan, NodePlan, PlannedFile, PlannedUnit, Validator } from "../model/plan.ts";
import { vipInterface } from "../model/vrrp.ts";
import { services } from "../services/index.ts";

/** Plans of both nodes, `a` first. */
export function planPair(pair: Pair): readonly [NodePlan, NodePlan] {
  const [a, b] = NODE_IDS;
  return [planNode(pair, a), planNode(pair, b)];
}

export function planNode(pair: Pair, id: NodeId): NodePlan {
  const node = pair.nodes[id === "a" ? 0 : 1];
  const parts = services
    .map((service) => service.plan(pair, id))
    .filter((part): part is Contribution => part !== undefined);
  return { ...merged(parts), node: id, name: node.name, vips: addresses(pair, node), ...packagePolicy(pair) };
}

/** Plan of the witness; undefined for a pair without one. */
export function planWitness(pair: Pair): HostPlan | undefined {
  if (pair.witness === undefined) return undefined;
  const parts = services
    .map((service) => service.witness?.(pair))
    .filter((part): part is Contribution => part !== undefined);
  const { name } = pair.witness;
  return { ...merged(parts), node: "witness", name, vips: [], ...packagePolicy(pair), witnessOf: pair.name };
}

/** Every host that the pair has, the witness first: without it the first node's member of the authority has no majority. */
export const planHosts = (pair: Pair): readonly HostPlan[] => {
  const witness = planWitness(pair);
  return [...(witness === undefined ? [] : [witness]), ...planPair(pair)];
};

export const hostIdsOf = (pair: Pair): readonly HostId[] =>
  pair.witness === undefined ? NODE_IDS : ["witness", ...NODE_IDS];

const packagePolicy = (pair: Pair) => ({ installPackages: pair.base.installPackages });

function merged(parts: readonly Contribution[]): Contribution {
  const files = sortedFiles(parts.flatMap((part) => part.files));
  const state = parts.flatMap((part) => part.state ?? []);
  return {
    packages: [...new Set(parts.flatMap((part) => part.packages))].sort(),
    files,
    units: mergedUnits(parts.flatMap((part) => part.units)),
    validators: [...unitValidator(files), ...parts.flatMap((part) => part.validators)],
    health: parts.flatMap((part) => part.health),
    ...(state.length > 0 ? { state } : {}),
  };
}

const addresses = (pair: Pair, node: Node): NodePlan["vips"] =>
  pair.vips.map((vip) => ({ name: vip.name, address: vip.address, interface: vipInterface(node, vip) }));

/** Sorted by path, so that equal configurations give equal plans; two services that claim one path are a defect. */
function sortedFiles(files: readonly PlannedFile[]): readonly PlannedFile[] {
  const sorted = [...files].sort((one, other) => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0));
  const twice = sorted.find((file, index) => file.path === sorted[index + 1]?.path);
  if (twice !== undefined) throw new Error(`two services plan ${twice.path}`);
  return sorted;
}

const UNITS = "/etc/systemd/system/";

/**
 * systemd's own parser over every unit that a file of the plan makes or extends, in one run. Units they merely refer to
 * are not judged, and warnings about manuals that are not installed are none.
 */
function unitValidator(files: readonly PlannedFile[]): readonly Validator[] {
  const units = files
    .filter(({ path }) => path.startsWith(UNITS))
    .map(({ path }) => path.slice(UNITS.length).replace(/\.d\/.*/, ""));
  if (units.length === 0) return [];
  return [
    {
      name: "systemd-analyze verify",
      covers: [UNITS],
      command: `systemd-analyze verify --man=no --recursive-errors=no ${[...new Set(units)].join(" ")}`,
    },
  ];
}

/** One entry per unit in the order of the services; what one service needs of a shared unit, the node needs. */
function mergedUnits(units: readonly PlannedUnit[]): readonly PlannedUnit[] {
  const byName = new Map<string, PlannedUnit>();
  for (const unit of units) {
    const before = byName.get(unit.name);
    const guard = unit.guard ?? before?.guard;
    byName.set(unit.name, {
      name: unit.name,
      running: unit.running || before?.running === true,
      holdsRole: unit.holdsRole || before?.holdsRole === true,
      ...(guard === undefined ? {} : { guard }),
      ...(unit.interrupts || before?.interrupts ? { interrupts: true } : {}),
    });
  }
  return [...byName.values()];
}
