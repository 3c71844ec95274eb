// `hotpair estimate`: what is known of every failure class of a stack, or all of one. Thin: the catalogue and the sums are in
// infra/model; whether targets are kept is `hotpair check`'s to say.

import { type Command, Option } from "commander";
import { CATALOGUE, type FailureFacts, pageOf } from "../model/catalogue.ts";
import { UserError } from "../model/errors.ts";
import { type Estimate, showBound, showRange } from "../model/estimate.ts";
import { estimate } from "../services/estimate.ts";
import { loadStack } from "./stack.ts";
import { columns } from "./terminal.ts";

interface EstimateOptions {
  readonly stack?: string;
  readonly json: boolean;
}

export function register(program: Command): void {
  program
    .command("estimate")
    .description("what each failure costs, how bad it is until it is repaired, who notices it and which drill does it")
    .argument("[class]", "one failure class, with its sum and everything else that is known of it")
    .addOption(new Option("-s, --stack <name>", "the stack; default: PULUMI_STACK, or the only one there is"))
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
  if (options.json) console.log(JSON.stringify({ stack, classes: chosen.map(factsOf) }, null, 2));
  else if (name === undefined)
    console.log(
      [...table(estimates), "", "left, until it is repaired: P0 no service, P1 a worse one, P2 no redundancy"].join(
        "\n",
      ),
    );
  else console.log(chosen.flatMap(details).join("\n"));
}

const factsOf = (one: Estimate) => ({
  ...one,
  ...CATALOGUE[one.failure],
  page: pageOf(one.failure),
  checklist: `${pageOf(one.failure)}#what-to-do`,
});

const table = (estimates: readonly Estimate[]): readonly string[] =>
  columns([
    ["failure", "RTO", "RPO", "left", "drill"],
    ...estimates.map(({ failure, rto, rpo }) => [
      failure,
      showRange(rto.lower, rto.upper),
      showBound(rpo.upper),
      CATALOGUE[failure].severity,
      drillsOf(CATALOGUE[failure]),
    ]),
  ]);

const drillsOf = ({ drills }: FailureFacts): string => ("none" in drills ? "-" : drills.join(", "));

function details({ failure, description, rto, rpo, beyond, needed }: Estimate): readonly string[] {
  const { lost, detectedBy, severity, drills } = CATALOGUE[failure];
  const rows: readonly (readonly [string, string])[] = [
    ["what", description],
    ["lost", lost],
    ["noticed by", detectedBy],
    ["RTO", rto.formula],
    ["RPO", rpo.formula],
    ...(beyond === undefined ? [] : [["no bound", beyond] as const]),
    ...(needed === undefined ? [] : [["needed", needed] as const]),
    ["left", LEFT[severity]],
    ["drill", "none" in drills ? `none: ${drills.none}` : drills.join(", ")],
    ["what to do", `${pageOf(failure)}#what-to-do`],
  ];
  return [failure, ...columns(rows).map((line) => `  ${line}`)];
}

const LEFT: Readonly<Record<FailureFacts["severity"], string>> = {
  P0: "P0: no service, or two of it, until it is repaired",
  P1: "P1: a worse service until it is repaired",
  P2: "P2: full service without redundancy until it is repaired",
  none: "nothing: the pair repairs it by itself",
};
