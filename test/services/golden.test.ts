// What the templates make of some configurations, as files that a reader can open: test/services/golden/<case>/<node>/…
// To accept a change: UPDATE_GOLDEN=1 vitest run --project unit test/services/golden.test.ts, then read the diff.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seconds } from "../../infra/model/duration.ts";
import { NODE_IDS, type Pair } from "../../infra/model/pair.ts";
import type { Service } from "../../infra/model/plan.ts";
import { arbiter } from "../../infra/services/arbiter.ts";
import { base } from "../../infra/services/base.ts";
import { drbd } from "../../infra/services/drbd.ts";
import { etcd } from "../../infra/services/etcd.ts";
import { external } from "../../infra/services/external.ts";
import { fencing } from "../../infra/services/fencing.ts";
import { haproxy } from "../../infra/services/haproxy.ts";
import { keepalived } from "../../infra/services/keepalived.ts";
import { lease } from "../../infra/services/lease.ts";
import { mariadb } from "../../infra/services/mariadb.ts";
import { mariadbVolume } from "../../infra/services/mariadb-volume.ts";
import { network } from "../../infra/services/network.ts";
import { nfs } from "../../infra/services/nfs.ts";
import { nginx } from "../../infra/services/nginx.ts";
import { witness } from "../../infra/services/witness.ts";
import {
  databaseDiskPair,
  exportPair,
  externalService,
  labPair,
  managedPair,
  statefulPair,
  tls,
  twoVips,
  virtualMac,
  witnessed,
} from "../model/pairs.ts";

const GOLDEN = join(import.meta.dirname, "golden");
const update = process.env.UPDATE_GOLDEN === "1";

const rendering: readonly Service[] = [
  base,
  network,
  witness,
  etcd,
  lease,
  fencing,
  keepalived,
  arbiter,
  mariadb,
  drbd,
  mariadbVolume,
  nfs,
  haproxy,
  nginx,
  external,
];
const CASES: Readonly<Record<string, Pair>> = {
  "one-vip": labPair,
  "two-vips": twoVips,
  vmac: virtualMac,
  tls,
  external: externalService,
  managed: managedPair,
  witnessed,
  mariadb: statefulPair.mariadb
    ? { ...statefulPair, mariadb: { ...statefulPair.mariadb, replicaReads: { port: 3308, maxLag: seconds(1) } } }
    : statefulPair,
  drbd: { ...exportPair, drbd: { ...exportPair.drbd, sharedSecret: undefined } },
  "mariadb-volume": databaseDiskPair,
};

/** Files made from templates, by path below the case's directory; programs are compared nowhere, they are files already. */
function rendered(pair: Pair): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const id of [...NODE_IDS, "witness"] as const)
    for (const service of rendering)
      for (const { path, content } of (id === "witness" ? service.witness?.(pair) : service.plan(pair, id))?.files ??
        [])
        if (typeof content === "string" && !path.startsWith("/usr/lib/hotpair/") && !path.includes("/hotpair-undo"))
          files.set(join(id, path), content);
  return files;
}

beforeAll(() => {
  if (!update) return;
  rmSync(GOLDEN, { recursive: true, force: true });
  for (const [name, pair] of Object.entries(CASES))
    for (const [path, content] of rendered(pair)) {
      mkdirSync(dirname(join(GOLDEN, name, path)), { recursive: true });
      writeFileSync(join(GOLDEN, name, path), content);
    }
});

afterAll(() => {
  expect(readdirSync(GOLDEN).sort()).toEqual(Object.keys(CASES).sort());
});

describe.each(Object.entries(CASES))("%s", (name, pair) => {
  const directory = join(GOLDEN, name);
  const files = rendered(pair);

  test.each([...files])("%s", (path, content) => {
    expect(content).toBe(readFileSync(join(directory, path), "utf8"));
  });

  test("no file more and none less", () => {
    const kept = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
    expect(kept.sort()).toEqual([...files.keys()].sort());
  });
});
