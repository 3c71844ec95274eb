// The proof over a ledger: from what clients were told and what the database holds afterwards, and from nothing that the
// system says of itself. Pure.

import type { LedgerVerdict } from "../evidence/schema.ts";
import type { Attempt } from "./ledger.ts";

/** One row of the ledger's table. `id` is the database's own order: it is assigned while the statement runs. */
export interface Row {
  readonly id: number;
  readonly client: number;
  readonly number: number;
  /** Host name of the server that ran the statement. */
  readonly server: string;
}

/** How many of a kind of violation are listed; all of them are counted. */
const LISTED = 10;

/**
 * - missing: acknowledged and not in the table;
 * - duplicated: in the table more often than once;
 * - disordered: stands before a write of the same client that was acknowledged before this one was sent;
 * - phantom: in the table although its client knows that it did not happen, or never tried it.
 * A write with an unknown outcome may be there, and may have come late: counted as survived, no violation.
 */
export function checkLedger(attempts: readonly Attempt[], rows: readonly Row[]): LedgerVerdict {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const key = keyOf(row);
    const same = found.get(key);
    if (same === undefined) found.set(key, [row]);
    else same.push(row);
  }
  const count = (outcome: Attempt["outcome"]) => attempts.filter((attempt) => attempt.outcome === outcome).length;
  const known = new Map(attempts.map((attempt) => [keyOf(attempt), attempt]));
  const missing = attempts.filter((attempt) => attempt.outcome === "acknowledged" && !found.has(keyOf(attempt)));
  const duplicated = [...found.values()].filter((same) => same.length > 1).flatMap((same) => same.slice(0, 1));
  const phantom = [...found.entries()].filter(([key]) => {
    const attempt = known.get(key);
    return attempt === undefined || attempt.outcome === "failed";
  });
  return {
    attempts: attempts.length,
    acknowledged: count("acknowledged"),
    failed: count("failed"),
    unknown: count("unknown"),
    survived: attempts.filter((attempt) => attempt.outcome === "unknown" && found.has(keyOf(attempt))).length,
    missing: listed(missing),
    duplicated: listed(duplicated),
    disordered: listed(disordered(attempts, found)),
    phantom: listed(phantom.flatMap(([, same]) => same.slice(0, 1))),
  };
}

const keyOf = ({ client, number }: { client: number; number: number }): string => `${client} ${number}`;

const listed = (all: readonly { client: number; number: number }[]): LedgerVerdict["missing"] => ({
  count: all.length,
  first: all.slice(0, LISTED).map(({ client, number }) => `${client}/${number}`),
});

function disordered(attempts: readonly Attempt[], found: ReadonlyMap<string, readonly Row[]>): Attempt[] {
  const wrong: Attempt[] = [];
  const perClient = Map.groupBy(attempts, (attempt) => attempt.client);
  for (const own of perClient.values()) {
    const inOrder = own.toSorted((one, other) => one.number - other.number);
    /** Acknowledged ones so far, and the highest place among those acknowledged up to each. */
    let highest = 0;
    let acknowledgedUntil = Number.NEGATIVE_INFINITY;
    for (const attempt of inOrder) {
      const id = found.get(keyOf(attempt))?.[0]?.id;
      if (id === undefined) continue;
      // A client is never two writes ahead of itself; if a history says so, it proves no order.
      if (attempt.sentAt !== undefined && attempt.sentAt >= acknowledgedUntil && id < highest) wrong.push(attempt);
      if (attempt.outcome !== "acknowledged") continue;
      highest = Math.max(highest, id);
      acknowledgedUntil = Math.max(acknowledgedUntil, attempt.doneAt);
    }
  }
  return wrong;
}

/** One line per kind of violation, for the verdict of a drill. `where`: whose table it was. */
export function ledgerReasons(verdict: LedgerVerdict, where: string): string[] {
  const line = (what: LedgerVerdict["missing"], words: string): string[] =>
    what.count === 0
      ? []
      : [
          `${what.count} ${words} on ${where} (client/number ${what.first.join(", ")}${what.count > what.first.length ? ", …" : ""})`,
        ];
  return [
    ...line(verdict.missing, "acknowledged writes are lost"),
    ...line(verdict.duplicated, "writes are there twice"),
    ...line(verdict.disordered, "writes stand before one that was acknowledged earlier"),
    ...line(verdict.phantom, "rows are there that no client may have written"),
  ];
}

/** Rows as `mariadb --batch --skip-column-names` prints them: tab-separated id, client, number, server. */
export function readRows(text: string): Row[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id, client, number, server = ""] = line.split("\t");
      const row = { id: Number(id), client: Number(client), number: Number(number), server };
      if (![row.id, row.client, row.number].every(Number.isSafeInteger))
        throw new Error(`not a row of the ledger: ${line.slice(0, 200)}`);
      return row;
    });
}
