// Closed-loop writers of bench/cost-data.ts, a process of its own. Options as one line of JSON on standard input. Every
// writer has one connection and commits one row after the other; the first second is not counted. Prints one JSON line.

import { text } from "node:stream/consumers";
import mysql from "mysql2/promise";
import type { LedgerOptions } from "../infra/drill/ledger.ts";
import { percentile } from "../infra/evidence/summary.ts";

/** In `database` there is a table `writes`. */
export interface WriteOptions
  extends Pick<LedgerOptions, "address" | "port" | "user" | "password" | "database" | "writers"> {
  readonly seconds: number;
}

/** Commits per second, and how long one takes in milliseconds. */
export interface Writes {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const WARM_UP_MS = 1_000;

const options = JSON.parse(await text(process.stdin)) as WriteOptions;
const took: number[] = [];
const from = performance.now() + WARM_UP_MS;
const until = from + options.seconds * 1_000;

async function write(writer: number): Promise<void> {
  const { address: host, port, user, password, database } = options;
  const link = await mysql.createConnection({ host, port, user, password, database });
  for (let number = 1; performance.now() < until; number++) {
    const started = performance.now();
    await link.query("INSERT INTO writes (writer, number) VALUES (?, ?)", [writer, number]);
    const ended = performance.now();
    if (started >= from && ended < until) took.push(ended - started);
  }
  await link.end();
}

await Promise.all(Array.from({ length: options.writers }, (_, writer) => write(writer)));
const ascending = took.sort((one, other) => one - other);
const writes: Writes = {
  perSecond: took.length / options.seconds,
  p50Ms: percentile(ascending, 0.5) ?? Number.NaN,
  p99Ms: percentile(ascending, 0.99) ?? Number.NaN,
};
console.log(JSON.stringify(writes));
