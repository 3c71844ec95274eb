// Reads a stack file, stacks/Pulumi.<stack>.yaml, as text: finds the pair's configuration in it, knows on which line every
// value stands, and refuses what other YAML readers (Pulumi's among them) would take for something else. It touches no
// file itself, and does not know what a pair is.

import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLMap,
} from "yaml";
import { MISPLACED, mergeInput, misplaced } from "./input.ts";
import {
  APART,
  CONFIG_KEY,
  configPath,
  formatPath,
  type Locate,
  looksLikePrivateKey,
  type Path,
  type Place,
  placeOf,
  suggest,
} from "./problem.ts";

export interface StackFile {
  readonly file: string;
  /**
   * What stands under `hotpair:pair`, with `hotpair:witness` and the others that stand beside it as its keys `witness` and
   * so on, secrets as `{secure: …}`; undefined when there is no pair.
   */
  readonly pairInput: unknown;
  /** Place of a path in that input. */
  readonly locate: Locate;
  /** Keys of other programs, e.g. `aws:region`. */
  readonly otherConfigKeys: readonly string[];
  /** Who encrypts the stack's secrets. Neither: Pulumi Cloud, or nothing is encrypted yet. */
  readonly encryptionSalt: string | undefined;
  readonly secretsProvider: string | undefined;
  /** Mistakes in the file itself, complete with place. */
  readonly problems: readonly string[];
}

/** What stands at a path of such an input; undefined when nothing does. */
export const valueAt = (input: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((node, part) => (node as Record<PropertyKey, unknown> | null | undefined)?.[part], input);

const OUR_KEYS: readonly string[] = [CONFIG_KEY, ...APART.map((name) => `hotpair:${name}`)];
/** What Pulumi writes into a stack file (ProjectStack in its sdk/go/common/workspace/project.go). */
const TOP_KEYS = ["config", "encryptionsalt", "secretsprovider", "encryptedkey", "environment"];

export function readStackFile(text: string, file: string): StackFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const problems: string[] = [];
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, line, column: col };
  };
  const report = (message: string, offset: number) => {
    const { line, column } = place(offset);
    problems.push(`${message} (${file}:${line}:${column})`);
  };

  for (const { message, pos } of document.errors) report(firstLine(message), pos[0]);
  reportUnclear(document, report);

  const top = document.contents;
  if (top !== null && !isMap(top)) report("a stack file is a map with the key config", top.range?.[0] ?? 0);
  for (const item of pairsOf(top)) {
    const name = keyOf(item);
    if (TOP_KEYS.includes(name)) continue;
    const meant = name === CONFIG_KEY || name === "pair" ? undefined : suggest(name, TOP_KEYS);
    const hint = meant === undefined ? `; a pair stands under config, as ${CONFIG_KEY}` : `; did you mean "${meant}"?`;
    report(`${name}: is not a key of a stack file${hint}`, offsetOf(item.key));
  }

  const config = document.get("config", true);
  const otherConfigKeys: string[] = [];
  for (const item of pairsOf(config)) {
    const name = keyOf(item);
    if (OUR_KEYS.includes(name)) continue;
    otherConfigKeys.push(name);
    if (name === "pair" || name.startsWith("hotpair:")) {
      const meant = suggest(name, OUR_KEYS);
      const hint = meant === undefined ? `the pair stands under ${CONFIG_KEY}` : `did you mean "${meant}"?`;
      report(`${name}: is not a key that hotpair reads; ${hint}`, offsetOf(item.key));
    } else if (isScalar(item.value) && holdsSecret(name, item.value.value)) {
      const fix = `treat it as published, and set a new one with \`pulumi config set --secret ${name}\``;
      report(`${name}: holds a secret in plain text (not shown); ${fix}`, offsetOf(item.value));
    }
  }

  const nodeOf = (key: string): Node | undefined => (isMap(config) ? (config.get(key, true) as Node) : undefined);
  const pair = nodeOf(CONFIG_KEY);
  for (const item of pairsOf(pair)) {
    const name = misplaced(keyOf(item));
    if (name !== undefined) report(MISPLACED(name), offsetOf(item.key));
  }
  const readable = document.errors.length === 0;
  if (readable && pair === undefined) {
    const at = isMap(config) ? offsetOf(config) : 0;
    report(`config has no ${CONFIG_KEY}; start a new stack file with \`hotpair init\``, at);
  }

  return {
    file,
    pairInput:
      readable && pair !== undefined
        ? mergeInput(
            pair.toJS(document),
            APART.map((name) => nodeOf(`hotpair:${name}`)?.toJS(document)),
          )
        : undefined,
    locate: (path, at) => {
      const { key, below } = placeOf(path);
      const offset = findOffset(config, [key, ...below], at) ?? findOffset(config, [CONFIG_KEY], "key");
      return offset === undefined ? undefined : place(offset);
    },
    otherConfigKeys,
    encryptionSalt: textAt(document, "encryptionsalt"),
    secretsProvider: textAt(document, "secretsprovider"),
    problems,
  };
}

const firstLine = (message: string): string => message.split("\n")[0] ?? message;

const pairsOf = (node: unknown): readonly Pair[] => (isMap(node) ? (node as YAMLMap).items : []);

const keyOf = (pair: Pair): string => (isScalar(pair.key) ? String(pair.key.value) : "");

const offsetOf = (node: unknown): number => (node as Node | null)?.range?.[0] ?? 0;

function textAt(document: Document, key: string): string | undefined {
  const value = isMap(document.contents) ? document.get(key) : undefined;
  return typeof value === "string" ? value : undefined;
}

/** Offset of a path: of the value where it is a scalar, of its key where it is a collection, else of what is around it. */
function findOffset(root: unknown, path: Path, at?: "key"): number | undefined {
  let node = root;
  let offset: number | undefined;
  for (const [depth, part] of path.entries()) {
    if (isMap(node)) {
      const pair = pairsOf(node).find((candidate) => keyOf(candidate) === part);
      if (pair === undefined) break;
      node = pair.value;
      const byValue = isScalar(node) && node.value !== null && !(at === "key" && depth === path.length - 1);
      offset = offsetOf(byValue ? node : pair.key);
    } else if (isSeq(node) && typeof part === "number") {
      node = node.items[part];
      if (node === undefined) break;
      offset = offsetOf(node);
    } else {
      break;
    }
  }
  return offset;
}

/** Names of configuration keys whose values are secrets in the providers that a pair may need. */
function holdsSecret(name: string, value: unknown): boolean {
  if (typeof value !== "string" || value === "") return false;
  return (
    looksLikePrivateKey(value) || /(secret|password|passwd|token|private_?key)/i.test(name.split(":").at(-1) ?? "")
  );
}

/** Anchors, tags and plain values on which YAML 1.1 and 1.2 disagree: hotpair and Pulumi would each read their own. */
function reportUnclear(document: Document, report: (message: string, offset: number) => void): void {
  visit(document, {
    Node: (index, node, ancestors) => {
      const at = namedBy(index, node, ancestors);
      if (isAlias(node) || (node as { anchor?: string }).anchor !== undefined)
        report(`${at}: anchors and aliases are not read here; write the value out`, offsetOf(node));
      else if (node.tag !== undefined && !node.tag.startsWith("tag:yaml.org,2002:"))
        report(`${at}: the tag ${node.tag} is not read here; write the value without it`, offsetOf(node));
      else if (isScalar(node) && node.type === "PLAIN" && readsTwoWays(node.source ?? "", node.value))
        report(
          `${at}: ${node.source} means different things to different YAML readers; write "${node.source}" in quotes`,
          offsetOf(node),
        );
    },
    Pair: (index, item, ancestors) => {
      if (keyOf(item) === "<<")
        report(
          `${namedBy(index, item, ancestors)}: merge keys (<<) are not read here; write the values out`,
          offsetOf(item.key),
        );
    },
  });
}

/** The path of a node in the words of every other message, from the nodes around it as `visit` gives them. */
function namedBy(index: number | "key" | "value" | null, node: unknown, ancestors: readonly unknown[]): string {
  const chain = [...ancestors, node];
  const path = chain.flatMap((each, depth): readonly (string | number)[] => {
    if (isPair(each)) return [keyOf(each)];
    const parent = chain[depth - 1];
    if (!isSeq(parent)) return [];
    return [depth === chain.length - 1 && typeof index === "number" ? index : parent.items.indexOf(each)];
  });
  const [top, key, ...below] = path;
  if (top !== "config" || typeof key !== "string" || !OUR_KEYS.includes(key)) return formatPath(path);
  return configPath(key === CONFIG_KEY ? below : [key.slice("hotpair:".length), ...below]);
}

function readsTwoWays(source: string, value: unknown): boolean {
  if (typeof value === "number" || typeof value === "bigint") return !/^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(source);
  if (typeof value !== "string") return false;
  // YAML 1.1 (and go-yaml v3, Pulumi's reader): dates, binary and grouped numbers, and truth values in other words.
  return (
    /^\d{4}-\d\d?-\d\d?([Tt ].*)?$/.test(source) ||
    /^[-+]?(0[0-7_]*|0b[01_]+|0o[0-7_]+|\d[\d_]*(\.[\d_]*)?)$/.test(source) ||
    /^(y|n|yes|no|on|off)$/i.test(source)
  );
}
