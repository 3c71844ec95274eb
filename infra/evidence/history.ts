// A stack's history: what was drilled when, and what came of it, one line per drill in `<directory>/<stack>/history.jsonl`,
// appended and never changed. Each line holds the digest of the drill's file and of the line before it, so that neither a
// file nor a line can be changed or taken out unnoticed. Pure: texts in, entries out; records.ts reads and writes.

import { createHash } from "node:crypto";
import { z } from "zod";
import { FAILURE_CLASS_IDS } from "../model/failure.ts";
import { canonical } from "./digest.ts";
import type { Evidence } from "./schema.ts";
import { summarize } from "./summary.ts";

export const HISTORY_VERSION = 1;

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const common = {
  version: z.literal(HISTORY_VERSION),
  /** From 1. */
  sequence: z.number().int().min(1),
  /** Of the line before; null in the first. */
  previous: digest.nullable(),
};
const drillEntry = z.strictObject({
  ...common,
  kind: z.literal("drill"),
  /** Beside the history; its digest is that of its bytes. */
  file: z.string().regex(/^[A-Za-z0-9.-]+\.json$/),
  sha256: digest,
  startedAt: z.iso.datetime(),
  scenario: z.string(),
  failure: z.enum(FAILURE_CLASS_IDS),
  configDigest: z.string(),
  versions: z.record(z.string(), z.string()),
  place: z.enum(["lab", "servers"]),
  runs: z.number().int().min(1),
  passedRuns: z.number().int().min(0),
  rtoMaxMs: z.number().nullable(),
});
const prunedEntry = z.strictObject({
  ...common,
  kind: z.literal("pruned"),
  at: z.iso.datetime(),
  /** Removed on purpose: what they said stays in their own entries. */
  files: z.array(z.string()).min(1),
});
const versionsEntry = z.strictObject({
  ...common,
  kind: z.literal("versions"),
  at: z.iso.datetime(),
  /** What an upgrade left on the servers. It can only outdate evidence, so that nobody has to sign it. */
  versions: z.record(z.string(), z.string()),
});
const entrySchema = z.discriminatedUnion("kind", [drillEntry, prunedEntry, versionsEntry]);
/** The signature is over the entry's canonical text, and is itself covered by the digest in the next line. */
const lineSchema = z.strictObject({ entry: entrySchema, signature: z.base64().optional() });

export type DrillEntry = z.output<typeof drillEntry>;
export type PrunedEntry = z.output<typeof prunedEntry>;
export type VersionsEntry = z.output<typeof versionsEntry>;
export type Entry = DrillEntry | PrunedEntry | VersionsEntry;
/** What a line says, before it has its place. */
export type Facts =
  | Omit<DrillEntry, keyof typeof common>
  | Omit<PrunedEntry, keyof typeof common>
  | Omit<VersionsEntry, keyof typeof common>;

export interface History {
  /** Those before the first line that is wrong. */
  readonly entries: readonly Entry[];
  /** By sequence; of the lines that have one. */
  readonly signatures: ReadonlyMap<number, string>;
  /** Which line is wrong, and how; undefined: none. */
  readonly broken: string | undefined;
}

export const sha256 = (text: string | Uint8Array): string =>
  `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** Reads a history, ends before the first line that does not follow from the one before it. `file` is for the message. */
export function parseHistory(text: string, file: string): History {
  const entries: Entry[] = [];
  const signatures = new Map<number, string>();
  const newest = new Map<string, string>();
  let previous: string | null = null;
  const lines = text.split("\n");
  if (lines.pop() !== "") return { entries, signatures, broken: `${file}: its last line is not whole` };
  for (const [index, line] of lines.entries()) {
    const wrong = (what: string): History => ({ entries, signatures, broken: `${file}:${index + 1} ${what}` });
    const read = lineSchema.safeParse(jsonOf(line));
    if (!read.success) return wrong("is no line of a history");
    const { entry, signature } = read.data;
    if (entry.sequence !== index + 1 || entry.previous !== previous)
      return wrong("does not follow from the line before it: a line was changed, taken out or put in");
    if (entry.kind === "drill") newest.set(entry.scenario, entry.file);
    else if (entry.kind === "pruned" && entry.files.some((each) => [...newest.values()].includes(each)))
      return wrong("removes the newest drill of a scenario, which no command does");
    entries.push(entry);
    if (signature !== undefined) signatures.set(entry.sequence, signature);
    previous = sha256(line);
  }
  return { entries, signatures, broken: undefined };
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** What a history says of a drill whose file has these bytes. */
export function drillFacts(evidence: Evidence, file: string, bytes: Uint8Array): Omit<DrillEntry, keyof typeof common> {
  const { runs, rtoMaxMs } = summarize(evidence);
  return {
    kind: "drill",
    file,
    sha256: sha256(bytes),
    startedAt: evidence.startedAt,
    scenario: evidence.scenario,
    failure: evidence.failure,
    configDigest: evidence.configDigest,
    versions: versionsThatMatter(evidence.versions),
    place: evidence.place,
    runs,
    passedRuns: evidence.runs.filter(({ verdict }) => verdict === "passed").length,
    rtoMaxMs,
  };
}

/** The line that follows `text`, a whole history; without its line feed. */
export function nextLine(text: string, facts: Facts, sign?: (text: string) => string): string {
  const lines = text.split("\n").slice(0, -1);
  const last = lines.at(-1);
  const entry = {
    version: HISTORY_VERSION,
    sequence: lines.length + 1,
    previous: last === undefined ? null : sha256(last),
    ...facts,
  };
  return canonical({ entry, signature: sign?.(canonical(entry)) });
}

/**
 * Of each daemon the upstream version, and of the kernel its first two numbers: a distribution's own revision of a daemon
 * mends security and not timing. Nodes are told by nothing, since a renamed one is the same; where they differ, both stand.
 */
export function versionsThatMatter(versions: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const found = new Map<string, Set<string>>();
  for (const [key, version] of Object.entries(versions)) {
    const name = key.split("@")[0] ?? key;
    const upstream =
      name === "linux" ? version.split(".").slice(0, 2).join(".") : (version.split(/[-+~]/)[0] ?? version);
    found.set(name, (found.get(name) ?? new Set()).add(upstream));
  }
  return Object.fromEntries([...found].map(([name, all]) => [name, [...all].sort().join(" and ")]));
}
