// The report in text and in a real browser: what it says is what was measured, and it can be read on a phone, in the
// dark and on paper.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatMs, formatRecovery } from "../../infra/evidence/format.ts";
import { rateOf } from "../../infra/evidence/rate.ts";
import { report } from "../../infra/evidence/report.ts";
import { percentile, summarize } from "../../infra/evidence/summary.ts";
import { ticks, windowOf } from "../../infra/evidence/timeline.ts";
import { SAMPLE } from "./sample.ts";

const CHROMIUM = "/usr/bin/chromium";
const options = { stack: "lab", nodeNames: { a: "node-a", b: "node-b" }, writtenAt: "2026-01-02T03:04:05.000Z" };
const page = report(SAMPLE, options);

describe("summary", () => {
  it("states p50, max, failed requests and the longest time with two owners", () => {
    const [powerCut, heartbeat, partition] = SAMPLE.map(summarize);
    expect(powerCut).toMatchObject({
      runs: 2,
      passed: true,
      rtoP50Ms: 280,
      rtoMaxMs: 300,
      failedRequests: 58,
      twoOwnersMs: 0,
      targetMissed: false,
    });
    expect(heartbeat).toMatchObject({ rtoMaxMs: 0, failedRequests: 0, targetMissed: false });
    expect(partition).toMatchObject({ passed: false, twoOwnersMs: 420, targetMissed: false });
  });

  it("does not turn a service that stayed away into a number", () => {
    const [evidence] = SAMPLE;
    const [first] = evidence?.runs ?? [];
    const direct = first?.clients.direct;
    if (evidence === undefined || first === undefined || direct === undefined) throw new Error("the sample has no run");
    const lost = { ...first, clients: { ...first.clients, direct: { ...direct, rtoMs: null } } };
    expect(summarize({ ...evidence, runs: [first, lost] })).toMatchObject({
      rtoP50Ms: null,
      rtoMaxMs: null,
      targetMissed: true,
    });
  });

  it("takes percentiles by nearest rank", () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    expect([percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7], 0.99), percentile([], 0.5)]).toEqual([
      50,
      99,
      7,
      null,
    ]);
  });
});

describe("figures", () => {
  it("are written with their unit", () => {
    expect([0, 1.5, 292.4, 1_234, 45_000].map(formatMs)).toEqual(["0 ms", "1.5 ms", "292 ms", "1.23 s", "45.0 s"]);
    expect([0, null, 292].map(formatRecovery)).toEqual(["no failure", "no return", "292 ms"]);
  });

  it("have an axis with round steps around what happened", () => {
    expect(ticks({ fromMs: -200, toMs: 800 })).toEqual([-200, 0, 200, 400, 600, 800]);
    const [run] = SAMPLE[0]?.runs ?? [];
    if (run === undefined) throw new Error("the sample has no run");
    const window = windowOf(run);
    expect(window.fromMs).toBeLessThanOrEqual(-200);
    expect(window.toMs).toBeGreaterThan(1_300);
  });
});

describe("page", () => {
  it("escapes what daemons wrote", () => {
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
    expect(page).not.toContain("<script>alert(1)");
  });

  it("names every drill, its promise, its sum and the command that repeats it", () => {
    for (const { scenario, reproduce } of SAMPLE) {
      expect(page).toContain(`<a href="#drill-${scenario}">`);
      expect(page).toContain(`<code>${reproduce}</code>`);
    }
    expect(page).toContain("201 ms to 341 ms");
    expect(page).toContain("detect 3 × 100ms + skew 1.17ms");
    expect(page).toContain("two owners of web for 420 ms");
  });

  it("says where AWS sends clients", () => {
    expect(page).toContain(
      "AWS sends the clients of web to node-b, acknowledged 420 ms after the fault: 2 calls, 120 ms.",
    );
  });

  it("counts two owners against the pair unless their class is declared undecidable", () => {
    const [, , partition] = SAMPLE;
    if (partition === undefined) throw new Error("the sample has no partition");
    expect(page).toContain("<b>420 ms</b><span>longest time with two owners</span>");
    const passed = { ...partition, runs: partition.runs.map((run) => ({ ...run, verdict: "passed" as const })) };
    const declared = report([passed], { ...options, rates: new Map([["full-partition", rateOf(100, 100)]]) });
    expect(declared).toContain("<dd>100 of 100, so at least 97.0 % (95 % confidence): all recorded runs of this class");
    expect(declared).toContain("<b>0 ms</b>");
    expect(declared).toContain("beside 420 ms that the estimate declares");
  });

  it("loads nothing from anywhere", () => {
    expect(page).not.toMatch(/(?:src|href)="(?!#)/);
    expect(page).not.toMatch(/url\(|@import/);
  });
});

const noBrowser = existsSync(CHROMIUM) ? undefined : `${CHROMIUM} is not installed (apt-get install chromium)`;
if (noBrowser) console.log(`skipped: report in a browser: ${noBrowser}`);

describe.skipIf(noBrowser)("page in Chromium", () => {
  let browser: Browser;
  let directory: string;
  const open = async (settings: Parameters<Browser["newPage"]>[0]): Promise<Page> => {
    const tab = await browser.newPage(settings);
    await tab.goto(pathToFileURL(join(directory, "report.html")).href);
    return tab;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "hotpair-report-"));
    writeFileSync(join(directory, "report.html"), page);
    const quiet = [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ];
    browser = await chromium.launch({ executablePath: CHROMIUM, args: quiet });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it("draws a timeline per run and a strip per drill, without a script error", async () => {
    const errors: string[] = [];
    const tab = await browser.newPage();
    tab.on("pageerror", (error) => errors.push(error.message));
    await tab.goto(pathToFileURL(join(directory, "report.html")).href);
    expect(await tab.locator("svg.timeline").count()).toBe(4);
    expect(await tab.locator("svg.strip").count()).toBe(SAMPLE.length);
    expect(await tab.locator("details[open] svg.timeline circle.answer").first().isVisible()).toBe(true);
    expect(errors).toEqual([]);
    await tab.close();
  });

  it("fits a phone: the page does not scroll sideways", async () => {
    const tab = await open({ viewport: { width: 375, height: 700 } });
    const [scrolled, shown] = await tab.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    expect(scrolled).toBeLessThanOrEqual(shown ?? 0);
    await tab.close();
  });

  it.each(["light", "dark"] as const)("has readable contrast in %s", async (colorScheme) => {
    const tab = await open({ colorScheme });
    const [ink, paper] = await tab.evaluate(() => {
      const { color, backgroundColor } = getComputedStyle(document.body);
      return [color, backgroundColor];
    });
    expect(contrast(ink ?? "", paper ?? "")).toBeGreaterThan(7); // WCAG 2.2 §1.4.6, level AAA
    await tab.close();
  });

  it("prints: copy buttons are gone", async () => {
    const tab = await open({});
    await tab.emulateMedia({ media: "print" });
    expect(await tab.locator("button[data-copy]").first().isVisible()).toBe(false);
    expect((await tab.pdf()).byteLength).toBeGreaterThan(10_000);
    await tab.close();
  });
});

/** WCAG 2.2 contrast ratio of two `rgb(r, g, b)` colours. */
function contrast(first: string, second: string): number {
  const luminance = (color: string) => {
    const [red = 0, green = 0, blue = 0] = (color.match(/\d+/g) ?? []).map((channel) => {
      const share = Number(channel) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [dark = 0, light = 0] = [luminance(first), luminance(second)].sort((left, right) => left - right);
  return (light + 0.05) / (dark + 0.05);
}
