// The estimates beside what was measured: a table, and a picture of every upper bound against the longest run. Pure: figures
// in, Markdown and SVG out. What is measured is truth.ts.

import { type Markup, markup } from "../infra/evidence/markup.ts";

/** One failure class of one configuration; times in milliseconds. */
export interface Compared {
  readonly configuration: string;
  readonly what: string;
  readonly failure: string;
  readonly runs: number;
  readonly lowerMs: number;
  readonly upperMs: number;
  readonly formula: string;
  readonly p50Ms: number;
  readonly maxMs: number;
  /** Promises beside the bounds that were broken, one line each, e.g. two owners. */
  readonly broken: readonly string[];
}

/** An upper bound that is further away says little. */
const LOOSE = 2;

const isBelow = ({ lowerMs, p50Ms }: Compared): boolean => lowerMs <= p50Ms;
const isWithin = ({ maxMs, upperMs }: Compared): boolean => maxMs <= upperMs;
const isClose = ({ maxMs, upperMs }: Compared): boolean => upperMs <= LOOSE * maxMs;

export function page(all: readonly Compared[]): { readonly text: string; readonly picture: string } {
  const count = (holds: (one: Compared) => boolean): string => `${all.filter(holds).length} of ${all.length}`;
  const runs = all.reduce((total, one) => total + one.runs, 0);
  const broken = all.flatMap(({ failure, what, broken }) => broken.map((line) => `- ${failure}, ${what}: ${line}`));
  const rows = [...all]
    .sort((one, other) => one.failure.localeCompare(other.failure))
    .map((one) => {
      const exceptions = [
        ...(isBelow(one) ? [] : ["**p50 below**"]),
        ...(isWithin(one) ? [] : ["**max above**"]),
        ...(isClose(one) ? [] : ["loose"]),
      ];
      return `| [${one.failure}](failures/${one.failure}.md) | ${one.what} | ${one.runs} | ${shown(one.lowerMs)} | ${shown(one.p50Ms)} | ${shown(one.maxMs)} | ${shown(one.upperMs)} | ${ratio(one)} | ${exceptions.join(", ")} |`;
    });
  const text = [
    `${runs} runs of ${new Set(all.map(({ failure }) => failure)).size} failure classes in ${new Set(all.map(({ configuration }) => configuration)).size} configurations:`,
    "",
    `- the lower bound is at most the median in ${count(isBelow)} pairs of class and configuration;`,
    `- the upper bound is at least the longest run in ${count(isWithin)};`,
    `- the upper bound is at most ${LOOSE} x the longest run in ${count(isClose)}.`,
    "",
    `No other promise of these drills was broken${broken.length === 0 ? "." : ", except:"}`,
    ...(broken.length === 0 ? [] : ["", ...broken]),
    "",
    "| class | configuration | runs | lower | p50 | max | upper | upper / max | |",
    "|---|---|---|---|---|---|---|---|---|",
    ...rows,
  ].join("\n");
  return { text, picture: `${picture(all).markup}\n` };
}

const shown = (value: number): string => (Number.isFinite(value) ? `${Math.round(value)} ms` : "not back");
const ratio = ({ maxMs, upperMs }: Compared): string =>
  maxMs > 0 && Number.isFinite(maxMs) ? (upperMs / maxMs).toFixed(1) : "";

const SIZE = 620;
const LEFT = 84;
const BOTTOM = 44;
const TOP = 16;
const LEGEND = 230;
/** Both axes, in milliseconds; what took less stands at the edge. */
const FLOOR = 10;
const CEILING = 10_000;
const TICKS = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];
/** Told apart also without colour sight (Okabe and Ito 2008). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999933", "#882255", "#666666"];

function picture(all: readonly Compared[]): Markup {
  const span = SIZE - LEFT - TOP;
  const along = (value: number): number =>
    (Math.log(Math.min(Math.max(value, FLOOR), CEILING) / FLOOR) / Math.log(CEILING / FLOOR)) * span;
  const x = (value: number): number => Math.round((LEFT + along(value)) * 10) / 10;
  const y = (value: number): number => Math.round((TOP + span - along(value)) * 10) / 10;
  const classes = [...new Set(all.map(({ failure }) => failure))].sort();
  const colourOf = (failure: string): string => COLOURS[classes.indexOf(failure) % COLOURS.length] ?? "#000000";
  const label = (value: number): string => (value >= 1_000 ? `${value / 1_000} s` : `${value} ms`);
  return markup`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE + LEGEND} ${TOP + span + BOTTOM}" role="img" aria-label="upper bound of the estimate against the longest run">
<title>Upper bound of the estimate against the longest run</title>
<style>
:root{--ink:#1c1e21;--soft:#5c636b;--rule:#d9dcdf;--page:#fbfbfa}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a0a7af;--rule:#34383d;--page:#16181b}}
text{font:12px system-ui,sans-serif;fill:var(--soft)}
text.axis{fill:var(--ink)}
.grid{stroke:var(--rule)}
.line{stroke:var(--soft);stroke-dasharray:4 3}
</style>
<rect width="100%" height="100%" fill="var(--page)"/>
${TICKS.map(
  (tick) => markup`<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${TOP}" y2="${TOP + span}"/>
<line class="grid" x1="${LEFT}" x2="${LEFT + span}" y1="${y(tick)}" y2="${y(tick)}"/>
<text x="${x(tick)}" y="${TOP + span + 16}" text-anchor="middle">${label(tick)}</text>
<text x="${LEFT - 6}" y="${y(tick) + 4}" text-anchor="end">${label(tick)}</text>
`,
)}
<line class="line" x1="${x(FLOOR)}" y1="${y(FLOOR)}" x2="${x(CEILING)}" y2="${y(CEILING)}"/>
<line class="line" x1="${x(FLOOR)}" y1="${y(LOOSE * FLOOR)}" x2="${x(CEILING / LOOSE)}" y2="${y(CEILING)}"/>
<text class="axis" x="${LEFT + span / 2}" y="${TOP + span + 36}" text-anchor="middle">longest of the runs that were measured</text>
<text class="axis" transform="translate(16 ${TOP + span / 2}) rotate(-90)" text-anchor="middle">upper bound of the estimate</text>
${all.map(
  (
    one,
  ) => markup`<circle cx="${x(one.maxMs)}" cy="${y(one.upperMs)}" r="5" fill="${colourOf(one.failure)}" fill-opacity="0.75"><title>${one.failure}, ${one.what}: at most ${shown(one.upperMs)}, measured ${shown(one.p50Ms)} (p50) to ${shown(one.maxMs)} (${one.runs} runs)</title></circle>
`,
)}
${classes.map(
  (failure, index) => markup`<circle cx="${SIZE + 14}" cy="${TOP + 12 + index * 20}" r="5" fill="${colourOf(failure)}"/>
<text x="${SIZE + 26}" y="${TOP + 16 + index * 20}">${failure}</text>
`,
)}
<text x="${SIZE + 8}" y="${TOP + 32 + classes.length * 20}">lower dashes: as measured</text>
<text x="${SIZE + 8}" y="${TOP + 48 + classes.length * 20}">upper dashes: ${LOOSE} x as measured</text>
</svg>`;
}
