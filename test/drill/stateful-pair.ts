// A pair that keeps data, with its witness, in a lab of the drills' own: certificates made anew, applied by the transaction
// itself, the witness first. What was made is kept beside the lab, so that another process finds the same pair.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { placeOf } from "../../infra/drill/host.ts";
import { type DrillSettings, versionsOf, waitUntilWhole } from "../../infra/drill/runner.ts";
import { configDigest } from "../../infra/evidence/digest.ts";
import { findLab } from "../../infra/lab/lab.ts";
import { DEFAULT_CLIENT } from "../../infra/model/estimate.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { statefulPair } from "../model/pairs.ts";
import { LabAuthority } from "../services/authority-lab.ts";

/** Drills with data have a lab of their own. */
export const STATEFUL_LAB = "drs";

const keptIn = (stateDir: string): string => join(stateDir, "pair.json");

interface Kept {
  readonly pair: Pair;
  /** The secrets of a lab: they guard nothing. */
  readonly values: readonly (readonly [string, string])[];
}
const keptPair = (stateDir: string): Kept => JSON.parse(readFileSync(keptIn(stateDir), "utf8")) as Kept;

/** What a drill needs in a lab whose pair is up. */
export async function statefulSettings(name: string): Promise<DrillSettings> {
  const lab = findLab(name);
  if (lab === undefined || !existsSync(keptIn(lab.stateDir))) throw new Error(`the lab ${name} has no pair with data`);
  const kept = keptPair(lab.stateDir).pair;
  // JSON has no undefined; what is absent reads the same.
  const nodes = kept.nodes.map((node) => {
    const host = lab.hosts[`node-${node.id}`];
    const auth = { kind: "keyFile", file: lab.keyFile } as const;
    const { hostKey } = host;
    return { ...node, ssh: { host: host.address.public, port: 22, user: "root", hostKey, auth, jump: undefined } };
  });
  const [a, b] = nodes;
  if (a === undefined || b === undefined) throw new Error("a pair has two nodes");
  const pair: Pair = { ...kept, nodes: [a, b] };
  const place = await placeOf(pair, () => "");
  return {
    stack: "lab-stateful",
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

/** Brings the lab up and applies the pair, the witness first, the standby second; a lab that is up keeps its certificates. */
export async function statefulUp(name: string): Promise<DrillSettings> {
  const there = await described(name);
  for (const id of ["witness", "b", "a"] as const) await there.applied(id);
  const settings = await statefulSettings(name);
  const { problems } = await waitUntilWhole(settings.place, 120_000);
  if (problems.length > 0) throw new Error(`the pair did not become whole: ${problems.join("; ")}`);
  return { ...settings, versions: await versionsOf(settings.place) };
}

async function described(name: string): Promise<LabAuthority> {
  const before = findLab(name);
  if (before !== undefined && existsSync(keptIn(before.stateDir))) {
    const there = new LabAuthority(before);
    const { pair, values } = keptPair(before.stateDir);
    there.pair = { ...there.pair, ...pair };
    for (const [key, value] of values) there.values.set(key, value);
    return there;
  }
  const there = await LabAuthority.up(name);
  const prefix = there.lab.prefix("public");
  there.values.set("mariadb.replicationPassword", "cd".repeat(24));
  const { haproxy, mariadb } = statefulPair;
  there.pair = {
    ...there.pair,
    mariadb,
    haproxy: haproxy && {
      ...haproxy,
      backends: haproxy.backends.map((backend) => ({
        ...backend,
        servers: backend.servers.map((server, index) => ({ ...server, address: `${prefix}.${11 + index}` })),
      })),
    },
  };
  const kept: Kept = { pair: there.pair, values: [...there.values] };
  writeFileSync(keptIn(there.lab.stateDir), JSON.stringify(kept), { mode: 0o600 });
  return there;
}
