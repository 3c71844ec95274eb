// One run as a picture on a time axis that starts at the fault: every request a client sent, who held each VIP (and the lease, and the right to write), and when
// the daemons said something. Pure: evidence in, SVG out; colours come from the page's style sheet by class name.

import { NODE_IDS, type NodeId } from "../model/pair.ts";
import { type Markup, markup } from "./markup.ts";
import type { LogLine, Run, Sample } from "./schema.ts";

const WIDTH = 960;
const LEFT = 118;
const RIGHT = 16;
const FAULT_LABEL_Y = 10;
const FAILED = { top: 16, height: 12 };
const REQUESTS = { top: 34, height: 96 };
const ROW = 18;
const SLOWEST_MS = 1_000;
const FASTEST_MS = 0.1;

export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

/** The stretch of time in which something happened, with air around it: at least 200 ms before to 800 ms after the fault. */
export function windowOf(run: Run): Window {
  const moments = [0];
  for (const client of Object.values(run.clients)) {
    for (const [atMs, tookMs, ok] of client?.samples ?? []) if (ok === 0) moments.push(atMs, atMs + tookMs);
  }
  for (const { fromMs, untilMs } of run.ownership.spans) {
    for (const moment of [fromMs, untilMs]) if (moment !== null && moment > -1_000) moments.push(moment);
  }
  const first = Math.min(...moments);
  const last = Math.max(...moments);
  const air = Math.max(150, (last - first) * 0.12);
  return { fromMs: Math.min(-200, first - air), toMs: Math.max(800, last + air) };
}

/** Round distances between axis labels: about eight of them, at 1, 2 or 5 times a power of ten. */
export function ticks({ fromMs, toMs }: Window): readonly number[] {
  const rough = (toMs - fromMs) / 8;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const count = Math.floor(toMs / step) - Math.ceil(fromMs / step) + 1;
  return Array.from({ length: count }, (_, index) => (Math.ceil(fromMs / step) + index) * step);
}

export const axisLabel = (atMs: number): string => (Math.abs(atMs) >= 1_000 ? `${atMs / 1_000} s` : `${atMs} ms`);

/** `style` goes into the picture itself, for a file that stands alone; inside a page its style sheet applies. */
export function timeline(run: Run, nodeNames: Readonly<Record<NodeId, string>>, title: string, style?: string): Markup {
  const window = windowOf(run);
  const x = (atMs: number) =>
    LEFT +
    ((Math.min(Math.max(atMs, window.fromMs), window.toMs) - window.fromMs) / (window.toMs - window.fromMs)) *
      (WIDTH - LEFT - RIGHT);
  const rights = rightsOf(run);
  const ownersTop = REQUESTS.top + REQUESTS.height + 18;
  const logTop = ownersTop + rights.length * 2 * ROW + 8;
  const axisTop = logTop + ROW + 4;
  const samples = run.clients.direct?.samples ?? [];

  return markup`<svg class="timeline" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${axisTop + 22}" role="img" aria-label="${title}">
<title>${title}</title>
${style === undefined ? undefined : markup`<style>${{ markup: style }}</style>`}
${ticks(window).map((at) => markup`<line class="grid" x1="${x(at)}" x2="${x(at)}" y1="${FAILED.top}" y2="${axisTop}"/><text class="axis" x="${x(at)}" y="${axisTop + 14}" text-anchor="middle">${axisLabel(at)}</text>`)}
<line class="fault" x1="${x(0)}" x2="${x(0)}" y1="0" y2="${axisTop}"/><text class="fault-label" x="${x(0) + 4}" y="${FAULT_LABEL_Y}">fault</text>
<text class="label" x="${LEFT - 10}" y="${FAILED.top + 10}" text-anchor="end">failed</text>
<text class="label" x="${LEFT - 10}" y="${REQUESTS.top + 12}" text-anchor="end">1 s</text>
<text class="label" x="${LEFT - 10}" y="${REQUESTS.top + REQUESTS.height / 2 + 4}" text-anchor="end">answered in</text>
<text class="label" x="${LEFT - 10}" y="${REQUESTS.top + REQUESTS.height}" text-anchor="end">0.1 ms</text>
<rect class="lane" x="${LEFT}" y="${REQUESTS.top}" width="${WIDTH - LEFT - RIGHT}" height="${REQUESTS.height}"/>
${requests(samples, window, x, nodeNames)}
${rights.map((right, row) => owners(right, nodeNames, x, ownersTop + row * 2 * ROW, window))}
<text class="label" x="${LEFT - 10}" y="${logTop + 13}" text-anchor="end">daemons said</text>
${logTicks(run.log, window, x, logTop)}
</svg>`;
}

/** A dot per answered request, higher is slower (logarithmic); a mark in the row above per failed one. */
function requests(
  samples: readonly Sample[],
  window: Window,
  x: (atMs: number) => number,
  nodeNames: Readonly<Record<NodeId, string>>,
): Markup {
  const visible = samples.filter(([atMs]) => atMs >= window.fromMs && atMs <= window.toMs);
  const perPixel = new Map<string, Sample>();
  for (const sample of visible) {
    const [atMs, tookMs, ok, node] = sample;
    const key = `${Math.round(x(atMs) * 2)} ${ok} ${node}`;
    if ((perPixel.get(key)?.[1] ?? -1) < tookMs) perPixel.set(key, sample);
  }
  return markup`${[...perPixel.values()].map(([atMs, tookMs, ok, node]) =>
    ok === 0
      ? markup`<rect class="failed" x="${round(x(atMs) - 0.6)}" y="${FAILED.top}" width="1.2" height="${FAILED.height}"/>`
      : markup`<circle class="answer ${nodeClass(node, nodeNames)}" cx="${round(x(atMs))}" cy="${round(latencyY(tookMs))}" r="1.6"/>`,
  )}`;
}

function latencyY(tookMs: number): number {
  const position =
    Math.log(Math.min(Math.max(tookMs, FASTEST_MS), SLOWEST_MS) / FASTEST_MS) / Math.log(SLOWEST_MS / FASTEST_MS);
  return REQUESTS.top + REQUESTS.height * (1 - position);
}

function nodeClass(name: string, nodeNames: Readonly<Record<NodeId, string>>): string {
  const id = NODE_IDS.find((candidate) => nodeNames[candidate] === name || candidate === name);
  return id === undefined ? "node-unknown" : `node-${id}`;
}

/** What at most one node may have: each VIP and, for a pair with state, the lease and the right to write. */
interface Right {
  readonly name: string;
  readonly spans: readonly { readonly node: NodeId; readonly fromMs: number; readonly untilMs: number | null }[];
}

function rightsOf({ ownership, writers }: Run): readonly Right[] {
  const vips = [...new Set(ownership.spans.map((span) => span.vip))].sort();
  return [
    ...vips.map((vip) => ({ name: vip, spans: ownership.spans.filter((span) => span.vip === vip) })),
    ...(writers === undefined
      ? []
      : [
          { name: "lease", spans: writers.leases },
          { name: "writable", spans: writers.spans },
        ]),
  ];
}

function owners(
  { name, spans }: Right,
  nodeNames: Readonly<Record<NodeId, string>>,
  x: (atMs: number) => number,
  top: number,
  window: Window,
): Markup {
  return markup`${NODE_IDS.map((node, row) => {
    const y = top + row * ROW;
    const bars = spans
      .filter((span) => span.node === node)
      .map(({ fromMs, untilMs }) => {
        const from = x(fromMs);
        const width = Math.max(x(untilMs ?? window.toMs) - from, 1);
        return markup`<rect class="owner node-${node}" x="${round(from)}" y="${y + 3}" width="${round(width)}" height="${ROW - 6}" rx="2"><title>${nodeNames[node]}: ${name} from ${round(fromMs)} ms to ${untilMs === null ? "the end" : `${round(untilMs)} ms`}</title></rect>`;
      });
    return markup`<text class="label" x="${LEFT - 10}" y="${y + 13}" text-anchor="end">${name} on ${nodeNames[node]}</text><line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y + ROW / 2}" y2="${y + ROW / 2}"/>${bars}`;
  })}`;
}

function logTicks(log: readonly LogLine[], window: Window, x: (atMs: number) => number, top: number): Markup {
  return markup`${log
    .filter(({ atMs }) => atMs >= window.fromMs && atMs <= window.toMs)
    .map(
      ({ atMs, node, source, text }) =>
        markup`<line class="said" x1="${round(x(atMs))}" x2="${round(x(atMs))}" y1="${top + 3}" y2="${top + ROW - 3}"><title>${round(atMs)} ms ${node} ${source}: ${text}</title></line>`,
    )}`;
}

const round = (value: number): number => Math.round(value * 10) / 10;
