// What replication costs, from rounds that were kept: how many times as long, or as much, for each figure, and how sure that is.
// Pure: rounds in, figures and Markdown out. What is measured is drbd.ts.

import { randomFrom } from "../infra/drill/campaign.ts";
import { median } from "./lab-pair.ts";

/** Throughput is a rate, latency a time; of an emulated machine neither is anybody's but as a ratio. */
export const FIGURES = {
  oneP50: "4 KiB written and flushed, one writer: time, p50",
  oneP99: "… p99",
  fourP50: "4 KiB written and flushed, four writers: time, p50",
  fourP99: "… p99",
  fourRate: "… writes per second, all four",
  write: "written from end to end: bytes per second",
  read: "read from end to end: bytes per second",
} as const;
export type Figure = keyof typeof FIGURES;
export type Figures = Readonly<Record<Figure, number>>;

/** One round as it is kept: each figure as a multiple of what the same disk gave without DRBD in the same round. */
export interface Round {
  readonly at: string;
  /** What was measured first, second and third. */
  readonly order: readonly string[];
  readonly connected: Figures;
  readonly disconnected: Figures;
}

/** Median over the rounds, and the interval that holds 95 % of the medians of rounds drawn from them (bootstrap). */
export interface Ratio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export type Ratios = Readonly<Record<"connected" | "disconnected" | "peer", Ratio>>;

const DRAWS = 10_000;

export function summarise(rounds: readonly Round[]): Readonly<Record<Figure, Ratios>> {
  const figures = Object.keys(FIGURES) as Figure[];
  return Object.fromEntries(
    figures.map((figure) => {
      const of = (value: (round: Round) => number) => ratio(rounds.map(value), figure);
      return [
        figure,
        {
          connected: of(({ connected }) => connected[figure]),
          disconnected: of(({ disconnected }) => disconnected[figure]),
          // In one round, both are multiples of the same.
          peer: of(({ connected, disconnected }) => connected[figure] / disconnected[figure]),
        },
      ];
    }),
  ) as Record<Figure, Ratios>;
}

function ratio(values: readonly number[], seed: string): Ratio {
  const random = randomFrom(seed);
  const drawn = Array.from({ length: DRAWS }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)] ?? Number.NaN)),
  ).sort((one, other) => one - other);
  const at = (share: number): number => rounded(drawn[Math.floor(share * (DRAWS - 1))] ?? Number.NaN);
  return { median: rounded(median(values)), low: at(0.025), high: at(0.975) };
}

export const rounded = (value: number): number => Math.round(value * 1_000) / 1_000;

export function table(rounds: readonly Round[]): string {
  const summary = summarise(rounds);
  const shown = ({ median, low, high }: Ratio): string =>
    `${median.toFixed(2)} x (${low.toFixed(2)} to ${high.toFixed(2)})`;
  return [
    `${rounds.length} rounds: median, and in brackets 95 % of the medians of rounds drawn from them at random (bootstrap).`,
    "",
    "| | peer connected, against no DRBD | peer disconnected, against no DRBD | connected against disconnected |",
    "|---|---|---|---|",
    ...(Object.keys(FIGURES) as Figure[]).map((figure) => {
      const { connected, disconnected, peer } = summary[figure];
      return `| ${FIGURES[figure]} | ${shown(connected)} | ${shown(disconnected)} | ${shown(peer)} |`;
    }),
  ].join("\n");
}
