// One request of a drill's client as both sides of the pipe see it: the probe (its own process) writes it as one line, the
// drill reads it back. Nothing here opens a connection or judges an outcome.

export interface Request {
  /** Unix milliseconds at which the schedule said it should start (fractions kept). */
  readonly at: number;
  /** Milliseconds the probe itself was behind its schedule when it started: the observer's fault, not the pair's. */
  readonly late: number;
  /** Milliseconds from the real start to the end of the response, the error or the deadline. */
  readonly took: number;
  /** A complete response with status 200 to 399 within the deadline (in TCP mode: an accepted connection). */
  readonly ok: boolean;
  /** HTTP status, 0 when there was no response. */
  readonly status: number;
  /** Value of X-Served-By: the node whose backend service answered; "" when unknown. */
  readonly servedBy: string;
  /** Value of X-Balanced-By: the node whose HAProxy answered, so the one that the VIP led to; "" when unknown. */
  readonly balancedBy: string;
  /** Why it failed: an errno name, `deadline`, `status`, or "". */
  readonly error: string;
}

/** Completion in Unix milliseconds. */
export const endOf = (request: Request): number => request.at + request.late + request.took;

/** What runs in one probe process: `direct` opens a new connection per request, `persistent` keeps one. */
export type ClientKind = "direct" | "persistent";

/** How a probe process is told what to do: one JSON argument. */
export interface ProbeOptions {
  readonly scheme: "http" | "https" | "tcp";
  readonly address: string;
  readonly port: number;
  readonly path: string;
  /** Milliseconds between scheduled starts of the open loop. */
  readonly intervalMs: number;
  readonly deadlineMs: number;
  /** Milliseconds between requests on the kept connection; null: no persistent client in this process. */
  readonly persistentIntervalMs: number | null;
  /** The probe ends itself after this long, whatever its parent does. */
  readonly lifetimeMs: number;
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

/** One line without its newline: a compact array, since a drill has thousands. */
export const writeRequest = (kind: ClientKind, r: Request): string =>
  JSON.stringify([
    kind === "direct" ? "d" : "p",
    round(r.at),
    round(r.late),
    round(r.took),
    r.ok ? 1 : 0,
    r.status,
    r.servedBy,
    r.balancedBy,
    r.error,
  ]);

export type ProbeLine =
  | { readonly kind: "request"; readonly client: ClientKind; readonly request: Request }
  | { readonly kind: "reconnect"; readonly at: number }
  | { readonly kind: "started"; readonly at: number }
  | { readonly kind: "ended"; readonly reason: string };

/** Reads one line of a probe; throws on anything else, since a half-understood history would make a false verdict. */
export function readProbeLine(line: string): ProbeLine {
  const value: unknown = JSON.parse(line);
  if (Array.isArray(value)) {
    const [mark, at, late, took, ok, status, servedBy, balancedBy, error] = value as unknown[];
    if (
      (mark === "d" || mark === "p") &&
      typeof at === "number" &&
      typeof late === "number" &&
      typeof took === "number" &&
      typeof status === "number"
    )
      return {
        kind: "request",
        client: mark === "d" ? "direct" : "persistent",
        request: {
          at,
          late,
          took,
          ok: ok === 1,
          status,
          servedBy: String(servedBy ?? ""),
          balancedBy: String(balancedBy ?? ""),
          error: String(error ?? ""),
        },
      };
  } else if (typeof value === "object" && value !== null) {
    const record = value as Record<string, unknown>;
    if (typeof record.started === "number") return { kind: "started", at: record.started };
    if (typeof record.reconnect === "number") return { kind: "reconnect", at: record.reconnect };
    if (typeof record.ended === "string") return { kind: "ended", reason: record.ended };
  }
  throw new Error(`a probe wrote a line that is none of its own: ${line.slice(0, 200)}`);
}
