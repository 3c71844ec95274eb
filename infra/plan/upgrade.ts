// What an upgrade takes along to a host: of its plan only what judges the daemons there, so that their new versions are held
// against the files that they have. Neither files nor secrets travel. What an upgrade does with it is in
// `infra/node/hotpair-apply`.

import type { HostId, Pair } from "../model/pair.ts";
import type { HostPlan } from "../model/plan.ts";
import { mayReboot } from "../services/etcd.ts";
import { applyPath, makeBundle } from "./bundle.ts";

/** The guard of this unit is asked before the host is rebooted. */
const REBOOT = "reboot.target";

/** Standard input of `upgradesCommand` and `upgradeCommand`. */
export function upgradeBundle(pair: Pair, plan: HostPlan): string {
  return makeBundle(upgradePlan(pair, plan), ({ secret }) => {
    throw new Error(`the secret ${secret} has no business in an upgrade`);
  });
}

/** The plan with its own program as the only file. */
export function upgradePlan(pair: Pair, plan: HostPlan): HostPlan {
  const program = applyPath(plan.witnessOf);
  const judges = plan.validators.filter(({ covers }) =>
    plan.files.some(({ path }) => covers.some((prefix) => path.startsWith(prefix))),
  );
  const guard = rebootGuard(pair, plan.node);
  return {
    ...plan,
    packages: [],
    files: plan.files.filter(({ path }) => path === program),
    validators: judges.map((judge) => ({ ...judge, covers: [program] })),
    units: [...plan.units, ...(guard === undefined ? [] : [{ name: REBOOT, running: false, holdsRole: false, guard }])],
  };
}

/** A host may carry members of several pairs: as the witness of others, too. */
const rebootGuard = (pair: Pair, id: HostId): string | undefined =>
  pair.authority === undefined && id !== "witness" ? undefined : mayReboot();
