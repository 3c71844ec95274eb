// What a node gets to export a volume: one server's name, one list of clients and one file handle on both nodes, nothing that
// acknowledges early, and a chain that lets go of the volume.

import { expect, test } from "vitest";
import { seconds } from "../../infra/model/duration.ts";
import type { FailureClassId } from "../../infra/model/failure.ts";
import { stopChain } from "../../infra/model/lease.ts";
import type { Nfs, Pair } from "../../infra/model/pair.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { DEVICES_LET_GO, DEVICES_PROMOTED, drbd } from "../../infra/services/drbd.ts";
import { nfs } from "../../infra/services/nfs.ts";
import { diskPair, exportPair } from "../model/pairs.ts";

const textOf = (path: string, pair: Pair = exportPair, node: "a" | "b" = "a") =>
  String(nfs.plan(pair, node)?.files.find((file) => file.path.endsWith(path))?.content);

const exporting = (changes: Partial<Nfs>): Pair => ({
  ...exportPair,
  volumes: exportPair.volumes.map((volume) =>
    volume.nfs === undefined ? volume : { ...volume, nfs: { ...volume.nfs, ...changes } },
  ),
});

test("a pair that exports nothing gets nothing of it", () => {
  expect(planPair(diskPair).flatMap(({ files }) => files.filter(({ path }) => /nfs|exports/.test(path)))).toEqual([]);
  expect(nfs.timing(diskPair)).toEqual([]);
  expect(nfs.listeners?.(diskPair)).toEqual([]);
});

test("whatever a client keeps of the server is the same on both nodes", () => {
  for (const path of ["/60-hotpair.conf", "/hotpair.exports", "/hotpair-nfs.service", "/hotpair-nfs-clients.service"])
    expect(textOf(path, exportPair, "b"), path).toBe(textOf(path, exportPair, "a"));
  expect(textOf("/hotpair-nfs.service")).toMatch(/hostname disks-198\.18\.0\.100; exec \/usr\/sbin\/rpc\.nfsd/);
  expect(textOf("/hotpair.exports")).toMatch(
    /^\/srv\/files 198\.18\.0\.0\/24\(.*fsid=2\) 192\.0\.2\.7\/32\(.*fsid=2\)$/m,
  );
  // And told apart from another pair of the same name.
  const [vip, ...others] = exportPair.vips;
  const elsewhere = { ...exportPair, vips: [{ ...vip, address: "198.18.0.101/24" }, ...others] } as Pair;
  expect(textOf("/hotpair-nfs.service", elsewhere)).toMatch(/hostname disks-198\.18\.0\.101;/);
});

test("nothing is acknowledged before it is on the volume, and no standby's empty directory is exported", () => {
  const text = textOf("/hotpair.exports");
  expect(text.match(/\(rw,sync,/g)).toHaveLength(2);
  expect(text).not.toContain("async");
  expect(text.match(/,mountpoint,/g)).toHaveLength(2);
  expect(text.match(/,root_squash,/g)).toHaveLength(2);
  expect(textOf("/hotpair.exports", exporting({ squash: "none" }))).toMatch(/,no_root_squash,/);
});

test("the server listens on the VIP, speaks 4.1 and later, and keeps its clients on the volume", () => {
  const text = textOf("/nfs.conf.d/60-hotpair.conf");
  expect(text).toMatch(/^host = 198\.18\.0\.100$/m);
  expect(text).toMatch(/^vers2 = n\nvers3 = n\nvers4 = y\nvers4\.0 = n\nvers4\.1 = y\nvers4\.2 = y$/m);
  expect(text).toMatch(/^lease-time = 10\ngrace-time = 15$/m);
  expect(text).toMatch(/^storagedir = \/srv\/files\/\.hotpair-nfs$/m);
  expect(nfs.listeners?.(exportPair)).toEqual([
    { what: "NFS", network: "public", from: "clients", protocol: "tcp", port: 2049 },
  ]);
});

test("the server is one of the volume's units: bound to the mount and to the lease, and killed with it", () => {
  const dropIn = drbd.plan(exportPair, "a")?.files.find(({ path }) => path.includes("/hotpair-nfs.service.d/"));
  expect(dropIn?.content).toMatch(/^BindsTo=srv-files\.mount\nAfter=srv-files\.mount shop\.service$/m);
  expect(dropIn?.content).toMatch(/^ExecStartPre=\+\/usr\/lib\/hotpair\/hotpair-drbd may-start$/m);
  expect(stopChain({ ...exportPair, authority: required(exportPair.authority) }).map(({ unit }) => unit)).toContain(
    "hotpair-nfs.service",
  );
  // What it asks ends after it, and before the mount.
  for (const daemon of ["hotpair-nfs-clients.service", "hotpair-nfs-mountd.service"]) {
    expect(textOf(`/${daemon}`)).toMatch(/^BindsTo=srv-files\.mount$/m);
    expect(textOf(`/${daemon}`)).toMatch(/^After=srv-files\.mount /m);
    expect(textOf("/hotpair-nfs.service")).toMatch(new RegExp(`^After=.* ${daemon}`, "m"));
  }
});

test("a change of what is served changes the unit, so that the active node hands over", () => {
  const unit = textOf("/hotpair-nfs.service");
  expect(textOf("/hotpair-nfs.service", exporting({ threads: 17 }))).not.toBe(unit);
  expect(textOf("/hotpair-nfs.service", exporting({ clients: ["192.0.2.0/24"] }))).not.toBe(unit);
});

test("the package's own units start on neither node", () => {
  for (const unit of ["nfs-server", "nfs-mountd", "nfsdcld"])
    expect(textOf(`/${unit}.service.d/60-hotpair.conf`)).toMatch(
      /^ConditionPathExists=!\/etc\/nfs\.conf\.d\/60-hotpair\.conf$/m,
    );
});

const clientTerm = (failure: FailureClassId, pair: Pair = exportPair) =>
  nfs.timing(pair).find((term) => term.failure === failure && term.step === "client");

test("every fault and act that moves the devices costs clients the grace period at most, or their own silence", () => {
  for (const failure of [...DEVICES_PROMOTED, ...DEVICES_LET_GO]) expect(clientTerm(failure)?.lower, failure).toBe(0);
  // Twice the lease, and a look: more than a grace period of 15 s.
  expect(clientTerm("planned-switch")?.upper).toBe(21_000);
  expect(clientTerm("planned-switch", exporting({ gracePeriod: seconds(60) }))?.upper).toBe(61_000);
  // A lease that runs out after 40 s leaves clients alone for longer than any of that.
  const authority = required(exportPair.authority);
  const slow: Pair = {
    ...exportPair,
    authority: { ...authority, lease: { ...authority.lease, takeover: seconds(40) } },
  };
  expect(Number(clientTerm("node-power-cut", slow)?.upper)).toBeGreaterThan(41_000);
});

test("every number says where it is from", () => {
  for (const { source, formula } of nfs.timing(exportPair)) {
    expect(source).toMatch(/^docs\/nfs\.md#(tried|what-clients-see)$/);
    expect(formula).toMatch(/^≤ /);
  }
});

function required<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("the pair has no such part");
  return value;
}
