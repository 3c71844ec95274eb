// Durations as users write them (`100ms`, `30s`, `5m`) and as code adds them: milliseconds under a brand, so that a bare
// number whose unit must be guessed does not compile.

declare const unit: unique symbol;

/** A length of time in milliseconds. Fractions are allowed (a VRRP skew is 1.17 ms); never negative. */
export type Duration = number & { readonly [unit]: "ms" };

/** What a bound can be besides a length of time: this configuration bounds nothing. */
export const UNBOUNDED = "unbounded";
export type Bound = Duration | typeof UNBOUNDED;

const MS_PER: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(\d+(?:\.\d+)?)(us|ms|s|m|h|d)$/;

export const ms = (value: number): Duration => value as Duration;
export const seconds = (value: number): Duration => ms(value * 1_000);
export const days = (value: number): Duration => seconds(value * 86_400);

/** Reads `100ms`, `2.5s`, `5m`; undefined when the text is anything else (the caller knows the place and says so). */
export function parseDuration(text: string): Duration | undefined {
  const match = PATTERN.exec(text.trim());
  const factor = MS_PER[match?.[2] ?? ""];
  return match && factor !== undefined ? ms(Number(match[1]) * factor) : undefined;
}

/** Writes a text that reads back as the same duration to a thousandth of a millisecond: whole in the largest unit that fits. */
export function formatDuration(value: Duration): string {
  for (const [name, factor] of Object.entries(MS_PER).reverse()) {
    const whole = Math.round(value / factor);
    // 301.172ms, not 301172us: a fraction reads better than the smallest unit in hundreds of thousands.
    if (factor < 1 && value >= 1) break;
    if (whole >= 1 && Math.abs(whole * factor - value) <= 0.0005) return `${whole}${name}`;
  }
  const microseconds = Math.round(value * 1_000);
  return value >= 1_000 ? `${microseconds / 1e6}s` : `${microseconds / 1_000}ms`;
}

/** Sum of bounds; one unbounded term makes the sum unbounded. */
export function addBounds(bounds: readonly Bound[]): Bound {
  return bounds.reduce<Bound>(
    (sum, next) => (sum === UNBOUNDED || next === UNBOUNDED ? UNBOUNDED : ms(sum + next)),
    ms(0),
  );
}

/** True when `bound` is certain to be within `target`. */
export const within = (bound: Bound, target: Duration): boolean => bound !== UNBOUNDED && bound <= target;
