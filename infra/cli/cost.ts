// `hotpair cost`: what the servers of a stack in AWS cost a month, by resource, beside a single server and beside what its
// owner pays on premises, and the downtime that the pair spares. It reaches no network.

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { z } from "zod";
import { availabilityOf } from "../model/availability.ts";
import { UserError } from "../model/errors.ts";
import { estimate } from "../services/estimate.ts";
import { collectListeners } from "../services/listeners.ts";
import { declareAws } from "../targets/aws.ts";
import { type Avoided, avoidedBy, billedOf, type Cost, costOf, type Prices } from "../targets/aws-cost.ts";
import { loadStack, stackOption } from "./stack.ts";
import { columns } from "./terminal.ts";

interface Options {
  readonly stack?: string;
  readonly prices?: string;
  readonly json: boolean;
}

export function register(program: Command): void {
  program
    .command("cost")
    .description("what the servers of a stack in AWS cost a month, by resource, beside a single server")
    .addOption(stackOption())
    .option("--prices <file>", "YAML with currency, date, source and prices by name (docs/aws.md)")
    .option("--json", "print as JSON", false)
    .action(cost);
}

function cost(options: Options): void {
  const { stack, pair } = loadStack(options.stack);
  const { aws } = pair;
  if (aws === undefined)
    throw new UserError(`stack ${stack} makes nothing in AWS, so AWS bills nothing for it`, [
      "its target is onprem: the servers are there already",
    ]);
  const prices = options.prices === undefined ? undefined : readPrices(options.prices);
  const found = costOf(billedOf({ ...pair, aws }, declareAws({ ...pair, aws }, collectListeners(pair))), prices);
  const avoided = avoidedBy(availabilityOf(pair, estimate(pair)), prices?.downtimeHour);
  const source = prices && { currency: prices.currency, date: prices.date, source: prices.source };
  const onPremises = prices?.onPremises ?? null;
  if (options.json)
    console.log(JSON.stringify({ stack, prices: source ?? null, ...found, onPremises, avoided }, null, 2));
  else console.log(textOf(stack, found, avoided, prices));
}

const priceFile = z.strictObject({
  currency: z.string().regex(/^[A-Z]{3}$/, "expected three letters, e.g. USD"),
  date: z.string().regex(/^\d{4}-\d\d-\d\d$/, 'expected a date in quotes, e.g. "2026-11-20"'),
  source: z.string().min(1, "expected where the prices were read"),
  prices: z.record(z.string(), z.number().nonnegative()),
  downtimeHour: z.number().nonnegative().optional(),
  onPremises: z.number().nonnegative().optional(),
});

/** Throws UserError: a price without date and source is a rumour. */
function readPrices(file: string): Prices {
  let input: unknown;
  try {
    input = parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new UserError(`the prices in ${file} cannot be read`, [(error as Error).message]);
  }
  const result = priceFile.safeParse(input);
  if (result.success) {
    const { downtimeHour, onPremises, ...rest } = result.data;
    return { ...rest, downtimeHour, onPremises };
  }
  throw new UserError(
    `the prices in ${file} are not understood`,
    result.error.issues.map(({ path, message }) => `${path.join(".") || "the file"}: ${message}`),
  );
}

function textOf(
  stack: string,
  { lines, pair, single, missing }: Cost,
  avoided: Avoided,
  prices: Prices | undefined,
): string {
  const money = (amount: number): string => `${amount.toFixed(2)} ${prices?.currency ?? ""}`.trim();
  const rows = lines.map(({ resource, price, unit, quantity, cost: amount }) => [
    resource,
    price,
    quantity === undefined ? "by use" : `${quantity} ${unit}`,
    amount === undefined ? (quantity === undefined ? "-" : "no price") : money(amount),
  ]);
  return [
    ...columns([["resource", "price", "a month", "costs"], ...rows]),
    "",
    ...(prices === undefined
      ? ["No prices are known here; give them with --prices FILE (docs/aws.md#what-it-costs)."]
      : [
          `${stack}: ${money(pair)} a month; a single server of the same kind: ${money(single)}`,
          ...(prices.onPremises === undefined
            ? []
            : [`the pair on premises, by your word: ${money(prices.onPremises)}`]),
          `prices of ${prices.date}, from ${prices.source}`,
          ...(missing.length > 0 ? [`without a price, and so not in the sums: ${missing.join(", ")}`] : []),
        ]),
    avoidedText(avoided, money),
    "Not listed: traffic out of AWS and between zones, and what is in the bucket.",
  ].join("\n");
}

/** Expected values (docs/estimate.md#a-year), and no bill. */
function avoidedText({ hours, cost: worth }: Avoided, money: (amount: number) => string): string {
  const range = `${hours.lower.toFixed(2)} to ${hours.upper.toFixed(2)} hours a month`;
  const at =
    worth === undefined
      ? "what an hour costs you is not known here (downtimeHour)"
      : `${money(worth.lower)} to ${money(worth.upper)} at what an hour costs you`;
  return `Downtime that the pair spares, expected: ${range} less than a single server, ${at} (hotpair estimate).`;
}
