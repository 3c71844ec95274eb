// `hotpair report`: the newest evidence of each drill as one page, or one run as a picture. Thin: what the page says is in
// infra/evidence.

import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { summarizeCampaign } from "../evidence/campaign.ts";
import { versionsThatMatter } from "../evidence/history.ts";
import { type Rate, ratesOf } from "../evidence/rate.ts";
import { readRecords } from "../evidence/records.ts";
import { report } from "../evidence/report.ts";
import { STYLE } from "../evidence/report-style.ts";
import type { Evidence } from "../evidence/schema.ts";
import { evidenceDirectory, readCampaigns, readStackEvidence } from "../evidence/store.ts";
import { summarize } from "../evidence/summary.ts";
import { timeline } from "../evidence/timeline.ts";
import { UserError } from "../model/errors.ts";
import type { FailureClassId } from "../model/failure.ts";
import type { NodeId, Pair } from "../model/pair.ts";
import { chooseStack, loadStack, shownPath, stackOption } from "./stack.ts";

export function register(program: Command): void {
  program
    .command("report")
    .description("the newest evidence of each drill as one HTML page")
    .addOption(stackOption())
    .option("--evidence <directory>", "where drills keep what they measured", evidenceDirectory())
    .option("--out <file>", "the page, or with --picture the picture", "report.html")
    .option("--picture <scenario>", "only the timeline of a drill's first run, as SVG")
    .option("--open", "show the page in a browser where there is a display")
    .option("--json", "the figures instead of a page")
    .action(write);
}

interface Options {
  readonly stack?: string;
  readonly evidence: string;
  readonly out: string;
  readonly picture?: string;
  readonly open?: boolean;
  readonly json?: boolean;
}

function write(options: Options): void {
  const stack = chooseStack(options.stack);
  const drills = newestPerScenario(readStackEvidence(options.evidence, stack));
  const campaigns = readCampaigns(options.evidence, stack);
  if (drills.length === 0 && campaigns.length === 0)
    throw new UserError(`there is no evidence of stack ${stack} in ${shownPath(options.evidence)}`, [
      `measure first: hotpair drill -s ${stack}`,
    ]);
  const { pair } = loadStack(stack);
  const rates = ratesOfNewest(drills, options.evidence, stack, pair);
  if (options.json) {
    const figures = drills.map((drill) => ({
      scenario: drill.scenario,
      startedAt: drill.startedAt,
      ...summarize(drill),
      rate: rates.get(drill.failure),
    }));
    const summaries = campaigns.map((one) => ({ seed: one.header.seed, ...summarizeCampaign(one) }));
    console.log(JSON.stringify({ stack, drills: figures, campaigns: summaries }, null, 2));
    return;
  }
  const nodeNames = { a: pair.nodes[0].name, b: pair.nodes[1].name };
  const file = resolve(options.out);
  writeFileSync(
    file,
    options.picture === undefined
      ? report(drills, { stack, nodeNames, writtenAt: new Date().toISOString(), campaigns, rates })
      : pictureOf(drills, options.picture, nodeNames),
  );
  console.log(`${shownPath(file)}: ${drills.length} drills`);
  if (options.open) openInBrowser(file);
}

/** Of the configuration and the daemons that were drilled last. */
function ratesOfNewest(
  drills: readonly Evidence[],
  directory: string,
  stack: string,
  pair: Pair,
): ReadonlyMap<FailureClassId, Rate> {
  const newest = drills.toSorted((one, other) => (one.startedAt < other.startedAt ? -1 : 1)).at(-1);
  if (newest === undefined) return new Map();
  const { drills: records } = readRecords(directory, stack, { allowedSigners: pair.evidence.allowedSigners });
  return ratesOf(records, { configDigest: newest.configDigest, versions: versionsThatMatter(newest.versions) });
}

/** Oldest first in, one per scenario out, in the order in which the scenarios were first drilled. */
function newestPerScenario(all: readonly Evidence[]): readonly Evidence[] {
  return [...new Map(all.map((evidence) => [evidence.scenario, evidence])).values()];
}

function pictureOf(drills: readonly Evidence[], scenario: string, nodeNames: Readonly<Record<NodeId, string>>): string {
  const drill = drills.find((candidate) => candidate.scenario === scenario);
  const run = drill?.runs[0];
  if (drill === undefined || run === undefined)
    throw new UserError(`there is no evidence of a drill "${scenario}"`, [
      `there is evidence of: ${drills.map((known) => known.scenario).join(", ")}`,
    ]);
  return `${timeline(run, nodeNames, `${drill.fault}: what a client saw`, `${STYLE}svg{background:var(--page)}`).markup}\n`;
}

/** Shows the page where somebody sits in front of a screen; elsewhere its path, printed above, has to do. */
function openInBrowser(file: string): void {
  const screen = process.env.DISPLAY !== undefined || process.env.WAYLAND_DISPLAY !== undefined;
  if (!screen || !existsSync("/usr/bin/xdg-open")) return;
  spawn("/usr/bin/xdg-open", [pathToFileURL(file).href], { detached: true, stdio: "ignore" }).unref();
}
