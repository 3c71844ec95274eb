// The ledger of one drill from beginning to end: account and table made on the primary with their removal armed on both
// servers, the client with the address of the VIP, and the proof over what the servers hold afterwards. What a ledger
// proves is ledger-check.ts.

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Ledger, LedgerVerdict } from "../evidence/schema.ts";
import { NODE_IDS, type NodeId } from "../model/pair.ts";
import { databaseDestination, type RunningLedger, startLedger } from "./clients.ts";
import { onBoth, type Place, shell, tryShell } from "./host.ts";
import { LEDGER_DATABASE, type LedgerOptions, readHistory } from "./ledger.ts";
import {
  accountNetwork,
  LEDGER_USER,
  makeLedger,
  readLedger,
  readLedgerAnswer,
  removeLedger,
} from "./ledger-account.ts";
import { checkLedger, ledgerReasons, type Row, readRows } from "./ledger-check.ts";
import { armCommand, undoNowCommand } from "./undo.ts";

/** Enough that one that waits for its deadline leaves the others writing. */
export const LEDGER_WRITERS = 4;
/** A replica in sync has received everything and may still be applying it. */
const APPLY_MS = 10_000;
/** Until each writer has been connected once. */
const READY_MS = 60_000;

export interface LedgerSettings {
  readonly intervalMs: number;
  readonly deadlineMs: number;
  readonly loop: LedgerOptions["loop"];
  /** How long the client lives at most, and when the servers remove the account by themselves. */
  readonly lifetimeMs: number;
  /** What clients use in the place of the VIP (address.ts). */
  readonly reached?: string | undefined;
}

export interface Proof {
  /** undefined: no primary was left that could be asked. */
  readonly ledger: Ledger | undefined;
  /** One line per violation; empty: proved. */
  readonly reasons: readonly string[];
}

export interface OpenLedger {
  readonly client: RunningLedger;
  /** After the client has stopped. `whole`: both servers must have everything, not only the primary, where there are two. */
  prove(whole: boolean): Promise<Proof>;
  /** Moves the history to a place where it stays. */
  keep(path: string): void;
  /** Ends the client, removes table and account, and the history unless it is kept. */
  close(): Promise<void>;
}

/** Rejects when the account could not be made; then nothing is left behind. */
export async function openLedger(place: Place, settings: LedgerSettings): Promise<OpenLedger> {
  const { address, port } = databaseDestination(place.pair, settings.reached);
  const id = `ledger-${randomBytes(3).toString("hex")}`;
  const password = randomBytes(24).toString("hex");
  const remove = async () => {
    await Promise.all(NODE_IDS.map((node) => tryShell(place.hosts[node], undoNowCommand(id)).catch(() => undefined)));
  };
  const directory = mkdtempSync(join(tmpdir(), "hotpair-ledger-"));
  let client: RunningLedger;
  try {
    const undo = { id, description: "table and account of the ledger", command: removeLedger, lasting: true } as const;
    await onBoth(place, (host) => shell(host, armCommand({ ...undo, afterMs: settings.lifetimeMs })));
    const network = accountNetwork(place.pair.networks.public.prefix);
    const made = await onBoth(place, (host) => shell(host, makeLedger(password, network)));
    if (made.filter((text) => text.trim() === "made").length !== 1)
      throw new Error("the ledger needs exactly one server that takes writes");
    const { intervalMs, deadlineMs, loop, lifetimeMs } = settings;
    client = startLedger(
      {
        ...{ address, port, user: LEDGER_USER, password, database: LEDGER_DATABASE, writers: LEDGER_WRITERS },
        ...{ intervalMs, deadlineMs, loop, lifetimeMs, file: join(directory, "history.jsonl") },
      },
      place.lab?.namespaces.client,
    );
    await client.ready(READY_MS);
  } catch (error) {
    await remove();
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  const history = join(directory, "history.jsonl");
  return {
    client,
    prove: (whole) => prove(place, readFileSync(history, "utf8"), whole),
    keep(path) {
      mkdirSync(dirname(path), { recursive: true });
      renameSync(history, path);
    },
    async close() {
      await client.stop();
      await remove();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface Table {
  readonly node: NodeId;
  readonly primary: boolean;
  readonly rows: readonly Row[];
}

async function prove(place: Place, history: string, whole: boolean): Promise<Proof> {
  const attempts = readHistory(history);
  // A database on a volume has no second server: the volume's own copy is looked at by nobody but DRBD.
  const copied = whole && place.pair.mariadb !== undefined;
  const nameOf = (table: Table) => place.hosts[table.node].node.name;
  const deadline = Date.now() + APPLY_MS;
  for (;;) {
    const tables = (await onBoth(place, (_, node) => read(place, node))).filter((table) => table !== undefined);
    const primaries = tables.filter((table) => table.primary);
    const [primary] = primaries;
    // A pair that was whole a moment ago may be moving its role again, as on a machine that is too busy for its lease.
    if (whole && primary === undefined && Date.now() < deadline) {
      await sleep(200);
      continue;
    }
    if (primary === undefined || primaries.length > 1) {
      const found = primaries.length > 1 ? "both servers take writes" : "no server takes writes";
      return { ledger: undefined, reasons: [`nothing could be proved: ${found}`] };
    }
    const replica = tables.find((table) => !table.primary);
    const verdict = checkLedger(attempts, primary.rows);
    const copy = replica && checkLedger(attempts, replica.rows);
    // What the primary has not lost is only on its way while the replica applies it.
    const behind = copied && (replica === undefined || replica.rows.length !== primary.rows.length);
    if (behind && Date.now() < deadline) {
      await sleep(200);
      continue;
    }
    const reasons = [
      ...ledgerReasons(verdict, nameOf(primary)),
      ...(copied ? replicaReasons(copy, replica && nameOf(replica)) : []),
    ];
    const ledger: Ledger = { writers: LEDGER_WRITERS, primary: verdict, ...(copied && copy ? { replica: copy } : {}) };
    return { ledger, reasons };
  }
}

const replicaReasons = (copy: LedgerVerdict | undefined, name: string | undefined): string[] =>
  copy === undefined || name === undefined
    ? ["the replica could not be asked for its rows"]
    : ledgerReasons(copy, `the replica ${name}`);

/** A server's table; undefined when it does not answer. */
async function read(place: Place, node: NodeId): Promise<Table | undefined> {
  try {
    const { code, stdout } = await tryShell(place.hosts[node], readLedger);
    const answer = code === 0 ? readLedgerAnswer(stdout) : undefined;
    return answer && { node, primary: answer.primary, rows: readRows(answer.rows) };
  } catch {
    return undefined;
  }
}
