// The clock and the schedule of a drill's clients. Node's own modules only: a client must start fast.

/**
 * Wall clock read once, then the monotonic clock: a clock that is set while the drill runs must not bend the history.
 * Date.now() has whole milliseconds, so the mapping is taken at the moment it ticks. Unix milliseconds with fractions.
 */
export function wallClock(): () => number {
  const before = Date.now();
  let tick = Date.now();
  while (tick === before) tick = Date.now();
  const offset = tick - performance.now();
  return () => offset + performance.now();
}

/** Calls `due` once per multiple of `interval` after `begin`, catching up after a delay. All in milliseconds of `now`. */
export function every(begin: number, interval: number, now: () => number, due: (at: number) => void): void {
  let next = begin;
  const step = () => {
    // Timers have whole milliseconds: up to half of one early counts as on time.
    while (now() >= next - 0.5) {
      due(next);
      next += interval;
    }
    setTimeout(step, Math.max(0, next - now()));
  };
  step();
}
