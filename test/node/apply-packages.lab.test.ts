// Package installation by the apply transaction, on hosts that have none of the pair's daemons.

import { afterAll, beforeAll, expect, test } from "vitest";
import { labDown, labUp } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";
import { appPlan } from "./app-plan.ts";
import { Server } from "./server.ts";

const LAB = "app-bare";

describeWithLab("apply on a bare server", () => {
  let a: Server;
  let before: string;
  const packages = () => a.ok("dpkg -l | awk '/^ii/ { print $2 }'");
  const units = () => a.sh("for u in nginx haproxy; do systemctl is-active $u; systemctl is-enabled $u; done");

  beforeAll(async () => {
    a = new Server(await labUp({ name: LAB, image: "bare" }), "node-a");
    before = await packages();
    expect(before).not.toContain("nginx");
  });
  afterAll(() => labDown(LAB));

  test("killed between two packages' steps, nothing runs half-configured", async () => {
    await a.hooks("kill packages-intent");
    expect((await a.apply(appPlan())).code).not.toBe(0);
    expect(await packages()).toBe(before);
    await a.hooks("kill packages-installed");
    expect((await a.apply(appPlan())).code).not.toBe(0);
    await a.hooks();
    expect((await units()).text).toMatch(/^inactive\n\w+\ninactive\n\w+\n$/);
    // What kept the services from starting is gone or says yes by now.
    expect((await a.sh("[ ! -e /usr/sbin/policy-rc.d ] || /usr/sbin/policy-rc.d nginx start")).code).toBe(0);
  });

  test("a first apply that fails leaves the packages, with their services disabled", async () => {
    const outcome = await a.apply(
      appPlan({ validators: [{ name: "never", covers: ["/etc/"], command: "echo no; exit 1" }] }),
    );
    expect(outcome.code).toBe(1);
    expect(outcome.text).toContain("never refuses the new files");
    expect((await units()).text).toBe("inactive\ndisabled\ninactive\ndisabled\n");
    expect(await a.ok("ls /usr/sbin/policy-rc.d 2>/dev/null || echo gone")).toBe("gone\n");
  });

  test("the next run converges; removal leaves the packages and says so", async () => {
    const applied = await a.apply(appPlan());
    expect(applied.text).toContain("started haproxy nginx");
    expect(applied.code).toBe(0);
    expect((await units()).text).toBe("active\nenabled\nactive\nenabled\n");
    const manifest = JSON.parse(await a.ok("/usr/lib/hotpair/hotpair-apply manifest --json"));
    expect(manifest.installedPackages).toEqual(expect.arrayContaining(["haproxy", "nginx", "nginx-common"]));
    const removed = await a.remove();
    expect(removed.text).toMatch(/removed; .* Left: the packages that hotpair installed \(haproxy .*nginx.*\)/);
    expect((await units()).text).toBe("inactive\ndisabled\ninactive\ndisabled\n");
    expect(await a.ok("haproxy -c -q -f /etc/haproxy/haproxy.cfg; cat /etc/haproxy/haproxy.cfg")).toContain(
      "log /dev/log",
    );
  });

  test("a removal on request takes them along, and the server is as it was", async () => {
    await a.ok(
      "DEBIAN_FRONTEND=noninteractive apt-get -qq purge -y haproxy 'nginx*' >/dev/null && apt-get -qq -y autoremove --purge >/dev/null",
    );
    expect(await packages()).toBe(before);
    const applied = await a.apply(appPlan());
    expect(applied.text).toContain("installing: nginx haproxy");
    expect(applied.code).toBe(0);
    expect((await a.sh("/usr/lib/hotpair/hotpair-apply retire --purge-packages")).code).toBe(0);
    const removed = await a.remove();
    expect(removed.text).toContain("purging: ");
    expect(removed.text).toMatch(/removed; the server is as it was before hotpair\n$/);
    expect(await packages()).toBe(before);
    expect(await a.ok("ls -d /etc/nginx /etc/haproxy 2>/dev/null || echo gone")).toBe("gone\n");
  });

  test("a package that does not exist is named", async () => {
    const outcome = await a.apply(appPlan({ packages: ["no-such-package"] }));
    expect(outcome.code).toBe(1);
    expect(outcome.text).toContain("step 2/8 packages: packages cannot be installed: no-such-package");
    expect(outcome.text).toContain("Unable to locate package no-such-package");
    expect(outcome.text).toMatch(/nothing was changed\n$/);
  });
});
