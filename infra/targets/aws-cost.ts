// What AWS bills for of what is declared, with quantities per month and the name that each price has in a price file. Prices
// are nobody's here: they come from a file with a date and a source, and what has none says so.

import type { Availability } from "../model/availability.ts";
import type { Declared } from "../model/resource.ts";
import type { CloudPair } from "./aws-network.ts";

/** Hours of an average month, as AWS's own calculator counts them: 8760 / 12. */
export const MONTH_HOURS = 730;
/** Operations per second that every gp3 volume has without extra charge (Amazon EBS user guide, gp3). */
const GP3_INCLUDED = 3_000;

export interface Billed {
  /** Resource of the stack, e.g. `instance-a`. */
  readonly resource: string;
  /** Name of the price, e.g. `instance/m7i.large/eu-central-1`. */
  readonly price: string;
  readonly unit: "hour" | "GiB-month" | "IOPS-month" | "month";
  /** Per month; undefined: it depends on use. */
  readonly quantity: number | undefined;
  /** A single server would have it, too. */
  readonly single: boolean;
}

export interface Prices {
  readonly currency: string;
  /** ISO date on which they were read. */
  readonly date: string;
  readonly source: string;
  /** Per unit, by name. */
  readonly prices: Readonly<Record<string, number>>;
  /** What an hour without service costs its owner. */
  readonly downtimeHour: number | undefined;
  /** What the same pair costs on premises, a month. */
  readonly onPremises: number | undefined;
}

/** What the pair spares its owner beside a single server, a month, expected (infra/model/availability.ts). */
export interface Avoided {
  /** Hours without service; the lower bound counts with the pair's worst. */
  readonly hours: { readonly lower: number; readonly upper: number };
  /** At the price of an hour; undefined: it is not known. */
  readonly cost: { readonly lower: number; readonly upper: number } | undefined;
}

export interface Cost {
  readonly lines: readonly (Billed & { readonly cost: number | undefined })[];
  /** Of the lines that have a price and a quantity. */
  readonly pair: number;
  readonly single: number;
  /** Names of prices that are missing. */
  readonly missing: readonly string[];
}

interface Root {
  readonly volumeType: string;
  readonly volumeSize: number;
  readonly iops?: number;
}

export function billedOf({ aws }: CloudPair, declared: readonly Declared[]): readonly Billed[] {
  return declared.flatMap(({ name, type, inputs }): readonly Billed[] => {
    const single = name.endsWith("-a");
    const item = (price: string, unit: Billed["unit"], quantity: number | undefined, alone = single): Billed => ({
      resource: name,
      price: `${price}/${aws.region}`,
      unit,
      quantity,
      single: alone,
    });
    const kind = type.split(":").at(-1);
    if (kind === "Instance") {
      const { volumeType, volumeSize, iops = 0 } = inputs.rootBlockDevice as unknown as Root;
      const extra = iops - (volumeType === "gp3" ? GP3_INCLUDED : 0);
      return [
        item(
          `${inputs.instanceMarketOptions === undefined ? "instance" : "spot"}/${inputs.instanceType}`,
          "hour",
          MONTH_HOURS,
        ),
        item("detailed-monitoring", "month", 1),
        item(`volume/${volumeType}`, "GiB-month", volumeSize),
        ...(extra > 0 ? [item(`volume-iops/${volumeType}`, "IOPS-month", extra)] : []),
      ];
    }
    if (kind === "MetricAlarm") return [item("alarm", "month", 1)];
    // By the hour whether or not it is in use (Amazon VPC pricing, public IPv4 addresses).
    if (kind === "EipAssociation") return [item("public-ipv4", "hour", MONTH_HOURS)];
    if (kind === "Eip") return [item("public-ipv4", "hour", MONTH_HOURS, false)];
    if (kind === "Vault") return [item("storage/backup", "GiB-month", undefined, true)];
    if (kind === "Bucket") return [item("storage/s3", "GiB-month", undefined, true)];
    return [];
  });
}

const MONTHS = 12;
const HOUR = 3_600_000;

export function avoidedBy(
  { downtime, downtimeAlone }: Pick<Availability, "downtime" | "downtimeAlone">,
  downtimeHour: number | undefined,
): Avoided {
  const monthly = (time: number): number => Math.max(0, downtimeAlone - time) / HOUR / MONTHS;
  const hours = { lower: monthly(downtime.upper), upper: monthly(downtime.lower) };
  const at = (price: number) => ({ lower: hours.lower * price, upper: hours.upper * price });
  return { hours, cost: downtimeHour === undefined ? undefined : at(downtimeHour) };
}

/** Without prices, what there would be to pay for. */
export function costOf(billed: readonly Billed[], prices: Prices | undefined): Cost {
  const lines = billed.map((item) => {
    const price = prices?.prices[item.price];
    const known = price !== undefined && item.quantity !== undefined;
    return { ...item, cost: known ? price * item.quantity : undefined };
  });
  const sum = (some: typeof lines) => some.reduce((total, { cost }) => total + (cost ?? 0), 0);
  return {
    lines,
    pair: sum(lines),
    single: sum(lines.filter(({ single }) => single)),
    missing: [...new Set(billed.map(({ price }) => price))].filter((name) => prices?.prices[name] === undefined),
  };
}
