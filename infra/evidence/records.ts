// A stack's history on disk, one entry per file in `<directory>/<stack>/history/`, and the drills' files that it speaks of:
// recording a drill, reading what counts, checking all of it, making room. What an entry means is history.ts, what a drill's
// file means schema.ts.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { basename, isAbsolute, join } from "node:path";
import { UserError } from "../model/errors.ts";
import type { DrillRecord, Sighting } from "../model/proof.ts";
import { canonical } from "./digest.ts";
import {
  type DrillFacts,
  drillFacts,
  type Entry,
  type Facts,
  type History,
  nextEntry,
  parseHistory,
  sha256,
  timeOf,
  versionsThatMatter,
} from "./history.ts";
import { committedAt } from "./revision.ts";
import type { Evidence } from "./schema.ts";
import { type Sign, type Verify, withVerifier } from "./signature.ts";
import { evidencePath, namesIn, parseEvidence, writeWhole } from "./store.ts";

const PROJECT = join(import.meta.dirname, "../..");

/** Where a stack's history is kept. */
export const historyFolder = (directory: string, stack: string): string => join(directory, stack, "history");

/** What the first version wrote, one entry per line; nothing is added to it any more. */
const linesPath = (directory: string, stack: string): string => join(directory, stack, "history.jsonl");

/** A stack's history; empty when it has none. An entry that is wrong is named in the answer, not thrown. */
function readHistory(directory: string, stack: string): History {
  const folder = historyFolder(directory, stack);
  const lines = linesPath(directory, stack);
  const files = namesIn(folder, /\.json$/).map((name) => {
    const file = join(folder, name);
    return { file, name, text: readFileSync(file, "utf8") };
  });
  return parseHistory({ lines: { file: lines, text: linesOf(directory, stack) }, files });
}

const linesOf = (directory: string, stack: string): string => {
  const path = linesPath(directory, stack);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
};

/** Records a drill whose evidence was written whole: from here on its file must stay as it is. */
export function recordDrill(directory: string, evidence: Evidence, sign?: Sign): void {
  const file = evidencePath(directory, evidence);
  append(directory, evidence.stack, drillFacts(evidence, basename(file), readFileSync(file)), sign);
}

/** Records what an upgrade left on the servers of a stack that was drilled; before its first drill there is nothing to outdate. */
export function recordVersions(
  directory: string,
  stack: string,
  { versions, at }: { readonly versions: Readonly<Record<string, string>>; readonly at: string },
): void {
  if (readHistory(directory, stack).entries.length === 0) return;
  append(directory, stack, { kind: "versions", at, versions: versionsThatMatter(versions) }, undefined);
}

function append(directory: string, stack: string, facts: Facts, sign: Sign | undefined): void {
  const { name, text } = nextEntry(requireHistory(directory, stack), facts, sign);
  writeWhole(join(historyFolder(directory, stack), name), text);
}

/** The history that something is recorded after. Throws UserError when it cannot be believed. */
export function requireHistory(directory: string, stack: string): History {
  const history = readHistory(directory, stack);
  if (history.broken === undefined) return history;
  throw new UserError("no drill can be recorded, since the history before it cannot be believed", [
    history.broken,
    `restore it from where it was committed; where it cannot be restored, move ${join(directory, stack)} away and drill again`,
  ]);
}

/** Whose word counts. */
export interface Trust {
  /** The stack's `evidence.allowedSigners`: from the project, or absolute. undefined: signatures are not asked for. */
  readonly allowedSigners: string | undefined;
  /** The drills whose signatures are verified; the others are believed, since nothing hangs on them. Default: all. */
  readonly of?: (entry: DrillFacts) => boolean;
}

export interface Recorded extends DrillRecord {
  readonly entry: Entry<DrillFacts>;
  /** Who vouches for it; undefined: nobody was asked. */
  readonly signer: string | undefined;
}

/** What the history says of each drill, and why not all of it counts. */
export function readRecords(
  directory: string,
  stack: string,
  { allowedSigners, of = () => true }: Trust,
): {
  readonly drills: readonly Recorded[];
  readonly sightings: readonly Sighting[];
  readonly broken: string | undefined;
  /** Ends of the history; more than one after a merge of branches that both drilled. */
  readonly branches: number;
} {
  const history = readHistory(directory, stack);
  const pruned = new Set(history.entries.flatMap((entry) => (entry.kind === "pruned" ? entry.files : [])));
  const drills = history.entries.filter(
    (entry): entry is Entry<DrillFacts> => entry.kind === "drill" && !pruned.has(entry.file),
  );
  const sightings = history.entries.filter((entry) => entry.kind === "versions");
  const read = (vouch: (entry: Entry) => Vouched) => ({
    sightings,
    branches: history.heads.length,
    drills: drills.map((entry): Recorded => {
      const { signer, distrusted } = of(entry) ? vouch(entry) : NOBODY;
      return {
        ...entry,
        entry,
        signer,
        distrusted: distrusted ?? changed(join(directory, stack, entry.file), entry.sha256),
      };
    }),
    // Who could remove a drill from what counts without signing for it could make a failure unseen.
    broken:
      history.broken ??
      history.entries.flatMap((entry) => (entry.kind === "pruned" ? (vouch(entry).distrusted ?? []) : []))[0],
  });
  if (allowedSigners === undefined || history.entries.length === 0) return read(() => NOBODY);
  const file = isAbsolute(allowedSigners) ? allowedSigners : join(PROJECT, allowedSigners);
  if (!existsSync(file)) return { ...read(() => NOBODY), broken: `${allowedSigners}, who may sign, does not exist` };
  return withVerifier(file, (verify) => read((entry) => vouched(entry, history, verify)));
}

interface Vouched {
  readonly signer?: string;
  readonly distrusted?: string;
}
const NOBODY: Vouched = {};

function vouched(entry: Entry, { signatures }: History, verify: Verify): Vouched {
  const signed = signatures.get(entry.address);
  if (signed === undefined) return { distrusted: `${entry.where} is not signed` };
  const said = verify(signed.text, signed.signature, timeOf(entry));
  return "signer" in said ? { signer: said.signer } : { distrusted: `${entry.where}: ${said.problem}` };
}

function changed(path: string, recorded: string): string | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return `${path} is gone`;
    throw error;
  }
  return sha256(bytes) === recorded ? undefined : `${path} was changed after it was recorded`;
}

/** What was checked of one recorded drill, or of a file that no entry of the history names. */
export interface Verified {
  readonly file: string;
  /** Its place in the history; undefined: it was never recorded, and counts for nothing. */
  readonly sequence: number | undefined;
  readonly signer: string | undefined;
  /** Why it does not count; undefined: it does. */
  readonly problem: string | undefined;
}

export interface Verification {
  readonly broken: string | undefined;
  readonly files: readonly Verified[];
  /** Entries of that revision that are not there any more. */
  readonly gone: readonly string[];
  /** Ends of the history: two or more until the next drill joins the branches that were merged. */
  readonly branches: number;
}

/**
 * Checks everything that can be checked: the chain, signatures, each file, and that each entry says what its file says; with
 * `since`, a revision of the git that keeps the directory, also that nothing that was recorded then is gone.
 */
export function verifyEvidence(directory: string, stack: string, trust: Trust, since?: string): Verification {
  const { drills, broken, branches } = readRecords(directory, stack, trust);
  const recorded = drills.map(
    ({ entry, signer, distrusted }): Verified => ({
      file: entry.file,
      sequence: entry.sequence,
      signer,
      problem: distrusted ?? contradiction(join(directory, stack, entry.file), entry),
    }),
  );
  const known = new Set(recorded.map(({ file }) => file));
  const others = namesIn(join(directory, stack), /\.json$/).filter((file) => !known.has(file));
  const unrecorded = others.map((file) => ({ file, sequence: undefined, signer: undefined, problem: undefined }));
  const gone = since === undefined ? [] : goneSince(directory, stack, since);
  return { broken, files: [...recorded, ...unrecorded], gone, branches };
}

function goneSince(directory: string, stack: string, revision: string): readonly string[] {
  const then = committedAt(directory, stack, revision);
  const names = new Set(namesIn(historyFolder(directory, stack), /\.json$/));
  const lines = new Set(linesOf(directory, stack).split("\n"));
  return [
    ...then.names.filter((name) => !names.has(name)).map((name) => join(historyFolder(directory, stack), name)),
    ...then.lines.flatMap((line, index) => (lines.has(line) ? [] : [`${linesPath(directory, stack)}:${index + 1}`])),
  ].map((where) => `${where} was recorded at ${revision}, and is gone`);
}

function contradiction(path: string, entry: Entry<DrillFacts>): string | undefined {
  const bytes = readFileSync(path);
  const facts = drillFacts(parseEvidence(bytes.toString("utf8"), path), entry.file, bytes);
  return canonical({ ...entry, ...facts }) === canonical(entry) ? undefined : `the history says other than ${path}`;
}

/** Removes the files of drills that the history keeps the outcome of, and says in the history that this was on purpose. */
export function pruneEvidence(
  directory: string,
  stack: string,
  { files, at, sign }: { readonly files: readonly string[]; readonly at: string; readonly sign: Sign | undefined },
): void {
  append(directory, stack, { kind: "pruned", at, files: [...files] }, sign);
  for (const file of files) rmSync(join(directory, stack, file), { force: true });
}
