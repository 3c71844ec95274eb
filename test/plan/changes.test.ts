// What a plan would do to a server, file by file.

import { describe, expect, it } from "vitest";
import type { NodePlan, PlannedFile } from "../../infra/model/plan.ts";
import type { FileFacts, ServerState } from "../../infra/model/server.ts";
import { changesOf, isUnchanged, sha256 } from "../../infra/plan/changes.ts";

const file = (path: string, content: PlannedFile["content"], more: Partial<PlannedFile> = {}): PlannedFile => ({
  path,
  owner: "root",
  group: "root",
  mode: "0644",
  content,
  secret: false,
  onChange: { action: "reload", unit: "haproxy.service" },
  ...more,
});

const PLAN: NodePlan = {
  node: "a",
  name: "node-a",
  vips: [],
  installPackages: true,
  packages: ["haproxy"],
  files: [
    file("/etc/haproxy/haproxy.cfg", "maxconn 100\n"),
    file("/etc/hotpair/beacon.key", ["k ", { secret: "beaconKey" }], { secret: true, mode: "0600" }),
  ],
  units: [{ name: "haproxy.service", running: true, holdsRole: false }],
  validators: [],
  health: [],
};

const facts = (text: string, mode = "0644"): FileFacts => ({
  sha256: sha256(text),
  mode,
  owner: "root",
  group: "root",
});
const CFG = facts("maxconn 100\n");
const KEY = facts("k 1234", "0600");

/** A server on which PLAN was applied; `present` overrides what stands there now. */
function server(present: Record<string, FileFacts | undefined> = {}, drifted: readonly string[] = []): ServerState {
  const files = { "/etc/haproxy/haproxy.cfg": CFG, "/etc/hotpair/beacon.key": KEY };
  const now = Object.entries({ ...files, ...present }).filter((entry): entry is [string, FileFacts] => !!entry[1]);
  return {
    role: "standby",
    manifest: {
      resource: "token",
      digest: "d",
      appliedAt: 0,
      files: Object.entries(files).map(([path, each]) => ({ path, secret: path.endsWith(".key"), ...each })),
      installedPackages: [],
    },
    drift: {
      unfinished: false,
      files: drifted.map((path) => ({ path, differences: ["content"], secret: false, expected: CFG, found: CFG })),
      units: [],
    },
    present: new Map(now),
    missingPackages: [],
  };
}

const changed = (state: ServerState, secrets?: () => string) =>
  changesOf(PLAN, state, secrets).files.map(({ path, kind, byHand }) => [path, kind, byHand]);

describe("changes", () => {
  it("are none on a server that has what the plan says", () => {
    expect(isUnchanged(changesOf(PLAN, server()))).toBe(true);
  });

  it("name a file that is missing, other or otherwise owned", () => {
    expect(changed(server({ "/etc/haproxy/haproxy.cfg": undefined }))).toEqual([
      ["/etc/haproxy/haproxy.cfg", "create", false],
    ]);
    expect(changed(server({ "/etc/haproxy/haproxy.cfg": facts("maxconn 1\n") }, ["/etc/haproxy/haproxy.cfg"]))).toEqual(
      [["/etc/haproxy/haproxy.cfg", "change", true]],
    );
    const [moved] = changesOf(PLAN, server({ "/etc/haproxy/haproxy.cfg": { ...CFG, mode: "0600" } })).files;
    expect(moved).toMatchObject({
      kind: "permissions",
      permissions: { before: "0600 root:root", after: "0644 root:root" },
    });
  });

  it("know a changed secret by the manifest, or by its value where that is opened, and carry no text of it", () => {
    const other = changesOf(PLAN, server({ "/etc/hotpair/beacon.key": facts("k 99", "0600") })).files;
    expect(other).toMatchObject([{ path: "/etc/hotpair/beacon.key", kind: "change", secret: true, after: undefined }]);
    expect(changed(server(), () => "5678")).toEqual([["/etc/hotpair/beacon.key", "change", false]]);
  });

  it("are none for a secret that is opened and the same", () => expect(changed(server(), () => "1234")).toEqual([]));

  it("tell a file of somebody else's that hotpair takes over", () => {
    const fresh = { ...server(), manifest: { ...server().manifest, files: [] } };
    const [cfg] = changesOf(PLAN, {
      ...fresh,
      present: new Map([["/etc/haproxy/haproxy.cfg", facts("distribution\n")]]),
    }).files;
    expect(cfg).toMatchObject({ kind: "change", takenOver: true });
  });

  it("name what the plan no longer has", () => {
    const smaller = { ...PLAN, files: PLAN.files.slice(1) };
    expect(changesOf(smaller, server()).files).toMatchObject([{ path: "/etc/haproxy/haproxy.cfg", kind: "remove" }]);
  });

  it("name packages only where hotpair may install them", () => {
    const bare = { ...server(), missingPackages: ["haproxy"] };
    expect(changesOf(PLAN, bare).packages).toEqual(["haproxy"]);
    expect(changesOf({ ...PLAN, installPackages: false }, bare).packages).toEqual([]);
  });
});
