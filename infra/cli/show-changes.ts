// What a change does to the servers' files, as a person reads it: one line per file, a diff where there is one. Secrets
// are "changed" and nothing more.

import { type FileChange, isUnchanged, type NodeChanges } from "../plan/changes.ts";
import { paint } from "./terminal.ts";
import { unifiedDiff } from "./unified-diff.ts";

/** hotpair's own programs: their difference is a release's business, not this pair's. */
const OWN_PROGRAMS = "/usr/lib/hotpair/";

export interface ShownNode {
  readonly name: string;
  /** e.g. `active`, `standby`, `not set up yet`. */
  readonly state: string;
  readonly changes: NodeChanges;
  /** Present texts of files that are changed, by path. */
  readonly before: ReadonlyMap<string, string>;
}

/** Lines of text; `full` shows new files and hotpair's own programs whole. */
export function showChanges({ name, state, changes, before }: ShownNode, full: boolean): readonly string[] {
  const title = `${paint("bold", name)} (${state})`;
  if (isUnchanged(changes)) return [`${title}: no change`];
  return [
    `${title}:`,
    ...(changes.unfinished ? [`  ${paint("yellow", "!")} an interrupted apply is undone first`] : []),
    ...(changes.packages.length > 0
      ? [`  ${paint("green", "+")} packages ${changes.packages.join(", ")} (not uninstalled by a roll-back)`]
      : []),
    ...changes.files.flatMap((file) => showFile(file, before.get(file.path), full)),
    ...changes.units.map(
      (unit) => `  ${paint("yellow", "~")} ${unit.name}: ${unit.found}, should be ${unit.expected} ${byHand}`,
    ),
  ];
}

const byHand = "[changed on the server]";

const MARKS = {
  create: paint("green", "+"),
  change: paint("yellow", "~"),
  permissions: paint("yellow", "~"),
  remove: paint("red", "-"),
} as const;

function showFile(change: FileChange, before: string | undefined, full: boolean): readonly string[] {
  const { path, kind, secret, after, permissions, onChange } = change;
  const notes = [
    secret && kind === "change" ? "secret, changed" : secret ? "secret" : "",
    kind === "create" && after !== undefined ? `new, ${countLines(after)}` : "",
    change.takenOver
      ? `takes the place of a file${before === undefined ? "" : ` of ${countLines(before)}`}, which is kept`
      : "",
    permissions ? `${permissions.before} becomes ${permissions.after}` : "",
    onChange.action === "none" ? "" : `${onChange.action} ${onChange.unit.replace(/\.service$/, "")}`,
  ].filter((note) => note !== "");
  const head = `  ${MARKS[kind]} ${path}${notes.length > 0 ? ` (${notes.join("; ")})` : ""}${change.byHand ? ` ${byHand}` : ""}`;
  if (after === undefined || (kind !== "create" && kind !== "change")) return [head];
  if ((kind === "create" || change.takenOver || path.startsWith(OWN_PROGRAMS)) && !full) return [head];
  return [head, ...diffLines(kind === "create" ? "" : (before ?? ""), after)];
}

/** A diff below the line of its file. */
export const diffLines = (before: string, after: string): readonly string[] =>
  unifiedDiff(before, after).map((line) => `      ${colour(line)}`);

const countLines = (text: string): string => {
  const count = text.split("\n").length - 1;
  return count === 1 ? "1 line" : `${count} lines`;
};

function colour(line: string): string {
  if (line.startsWith("@@")) return paint("cyan", line);
  if (line.startsWith("+")) return paint("green", line);
  return line.startsWith("-") ? paint("red", line) : line;
}
