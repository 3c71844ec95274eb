// The ledger: numbered writes of several clients to a pair with a database, as both sides of the pipe see them. Every
// attempt and its outcome is one line; what the lines prove is ledger-check.ts, who writes them ledger-client.ts.

/**
 * `acknowledged`: the server said OK, so the write must survive. `failed`: it certainly did not happen. `unknown`: sent,
 * and no answer (or one that does not tell): it may be there, now or later.
 */
export type Outcome = "acknowledged" | "failed" | "unknown";

/** One attempt to write one number; a number is never tried twice. Times in Unix milliseconds of a monotonic clock. */
export interface Attempt {
  /** Writer, from 1. */
  readonly client: number;
  /** From 1, consecutive per client. */
  readonly number: number;
  /** Scheduled start, which may lie before the writer had a connection. */
  readonly at: number;
  /** When the client came to it, behind its schedule by its own fault. */
  readonly startedAt: number;
  /** undefined: it never left the client. */
  readonly sentAt: number | undefined;
  /** Infinity: the client ended before it knew. */
  readonly doneAt: number;
  readonly outcome: Outcome;
  /** Host name of the server at the other end of the connection; "" when there was none. */
  readonly server: string;
  /** Why it is not acknowledged; "" when it is. */
  readonly error: string;
}

/** How a ledger process is told what to do: the first line of its standard input, since it carries a password. */
export interface LedgerOptions {
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly writers: number;
  /** Milliseconds between scheduled writes, all writers together. */
  readonly intervalMs: number;
  /** `open`: a write is due at its time whatever became of earlier ones. `closed`: a writer that is not done skips its turn. */
  readonly loop: "open" | "closed";
  /** From the scheduled start; a write without an answer by then is unknown, one that was never sent failed. */
  readonly deadlineMs: number;
  /** The client ends itself after this long, whatever its parent does. */
  readonly lifetimeMs: number;
  /** Append-only file that gets every line before it is said: the history that the proof rests on. */
  readonly file: string;
}

export const LEDGER_DATABASE = "hotpair_drill";
export const LEDGER_TABLE = "ledger";

export type LedgerLine =
  /** Written before the statement is sent: without a later outcome it is unknown. */
  | { readonly kind: "sent"; readonly attempt: Attempt }
  | { readonly kind: "done"; readonly attempt: Attempt }
  | { readonly kind: "connected"; readonly at: number; readonly client: number; readonly server: string }
  | { readonly kind: "started"; readonly at: number }
  | { readonly kind: "ended"; readonly reason: string };

const MARKS = { acknowledged: "a", failed: "f", unknown: "u" } as const;
const OUTCOMES: Readonly<Record<string, Outcome>> = { a: "acknowledged", f: "failed", u: "unknown" };
const round = (value: number): number => Math.round(value * 1000) / 1000;

/** One line without its newline: a compact array, since a drill has thousands. */
export function writeLedgerLine(line: LedgerLine): string {
  if (line.kind === "started") return JSON.stringify({ started: round(line.at) });
  if (line.kind === "ended") return JSON.stringify({ ended: line.reason });
  if (line.kind === "connected") return JSON.stringify(["c", line.client, round(line.at), line.server]);
  const { client, number, at, startedAt, sentAt, doneAt, outcome, server, error } = line.attempt;
  const mark = line.kind === "sent" ? "s" : MARKS[outcome];
  const sent = sentAt === undefined ? null : round(sentAt);
  return JSON.stringify([mark, client, number, round(at), round(startedAt), sent, round(doneAt), server, error]);
}

/** Reads one line of a ledger; throws on anything else, since a half-understood history would make a false proof. */
export function readLedgerLine(line: string): LedgerLine {
  const value: unknown = JSON.parse(line);
  if (Array.isArray(value)) {
    const [mark, client, third, at, startedAt, sentAt, doneAt, server, error] = value as unknown[];
    if (mark === "c" && typeof client === "number" && typeof third === "number")
      return { kind: "connected", client, at: third, server: String(at ?? "") };
    const sent = mark === "s";
    const outcome = sent ? "unknown" : OUTCOMES[String(mark)];
    if (
      outcome !== undefined &&
      typeof client === "number" &&
      typeof third === "number" &&
      typeof at === "number" &&
      typeof startedAt === "number" &&
      (typeof sentAt === "number" || sentAt === null)
    )
      return {
        kind: sent ? "sent" : "done",
        attempt: {
          client,
          number: third,
          at,
          startedAt,
          sentAt: sentAt ?? undefined,
          doneAt: typeof doneAt === "number" ? doneAt : Number.POSITIVE_INFINITY,
          outcome,
          server: String(server ?? ""),
          error: String(error ?? ""),
        },
      };
  } else if (typeof value === "object" && value !== null) {
    const record = value as Record<string, unknown>;
    if (typeof record.started === "number") return { kind: "started", at: record.started };
    if (typeof record.ended === "string") return { kind: "ended", reason: record.ended };
  }
  throw new Error(`a ledger has a line that is none of its own: ${line.slice(0, 200)}`);
}

/**
 * The attempts of a whole history, in the order in which they were begun. What was sent and never decided is unknown. A
 * last line without its newline is half a line of a client that was killed: what it would have said is unknown, too.
 */
export function readHistory(text: string): Attempt[] {
  const attempts = new Map<string, Attempt>();
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  for (const line of whole.split("\n")) {
    if (line === "") continue;
    const read = readLedgerLine(line);
    if (read.kind === "sent" || read.kind === "done")
      attempts.set(`${read.attempt.client} ${read.attempt.number}`, read.attempt);
  }
  return [...attempts.values()];
}
