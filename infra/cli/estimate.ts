// `hotpair estimate`: what is known of every failure class of a stack, or all of one. Thin: the catalogue and the sums are in
// infra/model; whether targets are kept is `hotpair check`'s to say.

import type { Command } from "commander";
import { type Availability, availabilityOf, type Share, showYearly } from "../model/availability.ts";
import { CATALOGUE, type FailureFacts, pageOf, type Severity, severityOf } from "../model/catalogue.ts";
import { formatDuration } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import { type Estimate, showBound, showRange } from "../model/estimate.ts";
import type { Objectives } from "../model/pair.ts";
import { formatRate } from "../model/rate.ts";
import { estimate } from "../services/estimate.ts";
import { loadStack, stackOption } from "./stack.ts";
import { columns } from "./terminal.ts";

interface EstimateOptions {
  readonly stack?: string;
  readonly json: boolean;
}

export function register(program: Command): void {
  program
    .command("estimate")
    .description(
      "what each failure costs and leaves, who notices it, which drill does it, and what a year of them costs",
    )
    .argument("[class]", "one failure class, with its sum and everything else that is known of it")
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(show);
}

function show(name: string | undefined, options: EstimateOptions): void {
  const { stack, pair } = loadStack(options.stack);
  const estimates = estimate(pair);
  const chosen = name === undefined ? estimates : estimates.filter(({ failure }) => failure === name);
  if (chosen.length === 0)
    throw new UserError(`"${name}" is no failure class of stack ${stack}`, [
      `its classes: ${estimates.map(({ failure }) => failure).join(", ")}`,
    ]);
  const year = availabilityOf(pair, estimates);
  const shareOf = (failure: string): Share | undefined => year.shares.find((share) => share.failure === failure);
  if (options.json) {
    const { shares: _, ...sums } = year;
    const classes = chosen.map((one) => ({ ...factsOf(one), year: shareOf(one.failure) }));
    console.log(JSON.stringify({ stack, classes, ...(name === undefined ? { year: sums } : {}) }, null, 2));
  } else if (name === undefined) console.log([...table(estimates), "", ...yearText(year, pair.objectives)].join("\n"));
  else console.log(chosen.flatMap((one) => details(one, shareOf(one.failure))).join("\n"));
}

const factsOf = (one: Estimate) => ({
  ...one,
  ...CATALOGUE[one.failure],
  severity: severityOf(one.failure, one.beyond),
  page: pageOf(one.failure),
  checklist: `${pageOf(one.failure)}#what-to-do`,
});

const table = (estimates: readonly Estimate[]): readonly string[] => [
  ...columns([
    ["failure", "RTO", "RPO", "left", "drill"],
    ...estimates.map(({ failure, rto, rpo, beyond }) => [
      failure,
      showRange(rto.lower, rto.upper),
      showBound(rpo.upper),
      severityOf(failure, beyond),
      drillsOf(CATALOGUE[failure]),
    ]),
  ]),
  "",
  "left, until it is repaired: P0 no service, P1 a worse one, P2 no redundancy",
];

/** How many of the largest shares are shown; --json has all. */
const LARGEST = 5;

function yearText(year: Availability, { downtime, redundancyLost }: Objectives): readonly string[] {
  const budget = (of: Objectives["downtime"]): string => (of === undefined ? "" : `budget ${showYearly(of)}`);
  const share = ({ failure, rate, repair, source }: Share, cost: string): readonly string[] => [
    `    ${failure}`,
    cost,
    `${formatRate(rate)}, repaired within ${formatDuration(repair)}: ${source}`,
  ];
  const lacking = year.shares
    .filter((each) => each.redundancyLost > 0)
    .toSorted((one, other) => other.redundancyLost - one.redundancyLost);
  return [
    "A year, expected from the rates and repair times of docs/estimate.md#a-year and hotpair:pair.failures:",
    ...columns([
      ["  without service, one server alone", showYearly(year.downtimeAlone), ""],
      [
        "  without service, the pair",
        `${showYearly(year.downtime.lower)} to ${showYearly(year.downtime.upper)}`,
        budget(downtime),
      ],
      ...year.shares.slice(0, LARGEST).map((each) => share(each, showYearly(each.downtime.upper))),
      ["    a second failure meanwhile", showYearly(year.secondFailure), "the other node fails during a repair"],
      ["  without a usable standby", showYearly(year.redundancyLost), budget(redundancyLost)],
      ...lacking.slice(0, LARGEST).map((each) => share(each, showYearly(each.redundancyLost))),
    ]),
  ];
}

const drillsOf = ({ drills }: FailureFacts): string => ("none" in drills ? "-" : drills.join(", "));

function details(
  { failure, description, rto, rpo, beyond, needed }: Estimate,
  share: Share | undefined,
): readonly string[] {
  const { lost, detectedBy, drills } = CATALOGUE[failure];
  const rows: readonly (readonly [string, string])[] = [
    ["what", description],
    ["lost", lost],
    ["noticed by", detectedBy],
    ["RTO", rto.formula],
    ["RPO", rpo.formula],
    ...(beyond === undefined ? [] : [["no bound", beyond] as const]),
    ...(needed === undefined ? [] : [["needed", needed] as const]),
    ["left", LEFT[severityOf(failure, beyond)]],
    ["drill", "none" in drills ? `none: ${drills.none}` : drills.join(", ")],
    ...(share === undefined ? [] : [["a year", yearOf(share)] as const]),
    ["what to do", `${pageOf(failure)}#what-to-do`],
  ];
  return [failure, ...columns(rows).map((line) => `  ${line}`)];
}

const yearOf = ({ rate, repair, source, downtime, downtimeAlone, redundancyLost }: Share): string =>
  `${formatRate(rate)}, repaired within ${formatDuration(repair)} (${source}): ${showYearly(downtime.lower)} to ` +
  `${showYearly(downtime.upper)} without service, one server alone ${showYearly(downtimeAlone)}, ` +
  `${showYearly(redundancyLost)} without a usable standby`;

const LEFT: Readonly<Record<Severity, string>> = {
  P0: "P0: no service, or two of it, until it is repaired",
  P1: "P1: a worse service until it is repaired",
  P2: "P2: full service without redundancy until it is repaired",
  none: "nothing: the pair repairs it by itself",
};
