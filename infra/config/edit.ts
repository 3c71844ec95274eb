// Changes single values in the text of a stack file and leaves every other byte as its owner wrote it: comments, order,
// quotes. Text in, text out; a YAML library that writes the whole document again would not keep all of that.

import { isMap, isScalar, isSeq, type Node, type Pair, parseDocument, type YAMLMap } from "yaml";
import { CONFIG_KEY, configPath, type Path } from "./problem.ts";

/** A text, or ciphertext to stand as `{secure: …}`. */
export type NewValue = string | { readonly secure: string };

/** The file with this value at a path below `hotpair:pair`. The map around it must exist. */
export function setValue(text: string, path: Path, value: NewValue): string {
  const { parent, pair, key } = find(text, path);
  const present = scalarOf(pair?.value, value);
  if (present !== undefined) {
    const [from, to] = rangeOf(present);
    const written = typeof value === "string" ? value : value.secure;
    const flow = parent.flow || (isMap(pair?.value) && pair.value.flow);
    return checked(
      text.slice(0, from) + (flow ? JSON.stringify(written) : scalar(written)) + text.slice(to),
      path,
      value,
    );
  }
  if (pair !== undefined) return setValue(removeValue(text, path), path, value);
  const edited = parent.flow ? insertIntoFlow(text, parent, key, value) : insertIntoBlock(text, parent, key, value);
  return checked(edited, path, value);
}

/** The file without the value at this path; unchanged when there is none. */
export function removeValue(text: string, path: Path): string {
  const { parent, pair } = find(text, path);
  if (pair === undefined) return text;
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
function scalarOf(present: unknown, value: NewValue): Node | undefined {
  const node = typeof value === "string" ? present : isMap(present) ? present.get("secure", true) : undefined;
  return isScalar(node) && node.source !== "" && node.type !== "BLOCK_LITERAL" && node.type !== "BLOCK_FOLDED"
    ? node
    : undefined;
}

function find(text: string, path: Path): { parent: YAMLMap; pair: Pair | undefined; key: string } {
  const document = parseDocument(text);
  let node: unknown = document.get("config", true);
  for (const part of [CONFIG_KEY, ...path.slice(0, -1)]) {
    if (isMap(node)) node = node.get(part, true);
    else if (isSeq(node) && typeof part === "number") node = node.items[part];
    else break;
  }
  const key = String(path.at(-1));
  if (!isMap(node)) throw new Error(`${configPath(path)} has no map around it`);
  const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key);
  return { parent: node, pair, key };
}

const rangeOf = (node: unknown): readonly [number, number, number] => {
  const range = (node as Node | null)?.range;
  if (!range) throw new Error("a node of the stack file has no place in its text");
  return range;
};

const startOf = (pair: Pair): number => rangeOf(pair.key)[0];

/** End of what the pair says, without the white space and comments that follow. */
function endOf(pair: Pair, text: string): number {
  const value = pair.value as Node | null;
  if (value === null || (isScalar(value) && value.source === "")) return text.indexOf(":", startOf(pair)) + 1;
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

function insertIntoBlock(text: string, parent: YAMLMap, key: string, value: NewValue): string {
  const [first] = parent.items;
  const last = parent.items.at(-1);
  if (first === undefined || last === undefined) throw new Error("a map of the stack file is empty");
  const start = startOf(first);
  const indent = " ".repeat(start - lineStart(text, start));
  const lines =
    typeof value === "string"
      ? [`${indent}${key}: ${scalar(value)}`]
      : [`${indent}${key}:`, `${indent}  secure: ${scalar(value.secure)}`];
  const at = lineEnd(text, endOf(last, text));
  const before = text.slice(0, at);
  return `${before}${before.endsWith("\n") ? "" : "\n"}${lines.join("\n")}\n${text.slice(at)}`;
}

function insertIntoFlow(text: string, parent: YAMLMap, key: string, value: NewValue): string {
  const last = parent.items.at(-1);
  const at = last === undefined ? rangeOf(parent)[0] + 1 : endOf(last, text);
  const inner = typeof value === "string" ? JSON.stringify(value) : `{ secure: ${JSON.stringify(value.secure)} }`;
  return `${text.slice(0, at)}${last === undefined ? " " : ", "}${key}: ${inner}${text.slice(at)}`;
}

/** Plain where every YAML reader takes it for the same text. */
const scalar = (value: string): string =>
  /^[A-Za-z][A-Za-z0-9+/=:._-]*( [A-Za-z0-9+/=._-]+)*$/.test(value) && !/:( |$)/.test(value)
    ? value
    : JSON.stringify(value);

/** The edit is read back: a file that says something else is worse than an error. */
function checked(edited: string, path: Path, value: NewValue): string {
  const document = parseDocument(edited);
  const found: unknown = document.errors.length > 0 ? undefined : document.toJS();
  const config = (found as { config?: Record<string, unknown> } | undefined)?.config?.[CONFIG_KEY];
  const now = path.reduce<unknown>((node, part) => (node as Record<PropertyKey, unknown> | undefined)?.[part], config);
  if (JSON.stringify(now) !== JSON.stringify(value))
    throw new Error(`${configPath(path)} could not be written into the stack file; write it by hand`);
  return edited;
}
