// Changes single values in the text of a stack file and leaves every other byte as its owner wrote it: comments, order,
// quotes. Text in, text out; a YAML library that writes the whole document again would not keep all of that.

import { isMap, isScalar, isSeq, type Node, type Pair, parseDocument, type Scalar, type YAMLMap } from "yaml";
import { configPath, type Path, placeOf } from "./problem.ts";
import { valueAt } from "./stackfile.ts";

/** A text, a number, or ciphertext to stand as `{secure: …}`. */
export type NewValue = string | number | { readonly secure: string };

/**
 * The file with this value at a path of the input. Maps that are missing on the way are made; a list is never made longer.
 */
export function setValue(text: string, path: Path, value: NewValue): string {
  const { parent, pair, keys } = find(text, path);
  const present = scalarOf(pair?.value, value);
  if (pair !== undefined && present !== undefined) {
    const written = isPlain(value) ? value : value.secure;
    const flow = parent.flow || (isMap(pair.value) && pair.value.flow);
    const holder = isMap(pair.value) ? (pair.value.items[0] ?? pair) : pair;
    const column = startOf(holder) - lineStart(text, startOf(holder));
    return checked(
      text.slice(0, rangeOf(present)[0]) +
        (flow ? flowScalar(written) : scalar(written, column)) +
        text.slice(endOfScalar(present, text)),
      path,
      value,
    );
  }
  if (pair !== undefined) return setValue(removeValue(text, path), path, value);
  const edited = parent.flow ? insertIntoFlow(text, parent, keys, value) : insertIntoBlock(text, parent, keys, value);
  return checked(edited, path, value);
}

/** The file without the value at a path of the input; unchanged when there is none. */
export function removeValue(text: string, path: Path): string {
  const { parent, pair, keys } = find(text, path);
  if (pair === undefined || keys.length > 1) return text;
  const from = startOf(pair);
  const to = endOf(pair, text);
  if (!parent.flow) {
    if (parent.items.length === 1) throw new Error(`${configPath(path)} is the only key of its map and stays`);
    return text.slice(0, lineStart(text, from)) + text.slice(lineEnd(text, to));
  }
  const comma = /^\s*,\s*/.exec(text.slice(to))?.[0].length ?? 0;
  if (comma > 0) return text.slice(0, from) + text.slice(to + comma);
  return text.slice(0, from).replace(/,\s*$/, "") + text.slice(to);
}

/** The scalar that only has to say something else: of the same kind, plain text or ciphertext, as the new value. */
function scalarOf(present: unknown, value: NewValue): Scalar | undefined {
  const node = isPlain(value) ? present : isMap(present) ? present.get("secure", true) : undefined;
  return isScalar(node) && node.source !== "" ? node : undefined;
}

/** The last map on the way to a path, the keys that it lacks (at least the last one), and that key's pair if it is there. */
function find(text: string, path: Path): { parent: YAMLMap; pair: Pair | undefined; keys: readonly string[] } {
  const { key, below } = placeOf(path);
  const parts: Path = [key, ...below];
  let node: unknown = parseDocument(text).get("config", true);
  for (const [index, part] of parts.entries()) {
    const rest = parts.slice(index).map(String);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (rest.length === 1) return { parent: node, pair, keys: rest };
      if (pair === undefined && parts.slice(index).every((each) => typeof each === "string"))
        return { parent: node, pair, keys: rest };
      node = pair?.value;
    } else if (isSeq(node) && typeof part === "number") node = node.items[part];
    else break;
  }
  throw new Error(`${configPath(path)} has no map around it`);
}

const rangeOf = (node: unknown): readonly [number, number, number] => {
  const range = (node as Node | null)?.range;
  if (!range) throw new Error("a node of the stack file has no place in its text");
  return range;
};

const startOf = (pair: Pair): number => rangeOf(pair.key)[0];

/** End of a scalar without the line's end that a block of lines includes. */
const endOfScalar = (node: Scalar, text: string): number =>
  node.type === "BLOCK_LITERAL" || node.type === "BLOCK_FOLDED"
    ? text.slice(0, rangeOf(node)[1]).trimEnd().length
    : rangeOf(node)[1];

/** End of what the pair says, without the white space and comments that follow. */
function endOf(pair: Pair, text: string): number {
  const value = pair.value as Node | null;
  if (value === null || (isScalar(value) && value.source === "")) return text.indexOf(":", rangeOf(pair.key)[1]) + 1;
  if (isScalar(value)) return endOfScalar(value, text);
  if (isMap(value) && !value.flow) return endOf(value.items.at(-1) ?? pair, text);
  if (isSeq(value) && !value.flow) {
    const last = value.items.at(-1);
    return isMap(last) && !last.flow ? endOf(last.items.at(-1) ?? pair, text) : rangeOf(last)[1];
  }
  return rangeOf(value)[1];
}

const lineStart = (text: string, offset: number): number => text.lastIndexOf("\n", offset - 1) + 1;

/** Offset behind the line's end. */
function lineEnd(text: string, offset: number): number {
  const found = text.indexOf("\n", offset);
  return found < 0 ? text.length : found + 1;
}

function insertIntoBlock(text: string, parent: YAMLMap, keys: readonly string[], value: NewValue): string {
  const [first] = parent.items;
  const last = parent.items.at(-1);
  if (first === undefined || last === undefined) throw new Error("a map of the stack file is empty");
  const start = startOf(first);
  const column = start - lineStart(text, start);
  const at = lineEnd(text, endOf(last, text));
  const before = text.slice(0, at);
  return `${before}${before.endsWith("\n") ? "" : "\n"}${nested(keys, value, column).join("\n")}\n${text.slice(at)}`;
}

function nested([key = "", ...inner]: readonly string[], value: NewValue, column: number): readonly string[] {
  const indent = " ".repeat(column);
  if (inner.length > 0) return [`${indent}${key}:`, ...nested(inner, value, column + 2)];
  if (isPlain(value)) return [`${indent}${key}: ${scalar(value, column)}`];
  return [`${indent}${key}:`, `${indent}  secure: ${scalar(value.secure, column + 2)}`];
}

function insertIntoFlow(text: string, parent: YAMLMap, keys: readonly string[], value: NewValue): string {
  const last = parent.items.at(-1);
  const at = last === undefined ? rangeOf(parent)[0] + 1 : endOf(last, text);
  const written = isPlain(value) ? flowScalar(value) : `{ secure: ${JSON.stringify(value.secure)} }`;
  const inner = keys.slice(1).reduceRight((inside, key) => `{ ${key}: ${inside} }`, written);
  return `${text.slice(0, at)}${last === undefined ? " " : ", "}${keys[0]}: ${inner}${text.slice(at)}`;
}

const isPlain = (value: NewValue): value is string | number => typeof value !== "object";

/** A number with a unit, as durations are written, is a text to every YAML reader. */
const WITH_UNIT = /^\d+(\.\d+)?[a-z]+$/;

const flowScalar = (value: string | number): string =>
  typeof value === "string" && WITH_UNIT.test(value) ? value : JSON.stringify(value);

/** Plain where every YAML reader takes it for the same text; lines as a block below a key at this column. */
function scalar(value: string | number, column: number): string {
  if (typeof value === "number" || WITH_UNIT.test(value)) return String(value);
  if (/^[A-Za-z][A-Za-z0-9+/=:._-]*( [A-Za-z0-9+/=._-]+)*$/.test(value) && !/:( |$)/.test(value)) return value;
  const lines = value.replace(/\n$/, "").split("\n");
  if (lines.length < 2 || !lines.every((line) => /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(line)))
    return JSON.stringify(value);
  const indent = " ".repeat(column + 2);
  return [value.endsWith("\n") ? "|" : "|-", ...lines.map((line) => `${indent}${line}`)].join("\n");
}

/** The edit is read back: a file that says something else is worse than an error. */
function checked(edited: string, path: Path, value: NewValue): string {
  const document = parseDocument(edited);
  const found: unknown = document.errors.length > 0 ? undefined : document.toJS();
  const { key, below } = placeOf(path);
  if (JSON.stringify(valueAt(found, ["config", key, ...below])) !== JSON.stringify(value))
    throw new Error(`${configPath(path)} could not be written into the stack file; write it by hand`);
  return edited;
}
