// A campaign on the report's page: what was broken how often, what came of it, and every violation with the smallest set of
// faults that shows it. Pure: journal in, markup out.

import {
  type Campaign,
  type CampaignFaultRecord,
  type CampaignStep,
  type Distribution,
  summarizeCampaign,
} from "./campaign.ts";
import { formatMs } from "./format.ts";
import { type Markup, markup } from "./markup.ts";
import { showRate } from "./rate.ts";

export function campaignSection(campaign: Campaign, index: number): Markup {
  const { header } = campaign;
  const sum = summarizeCampaign(campaign);
  const kept = sum.violations.length === 0;
  const figure = (name: string, value: string | number, bad = false) =>
    markup`<dt>${name}</dt><dd${bad ? { markup: ' class="reasons"' } : undefined}>${value}</dd>`;
  const id = `campaign-${index + 1}`;
  return markup`<section class="scenario" id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">Campaign, seed ${header.seed} <span class="verdict ${kept ? "passed" : "missed"}">${kept ? "✓ nothing violated" : `✗ ${sum.violations.length} steps violated a promise`}</span></h2>
<p class="class">${sum.faults} random faults in ${sum.steps} steps on a loaded pair, begun ${header.startedAt.replace("T", " ").slice(0, 16)} UTC</p>
<dl>
${figure("Promises kept in", `${showRate(sum.kept)} of such steps`)}
${figure("Acknowledged writes", sum.acknowledged.toLocaleString("en"))}
${figure("Lost", sum.lost, sum.lost > 0)}
${figure("Twice, out of order, invented", `${sum.duplicated}, ${sum.disordered}, ${sum.phantom}`, sum.duplicated + sum.disordered + sum.phantom > 0)}
${figure("Unknown, of these survived", `${sum.unknown}, ${sum.survived}`)}
${figure("Longest time with two writers", formatMs(sum.twoWritersMs), sum.twoWritersMs > 0)}
${figure("Longest time with two owners of a VIP", formatMs(sum.twoOwnersMs), sum.twoOwnersMs > 0)}
${figure("Out for (steps with a failed write)", distribution(sum.rto))}
${figure("Redundant again after", distribution(sum.redundantAfter))}
${sum.notBack > 0 ? figure("Service did not come back", `${sum.notBack} steps`, true) : undefined}
${sum.brokenOff > 0 ? figure("Steps that measured nothing", sum.brokenOff) : undefined}
</dl>
${sum.violations.map(violation)}
<div class="scroll"><table>
<thead><tr><th>Fault</th><th class="number">Times</th><th class="number">Violations</th><th class="number">Alone: out p50</th><th class="number">p99</th><th class="number">max</th></tr></thead>
<tbody>${sum.perFault.map(
    ({ fault, count, violations, rto }) =>
      markup`<tr><td data-label="Fault">${fault}</td><td data-label="Times" class="number">${count}</td><td data-label="Violations" class="number${violations > 0 ? " bad" : ""}">${violations}</td>${[
        ["Alone: out p50", rto.p50Ms] as const,
        ["p99", rto.p99Ms] as const,
        ["max", rto.maxMs] as const,
      ].map(
        ([label, value]) =>
          markup`<td data-label="${label}" class="number">${value === null ? "" : formatMs(value)}</td>`,
      )}</tr>`,
  )}</tbody></table></div>
<p class="reproduce"><code>${header.reproduce}</code> <button type="button" data-copy="${header.reproduce}">Copy</button></p>
</section>`;
}

function violation(step: CampaignStep): Markup {
  const { outcome, shrunk, reruns } = step;
  const reasons = outcome.kind === "measured" ? outcome.reasons : [];
  const again =
    shrunk === undefined
      ? `It did not come again in ${reruns ?? 0} runs.`
      : `Smallest set that showed it again: ${shrunk.faults.map(faultWords).join(", ")}.`;
  return markup`<details open><summary>Step ${step.step}: ${step.faults.map(faultWords).join(", ")}</summary>
<ul class="reasons">${reasons.map((reason) => markup`<li>${reason}</li>`)}</ul><p>${again}</p></details>`;
}

const faultWords = ({ fault, afterMs, holdMs }: CampaignFaultRecord): string =>
  `${fault}${afterMs > 0 ? ` ${formatMs(afterMs)} later` : ""} for ${formatMs(holdMs)}`;

/** A p99 of fewer than 100 values is their maximum, and is not called by another name. */
function distribution({ count, p50Ms, p99Ms, maxMs }: Distribution): string {
  if (p50Ms === null || p99Ms === null || maxMs === null) return "none";
  return `p50 ${formatMs(p50Ms)}${count >= 100 ? `, p99 ${formatMs(p99Ms)}` : ""}, max ${formatMs(maxMs)} over ${count} steps`;
}
