// What a person reads of a change.

import { expect, it } from "vitest";
import { showChanges } from "../../infra/cli/show-changes.ts";
import type { FileChange, NodeChanges } from "../../infra/plan/changes.ts";

const change = (path: string, more: Partial<FileChange>): FileChange => ({
  path,
  kind: "change",
  secret: false,
  takenOver: false,
  byHand: false,
  after: undefined,
  permissions: undefined,
  onChange: { action: "none" },
  ...more,
});

function shown(changes: Partial<NodeChanges>, before: Record<string, string> = {}, full = false): readonly string[] {
  const whole = { files: [], packages: [], units: [], unfinished: false, ...changes };
  return showChanges(
    { name: "node-a", state: "standby", changes: whole, before: new Map(Object.entries(before)) },
    full,
  );
}

it("says in one line that nothing changes", () => expect(shown({})).toEqual(["node-a (standby): no change"]));

it("shows how a file changes, what its daemon needs, and who changed it", () => {
  const files = [
    change("/etc/haproxy/haproxy.cfg", {
      after: "timeout server 20s\n",
      byHand: true,
      onChange: { action: "reload", unit: "haproxy.service" },
    }),
  ];
  expect(shown({ files }, { "/etc/haproxy/haproxy.cfg": "timeout server 30s\n" })).toEqual([
    "node-a (standby):",
    "  ~ /etc/haproxy/haproxy.cfg (reload haproxy) [changed on the server]",
    "      @@ -1 +1 @@",
    "      -timeout server 30s",
    "      +timeout server 20s",
  ]);
});

it("shows of a secret only that it changes", () => {
  const files = [change("/etc/hotpair/beacon.key", { secret: true })];
  expect(shown({ files }, { "/etc/hotpair/beacon.key": "5ec2e7" })).toEqual([
    "node-a (standby):",
    "  ~ /etc/hotpair/beacon.key (secret, changed)",
  ]);
});

it("names new files, programs and taken-over files, and shows them whole when asked", () => {
  const files = [
    change("/etc/keepalived/keepalived.conf", { kind: "create", after: "a\nb\n" }),
    change("/usr/lib/hotpair/hotpair-apply", { after: "new\n" }),
    change("/etc/nginx/nginx.conf", { takenOver: true, after: "ours\n" }),
  ];
  const before = { "/usr/lib/hotpair/hotpair-apply": "old\n", "/etc/nginx/nginx.conf": "theirs\n" };
  expect(shown({ files }, before)).toEqual([
    "node-a (standby):",
    "  + /etc/keepalived/keepalived.conf (new, 2 lines)",
    "  ~ /usr/lib/hotpair/hotpair-apply",
    "  ~ /etc/nginx/nginx.conf (takes the place of a file of 1 line, which is kept)",
  ]);
  expect(shown({ files }, before, true)).toContain("      -theirs");
});

it("says what cannot be undone: packages come first", () => {
  expect(shown({ packages: ["haproxy", "nginx"] })).toEqual([
    "node-a (standby):",
    "  + packages haproxy, nginx (not uninstalled by a roll-back)",
  ]);
});
