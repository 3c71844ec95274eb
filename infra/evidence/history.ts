// A stack's history: what was drilled when, and what came of it, one entry per drill, added and never changed. An entry is
// known by the digest of its bytes and names those that came right before it, as a commit does: neither a drill's file nor
// an entry that another one follows can be changed, moved or taken out unnoticed, and two branches that both drilled are
// one history when they are merged. Pure: texts in, entries out; records.ts reads and writes.

import { createHash } from "node:crypto";
import { z } from "zod";
import { FAILURE_CLASS_IDS } from "../model/failure.ts";
import { canonical } from "./digest.ts";
import type { Evidence } from "./schema.ts";
import { summarize } from "./summary.ts";

/** 1 was a line of `history.jsonl`, with its number and the digest of the one line before it: read, and not written any more. */
export const HISTORY_VERSION = 2;

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const drillFields = {
  kind: z.literal("drill"),
  /** In the stack's directory; its digest is that of its bytes. */
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
};
const prunedFields = {
  kind: z.literal("pruned"),
  at: z.iso.datetime(),
  /** Removed on purpose: what they said stays in their own entries. */
  files: z.array(z.string()).min(1),
};
const versionsFields = {
  kind: z.literal("versions"),
  at: z.iso.datetime(),
  /** What an upgrade left on the servers. It can only outdate evidence, so that nobody has to sign it. */
  versions: z.record(z.string(), z.string()),
};

/** The three kinds of entries, each with the fields by which a version gives them their place. */
const kindsOf = <Place extends z.core.$ZodLooseShape>(place: Place) =>
  z.discriminatedUnion("kind", [
    z.strictObject({ ...place, ...drillFields }),
    z.strictObject({ ...place, ...prunedFields }),
    z.strictObject({ ...place, ...versionsFields }),
  ]);
/** The signature is over the entry's canonical text, and is itself covered by the digest that those after it name. */
const kept = <Place extends z.core.$ZodLooseShape>(place: Place) =>
  z.strictObject({ entry: kindsOf(place), signature: z.base64().optional() });

const firstVersion = kept({
  version: z.literal(1),
  /** From 1. */
  sequence: z.number().int().min(1),
  /** Of the line before; null in the first. */
  previous: digest.nullable(),
});
const thisVersion = kept({
  version: z.literal(HISTORY_VERSION),
  /** Of the entries that none came after yet: none for the first, two or more where branches were merged. */
  parents: z.array(digest),
});

export type DrillFacts = z.output<z.ZodObject<typeof drillFields>>;
export type PrunedFacts = z.output<z.ZodObject<typeof prunedFields>>;
export type VersionsFacts = z.output<z.ZodObject<typeof versionsFields>>;
/** What an entry says, before it has its place. */
export type Facts = DrillFacts | PrunedFacts | VersionsFacts;

/** An entry in its place. */
export type Entry<What extends Facts = Facts> = What & {
  /** Digest of its bytes, by which others name it. */
  readonly address: string;
  readonly parents: readonly string[];
  /** From 1, in the order of the whole history. */
  readonly sequence: number;
  /** File, and of an old history the line. */
  readonly where: string;
};

interface Signed {
  readonly text: string;
  readonly signature: string;
}

export interface History {
  /** Those that follow from whole ones, each after its parents; of two branches by their time. */
  readonly entries: readonly Entry[];
  /** By address; of the entries that are signed. */
  readonly signatures: ReadonlyMap<string, Signed>;
  /** Addresses of the entries that none came after: more than one where branches were merged since. */
  readonly heads: readonly string[];
  /** Which entry is wrong, and how; undefined: none. */
  readonly broken: string | undefined;
}

export const sha256 = (text: string | Uint8Array): string =>
  `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** A history as it is kept. */
export interface Texts {
  /** `history.jsonl`, written by the first version: one entry per line; empty where there is none. */
  readonly lines: { readonly file: string; readonly text: string };
  /** One entry per file. */
  readonly files: readonly { readonly file: string; readonly name: string; readonly text: string }[];
}

/** Read, and not yet in its place. */
interface Loose {
  readonly address: string;
  readonly parents: readonly string[];
  readonly where: string;
  readonly facts: Facts;
  readonly signed: Signed | undefined;
}

/** Reads a history; what does not follow from whole entries is left out, and the first cause of it is named. */
export function parseHistory({ lines, files }: Texts): History {
  const old = parseLines(lines.file, lines.text);
  const single = files.map(({ file, name, text }) => parseFile(file, name, text));
  const loose = [...old.loose, ...single.flatMap((one) => (typeof one === "string" ? [] : [one]))];
  const { entries, orphan } = inOrder(loose);
  const named = new Set(entries.flatMap(({ parents }) => parents));
  const unread = old.broken ?? single.find((one) => typeof one === "string");
  return {
    entries,
    signatures: new Map(loose.flatMap(({ address, signed }) => (signed === undefined ? [] : [[address, signed]]))),
    heads: entries.map(({ address }) => address).filter((address) => !named.has(address)),
    broken: unread ?? orphan ?? forbidden(entries),
  };
}

/** A line follows the one that it names, which stands before it; its number is one more. */
function parseLines(file: string, text: string): { readonly loose: readonly Loose[]; readonly broken?: string } {
  const loose: Loose[] = [];
  const numbers = new Map<string, number>();
  const lines = text.split("\n");
  if (lines.pop() !== "") return { loose, broken: `${file}: its last line is not whole` };
  for (const [index, line] of lines.entries()) {
    const where = `${file}:${index + 1}`;
    const read = firstVersion.safeParse(jsonOf(line));
    if (!read.success) return { loose, broken: `${where} is no line of a history` };
    const { version, sequence, previous, ...facts } = read.data.entry;
    const before = previous === null ? 0 : numbers.get(previous);
    const address = sha256(line);
    if (before === undefined || sequence !== before + 1 || numbers.has(address))
      return {
        loose,
        broken: `${where} does not follow from a line before it: a line was changed, taken out or put in`,
      };
    numbers.set(address, sequence);
    const signed = signedOf(read.data);
    loose.push({ address, parents: previous === null ? [] : [previous], where, facts, signed });
  }
  return { loose };
}

/** A text: why it is no entry. */
function parseFile(file: string, name: string, text: string): Loose | string {
  const read = thisVersion.safeParse(jsonOf(text));
  if (!read.success) return `${file} is no entry of a history`;
  const { version, parents, ...facts } = read.data.entry;
  const address = sha256(text);
  if (name !== nameOf(address, facts)) return `${file} was changed after it was recorded, or is the copy of another`;
  return { address, parents, where: file, facts, signed: signedOf(read.data) };
}

const signedOf = ({ entry, signature }: { readonly entry: unknown; readonly signature?: string | undefined }) =>
  signature === undefined ? undefined : { text: canonical(entry), signature };

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** When an entry says that it was made. ISO 8601. */
export const timeOf = (facts: Facts): string => (facts.kind === "drill" ? facts.startedAt : facts.at);

/** Sorted by time for who looks at the directory; the digest tells a changed one from what was recorded. */
const nameOf = (address: string, facts: Facts): string =>
  `${timeOf(facts).replace(/\.\d+/, "").replace(/[-:]/g, "")}-${address.slice("sha256:".length, "sha256:".length + 16)}.json`;

/**
 * One order for all readers, whichever branch was merged into which: parents before children, and of two branches what
 * happened first. An entry counts as no earlier than its parents, whatever its clock said.
 */
function inOrder(loose: readonly Loose[]): { readonly entries: readonly Entry[]; readonly orphan: string | undefined } {
  interface Standing {
    readonly one: Loose;
    readonly since: number;
    readonly depth: number;
  }
  const standing = new Map<string, Standing>();
  const stands = (one: Loose): boolean => {
    const parents = one.parents.flatMap((parent) => standing.get(parent) ?? []);
    if (parents.length < one.parents.length) return false;
    const since = Math.max(Date.parse(timeOf(one.facts)), ...parents.map((parent) => parent.since));
    standing.set(one.address, { one, since, depth: 1 + Math.max(0, ...parents.map(({ depth }) => depth)) });
    return true;
  };
  let waiting = loose;
  for (let before = -1; waiting.length !== before; ) {
    before = waiting.length;
    waiting = waiting.filter((one) => !stands(one));
  }
  const there = new Set(loose.map(({ address }) => address));
  const lost = waiting.find(({ parents }) => parents.some((parent) => !there.has(parent)));
  const gone = lost?.parents.find((parent) => !there.has(parent));
  const placed = [...standing.values()].toSorted(
    (left, right) =>
      left.since - right.since || left.depth - right.depth || (left.one.address < right.one.address ? -1 : 1),
  );
  return {
    entries: placed.map(({ one: { facts, address, parents, where } }, index) => ({
      ...facts,
      ...{ address, parents, where, sequence: index + 1 },
    })),
    orphan:
      lost === undefined
        ? undefined
        : `${lost.where} follows an entry that is not there any more: ${gone} was changed or taken out`,
  };
}

/** No command removes the newest drill of a scenario that it knew. */
function forbidden(entries: readonly Entry[]): string | undefined {
  const byAddress = new Map(entries.map((entry) => [entry.address, entry]));
  for (const entry of entries) {
    if (entry.kind !== "pruned") continue;
    const known = new Set<string>();
    for (const next = [...entry.parents]; next.length > 0; ) {
      const address = next.pop() ?? "";
      if (!known.has(address)) next.push(...(byAddress.get(address)?.parents ?? []));
      known.add(address);
    }
    const drills = entries.filter((one): one is Entry<DrillFacts> => one.kind === "drill" && known.has(one.address));
    const newest = new Set(new Map(drills.map(({ scenario, file }) => [scenario, file])).values());
    if (entry.files.some((file) => newest.has(file)))
      return `${entry.where} removes the newest drill of a scenario, which no command does`;
  }
  return undefined;
}

/** What a history says of a drill whose file has these bytes. */
export function drillFacts(evidence: Evidence, file: string, bytes: Uint8Array): DrillFacts {
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

/** The entry that comes after all that there are; merged branches meet in it. */
export function nextEntry(
  { heads }: Pick<History, "heads">,
  facts: Facts,
  sign?: (text: string) => string,
): { readonly name: string; readonly text: string } {
  const entry = { version: HISTORY_VERSION, parents: heads.toSorted(), ...facts };
  const text = `${canonical({ entry, signature: sign?.(canonical(entry)) })}\n`;
  return { name: nameOf(sha256(text), facts), text };
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
