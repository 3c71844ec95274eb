// A stack's history on disk, `<directory>/<stack>/history.jsonl`, and the files that it speaks of: recording a drill, reading
// what counts, checking all of it, making room. What a line means is history.ts, what a file means schema.ts.

import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import { UserError } from "../model/errors.ts";
import type { DrillRecord, Sighting } from "../model/proof.ts";
import { canonical } from "./digest.ts";
import {
  type DrillEntry,
  drillFacts,
  type Entry,
  type Facts,
  type History,
  nextLine,
  parseHistory,
  sha256,
  versionsThatMatter,
} from "./history.ts";
import type { Evidence } from "./schema.ts";
import { type Sign, type Verify, withVerifier } from "./signature.ts";
import { evidencePath, namesIn, parseEvidence } from "./store.ts";

const PROJECT = join(import.meta.dirname, "../..");

export const historyPath = (directory: string, stack: string): string => join(directory, stack, "history.jsonl");

/** A stack's history; empty when it has none. A line that is wrong is named in the answer, not thrown. */
function readHistory(directory: string, stack: string): History {
  const path = historyPath(directory, stack);
  return parseHistory(textOf(path), path);
}

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
  requireHistory(directory, stack);
  const path = historyPath(directory, stack);
  mkdirSync(dirname(path), { recursive: true });
  appendFileSync(path, `${nextLine(textOf(path), facts, sign)}\n`, { flush: true });
}

/** Throws UserError when nothing can be recorded after what stands there. */
export function requireHistory(directory: string, stack: string): void {
  const { broken } = readHistory(directory, stack);
  if (broken === undefined) return;
  throw new UserError("no drill can be recorded, since the history before it cannot be believed", [
    broken,
    `restore it from where it was committed; where it cannot be restored, move ${join(directory, stack)} away and drill again`,
  ]);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** Whose word counts. */
export interface Trust {
  /** The stack's `evidence.allowedSigners`: from the project, or absolute. undefined: signatures are not asked for. */
  readonly allowedSigners: string | undefined;
  /** The drills whose signatures are verified; the others are believed, since nothing hangs on them. Default: all. */
  readonly of?: (entry: DrillEntry) => boolean;
}

export interface Recorded extends DrillRecord {
  readonly entry: DrillEntry;
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
} {
  const history = readHistory(directory, stack);
  const pruned = new Set(history.entries.flatMap((entry) => (entry.kind === "pruned" ? entry.files : [])));
  const drills = history.entries.filter(
    (entry): entry is DrillEntry => entry.kind === "drill" && !pruned.has(entry.file),
  );
  const sightings = history.entries.filter((entry) => entry.kind === "versions");
  const read = (vouch: (entry: Entry) => Vouched) => ({
    sightings,
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
  const signature = signatures.get(entry.sequence);
  const line = `line ${entry.sequence} of the history`;
  if (signature === undefined) return { distrusted: `${line} is not signed` };
  const said = verify(canonical(entry), signature, entry.kind === "drill" ? entry.startedAt : entry.at);
  return "signer" in said ? { signer: said.signer } : { distrusted: `${line}: ${said.problem}` };
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

/** What was checked of one recorded drill, or of a file that no line of the history names. */
export interface Verified {
  readonly file: string;
  /** Line of the history; undefined: it was never recorded, and counts for nothing. */
  readonly sequence: number | undefined;
  readonly signer: string | undefined;
  /** Why it does not count; undefined: it does. */
  readonly problem: string | undefined;
}

/** Checks everything that can be checked: the chain, signatures, each file, and that each line says what its file says. */
export function verifyEvidence(
  directory: string,
  stack: string,
  trust: Trust,
): { readonly broken: string | undefined; readonly files: readonly Verified[] } {
  const { drills, broken } = readRecords(directory, stack, trust);
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
  return { broken, files: [...recorded, ...unrecorded] };
}

function contradiction(path: string, entry: DrillEntry): string | undefined {
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
