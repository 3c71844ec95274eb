// Regular drills: the units are what systemd accepts, the window is the calendar's, alerts are asked, and install, list and
// off do what they say. systemctl is a stand-in that notes how it was called; systemd-analyze is the real one.

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  describeReport,
  firing,
  keepReport,
  nextMoment,
  openWindow,
  type ScheduleOptions,
  unitsOf,
  verifyUnits,
} from "../../infra/cli/schedule.ts";
import type { WindowReport } from "../../infra/drill/window.ts";
import { ms, seconds } from "../../infra/model/duration.ts";
import { Project } from "./project.ts";

const project = new Project();
const at = (name: string): string => join(project.directory, name);
afterAll(() => project.remove());

const options: ScheduleOptions = {
  window: seconds(7_200),
  maxLag: seconds(5),
  runs: 1,
  evidence: "evidence",
  yes: true,
  json: false,
};
const HOUR = 3_600_000;
const sunday = Date.UTC(2026, 10, 22, 3);

describe("the window", () => {
  test("is open from the calendar's moment for its length, and at no other time", () => {
    const open = (offset: number) => openWindow("Sun 03:00 UTC", options.window, sunday + offset);
    expect(open(0)).toEqual({ from: sunday, until: sunday + 2 * HOUR });
    expect(open(2 * HOUR - 1_000)).toEqual({ from: sunday, until: sunday + 2 * HOUR });
    expect([open(-1_000), open(2 * HOUR), open(24 * HOUR)]).toEqual([undefined, undefined, undefined]);
  });

  test("that begins again before it ends goes on", () => {
    const now = sunday + 7 * 60_000;
    expect(openWindow("*:0/5 UTC", seconds(3_600), now)?.from).toBe(sunday + 5 * 60_000);
    expect(openWindow("*:0/5 Europe/Berlin", seconds(3_600), now)?.until).toBe(sunday + 5 * 60_000 + HOUR);
  });

  test("is counted in the time zone of the expression, or of the machine", () => {
    expect(nextMoment("Sun 03:00 Europe/Berlin", sunday - 24 * HOUR)).toBe(sunday - HOUR);
  });

  test("of no calendar is a mistake, and of a past one never comes", () => {
    expect(() => nextMoment("now and then", sunday)).toThrow('"now and then" is no calendar expression');
    expect(nextMoment("2020-01-01", sunday)).toBeUndefined();
  });
});

describe("the units", () => {
  const units = unitsOf(
    "prod",
    "Sun 03:00",
    { ...options, scenario: ["node-power-cut", "planned-switch"] },
    "/etc/x.env",
  );

  test("are what systemd accepts", () => {
    verifyUnits(units);
    const broken = { ...units, timer: units.timer.replace("OnCalendar=Sun 03:00", "OnCalendar=never") };
    expect(() => verifyUnits(broken)).toThrow("systemd refuses the units of the schedule");
  });

  test("start the command that knows its own window, and whatever an argument holds stays one", () => {
    expect(units.service).toMatch(
      / drill -s prod --yes --within "Sun 03:00" --window 2h --max-lag 5s --runs 1 --evidence \/\S+ --scenario node-power-cut planned-switch$/m,
    );
    const odd = unitsOf("prod", "Sun 03:00", { ...options, sign: '/home/a b/k$ey%i"' }, "/etc/x.env");
    expect(odd.service).toContain('--sign "/home/a b/k$$ey%%i\\""');
    verifyUnits(odd);
  });

  test("make up for no window that was missed, and let the last drill end", () => {
    expect(units.timer).toMatch(/^OnCalendar=Sun 03:00$/m);
    expect(units.timer).toMatch(/^Persistent=false$/m);
    expect(units.service).toMatch(/^TimeoutStartSec=8100s$/m);
  });
});

describe("alerts", () => {
  let server: Server;
  let asked = "";
  let answer: { status: number; body: string } = { status: 200, body: "[]" };
  const base = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/am?filter=pair%3D%22shop%22`;
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked = request.url ?? "";
      response.writeHead(answer.status).end(answer.body);
    });
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  });
  afterAll(() => server.close());

  test("are asked of Alertmanager: those that fire, neither silenced nor inhibited, by its own filter", async () => {
    answer = {
      status: 200,
      body: JSON.stringify([{ labels: { alertname: "Lag" } }, { labels: { alertname: "Disk" } }]),
    };
    expect(await firing(base())).toEqual(["Disk", "Lag"]);
    expect(asked).toBe("/am/api/v2/alerts?filter=pair%3D%22shop%22&active=true&silenced=false&inhibited=false");
    answer = { status: 200, body: "[]" };
    expect(await firing(base())).toEqual([]);
  });

  test("that are not known are said, and are not none", async () => {
    answer = { status: 503, body: "" };
    expect(await firing(base())).toMatch(/answers 503$/);
    answer = { status: 200, body: "{}" };
    expect(await firing(base())).toMatch(/not with alerts$/);
    expect(await firing("http://127.0.0.1:1")).toMatch(/does not answer/);
  });
});

const REPORT: WindowReport = {
  version: 1,
  stack: "lab",
  when: "Sun 03:00",
  windowMs: 7_200_000,
  startedAt: "2026-11-22T03:00:00.000Z",
  endedAt: "2026-11-22T03:20:00.000Z",
  drilled: [
    { scenario: "node-power-cut", outcome: "passed", reasons: [] },
    { scenario: "keepalived-kill", outcome: "failed", reasons: ["two owners of web for 20 ms"] },
  ],
  left: ["planned-switch"],
  stopped: "a drill did not go as promised, and somebody has to look first",
};

test("a report says what was done, what was not, and why", () => {
  expect(describeReport(REPORT)).toEqual([
    "2026-11-22 03:00: 1 of 2 drills passed, 1 not begun: a drill did not go as promised, and somebody has to look first",
    "  keepalived-kill: failed: two owners of web for 20 ms",
  ]);
});

describe("install, list and off", () => {
  const drill = (...words: readonly string[]) =>
    project.hotpair(["drill", "-s", "lab", "--units", at("units"), "--evidence", at("kept"), ...words], {
      PATH: `${at("shims")}:${process.env.PATH}`,
    });
  const calls = () => readFileSync(at("called"), "utf8").split("\n").filter(Boolean);
  beforeAll(() => {
    mkdirSync(at("shims"));
    writeFileSync(at("shims/systemctl"), `#!/bin/sh\necho "$*" | sed 's/^--user //' >> ${at("called")}\n`);
    chmodSync(at("shims/systemctl"), 0o755);
  });

  test("nothing is installed that nobody agreed to, or that cannot work", async () => {
    expect((await drill("--schedule", "Sun 03:00")).stderr).toContain("Nobody can answer here: give --yes");
    expect((await drill("--schedule", "now and then", "--yes")).code).toBe(2);
    expect((await drill("--schedule", "Sun 03:00", "--yes", "--scenario", "full-partition")).code).toBe(2);
    expect((await drill("--schedule", "Sun 03:00", "--yes", "--sign", "nokey")).code).toBe(2);
    expect((await drill("--schedule", "list")).stdout).toBe("no drills are scheduled on this machine\n");
  });

  test("the timer is installed, started, shown with its reports, and removed", async () => {
    const installed = await drill("--schedule", "Sun 03:00", "--yes", "--runs", "2");
    expect(installed, installed.stderr).toMatchObject({ code: 0 });
    const name = "hotpair-drill-schedule-lab";
    expect(readdirSync(at("units"))).toEqual([`${name}.service`, `${name}.timer`]);
    expect(calls()).toEqual(["daemon-reload", `enable ${name}.timer`, `restart ${name}.timer`]);
    expect(readFileSync(at(`units/${name}.service`), "utf8")).toContain(" --runs 2 ");

    keepReport(at("kept"), REPORT);
    const [listed] = JSON.parse((await drill("--schedule", "list", "--json")).stdout);
    expect(listed).toMatchObject({ stack: "lab", when: "Sun 03:00", windows: [{ left: ["planned-switch"] }] });
    expect(Date.parse(listed.next)).toBeGreaterThan(Date.now());
    expect((await drill("--schedule", "list")).stdout).toMatch(
      /^lab: Sun 03:00, next on .*\n {2}2026-11-22 03:00: 1 of 2/,
    );

    expect((await drill("--schedule", "off")).stdout).toBe("lab is not drilled by a timer any more\n");
    expect(readdirSync(at("units"))).toEqual([]);
    expect(calls().slice(3)).toEqual([`disable --now ${name}.timer`, "daemon-reload"]);
    expect((await drill("--schedule", "off")).stdout).toBe("lab has no timer here\n");
    expect((await drill("--schedule", "list")).stdout).toMatch(
      /^no drills are scheduled.*\n {2}2026-11-22 03:00: 1 of 2/,
    );
  });
});

test("the command of the units is one that hotpair understands", () => {
  const { service } = unitsOf("prod", "Sun 03:00", { ...options, window: ms(90 * 60_000) }, "/etc/x.env");
  const words = /^ExecStart=(.+)$/m.exec(service)?.[1] ?? "";
  const { stderr } = spawnSync("sh", ["-c", `${words.replace("--yes", "")} --list`], { encoding: "utf8" });
  expect(stderr).toContain("there is no stack prod");
});
