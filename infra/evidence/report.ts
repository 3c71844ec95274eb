// The report: one self-contained HTML page from the evidence of a stack — no network, no script needed to read it;
// readable on a phone, in the dark and on paper. Pure: evidence in, page out. How each picture is drawn: timeline.ts and
// strip.ts; how it looks: report-style.ts.

import { FAILURE_CLASSES, type FailureClassId } from "../model/failure.ts";
import type { NodeId } from "../model/pair.ts";
import type { Campaign } from "./campaign.ts";
import { campaignSection } from "./campaign-section.ts";
import { formatMs, formatRecovery } from "./format.ts";
import { type Markup, markup } from "./markup.ts";
import { type Rate, showRate } from "./rate.ts";
import { COPY_SCRIPT, STYLE } from "./report-style.ts";
import type { Evidence, Ledger, LedgerVerdict, Run } from "./schema.ts";
import { ceilingOf, strip } from "./strip.ts";
import { type StateSummary, type Summary, summarize } from "./summary.ts";
import { timeline } from "./timeline.ts";

export interface ReportOptions {
  readonly stack: string;
  readonly nodeNames: Readonly<Record<NodeId, string>>;
  /** ISO 8601; stated by the caller, since this room has no clock. */
  readonly writtenAt: string;
  readonly campaigns?: readonly Campaign[];
  /** Per failure class all runs that were made on the configuration of these drills. */
  readonly rates?: ReadonlyMap<FailureClassId, Rate>;
}

export function report(all: readonly Evidence[], options: ReportOptions): string {
  const rows = all.map((evidence) => ({ evidence, summary: summarize(evidence), id: `drill-${evidence.scenario}` }));
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>hotpair: ${options.stack}, ${all.length} drills</title>
<style>${{ markup: STYLE }}</style>
</head>
<body>
<header>
<h1>${options.stack}: what was promised, what a client saw</h1>
<p class="when">${all.length} drills, ${rows.reduce((sum, { summary }) => sum + summary.runs, 0)} runs, written ${options.writtenAt.replace("T", " ").slice(0, 16)} UTC</p>
${headline(rows.map(({ summary }) => summary))}
</header>
<main>
${rows.length === 0 ? undefined : overview(rows)}
${(options.campaigns ?? []).map((campaign, index) => campaignSection(campaign, index))}
${rows.map(({ evidence, summary, id }) => scenario(evidence, summary, id, options))}
</main>
${footer(all)}
<script>${{ markup: COPY_SCRIPT }}</script>
</body>
</html>
`;
  return page.markup;
}

interface Row {
  readonly evidence: Evidence;
  readonly summary: Summary;
  readonly id: string;
}

function headline(summaries: readonly Summary[]): Markup {
  const passed = summaries.filter((summary) => summary.passed).length;
  const twoOwners = Math.max(
    0,
    ...summaries.filter((summary) => !declared(summary)).map((summary) => summary.twoOwnersMs),
  );
  const undecidable = Math.max(0, ...summaries.filter(declared).map((summary) => summary.twoOwnersMs));
  const requests = summaries.reduce((sum, summary) => sum + summary.requests, 0);
  const failed = summaries.reduce((sum, summary) => sum + summary.failedRequests, 0);
  const missed = summaries.filter((summary) => summary.targetMissed).length;
  const states = summaries.flatMap(({ state }) => state ?? []);
  const tile = (value: string, label: string, good: boolean) =>
    markup`<div class="tile ${good ? "good" : "bad"}"><b>${value}</b><span>${label}</span></div>`;
  return markup`<div class="tiles">
${tile(`${passed} of ${summaries.length}`, "drills as promised", passed === summaries.length)}
${tile(formatMs(twoOwners), `longest time with two owners${undecidable > 0 ? `, beside ${formatMs(undecidable)} that the estimate declares` : ""}`, twoOwners === 0)}
${states.length === 0 ? undefined : stateTiles(states, tile)}
${tile(String(missed), missed === 1 ? "target missed" : "targets missed", missed === 0)}
${tile(`${failed.toLocaleString("en")} of ${requests.toLocaleString("en")}`, "requests failed during all faults", true)}
</div>`;
}

function stateTiles(
  states: readonly StateSummary[],
  tile: (value: string, label: string, good: boolean) => Markup,
): Markup {
  const sum = (of: (state: StateSummary) => number) => states.reduce((total, state) => total + of(state), 0);
  const lost = sum((state) => state.lost);
  const others = sum((state) => state.otherViolations);
  const unproved = sum((state) => state.unproved);
  const twoWriters = Math.max(...states.map((state) => state.twoWritersMs));
  const besides = [
    others > 0 ? `${others} doubled, out of order or invented` : "",
    unproved > 0 ? `${unproved} runs prove nothing` : "",
  ].filter((words) => words !== "");
  return markup`${tile(`${lost} of ${sum((state) => state.acknowledged).toLocaleString("en")}`, ["acknowledged writes lost", ...besides].join(", "), lost + others + unproved === 0)}
${tile(formatMs(twoWriters), "longest time in which both nodes could acknowledge a write", twoWriters === 0)}`;
}

function overview(rows: readonly Row[]): Markup {
  const ceiling = ceilingOf(rows.map(({ evidence }) => evidence));
  return markup`<section aria-labelledby="overview">
<h2 id="overview">Summary</h2>
<p class="legend"><span class="key band"></span> estimate, lower to upper bound <span class="key target"></span> target <span class="key dot"></span> one run (logarithmic, ${formatMs(1)} to ${formatMs(ceiling)})</p>
<div class="scroll"><table>
<thead><tr><th>Drill</th><th>Verdict</th><th class="wide">Recovery time</th><th class="number">Promised</th><th class="number">Measured p50</th><th class="number">max</th><th class="number">Target</th><th class="number">Two owners</th><th class="number">Failed requests</th></tr></thead>
<tbody>
${rows.map(
  ({ evidence, summary, id }) => markup`<tr>
<td data-label="Drill"><a href="#${id}">${evidence.scenario}</a></td>
<td data-label="Verdict">${verdict(summary.passed)}</td>
<td data-label="Recovery time" class="wide">${strip(evidence, ceiling)}</td>
<td data-label="Promised" class="number">${promised(evidence)}</td>
<td data-label="Measured p50" class="number">${formatRecovery(summary.rtoP50Ms)}</td>
<td data-label="Max" class="number">${formatRecovery(summary.rtoMaxMs)}</td>
<td data-label="Target" class="number${summary.targetMissed ? " bad" : ""}">${evidence.estimate.rtoTarget === null ? "none" : formatMs(evidence.estimate.rtoTarget)}</td>
<td data-label="Two owners" class="number${summary.twoOwnersMs > 0 && !declared(summary) ? " bad" : ""}">${formatMs(summary.twoOwnersMs)}${declared(summary) ? " declared" : ""}</td>
<td data-label="Failed requests" class="number">${summary.failedRequests} of ${summary.requests}</td>
</tr>`,
)}
</tbody></table></div>
</section>`;
}

function scenario(evidence: Evidence, summary: Summary, id: string, options: ReportOptions): Markup {
  return markup`<section class="scenario" id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${evidence.scenario} ${verdict(summary.passed)}</h2>
<p class="class">${FAILURE_CLASSES[evidence.failure]}</p>
<dl>
<dt>Fault</dt><dd>${evidence.fault}</dd>
<dt>Expected</dt><dd>${evidence.expectation}</dd>
<dt>Undone by</dt><dd>${evidence.undo}</dd>
<dt>Promised</dt><dd>${promised(evidence)}<span class="formula"> = ${evidence.estimate.formula}</span></dd>
<dt>Measured</dt><dd>${summary.rtoMaxMs === null ? "service did not come back" : summary.rtoMaxMs === 0 ? `no request failed in ${countRuns(summary.runs)}` : `p50 ${formatRecovery(summary.rtoP50Ms)}, max ${formatRecovery(summary.rtoMaxMs)} over ${countRuns(summary.runs)}`}; two owners ${formatMs(summary.twoOwnersMs)}, no owner ${formatMs(summary.noOwnerMs)}</dd>
${summary.state === undefined ? undefined : stateRow(summary.state)}
${rateRow(options.rates?.get(evidence.failure))}
</dl>
${evidence.runs.map((run) => runSection(run, evidence, options))}
<p class="reproduce"><code>${evidence.reproduce}</code> <button type="button" data-copy="${evidence.reproduce}">Copy</button></p>
</section>`;
}

function stateRow(state: StateSummary): Markup {
  const again = state.redundantAfterMs;
  return markup`<dt>Proved</dt><dd>${state.lost} of ${state.acknowledged.toLocaleString("en")} acknowledged writes lost${state.otherViolations > 0 ? `, ${state.otherViolations} other violations` : ""}${state.unproved > 0 ? `, ${state.unproved} runs prove nothing` : ""}; ${state.survived} unacknowledged ones survived; two writers ${formatMs(state.twoWritersMs)}; ${again === null ? "not redundant again while it was watched" : again === 0 ? "redundant throughout" : `redundant again ${formatMs(again)} after the fault`}</dd>`;
}

const rateRow = (rate: Rate | undefined): Markup | undefined =>
  rate && markup`<dt>Kept so far</dt><dd>${showRate(rate)}: all recorded runs of this class on this configuration</dd>`;

/** The first run and every failed one stand open; the others fold away. */
function runSection(run: Run, evidence: Evidence, { nodeNames }: ReportOptions): Markup {
  const title = `${evidence.scenario}, run ${run.number}`;
  return markup`<details${run.number === 1 || run.verdict === "failed" ? { markup: " open" } : undefined}>
<summary>Run ${run.number}: ${run.verdict}, recovery ${formatRecovery(run.clients.direct?.rtoMs ?? null)}</summary>
${run.reasons.length === 0 ? undefined : markup`<ul class="reasons">${run.reasons.map((reason) => markup`<li>${reason}</li>`)}</ul>`}
<figure class="scroll">${timeline(run, nodeNames, title)}<figcaption><span class="key node-a"></span> ${nodeNames.a} <span class="key node-b"></span> ${nodeNames.b} <span class="key failed"></span> failed request. Dots: answered requests by answering node, slower is higher.</figcaption></figure>
${clientTable(run)}
${run.address?.moves.map((move) => movedLine(move, nodeNames))}
${run.ledger === undefined ? undefined : ledgerTable(run.ledger)}
${logTable(run)}
</details>`;
}

/** A pair in AWS: where its clients are sent. */
function movedLine(
  { vip, node, atMs, tookMs, attempts }: NonNullable<Run["address"]>["moves"][number],
  names: ReportOptions["nodeNames"],
): Markup {
  if (node === null || atMs === null) return markup`<p>No node says that AWS sends the clients of ${vip} to it.</p>`;
  const when = atMs < 0 ? "since before the fault" : `acknowledged ${formatMs(atMs)} after the fault`;
  const calls = attempts === 1 ? "the first call" : `${attempts} calls`;
  return markup`<p>AWS sends the clients of ${vip} to ${names[node]}, ${when}: ${calls}, ${formatMs(tookMs)}.</p>`;
}

function clientTable(run: Run): Markup {
  const names = {
    direct: "new connection each",
    persistent: "persistent connection",
    beyondRouter: "beyond a router",
  } as const;
  return markup`<div class="scroll"><table class="clients">
<thead><tr><th>Client</th><th class="number">Requests</th><th class="number">Failed</th><th class="number">Slow</th><th class="number">Back in</th><th class="number">From the fault</th><th class="number">p50</th><th class="number">p99</th></tr></thead>
<tbody>${Object.entries(names).map(([key, label]) => {
    const client = run.clients[key as keyof typeof names];
    return client === undefined
      ? undefined
      : markup`<tr><td data-label="Client">${label}</td><td data-label="Requests" class="number">${client.requests}</td><td data-label="Failed" class="number">${client.failed}</td><td data-label="Slow" class="number">${client.slow}</td><td data-label="Back in" class="number">${formatRecovery(client.rtoMs)}</td><td data-label="From the fault" class="number">${formatRecovery(client.rtoFromFaultMs)}</td><td data-label="p50" class="number">${formatMs(client.p50Ms)}</td><td data-label="p99" class="number">${formatMs(client.p99Ms)}</td></tr>`;
  })}</tbody></table></div>`;
}

function ledgerTable({ primary, replica, writers }: Ledger): Markup {
  const row = (name: string, verdict: LedgerVerdict) => {
    const cell = (label: string, value: number, bad = false) =>
      markup`<td data-label="${label}" class="number${bad && value > 0 ? " bad" : ""}">${value.toLocaleString("en")}</td>`;
    return markup`<tr><td data-label="Ledger">${name}</td>${cell("Attempts", verdict.attempts)}${cell("Acknowledged", verdict.acknowledged)}${cell("Failed", verdict.failed)}${cell("Unknown", verdict.unknown)}${cell("of these survived", verdict.survived)}${cell("Lost", verdict.missing.count, true)}${cell("Twice", verdict.duplicated.count, true)}${cell("Out of order", verdict.disordered.count, true)}${cell("Invented", verdict.phantom.count, true)}</tr>`;
  };
  return markup`<div class="scroll"><table class="clients">
<thead><tr><th>Ledger of ${writers} writers</th><th class="number">Attempts</th><th class="number">Acknowledged</th><th class="number">Failed</th><th class="number">Unknown</th><th class="number">of these survived</th><th class="number">Lost</th><th class="number">Twice</th><th class="number">Out of order</th><th class="number">Invented</th></tr></thead>
<tbody>${row("on the primary", primary)}${replica === undefined ? undefined : row("on the replica", replica)}</tbody></table></div>`;
}

function logTable(run: Run): Markup | undefined {
  if (run.log.length === 0) return undefined;
  return markup`<details class="log"><summary>What the daemons wrote (${run.log.length})</summary><div class="scroll"><table>
<thead><tr><th class="number">At</th><th>Node</th><th>Source</th><th>Line</th></tr></thead>
<tbody>${run.log.map(({ atMs, node, source, text }) => markup`<tr><td class="number">${Math.round(atMs)} ms</td><td>${node}</td><td>${source}</td><td class="line">${text}</td></tr>`)}</tbody></table></div></details>`;
}

function footer(all: readonly Evidence[]): Markup {
  const versions = Object.entries(all[0]?.versions ?? {});
  return markup`<footer>
<p>RTO: from the scheduled start of the first failed request to the completion of the first success that 10 s without failure follow. Requests start on schedule whether or not earlier ones came back.</p>
<p>Configuration ${[...new Set(all.map((evidence) => evidence.configDigest.slice(0, 12)))].join(", ")}. ${versions.map(([name, version]) => `${name} ${version}`).join(", ")}</p>
</footer>`;
}

const verdict = (passed: boolean): Markup =>
  markup`<span class="verdict ${passed ? "passed" : "missed"}">${passed ? "✓ passed" : "✗ failed"}</span>`;

function promised({ estimate }: Evidence): string {
  if (estimate.rtoUpperMs === "unbounded") return "unbounded";
  return estimate.rtoUpperMs === 0
    ? "nothing moves"
    : `${formatMs(estimate.rtoLowerMs)} to ${formatMs(estimate.rtoUpperMs)}`;
}

const countRuns = (count: number): string => (count === 1 ? "1 run" : `${count} runs`);

/** Two owners in a drill that passed: its class is one in which the estimate declares them. */
const declared = ({ passed, twoOwnersMs }: Summary): boolean => passed && twoOwnersMs > 0;
