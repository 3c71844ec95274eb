// What the pair relies on in keepalived's configuration, beyond what the goldens show.

import { expect, test } from "vitest";
import { ms, seconds } from "../../infra/model/duration.ts";
import type { NodeId, Pair } from "../../infra/model/pair.ts";
import { keepalived } from "../../infra/services/keepalived.ts";
import { labPair, twoVips, virtualMac } from "../model/pairs.ts";

const file = (path: string, pair: Pair, node: NodeId = "a"): string => {
  const found = keepalived.plan(pair, node)?.files.find((planned) => planned.path === path);
  if (typeof found?.content !== "string") throw new Error(`no ${path}`);
  return found.content;
};
const configuration = (pair: Pair, node: NodeId = "a"): string => file("/etc/keepalived/keepalived.conf", pair, node);

test("a changed configuration is reloaded: no failover for a timer", () => {
  const plan = keepalived.plan(labPair, "a");
  expect(plan?.files.find(({ path }) => path.endsWith("keepalived.conf"))?.onChange).toEqual({
    action: "reload",
    unit: "keepalived.service",
  });
  expect(plan?.units).toEqual([{ name: "keepalived.service", running: true, holdsRole: true }]);
});

test("adverts go over the heartbeat alone, which is not tracked; the clients' link and the gate are", () => {
  const text = configuration(labPair);
  expect(text).toMatch(/interface a-hb\n {4}dont_track_primary\n {4}unicast_src_ip 198.18.1.11\n/);
  expect(text).toMatch(/unicast_peer {\n {8}198.18.1.12\n/);
  expect(text).toMatch(/track_interface {\n {8}a-pub\n {4}}\n {4}track_file {\n {8}gate_web\n/);
  expect(text).toMatch(/file \/run\/hotpair\/gate.web\n {4}weight 0\n/);
});

test("nobody takes a VIP from a healthy owner: both are backups of equal priority", () => {
  for (const node of ["a", "b"] as const) {
    const text = configuration(labPair, node);
    expect(text).toMatch(/state BACKUP\n {4}nopreempt\n/);
    expect(text).toContain("priority 253\n");
  }
});

test("the advert interval is written in seconds, the timer that follows in a comment", () => {
  const text = configuration({ ...labPair, vrrp: { ...labPair.vrrp, advertInterval: ms(250), priority: 240 } });
  expect(text).toContain("advert_int 0.25\n");
  expect(text).toContain("# Takes over 3 × 250ms + (256 − 240) × 250ms / 256 = 766ms after");
});

test("every VIP has an instance, a gate and a router id of its own", () => {
  const text = configuration(twoVips);
  expect(text.match(/^vrrp_instance \S+/gm)).toEqual(["vrrp_instance web", "vrrp_instance api"]);
  expect(text.match(/virtual_router_id \d+/g)).toEqual(["virtual_router_id 51", "virtual_router_id 52"]);
  expect(text.match(/gate_\w+ {/g)).toEqual(["gate_web {", "gate_api {"]);
  expect(text).toContain("# It goes home to node-b by agreement of the two arbiters, never by preemption.");
  expect(file("/etc/hotpair/vips", twoVips).match(/^\w+ \S+$/gm)).toEqual(["web 198.18.0.100", "api 198.18.0.101"]);
});

test("a virtual MAC stands on the public interface, while adverts stay on the heartbeat", () => {
  const text = configuration(virtualMac);
  expect(text).toContain("198.18.0.100/24 dev a-pub use_vmac no_track\n");
  expect(text).toContain("00:00:5e:00:01:33 moves with the address, on the macvlan interface vrrp.51.");
});

test("notification is the owner's program and mail, where stated", () => {
  expect(configuration(labPair)).not.toMatch(/^\s*notify |notification_email/m);
  const text = configuration({
    ...labPair,
    vrrp: {
      ...labPair.vrrp,
      notify: "/usr/local/sbin/changed",
      email: { to: ["a@example.net", "b@example.net"], from: "pair@example.net", smtpServer: "mail.example.net" },
    },
  });
  expect(text).toContain("    notify /usr/local/sbin/changed\n");
  expect(text).toContain("        a@example.net\n        b@example.net\n");
  expect(text).toContain("smtp_server mail.example.net\n");
});

test("whatever ends keepalived, its VIP goes and it starts again, unless the node is parked", () => {
  const dropIn = file("/etc/systemd/system/keepalived.service.d/60-hotpair.conf", labPair);
  expect(dropIn).toContain("ExecStopPost=-/usr/lib/hotpair/keepalived-stopped\nRestart=always\n");
  expect(dropIn).toContain("ConditionPathExists=!/var/lib/hotpair/maintenance\n");
  expect(dropIn).toContain("StartLimitIntervalSec=0\n");
});

test("a silent death costs three adverts and the skew, a goodbye the skew alone", () => {
  const slow = { ...labPair, vrrp: { ...labPair.vrrp, advertInterval: seconds(1), priority: 128 } };
  const terms = keepalived.timing(slow);
  const detect = (failure: string) => terms.find((term) => term.failure === failure && term.step === "detect");
  expect(detect("node-power-cut")).toMatchObject({ lower: 2_500, upper: 3_500 });
  expect(detect("planned-switch")).toMatchObject({ lower: 500, upper: 500 });
});
