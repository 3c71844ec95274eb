// How often something happens, as users write it (`0.5/year`, `2/month`) and as code multiplies it: times per year under a
// brand, so that a bare number whose unit must be guessed does not compile.

declare const unit: unique symbol;

/** Times per year of 365 days; never negative. */
export type Rate = number & { readonly [unit]: "per year" };

const PER_YEAR: Readonly<Record<string, number>> = { day: 365, week: 365 / 7, month: 12, year: 1 };
const PATTERN = /^(\d+(?:\.\d+)?)\/(day|week|month|year)$/;

export const perYear = (times: number): Rate => times as Rate;

/** Reads `0.5/year`, `1/week`; undefined when the text is anything else. */
export function parseRate(text: string): Rate | undefined {
  const match = PATTERN.exec(text.trim());
  const factor = PER_YEAR[match?.[2] ?? ""];
  return match && factor !== undefined ? perYear(Number(match[1]) * factor) : undefined;
}

/** Writes a text that reads back as the same rate to a millionth. */
export const formatRate = (rate: Rate): string => `${Math.round(rate * 1e6) / 1e6}/year`;
