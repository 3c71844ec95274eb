// The daemons' own words around a fault, from both servers' journals and hotpair's audit file: kept beside what was
// measured, never judged by.

import { setTimeout as sleep } from "node:timers/promises";
import type { LogLine } from "../evidence/schema.ts";
import { NODE_IDS, type NodeId } from "../model/pair.ts";
import { type Place, tryShell } from "./host.ts";

/** Before the fault, what led to it; after it, everything up to now. */
const BEFORE_MS = 2_000;
const LINES_PER_NODE = 300;

const UNITS = [
  ...["keepalived", "hotpair-arbiter", "hotpair-address", "haproxy", "nginx", "hotpair-drill-*"],
  ...["hotpair-lease", "hotpair-quorum", "hotpair-etcd-*", "hotpair-mariadb", "hotpair-mariadb-*"],
];

/** Lines of both nodes in the order of their time; a node that cannot be asked contributes one line that says so. */
export async function collectLog(
  place: Place,
  faultAt: number,
  offset: (node: NodeId) => number,
  signal?: AbortSignal,
): Promise<LogLine[]> {
  // What a daemon said last must have reached its journal.
  await sleep(100);
  const perNode = await Promise.all(
    NODE_IDS.map(async (id): Promise<LogLine[]> => {
      const host = place.hosts[id];
      const node = host.node.name;
      const since = (faultAt + offset(id) - BEFORE_MS) / 1000;
      const script = `journalctl --no-pager --quiet --output=json --output-fields=MESSAGE,_SYSTEMD_UNIT,UNIT --since=@${since.toFixed(3)} --lines=${LINES_PER_NODE} ${UNITS.map((unit) => `--unit='${unit}'`).join(" ")}
tail -n 50 /var/log/hotpair/audit.log 2>/dev/null || :`;
      try {
        const { stdout } = await tryShell(host, script, signal?.aborted ? 2_000 : 15_000);
        return stdout
          .split("\n")
          .flatMap((line) => readLine(line, node, faultAt, offset(id)) ?? [])
          .filter((line) => line.atMs >= -BEFORE_MS);
      } catch (error) {
        const text = `its log could not be read: ${error instanceof Error ? error.message : error}`;
        return [{ atMs: 0, node, source: "hotpair", text }];
      }
    }),
  );
  return perNode.flat().toSorted((a, b) => a.atMs - b.atMs);
}

/** A line of `journalctl -o json` (times in microseconds) or of the audit file; undefined for anything else. */
export function readLine(line: string, node: string, faultAt: number, offsetMs: number): LogLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const record = value as Record<string, unknown>;
  const at = (unixMs: number) => Math.round((unixMs - offsetMs - faultAt) * 100) / 100;
  if (typeof record.__REALTIME_TIMESTAMP === "string") {
    // A message that is not UTF-8 comes as an array of bytes (systemd.journal-fields(7)).
    const { MESSAGE: message } = record;
    const text = Array.isArray(message) ? Buffer.from(message as number[]).toString("latin1") : String(message ?? "");
    // What systemd says about a unit carries the unit in UNIT.
    const unit = String(record.UNIT ?? record._SYSTEMD_UNIT ?? "");
    return {
      atMs: at(Number(record.__REALTIME_TIMESTAMP) / 1000),
      node,
      source: unit.replace(/\.service$/, ""),
      text,
    };
  }
  if (typeof record.at === "number" && typeof record.to === "string")
    return {
      atMs: at(record.at),
      node,
      source: "audit",
      text: `${record.vip}: ${record.from} to ${record.to} (${record.reason})`,
    };
  return undefined;
}
