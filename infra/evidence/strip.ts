// Estimate beside measurement on one logarithmic scale: a band for the promised range, a line for the target, a dot per
// run. Pure: numbers in, SVG out.

import { type Markup, markup } from "./markup.ts";
import type { Evidence } from "./schema.ts";

const WIDTH = 260;
const HEIGHT = 26;
const FLOOR_MS = 1;
const DECADES = [10, 100, 1_000, 10_000];

export function strip({ estimate, runs }: Evidence, ceilingMs: number): Markup {
  const x = (valueMs: number) => {
    const position = Math.log(Math.max(valueMs, FLOOR_MS) / FLOOR_MS) / Math.log(ceilingMs / FLOOR_MS);
    return Math.round(Math.min(Math.max(position, 0), 1) * (WIDTH - 12) * 10) / 10 + 6;
  };
  const upper = estimate.rtoUpperMs === "unbounded" ? ceilingMs : estimate.rtoUpperMs;
  const measured = runs.map((run) => run.clients.direct?.rtoMs ?? null);
  return markup`<svg class="strip" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="estimate ${estimate.rtoLowerMs} to ${estimate.rtoUpperMs} ms, measured ${measured.map((value) => value ?? "no return").join(", ")} ms">
${DECADES.filter((decade) => decade < ceilingMs).map((decade) => markup`<line class="grid" x1="${x(decade)}" x2="${x(decade)}" y1="0" y2="${HEIGHT}"/>`)}
<rect class="band${estimate.rtoUpperMs === "unbounded" ? " open" : ""}" x="${x(estimate.rtoLowerMs)}" y="7" width="${Math.max(x(upper) - x(estimate.rtoLowerMs), 2)}" height="12" rx="3"/>
${estimate.rtoTarget === null ? undefined : markup`<line class="target" x1="${x(estimate.rtoTarget)}" x2="${x(estimate.rtoTarget)}" y1="2" y2="${HEIGHT - 2}"/>`}
${measured.map((value) => markup`<circle class="${value === null ? "missed" : "measured"}" cx="${x(value ?? ceilingMs)}" cy="13" r="3.5"/>`)}
</svg>`;
}

/** One scale for all rows: the next power of ten above everything shown, so that rows compare. */
export function ceilingOf(all: readonly Evidence[]): number {
  const shown = all.flatMap(({ estimate, runs }) => [
    ...(estimate.rtoUpperMs === "unbounded" ? [] : [estimate.rtoUpperMs]),
    ...(estimate.rtoTarget === null ? [] : [estimate.rtoTarget]),
    ...runs.map((run) => run.clients.direct?.rtoMs ?? 0),
  ]);
  return 10 ** Math.ceil(Math.log10(Math.max(1_000, ...shown) + 1));
}
