// The ledger's client, as its own process: several writers that speak MariaDB's own protocol through the VIP, each with one
// connection and its own sequence of numbers. Run as `node ledger-client.ts`, options as one line of JSON on standard
// input. Every line goes to the history file first and to standard output after it. Ends when its standard input closes,
// when nobody reads its output, and after its lifetime. It judges nothing.

import { openSync, writeSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import os from "node:os";
import mysql, { type Connection } from "mysql2";
import { every, wallClock } from "./clock.ts";
import { type Attempt, LEDGER_TABLE, type LedgerLine, type LedgerOptions, writeLedgerLine } from "./ledger.ts";

/**
 * While a writer has no connection, it tries a new one this often: a SYN that the network swallowed comes again only after
 * a second. Once somebody has accepted, his handshake gets some time before another is begun beside it, since a busy server
 * is not made faster by more of them.
 */
const AGAIN_MS = 100;
const ACCEPT_MS = 600;
const PATIENCE_MS = 400;
const HANDSHAKE_MS = 3_000;
const ATTEMPTS = 8;

/**
 * Errors of a statement that certainly changed nothing: the server refused it before it ran. Any other error (a shutdown,
 * a killed connection, a commit that went wrong) leaves the outcome open. Numbers: MariaDB error codes.
 */
const REFUSED: ReadonlySet<number> = new Set([
  1040, // too many connections
  1044, // access denied to the database
  1045, // access denied
  1129, // host is blocked
  1142, // statement denied
  1146, // no such table
  1205, // lock wait timeout
  1213, // deadlock: rolled back
  1290, // the server runs with read_only
  1792, // read-only transaction
  1836, // read-only mode
]);

interface Due {
  readonly number: number;
  readonly at: number;
  readonly startedAt: number;
}

type Said = (line: LedgerLine) => void;

/** One writer: takes its writes in order, one at a time, and remakes its connection whenever that is in doubt. */
class Writer {
  readonly #client: number;
  readonly #options: LedgerOptions;
  readonly #now: () => number;
  readonly #say: Said;
  readonly #waiting: { due: Due; timer: NodeJS.Timeout }[] = [];
  #connection: { readonly link: Connection; readonly server: string } | undefined;
  #attempts = 0;
  #lastAttempt = Number.NEGATIVE_INFINITY;
  #lastAccepted = Number.NEGATIVE_INFINITY;
  #number = 0;
  #busy = false;

  constructor(client: number, options: LedgerOptions, now: () => number, say: Said) {
    this.#client = client;
    this.#options = options;
    this.#now = now;
    this.#say = say;
  }

  connect(): void {
    if (this.#connection !== undefined || this.#attempts >= ATTEMPTS) return;
    if (this.#now() - this.#lastAttempt < AGAIN_MS || this.#now() - this.#lastAccepted < PATIENCE_MS) return;
    this.#lastAttempt = this.#now();
    this.#attempts++;
    const { address, port, user, password, database } = this.#options;
    const stream = connectTcp({ host: address, port, noDelay: true });
    const link = mysql.createConnection({ stream, user, password, database, connectTimeout: HANDSHAKE_MS });
    let over = false;
    const end = (keep: boolean) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#attempts--;
      if (keep) return;
      link.destroy();
      // Refused by somebody who is there: nothing to be patient with.
      this.#lastAccepted = Number.NEGATIVE_INFINITY;
    };
    let timer = setTimeout(() => end(false), ACCEPT_MS);
    stream.once("connect", () => {
      if (over) return;
      this.#lastAccepted = this.#now();
      clearTimeout(timer);
      timer = setTimeout(() => end(false), HANDSHAKE_MS);
    });
    link.on("error", () => {
      end(false);
      this.#lost(link);
    });
    link.query("SELECT @@hostname AS server", (error, rows) => {
      if (over) return;
      const server = Array.isArray(rows) ? String((rows[0] as { server?: unknown } | undefined)?.server ?? "") : "";
      const wanted = error === null && this.#connection === undefined;
      end(wanted);
      if (!wanted) return;
      this.#connection = { link, server };
      link.once("end", () => this.#lost(link));
      this.#say({ kind: "connected", at: this.#now(), client: this.#client, server });
      this.#next();
    });
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  due(at: number): void {
    if (this.#options.loop === "closed" && (this.#busy || this.#waiting.length > 0)) return;
    const due: Due = { number: ++this.#number, at, startedAt: this.#now() };
    const timer = setTimeout(() => this.#expire(due), Math.max(0, at + this.#options.deadlineMs - this.#now()));
    this.#waiting.push({ due, timer });
    this.#next();
  }

  /** Its time is over and it was never sent. */
  #expire(due: Due): void {
    const index = this.#waiting.findIndex((one) => one.due === due);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    const why = this.#connection === undefined ? "no connection" : "the write before it took too long";
    this.#done(due, undefined, "failed", "", why);
  }

  #next(): void {
    if (this.#busy) return;
    if (this.#connection === undefined) this.connect();
    const first = this.#connection && this.#waiting.shift();
    if (this.#connection === undefined || first === undefined) return;
    clearTimeout(first.timer);
    this.#write(first.due, this.#connection.link, this.#connection.server);
  }

  #write(due: Due, link: Connection, server: string): void {
    this.#busy = true;
    const sentAt = this.#now();
    let settled = false;
    const settle = (outcome: Attempt["outcome"], error: string, keep: boolean) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      this.#done(due, sentAt, outcome, server, error);
      this.#busy = false;
      if (!keep) {
        link.destroy();
        this.#lost(link);
      }
      this.#next();
    };
    const left = Math.max(0, due.at + this.#options.deadlineMs - sentAt);
    const timer = setTimeout(() => settle("unknown", "deadline", false), left);
    const { number, at, startedAt } = due;
    const sent: Attempt = {
      client: this.#client,
      number,
      at,
      startedAt,
      sentAt,
      doneAt: Number.POSITIVE_INFINITY,
      outcome: "unknown",
      server,
      error: "",
    };
    this.#say({ kind: "sent", attempt: sent });
    const statement = `INSERT INTO ${LEDGER_TABLE} (client, number, server) VALUES (${this.#client}, ${number}, @@hostname)`;
    link.query(statement, (error) => {
      if (error === null) return settle("acknowledged", "", true);
      const refused = error.errno !== undefined && REFUSED.has(error.errno);
      settle(refused ? "failed" : "unknown", error.code ?? error.message, false);
    });
  }

  #lost(link: Connection): void {
    if (this.#connection?.link === link) this.#connection = undefined;
  }

  #done(due: Due, sentAt: number | undefined, outcome: Attempt["outcome"], server: string, error: string): void {
    const attempt: Attempt = { client: this.#client, ...due, sentAt, doneAt: this.#now(), outcome, server, error };
    this.#say({ kind: "done", attempt });
  }
}

function run(options: LedgerOptions): void {
  try {
    // Ahead of the pair's own daemons where they share a machine: a late client measures itself.
    os.setPriority(-15);
  } catch {
    // Not root: its lateness is in the evidence.
  }
  const now = wallClock();
  const history = openSync(options.file, "a", 0o600);
  const out = process.stdout;
  const say: Said = (line) => {
    const text = `${writeLedgerLine(line)}\n`;
    writeSync(history, text);
    out.write(text);
  };
  out.on("error", () => process.exit(0));
  const end = (reason: string) => {
    say({ kind: "ended", reason });
    setTimeout(() => process.exit(0), 50);
  };
  process.stdin.on("end", () => end("standard input closed")).on("error", () => end("standard input closed"));
  setTimeout(() => end("lifetime over"), options.lifetimeMs).unref();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => end(signal));

  const writers = Array.from({ length: options.writers }, (_, index) => new Writer(index + 1, options, now, say));
  let begun = false;
  // Until every writer has been connected once there is nothing to measure; from then on nothing waits for anything.
  setInterval(() => {
    for (const writer of writers) writer.connect();
    if (begun || !writers.every((writer) => writer.connected)) return;
    begun = true;
    const begin = now() + 5;
    say({ kind: "started", at: begin });
    let turn = 0;
    every(begin, options.intervalMs, now, (at) => writers[turn++ % writers.length]?.due(at));
  }, 20);
}

if (process.argv[1] === import.meta.filename) {
  let text = "";
  const first = (data: string) => {
    text += data;
    const end = text.indexOf("\n");
    if (end < 0) return;
    process.stdin.off("data", first);
    process.stdin.resume();
    run(JSON.parse(text.slice(0, end)) as LedgerOptions);
  };
  process.stdin.setEncoding("utf8").on("data", first);
}
