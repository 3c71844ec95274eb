// Times of evidence as a person reads them: the report's own rounding. Pure.

/** Recovery times: 0 means that no request failed, null that service did not come back. */
export const formatRecovery = (value: number | null): string =>
  value === null ? "no return" : value === 0 ? "no failure" : formatMs(value);

export function formatMs(value: number): string {
  if (value >= 10_000) return `${(value / 1_000).toFixed(1)} s`;
  if (value >= 1_000) return `${(value / 1_000).toFixed(2)} s`;
  return value >= 10 || value === 0 ? `${Math.round(value)} ms` : `${Math.round(value * 10) / 10} ms`;
}
