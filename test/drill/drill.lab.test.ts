// Drills on real hosts: faults of each kind (power, cable, signal, command), each with what clients must see, and the undo
// that happens although the drill itself was killed. The quiet time is shorter than the definition's: the whole list of
// scenarios with the full one is `npm run demo`.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { onBoth, tryShell } from "../../infra/drill/host.ts";
import { watchOwners } from "../../infra/drill/owners.ts";
import { ask, type DrillSettings, drill, preflight, waitUntilWhole } from "../../infra/drill/runner.ts";
import type { Scenario } from "../../infra/drill/scenario.ts";
import { scenarioNamed } from "../../infra/drill/scenarios.ts";
import { DRILL_DIRECTORY } from "../../infra/drill/undo.ts";
import { windowReport } from "../../infra/drill/window.ts";
import type { Run } from "../../infra/evidence/schema.ts";
import { findLab, labDown } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";
import { LAB, pairUp } from "./lab-pair.ts";
import { EVIDENCE, operatorHost } from "./operator-host.ts";

const QUIET_MS = 2_500;
const NOTE = "/var/lib/hotpair/undone-at-boot";

const named = (name: string): Scenario => {
  const scenario = scenarioNamed(name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  return scenario;
};

describeWithLab("a drill on real hosts", () => {
  let settings: DrillSettings;
  beforeAll(async () => {
    settings = { ...(await pairUp(LAB)), quietMs: QUIET_MS };
  }, 120_000);
  afterAll(() => labDown(LAB), 60_000);

  const once = async (name: string): Promise<Run> => {
    const [run] = (await drill(named(name), 1, settings)).runs;
    if (run === undefined) throw new Error("nothing was measured");
    return run;
  };

  test("the active node loses power: back within the estimate, never two owners, and the standby has it", async () => {
    const run = await once("node-power-cut");
    expect(run.reasons).toEqual([]);
    expect(run.clients.direct?.rtoMs).toBeGreaterThan(150);
    expect(run.clients.direct?.failed).toBeGreaterThan(5);
    expect(run.clients.persistent?.reconnects).toBe(1);
    expect(run.clients.beyondRouter?.rtoMs).toBeGreaterThan(0);
    expect(run.ownership.twoOwnersMs).toEqual({ web: 0 });
    expect(run.ownership.spans.map((span) => span.vip)).toEqual(["web", "web"]);
    expect(run.log.some((line) => /MASTER/.test(line.text))).toBe(true);
  });

  test("the heartbeat cable is pulled: nothing moves, no request fails", async () => {
    const run = await once("heartbeat-link-down");
    expect(run.reasons).toEqual([]);
    expect(run.clients.direct?.failed).toBe(0);
    expect(run.ownership.spans).toHaveLength(1);
  });

  test("keepalived hangs: its VIP goes before the other node has it", async () => {
    const run = await once("keepalived-hang");
    expect(run.reasons).toEqual([]);
    expect(run.ownership.spans).toHaveLength(2);
  });

  test("the operator switches: the VIP moves once", async () => {
    const run = await once("planned-switch");
    expect(run.reasons).toEqual([]);
  });

  test("a drill that is killed in the middle of its fault is undone by the server", async () => {
    const stage = await preflight(settings.place);
    const active = settings.place.hosts[stage.active.id];
    const killed = spawn(process.execPath, [join(import.meta.dirname, "killed-drill.ts"), "keepalived-stop"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise<void>((resolve, reject) => {
      killed.stdout.setEncoding("utf8").on("data", (text: string) => text.includes("run 1:") && resolve());
      killed.on("close", () => reject(new Error("the drill ended before its fault")));
    });
    await sleep(1_000);
    killed.kill("SIGKILL");
    const state = async () => (await tryShell(active, "systemctl is-active keepalived")).stdout.trim();
    const armed = async () => (await tryShell(active, `ls ${DRILL_DIRECTORY} 2>/dev/null`)).stdout.trim();
    expect(await state()).toMatch(/inactive|deactivating/);
    expect(await armed()).toMatch(/^keepalived-stop-/);
    await expect(preflight(settings.place, 0)).rejects.toThrow(/not whole/);
    const { problems } = await waitUntilWhole(settings.place, 20_000);
    expect(problems).toEqual([]);
    expect(await state()).toBe("active");
    expect(await armed()).toBe("");
    const units = await onBoth(settings.place, (host) => tryShell(host, "ls /etc/systemd/system | grep drill"));
    expect(units.map((result) => result.stdout)).toEqual(["", ""]);
  });

  test("an undo that is armed happens at the next boot, before keepalived starts", async () => {
    const stage = await preflight(settings.place);
    const standby = settings.place.hosts[stage.standby.id];
    const scenario: Scenario = {
      ...named("standby-power-cut"),
      // Its timer does not outlive the power cut, so only the boot can have done it.
      undoOnServer: { standby: () => `systemctl is-active keepalived > ${NOTE} || :` },
    };
    const [run] = (await drill(scenario, 1, settings)).runs;
    expect(run?.reasons).toEqual([]);
    const then = await tryShell(standby, `cat ${NOTE} && rm ${NOTE} && systemctl is-active keepalived`);
    expect(then.stdout).toBe("inactive\nactive\n");
  });

  test("on servers that are no lab, faults come from inside and the observers over SSH", async () => {
    // The same hosts as an operator sees real ones. The link that goes is the one that SSH uses.
    const servers = { ...settings, place: { ...settings.place, lab: undefined } };
    for (const name of ["public-link-down", "heartbeat-one-way-from-active"]) {
      const [run] = (await drill(named(name), 1, servers)).runs;
      expect(run?.reasons, name).toEqual([]);
      expect(run?.ownership.clockErrorMs).toBeGreaterThan(0);
      expect(run?.ownership.clockErrorMs).toBeLessThan(100);
      expect(run?.clients.beyondRouter).toBeUndefined();
    }
  });

  test("a timer of systemd drills in its window, refuses outside of it, and both are reported", async () => {
    const lab = findLab(LAB);
    if (lab === undefined) throw new Error("no lab");
    const night = operatorHost(lab, "node-b", "night");
    const drill = (...words: readonly string[]) => night.hotpair("drill", "-s", "night", ...words);
    const began = Date.now();
    expect(await drill("--schedule", "list")).toBe("no drills are scheduled on this machine\n");
    // Until then the timer has to be installed, however slow this machine is.
    const lead = 2_000 + 2 * (Date.now() - began);
    const soon = () => `${new Date(Date.now() + lead).toISOString().slice(0, 19).replace("T", " ")} UTC`;
    const name = "hotpair-drill-schedule-night";
    const shown = async (unit: string, property: string) =>
      (await night.run("systemctl", "show", "--value", `--property=${property}`, `${name}.${unit}`)).trim();
    /** Lets the timer fire once, and answers what its service came to. */
    const fire = async (...words: readonly string[]) => {
      await drill("--schedule", soon(), ...words, "--scenario", "planned-switch", "--yes");
      const before = await shown("timer", "LastTriggerUSec");
      await expect.poll(() => shown("timer", "LastTriggerUSec"), { timeout: 60_000, interval: 500 }).not.toBe(before);
      await expect
        .poll(() => shown("service", "ActiveState"), { timeout: 90_000, interval: 500 })
        .toMatch(/inactive|failed/);
      return {
        result: await shown("service", "Result"),
        said: await night.run("journalctl", "-b", "-o", "cat", "-u", name),
      };
    };
    const reports = () => {
      const folder = night.path(join(EVIDENCE, "night/windows"));
      const files = readdirSync(folder).toSorted();
      return files.map((file) => windowReport.parse(JSON.parse(readFileSync(join(folder, file), "utf8"))));
    };

    const inside = await fire("--window", "10m");
    expect(inside, inside.said).toMatchObject({
      result: "success",
      said: expect.stringContaining("1 of 1 drills passed"),
    });
    expect(reports()).toMatchObject([
      { drilled: [{ scenario: "planned-switch", outcome: "passed", reasons: [] }], left: [], stopped: null },
    ]);
    expect(await night.hotpair("evidence", "verify", "-s", "night")).toContain("night: 1 recorded drills, nothing was");

    // Over before the command that the timer starts can have read its own name.
    const outside = await fire("--window", "1ms");
    const why = "it is outside the maintenance window";
    expect(outside, outside.said).toMatchObject({ result: "exit-code", said: expect.stringContaining(why) });
    expect(reports()[1]).toMatchObject({ drilled: [], left: ["planned-switch"], stopped: why });

    expect(await drill("--schedule", "list")).toMatch(
      /0 of 0 drills passed, 1 not begun: .*\n.*1 of 1 drills passed\n$/,
    );
    expect(await drill("--schedule", "off")).toBe("night is not drilled by a timer any more\n");
    expect(await night.run("systemctl", "list-timers", "--all", "--no-legend", `${name}.timer`)).toBe("");
  });

  test("a preferred node that comes back takes its VIP home", async () => {
    const preferring = await pairUp(LAB, (text) =>
      text.replace("routerId: 51", "routerId: 51\n        preferred: node-a"),
    );
    const [run] = (await drill(named("failback"), 1, { ...preferring, quietMs: QUIET_MS })).runs;
    expect(run?.reasons).toEqual([]);
    expect(run?.ownership.spans.at(-1)).toMatchObject({ node: "a", untilMs: null });
  });

  test("an observer sees addresses come and go, and how long one had been there", async () => {
    const stage = await preflight(settings.place);
    const owners = watchOwners(settings.place, 60_000);
    try {
      await owners.ready(10_000);
      const [first] = owners.sightings().filter((one) => one.held);
      expect(first?.node).toBe(stage.active.id);
      expect(Date.now() - (first?.at ?? 0)).toBeGreaterThan(1_000);
      expect(owners.clockErrorMs()).toBe(0);
    } finally {
      await owners.stop();
    }
    expect((await ask(settings.place)).every((answer) => !("error" in answer))).toBe(true);
  });
});
