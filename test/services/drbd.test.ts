// What a node gets to replicate disks: files in both dialects, units that hang on the lease, terms with their source. What
// DRBD's own tools say of the files is in drbd.lab.test.ts.

import { expect, test } from "vitest";
import { seconds } from "../../infra/model/duration.ts";
import type { FailureClassId } from "../../infra/model/failure.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { MAX_BUNDLE_BYTES, makeBundle } from "../../infra/plan/bundle.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { drbd, mountUnit } from "../../infra/services/drbd.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { fencing } from "../../infra/services/fencing.ts";
import { lease } from "../../infra/services/lease.ts";
import { diskPair, labPair, statefulPair } from "../model/pairs.ts";

const fileOf = (path: string, pair: Pair = diskPair) =>
  drbd.plan(pair, "a")?.files.find((file) => file.path.endsWith(path));
const textOf = (path: string, pair: Pair = diskPair) => String(fileOf(path, pair)?.content);

test("a pair without replicated disks gets nothing of it", () => {
  for (const pair of [labPair, statefulPair]) {
    const paths = planPair(pair).flatMap(({ files }) => files.map(({ path }) => path));
    expect(paths.filter((path) => /drbd|60-volumes/.test(path))).toEqual([]);
  }
});

test("the secret stands in one file for each dialect, which root alone reads, and nowhere else", () => {
  const secret = { secret: "drbd.sharedSecret" };
  const holding = (drbd.plan(diskPair, "a")?.files ?? []).filter(({ content }) => typeof content !== "string");
  expect(holding.map(({ path }) => path)).toEqual([
    "/etc/hotpair/drbd/8.4/global_common.conf",
    "/etc/hotpair/drbd/9/global_common.conf",
  ]);
  for (const { content, mode, secret: hidden } of holding) {
    expect({ mode, hidden }).toEqual({ mode: "0600", hidden: true });
    expect(content).toContainEqual(secret);
    expect(String((content as readonly unknown[])[0])).toMatch(/shared-secret "$/);
    expect(String((content as readonly unknown[])[2])).toMatch(/^";\n/);
  }
  const without = { ...diskPair, drbd: { ...diskPair.drbd, sharedSecret: undefined } };
  expect(textOf("/9/global_common.conf", without)).not.toContain("shared-secret");
});

test("the dialects differ where the drivers do", () => {
  const [old, young] = [textOf("/8.4/data.res"), textOf("/9/data.res")];
  expect(old).not.toMatch(/quorum|node-id|auto-promote/);
  expect(young).toMatch(/quorum off;\n +auto-promote no;/);
  expect(young).toMatch(/on node-b \{\n +node-id 1;/);
  const section = (text: string, name: string) => new RegExp(`^  ${name} \\{\\n([^}]*)`, "m").exec(text)?.[1];
  expect(section(old, "disk")).toContain("fencing resource-and-stonith;");
  expect(section(old, "net")).not.toContain("fencing");
  expect(section(young, "net")).toContain("fencing resource-and-stonith;");
  expect(section(young, "disk")).not.toContain("fencing");
});

test("nothing of DRBD's own ever decides who writes", () => {
  for (const path of ["/8.4/data.res", "/9/data.res"]) {
    const text = textOf(path);
    expect(text).toMatch(/allow-two-primaries no;/);
    expect(text).toMatch(/after-sb-1pri disconnect;\n +after-sb-2pri disconnect;/);
    expect(text).toMatch(/fencing resource-and-stonith;/);
    expect(text).not.toMatch(/become-primary-on|discard-least-changes|discard-younger|call-pri-lost/);
  }
});

test("the chain hangs on the lease: promotion, check, mount, services in their order", () => {
  const primary = textOf("/hotpair-drbd-primary.service");
  expect(primary).toMatch(/^BindsTo=hotpair-lease\.service$/m);
  expect(primary).toMatch(/^After=hotpair-lease\.service hotpair-drbd\.service$/m);
  expect(primary).toMatch(/^ExecStopPost=\/usr\/lib\/hotpair\/hotpair-drbd demote$/m);
  expect(primary).toMatch(/^WantedBy=hotpair-active\.target$/m);
  expect(primary).not.toMatch(/^Restart=/m);
  const mount = textOf("/srv-data.mount");
  expect(mount).toMatch(/^BindsTo=hotpair-drbd-primary\.service$/m);
  expect(mount).toMatch(/^Requires=hotpair-drbd-fsck-data\.service$/m);
  expect(mount).toMatch(/^What=\/dev\/drbd0\nWhere=\/srv\/data\nType=ext4$/m);
  expect(textOf("/hotpair-drbd-fsck-data.service")).toMatch(/^BindsTo=hotpair-drbd-primary\.service$/m);
  expect(textOf("/shop-db.service.d/60-hotpair.conf")).toMatch(/^BindsTo=srv-data\.mount\nAfter=srv-data\.mount$/m);
  expect(textOf("/shop.service.d/60-hotpair.conf")).toMatch(/^After=srv-data\.mount shop-db\.service$/m);
  expect(textOf("/shop.service.d/60-hotpair.conf")).toMatch(/^TimeoutStopSec=1500ms$/m);
  expect(textOf("/60-volumes.conf")).toMatch(
    /^Wants=srv-data\.mount shop-db\.service shop\.service srv-files\.mount$/m,
  );
});

test("the holder of the lease kills what runs on the volumes, last started first", () => {
  const settings = lease.plan(diskPair, "a")?.files.find(({ path }) => path.endsWith("/lease.json"));
  expect(JSON.parse(String(settings?.content)).writers).toEqual(["shop.service", "shop-db.service"]);
});

test("where fencing is required the promotion waits for it", () => {
  const promotion = (required: boolean) =>
    fencing
      .plan({ ...diskPair, fencing: diskPair.fencing && { ...diskPair.fencing, required } }, "a")
      ?.files.some(({ path }) => path.endsWith("/hotpair-drbd-primary.service.d/60-fencing.conf"));
  expect(promotion(true)).toBe(true);
  expect(promotion(false)).toBe(false);
});

test("a mount's unit has its directory's name", () => {
  expect(mountUnit("/srv/data")).toBe("srv-data.mount");
  expect(mountUnit("/opt/shop.old/db_1")).toBe("opt-shop.old-db_1.mount");
});

test("the packages are those of the file systems that are used", () => {
  expect(drbd.plan(diskPair, "a")?.packages).toEqual(["drbd-utils", "python3", "e2fsprogs", "xfsprogs"]);
});

test("verification is a timer, or nothing at all", () => {
  expect(textOf("/hotpair-drbd-verify.timer")).toMatch(/^OnCalendar=weekly$/m);
  const never: Pair = { ...diskPair, drbd: { ...diskPair.drbd, verify: "never" } };
  expect(fileOf("/hotpair-drbd-verify.timer", never)).toBeUndefined();
  expect(drbd.plan(never, "a")?.units.map(({ name }) => name)).not.toContain("hotpair-drbd-verify.timer");
});

test("each resource opens its port to the peer alone", () => {
  expect(drbd.listeners?.(diskPair)).toEqual([
    { what: "DRBD's resource data", network: "storage", from: "peer", protocol: "tcp", port: 7789 },
    { what: "DRBD's resource files", network: "storage", from: "peer", protocol: "tcp", port: 7790 },
  ]);
});

const classOf = (failure: FailureClassId, pair: Pair = diskPair) => {
  const found = estimate(pair).find((one) => one.failure === failure);
  if (found === undefined) throw new Error(`the pair does not have ${failure}`);
  return found;
};

test("a power cut: the lease, the handler, the promotion, the check, the mount, the services", () => {
  const own = classOf("node-power-cut").terms.filter(({ service }) => service === "drbd");
  expect(own.map(({ step, upper }) => [step, upper])).toEqual([
    // 1 s + 500 ms are over before T is: nothing is added.
    ["detect", 0],
    // Start of the program 300, then renewal 100 + 2 × 200.
    ["decide", 800],
    ["recover", 720],
    ["recover", 2_000],
    ["recover", 360],
    ["recover", 5_000],
    ["recover", 0],
  ]);
  const slow: Pair = { ...diskPair, drbd: { ...diskPair.drbd, pingInterval: seconds(10) } };
  expect(
    classOf("node-power-cut", slow).terms.find(({ service, step }) => service === "drbd" && step === "detect"),
  ).toMatchObject({
    upper: 8_500,
  });
});

test("every number says where it is from, and what was emulated says so", () => {
  for (const { source, formula } of drbd.timing(diskPair)) {
    expect(source).toMatch(/^(docs\/drbd\.md#measured|drbd\.conf\(5\), |hotpair:(volumes|drbd))/);
    expect(formula).not.toBe("");
  }
  const emulated = drbd
    .timing(diskPair)
    .filter(({ source, upper }) => source === "docs/drbd.md#measured" && upper !== 0);
  expect(emulated.filter(({ name, step }) => step === "recover" && !name.includes("emulated"))).toEqual([]);
});

test("losing the peer costs writes the silence and the handler, on the network that replication uses", () => {
  const waits = (failure: FailureClassId, pair?: Pair) =>
    classOf(failure, pair).terms.filter(({ service, upper }) => service === "drbd" && upper !== 0).length;
  expect(waits("standby-power-cut")).toBe(2);
  expect(waits("storage-link-loss")).toBe(2);
  expect(waits("storage-link-loss", { ...diskPair, drbd: { ...diskPair.drbd, network: "heartbeat" } })).toBe(0);
});

test("every class of such a pair has an estimate, or says why it has none", () => {
  for (const { failure, rto, beyond } of estimate(diskPair)) {
    if (rto.upper === "unbounded") expect(beyond, failure).not.toMatch(/no service of this pair says/);
    else expect(rto.upper, failure).toBeGreaterThanOrEqual(0);
  }
});

test("the bundle of a node stays within what a node takes", () => {
  for (const plan of planPair(diskPair))
    expect(makeBundle(plan, () => "aB3".repeat(9)).length).toBeLessThan(MAX_BUNDLE_BYTES);
});
