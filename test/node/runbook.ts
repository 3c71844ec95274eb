// The commands of a runbook (docs/runbooks), as they stand there, for tests that type them. A block says in its first line on
// which servers it is typed, `# on NODE and PEER`; one of `npx hotpair` alone belongs to the project's directory. What is typed
// where, and what hands do in between, is the test's.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../docs/runbooks");

/** One fenced block. */
export interface Block<Host extends string> {
  /** Servers on which it is typed, in this order; none: in the project's directory. */
  readonly on: readonly Host[];
  readonly lines: readonly string[];
  /** It is typed again and again until it says that the matter is over. */
  readonly over: boolean;
}

/** What stands in the place of a word in capitals. */
export interface Names<Host extends string> {
  readonly hosts: Readonly<Record<string, Host>>;
  readonly others?: Readonly<Record<string, string>>;
}

/** All blocks of a page in their order. Throws Error for one that does not say where it is typed, or has a word without a name. */
export function runbook<Host extends string>(name: string, { hosts, others }: Names<Host>): readonly Block<Host>[] {
  return blocksOf(readFileSync(join(FOLDER, `${name}.md`), "utf8"), { hosts, others: { STACK: "lab", ...others } });
}

export function blocksOf<Host extends string>(page: string, { hosts, others }: Names<Host>): readonly Block<Host>[] {
  const end = page.search(/^## It is over when$/m);
  return [...page.matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)].map(({ index, 1: indent = "", 2: text = "" }) => {
    const lines = text
      .split("\n")
      .map((line) => line.replace(indent, ""))
      .filter((line) => line !== "");
    const [first = "", ...rest] = lines;
    const place = /^# on ([A-Z]+)(?: and ([A-Z]+))?$/.exec(first);
    if (place === null && !lines.every((line) => line.startsWith("npx hotpair ")))
      throw new Error(`this block does not say where it is typed:\n${text}`);
    const on = (place?.slice(1) ?? []).flatMap((word?: string) =>
      word === undefined ? [] : [hostCalled(word, hosts)],
    );
    const typed = place === null ? lines : rest;
    return { on, lines: typed.map((line) => filled(line, { ...others, ...hosts })), over: end >= 0 && index > end };
  });
}

function hostCalled<Host extends string>(word: string, hosts: Readonly<Record<string, Host>>): Host {
  const host = hosts[word];
  if (host === undefined) throw new Error(`nobody says which server ${word} is`);
  return host;
}

function filled(line: string, names: Readonly<Record<string, string>>): string {
  return line.replaceAll(/\b[A-Z]{4,}\b/g, (word) => {
    const name = names[word];
    if (name === undefined) throw new Error(`nobody says what ${word} is in: ${line}`);
    return name;
  });
}
