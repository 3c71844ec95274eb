// The promise of the apply transaction, on real hosts: whatever happens to it at whatever moment, a server is either as
// it was before or as the plan says, and the next run converges.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { powerCut, powerOn } from "../../infra/lab/faults.ts";
import { hostReady, type Lab, labDown, labUp } from "../../infra/lab/lab.ts";
import type { NodePlan } from "../../infra/model/plan.ts";
import { disconnect } from "../../infra/ssh/run.ts";
import { describeWithLab } from "../lab/skip.ts";
import {
  APP_CONF,
  appFiles,
  appPlan,
  appUnit,
  DROP_IN,
  file,
  HAPROXY_CFG,
  KEY,
  NGINX_CONF,
  nginxConf,
  SECRET,
  secondPlan,
} from "./app-plan.ts";
import { Server } from "./server.ts";

const LAB = "app";
const program = readFileSync(join(import.meta.dirname, "../../infra/node/hotpair-apply"), "utf8");

/** Every point of an apply that changes something, in its order; `secondPlan` passes all of them. */
const POINTS = [
  ...["lock", "packages", "validate", "validate-0", "validate-1", "compare", "install", "journal", "directories"],
  ...["originals", "beside", "own-files", "armed", "installed-one", "activate"],
  ...["enable", "daemon-reload", "restart", "reload", "start"].flatMap((act) => [`before-${act}`, `after-${act}`]),
  ...["verify", "healthy", "record", "recorded", "committed", "cleared"],
];
/** From here on the change stays. */
const isCommitted = (point: string) => POINTS.indexOf(point) >= POINTS.indexOf("committed");
/** Before this point a second run finds nothing to clear up. */
const ROLL_BACK_POINTS = ["put-back-one", "put-back", "cleared"];

const nginx = (answer: string) =>
  file(NGINX_CONF, nginxConf(answer), { onChange: { action: "reload", unit: "nginx.service" } });
/** A change that the parsers accept and that kills the daemon. */
const deadlyPlan = () => {
  const second = secondPlan();
  return { ...second, files: second.files.map((one) => (one.path === APP_CONF ? { ...one, content: "bad\n" } : one)) };
};

describeWithLab("apply transaction", () => {
  let lab: Lab;
  let a: Server;
  let b: Server;

  beforeAll(async () => {
    lab = await labUp({ name: LAB, image: "ready" });
    a = new Server(lab, "node-a");
    b = new Server(lab, "node-b");
  });
  afterAll(() => labDown(LAB));

  const both = (work: (server: Server) => Promise<void>) => Promise.all([work(a), work(b)]);
  const succeed = async (server: Server, plan: NodePlan, owner?: string) => {
    const outcome = await server.apply(plan, owner);
    expect(outcome.text).toMatch(/hotpair-apply: (applied \d+ files.*|unchanged)\n$/);
    expect(outcome.code).toBe(0);
    return outcome.text;
  };

  test("every point of the program is interrupted by a test", () => {
    const named = [...program.matchAll(/^\s*(?:.*; )?point ([a-z][a-z-]*)$/gm)].map(([, name]) => name);
    const elsewhere = [
      "hand-over",
      "own",
      "packages-intent",
      "packages-installed",
      "stopped-one",
      "restored-one",
      "clean",
      "upgrading",
      "upgraded",
    ];
    expect(new Set(named)).toEqual(
      new Set([...POINTS.filter((p) => named.includes(p)), ...ROLL_BACK_POINTS, ...elsewhere]),
    );
  });

  test("a first apply that is killed or fails leaves no trace", async () => {
    const virgin = await a.state();
    for (const point of ["journal", "beside", "armed", "installed-one", "after-start", "recorded"]) {
      await a.hooks(`kill ${point}`);
      const outcome = await a.apply(appPlan());
      expect(outcome.text).toContain("the transaction was killed");
      expect(outcome.code).not.toBe(0);
      await a.hooks();
      expect(await a.state(), point).toBe(virgin);
    }
    const failed = await a.apply(
      appPlan({ health: [{ name: "never", command: "echo no; exit 1", deadlineSeconds: 1 }] }),
    );
    expect(failed.text).toContain("FAILED on node-a in step 7/8 verify: never: not healthy within 1 s\n    no\n");
    expect(await a.state()).toBe(virgin);
  });

  test("a first apply installs everything, a second touches nothing", async () => {
    await both(async (server) => {
      const text = await succeed(server, appPlan());
      expect(text).toContain("restarted systemd-sysctl, started haproxy nginx");
      const touched =
        "find /etc /usr/lib/hotpair /var/lib/hotpair -newermt @$(cat /tmp/now) | sort; systemctl show -p MainPID,NRestarts nginx haproxy";
      await server.ok("date +%s.%N >/tmp/now");
      const before = await server.ok(touched);
      expect(before).not.toContain("/");
      expect(await succeed(server, appPlan())).toMatch(/: unchanged\n$/);
      expect(await server.ok(touched)).toBe(before);
      expect(await server.ok(`stat -c '%a %U:%G' ${KEY}; curl -s 127.0.0.1:8081`)).toBe("640 root:haproxy\none\n");
      expect(await server.ok("cat /proc/sys/net/ipv4/ip_nonlocal_bind; systemctl is-enabled nginx hotpair-undo")).toBe(
        "1\nenabled\nenabled\n",
      );
    });
  });

  test("an ordinary user with sudo applies as well as root", async () => {
    const outcome = await new Server(lab, "node-a", { user: "ops" }).apply(appPlan());
    expect(outcome.text).toMatch(/: unchanged\n$/);
    expect(outcome.code).toBe(0);
  });

  test("no secret in the journal, in a log or left in memory; the books are readable to root alone", async () => {
    expect((await a.sh(`journalctl --no-pager | grep -c ${SECRET}; grep -rlI ${SECRET} /run /var/log /tmp`)).text).toBe(
      "0\n",
    );
    expect(await a.ok("ls -l /var/lib/hotpair/manifest")).toMatch(/^-rw------- /);
    expect(await a.ok("ls -ld /var/lib/hotpair/originals")).toMatch(/^drwx------ /);
  });

  test("killed at any point, it is undone at once", async () => {
    await both(async (server) => {
      const before = await server.state();
      // Each host takes every other point.
      for (const point of POINTS.filter((_, i) => (server === a) === (i % 2 === 0))) {
        await server.hooks(`kill ${point}`);
        const outcome = await server.apply(secondPlan());
        expect(outcome.code, `${point}\n${outcome.text}`).not.toBe(0);
        expect(outcome.text).toMatch(/FAILED on node-[ab] in step \d\/8 [a-z]+: the transaction was killed/);
        await server.hooks();
        if (isCommitted(point)) {
          expect(await server.ok("curl -s 127.0.0.1:8080"), point).toBe("two\n");
          await succeed(server, secondPlan());
          await succeed(server, appPlan());
        }
        expect(await server.state(), point).toBe(before);
      }
    });
  }, 600_000);

  test("killed at any point with its undo, the next run converges", async () => {
    await both(async (server) => {
      const plans = { first: appPlan(), second: secondPlan() };
      const state = { first: await server.state(), second: "" };
      await succeed(server, plans.second);
      state.second = await server.state();
      expect(state.second).not.toBe(state.first);
      // To and fro, each time through one more point; the way back starts nothing.
      // Before the journal is written there is nothing to find.
      const points = POINTS.slice(POINTS.indexOf("journal")).filter((_, i) => (server === a) === (i % 2 === 1));
      const forthOnly = points.filter((point) => /enable|start$/.test(point) && !point.endsWith("restart"));
      const either = points.filter((point) => !forthOnly.includes(point));
      for (
        let to: "first" | "second" = "first";
        forthOnly.length + either.length > 0;
        to = to === "first" ? "second" : "first"
      ) {
        const point = (to === "second" ? forthOnly.shift() : undefined) ?? either.shift();
        if (point !== undefined) {
          await server.hooks(`kill ${point}`, "no-finish");
          const outcome = await server.apply(plans[to]);
          expect(outcome.code, `${point}\n${outcome.text}`).not.toBe(0);
          await server.hooks();
        }
        await succeed(server, plans[to]);
        expect(await server.state(), `${point} to the ${to}`).toBe(state[to]);
      }
      await succeed(server, plans.first);
      // Unpacked bundles hold secrets.
      expect((await server.sh("ls -d /run/hotpair/work.*")).stdout).toBe("");
    });
  }, 600_000);

  test("a power cut at a critical point is undone at boot, before the daemons start", async () => {
    await both(async (server) => {
      const before = await server.state();
      const host = server === a ? "node-a" : "node-b";
      const points =
        server === a ? ["beside", "armed", "after-restart", "committed"] : ["own-files", "installed-one", "recorded"];
      for (const point of points) {
        await server.hooks(`pause ${point}`);
        const { ended } = server.applyDetached(secondPlan());
        await server.paused(point);
        await powerCut(lab, host);
        await powerOn(lab, host);
        // The shared connection is one of the boot before; it ends when the new one refuses it, perhaps in the next command.
        disconnect(server.target);
        await ended;
        await server.ok("systemctl is-system-running --wait >/dev/null; systemctl is-active nginx haproxy >/dev/null");
        if (isCommitted(point)) {
          expect(await server.ok("curl -s 127.0.0.1:8080"), point).toBe("two\n");
          await succeed(server, appPlan());
        }
        expect(await server.state(), point).toBe(before);
        expect(await server.ok("systemctl show -p Result --value hotpair-undo"), point).toBe("success\n");
      }
    });
  }, 600_000);

  test("a reboot in the middle is undone", async () => {
    const before = await a.state();
    await a.hooks("pause after-reload");
    const { ended } = a.applyDetached(secondPlan());
    await a.paused("after-reload");
    await a.sh("systemctl reboot").catch(() => "the connection may break at once");
    await ended;
    disconnect(a.target);
    await expect
      .poll(() => a.ok("cat /proc/1/stat | cut -d ' ' -f 22").catch(() => ""), { timeout: 30_000, interval: 200 })
      .not.toBe("");
    await hostReady(lab, "node-a");
    await a.ok("systemctl is-system-running --wait >/dev/null; systemctl is-active nginx haproxy");
    expect(await a.state()).toBe(before);
  });

  test("when even the undo after a kill is lost, its timer does it", async () => {
    const before = await b.state();
    const drop = "/run/systemd/system/hotpair-undo.timer.d";
    await b.ok(
      `mkdir -p ${drop} && printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=2s\\n' >${drop}/soon.conf && systemctl daemon-reload`,
    );
    await b.hooks("kill after-restart", "no-finish");
    expect((await b.apply(secondPlan())).code).not.toBe(0);
    await b.hooks();
    await expect
      .poll(() => b.sh("test -e /var/lib/hotpair/undo").then(({ code }) => code), { timeout: 20_000 })
      .toBe(1);
    await b.ok(
      `rm -r ${drop} && systemctl daemon-reload; while [ -n "$(ls -d /run/hotpair/work.* 2>/dev/null)" ]; do sleep 0.1; done; :`,
    );
    expect(await b.state()).toBe(before);
  });

  test("the undo itself can be killed", async () => {
    const before = await a.state();
    for (const point of ROLL_BACK_POINTS) {
      await a.hooks(`kill ${point}`, "no-finish");
      expect((await a.apply(deadlyPlan())).code).not.toBe(0);
      await a.hooks();
      await a.ok(
        "systemctl start hotpair-undo.service; while [ -e /var/lib/hotpair/undo ]; do sleep 0.1; done; sleep 0.2",
      );
      expect(await a.state(), point).toBe(before);
    }
  });

  test("a daemon's parser refuses the file: nothing is changed, and its own words are shown", async () => {
    const before = await a.state();
    const outcome = await a.apply(appPlan({ files: [file(HAPROXY_CFG, "global\n  maxcon 5\n"), nginx("never")] }));
    expect(outcome.code).toBe(1);
    expect(outcome.text).toContain("FAILED on node-a in step 3/8 validate: haproxy -c refuses the new files");
    expect(outcome.text).toContain("'maxcon'");
    expect(outcome.text).toContain("/etc/haproxy/haproxy.cfg:2");
    expect(outcome.text).toMatch(/nothing was changed\n$/);
    expect(await a.state()).toBe(before);
  });

  test("without overlayfs the parsers see the staged files, too", async () => {
    const before = await a.state();
    await a.hooks("no-overlay");
    const refused = await a.apply(appPlan({ files: [file(HAPROXY_CFG, "global\n  maxcon 5\n")] }));
    expect(refused.text).toContain("'maxcon'");
    expect(await a.state()).toContain(before.split("\n").at(-2));
    await succeed(a, secondPlan());
    await succeed(a, appPlan());
    await a.hooks();
    expect(await a.state()).toBe(before);
  });

  test("a daemon that dies after its reload: the previous files are back, and its last words are shown", async () => {
    await succeed(a, appPlan({ files: appFiles(), units: [...appPlan().units, appUnit] }));
    const before = await a.state();
    const outcome = await a.apply(
      appPlan({ files: [...appFiles("bad"), nginx("never")], units: [...appPlan().units, appUnit] }),
    );
    expect(outcome.code).toBe(1);
    expect(outcome.text).toContain("unit app.service is failed");
    expect(outcome.text).toContain("app: line 1 of /etc/app/app.conf: bad setting");
    expect(outcome.text).toContain("undone: the previous files are back and in use");
    expect(await a.state()).toBe(before);
    await succeed(a, appPlan());
  });

  test("what is not healthy in time is rolled back", async () => {
    const before = await a.state();
    const outcome = await a.apply(
      appPlan({
        files: [nginx("new")],
        health: [{ name: "answer", command: "curl -s 127.0.0.1:8080; exit 1", deadlineSeconds: 1 }],
      }),
    );
    expect(outcome.code).toBe(1);
    expect(outcome.text).toContain("step 7/8 verify: answer: not healthy within 1 s\n    new\n");
    expect(await a.state()).toBe(before);
  });

  test("a truncated or damaged bundle is refused before anything", async () => {
    const before = await a.state();
    const { makeBundle } = await import("../../infra/plan/bundle.ts");
    const { applyCommand } = await import("../../infra/plan/commands.ts");
    const bundle = makeBundle(secondPlan(), () => SECRET);
    const middle = Math.floor(bundle.length / 2);
    const cases = [
      "",
      bundle.slice(0, 40),
      bundle.slice(0, middle),
      bundle.slice(0, -200),
      `${bundle.slice(0, middle)}${bundle[middle] === "A" ? "B" : "A"}${bundle.slice(middle + 1)}`,
    ];
    for (const damaged of cases) {
      const outcome = await a.sh(applyCommand("owner-1"), damaged);
      expect(outcome.code).toBe(1);
      expect(outcome.text).toContain("the bundle arrived damaged or cut off");
    }
    expect(await a.ok("ls -d /run/hotpair-bundle.* 2>/dev/null || echo none")).toBe("none\n");
    expect(await a.state()).toBe(before);
  });

  test("a cut connection does not stop it", async () => {
    const before = await a.state();
    await a.hooks("pause after-restart");
    const { cut, ended } = a.applyDetached(secondPlan());
    await a.paused("after-restart");
    cut();
    await ended;
    await a.hooks();
    // Waits for the first one, and finds nothing to do.
    expect(await succeed(a, secondPlan())).toMatch(/: unchanged\n$/);
    await succeed(a, appPlan());
    expect(await a.state()).toBe(before);
  });

  test("two at once: the second waits, or says who is at it", async () => {
    await a.hooks("pause armed");
    const first = a.apply(appPlan({ files: [nginx("first")] }));
    await a.paused("armed");
    await a.hooks("pause armed", "no-lock-wait");
    const refused = await a.apply(appPlan({ files: [nginx("refused")] }));
    expect(refused.code).toBe(1);
    expect(refused.text).toMatch(/this server is locked: apply of unit hotpair-\S+ has been running since [\d:]+ UTC/);
    await a.hooks("pause armed");
    const second = a.apply(appPlan());
    await new Promise((resolve) => setTimeout(resolve, 500));
    await a.hooks();
    expect((await first).text).toMatch(/applied 1 files, reloaded nginx\n$/);
    const waited = await second;
    expect(waited.text).toContain("waiting up to 120 s");
    expect(waited.code).toBe(0);
    expect(await a.ok("curl -s 127.0.0.1:8080")).toBe("one\n");
  });

  test("a full disk: refused beforehand; when it fills later, undone with no byte free", async () => {
    const before = await b.state();
    const fill =
      "fallocate -l $(df -Pk / | awk 'NR == 2 { print $4 }')K /var/filler; dd if=/dev/zero of=/var/filler2 bs=512 2>/dev/null; df -Pk / | tail -1";
    const free = () => b.ok("rm -f /var/filler /var/filler2");
    try {
      await b.sh(fill);
      const refused = await b.apply(secondPlan());
      expect(refused.text).toMatch(/step 4\/8 compare: disk full: \/\S+ has \d+ KB free, this change needs \d+ KB/);
      expect(refused.text).toMatch(/nothing was changed\n$/);
      await b.hooks("no-space-check");
      const outcome = await b.apply(secondPlan());
      expect(outcome.code).toBe(1);
      expect(outcome.text).toContain("No space left on device");
      await free();
      expect(await b.state()).toBe(before);
      for (const point of ["armed", "before-restart", "healthy"]) {
        await b.hooks(`pause ${point}`);
        const { ended } = b.applyDetached(secondPlan());
        await b.paused(point);
        await b.sh(fill);
        await b.hooks("kill nothing", "no-space-check");
        await b.ok("systemctl kill --kill-whom=main --signal=KILL 'hotpair-transact-*'");
        await ended;
        await b.ok('while [ -n "$(ls -d /run/hotpair/work.* 2>/dev/null)" ]; do sleep 0.1; done');
        await b.hooks();
        await free();
        expect(await b.state(), point).toBe(before);
      }
    } finally {
      await free();
      await b.hooks();
    }
  });

  test("a restart of what holds the active role is refused while nobody can take over", async () => {
    const role = { ...appUnit, holdsRole: true };
    const plan = (version: string, setting = "ok") =>
      appPlan({ files: appFiles(setting, version), units: [...appPlan().units, role] });
    await succeed(a, plan("1"));
    await a.ok("ip addr add 203.0.113.10/32 dev lo");
    const before = await a.state();
    const outcome = await a.apply(plan("2"));
    expect(outcome.code).toBe(1);
    expect(outcome.text).toContain("app.service must be restarted, this node is active and the peer cannot take over");
    expect(outcome.text).toMatch(/nothing was changed\n$/);
    expect(await a.state()).toBe(before);
    // On a standby node it is nobody's business.
    await a.ok("ip addr del 203.0.113.10/32 dev lo");
    expect(await succeed(a, plan("2"))).toContain("restarted app");
    await succeed(a, appPlan());
  });

  test("in maintenance nothing that could take the active role is started", async () => {
    const role = { ...appUnit, holdsRole: true };
    const plan = appPlan({ files: appFiles(), units: [...appPlan().units, role] });
    await a.ok("touch /var/lib/hotpair/maintenance");
    await succeed(a, plan);
    expect((await a.sh("systemctl is-active app")).text).toBe("inactive\n");
    expect(await succeed(a, plan)).toMatch(/: unchanged\n$/);
    await a.ok("rm /var/lib/hotpair/maintenance");
    expect(await succeed(a, plan)).toContain("applied 0 files, started app");
    await succeed(a, appPlan());
  });

  test("hand-made changes are drift, and the same bundle repairs them without a new owner", async () => {
    const drift = async () => JSON.parse(await a.ok("/usr/lib/hotpair/hotpair-apply drift --json"));
    expect(await drift()).toMatchObject({ version: 1, host: "node-a", resource: "owner-1", files: [], units: [] });
    await a.ok(
      `echo more >>${NGINX_CONF}; chmod 600 ${HAPROXY_CFG}; rm ${DROP_IN}; chgrp root ${KEY}; systemctl stop haproxy; systemctl disable nginx`,
    );
    const { files, units } = await drift();
    expect(files.map((one: { path: string; differences: string[] }) => [one.path, ...one.differences])).toEqual([
      [KEY, "owner"],
      [HAPROXY_CFG, "mode"],
      [NGINX_CONF, "content"],
      [DROP_IN, "missing"],
    ]);
    expect(units).toEqual([
      { name: "haproxy.service", expected: "running", found: "inactive" },
      { name: "nginx.service", expected: "enabled", found: "disabled" },
    ]);
    expect(await a.ok("/usr/lib/hotpair/hotpair-apply drift")).toContain(
      `${HAPROXY_CFG}: mode (mode 0600 instead of 0644)`,
    );
    expect(await a.ok(`/usr/lib/hotpair/hotpair-apply show ${NGINX_CONF}`)).toMatch(/more\n$/);
    expect((await a.sh(`/usr/lib/hotpair/hotpair-apply show ${KEY}`)).text).toContain("is a secret");
    expect((await a.sh("/usr/lib/hotpair/hotpair-apply show /etc/shadow")).code).toBe(1);
    const { makeBundle } = await import("../../infra/plan/bundle.ts");
    const { applyCommand } = await import("../../infra/plan/commands.ts");
    expect(
      (
        await a.sh(
          applyCommand(),
          makeBundle(appPlan(), () => SECRET),
        )
      ).code,
    ).toBe(0);
    expect(await drift()).toMatchObject({ resource: "owner-1", files: [], units: [] });
  });

  test("missing packages are an error beforehand when hotpair may not install them", async () => {
    const before = await a.state();
    const outcome = await a.apply(appPlan({ packages: ["nginx", "gimp"], installPackages: false }));
    expect(outcome.text).toContain("step 2/8 packages: packages are missing: gimp.");
    expect(outcome.text).toMatch(/nothing was changed\n$/);
    expect(await a.state()).toBe(before);
  });

  test("a removal acts for its owner alone", async () => {
    await succeed(a, appPlan(), "owner-2");
    const before = await a.state();
    const outcome = await a.remove("owner-1");
    expect(outcome.code).toBe(0);
    expect(outcome.text).toContain("belongs to another resource; nothing was changed");
    expect(await a.state()).toBe(before);
  });

  test("a removal refuses on the active node, unless the whole pair goes", async () => {
    await a.ok("ip addr add 203.0.113.10/32 dev lo");
    const refused = await a.remove("owner-2");
    expect(refused.code).toBe(1);
    expect(refused.text).toContain("this node is active and its peer cannot take over");
    expect(await a.ok("curl -s 127.0.0.1:8080")).toBe("one\n");
    await a.ok("ip addr del 203.0.113.10/32 dev lo");
  });

  test("a removal gives the server back as it was, also when it is interrupted at any point", async () => {
    await Promise.all([removed(a, "owner-2"), removed(b, "owner-1")]);
    async function removed(server: Server, owner: string): Promise<void> {
      for (const point of ["lock", "hand-over", "stop", "stopped-one", "restore", "restored-one", "clean"]) {
        await server.hooks(`kill ${point}`);
        expect((await server.remove(owner)).code, point).not.toBe(0);
        await server.hooks();
      }
      const outcome = await server.remove(owner);
      expect(outcome.text).toMatch(/hotpair-apply: removed; the server is as it was before hotpair(\. Left: .*)?\n$/);
      expect(outcome.code).toBe(0);
      expect(await server.ok("find /etc /usr/lib /var/lib /run -xdev -name '*hotpair*' ! -path '/var/lib/apt/*'")).toBe(
        "",
      );
      expect(await server.ok("cat /etc/motd; cat /proc/sys/net/ipv4/ip_nonlocal_bind")).not.toContain("managed");
      expect((await server.sh("systemctl is-active nginx haproxy; systemctl is-enabled nginx haproxy")).text).toBe(
        "inactive\ninactive\ndisabled\ndisabled\n",
      );
      expect((await server.remove(owner)).text).toContain("nothing of hotpair is installed here");
    }
  });
});
