// What the pages for the night tell a person to type is understood: by the `hotpair` command, and by the programs on the
// servers. Nothing is run.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type Command, CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import { hotpairProgram } from "../../infra/cli/program.ts";

const ROOT = join(import.meta.dirname, "../..");
const FOLDERS = ["docs/runbooks", "docs/failures", "docs"];
const PAGES = [
  "README.md",
  ...FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`),
  ),
];
const read = (page: string): string => readFileSync(join(ROOT, page), "utf8");

/** Every command line in code, in a block or in a sentence, that begins with one of these words. */
function commandLines(page: string, begins: RegExp): readonly string[] {
  const text = read(page);
  const fenced = /^ *```(\w*)\n([\s\S]*?)^ *```$/gm;
  const blocks = [...text.matchAll(fenced)].map(([, language = "", block = ""]) =>
    ["", "sh"].includes(language) ? block : "",
  );
  const spans = [...text.replaceAll(fenced, "").matchAll(/`([^`]+)`/g)].map(([, span = ""]) =>
    span.replaceAll(/\s+/g, " "),
  );
  return [...blocks.flatMap((block) => block.split("\n")), ...spans]
    .flatMap((line) => line.replace(/ +#.*$/, "").split(/&&|;|\\?\|/))
    .map((line) => line.trim().replace(/^(?:sudo |npx )+/, ""))
    .filter((line) => begins.test(line));
}

/** A whole line as it is typed; a name alone only mentions the command. */
const isWhole = (words: readonly string[]): boolean => words.some((word) => word.startsWith("-"));
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, plain]) => double ?? single ?? plain ?? "");
/** Written for people: an option in brackets, a choice, an ellipsis. */
const isTyped = (line: string): boolean => !/[[\]…<>]|\.\.\./.test(line);

// --- hotpair ---------------------------------------------------------------------------------------------------------

/** All commands, each of which does nothing. */
function hotpair(): Command {
  const program = hotpairProgram();
  for (const command of everyCommand(program))
    command
      .exitOverride()
      .configureOutput({ writeErr: () => undefined, writeOut: () => undefined })
      .action(() => undefined);
  return program;
}

const everyCommand = (command: Command): readonly Command[] => [command, ...command.commands.flatMap(everyCommand)];

/** Why the line is not understood; undefined: it is. */
function complaint(program: Command, line: string): string | undefined {
  const [, ...words] = wordsOf(line);
  const command = words.reduce<Command>(
    (found, word) => found.commands.find((each) => each.name() === word) ?? found,
    program,
  );
  if (command === program) return `there is no command ${words[0]}`;
  if (!isWhole(words)) return undefined;
  try {
    program.parse(words, { from: "user" });
    return undefined;
  } catch (error) {
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
}

describe("the hotpair command", () => {
  const program = hotpair();

  test.each(PAGES)("understands every line of %s", (page) => {
    const lines = commandLines(page, /^hotpair [a-z]/).filter(isTyped);
    const wrong = lines.flatMap((line) => {
      const why = complaint(program, line);
      return why === undefined ? [] : [`${line}: ${why}`];
    });
    expect(wrong).toEqual([]);
  });

  test("would not understand what is not there", () => {
    expect(complaint(program, "hotpair repair")).toBe("there is no command repair");
    expect(complaint(program, "hotpair status --everything")).toContain("unknown option");
    expect(complaint(program, "hotpair switch -s STACK")).toContain("required option");
  });
});

// --- programs on the servers -----------------------------------------------------------------------------------------

const PROGRAM = /^\/usr\/lib\/hotpair\/(?:pairs\/\S+\/)?hotpair-[a-z]+( |$)/;

/** Lines that the program's own parser refuses, each with its words. */
function refusedByPython(name: string, lines: readonly string[]): string {
  const script = `
import contextlib, importlib, io, json, sys
sys.path.insert(0, sys.argv[1])
parser = importlib.import_module(sys.argv[2] + ".verbs").parser()
for line in json.load(sys.stdin):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser.parse_args(line.split()[1:])
    except SystemExit as end:
        if end.code:
            print(line + ": " + said.getvalue().strip().splitlines()[-1])
`;
  const options = { input: JSON.stringify(lines), encoding: "utf8" } as const;
  return execFileSync("python3", ["-c", script, join(ROOT, "infra/node"), name.replace("hotpair-", "")], options);
}

/** The same for a program in shell, by the verbs that its head lists; hotpair-etcd takes the pair's name before. */
function refusedByShell(name: string, lines: readonly string[]): string {
  const head = readFileSync(join(ROOT, "infra/node", name), "utf8");
  const verbs = [...head.matchAll(/^# {3}(?:hotpair-etcd PAIR )?([a-z-]+)(?= |$)/gm)].map(([, verb]) => verb);
  return lines
    .filter((line) => !verbs.includes(wordsOf(line)[name === "hotpair-etcd" ? 2 : 1]))
    .map((line) => `${line}: no such verb\n`)
    .join("");
}

test("programs on the servers understand every line of every page", () => {
  const byProgram = new Map<string, Set<string>>();
  for (const line of PAGES.flatMap((page) => commandLines(page, PROGRAM)).filter(isTyped)) {
    const words = wordsOf(line.replace(/ --pair \S+/, ""));
    const name = basename(words[0] ?? "");
    expect(existsSync(join(ROOT, "infra/node", name)), line).toBe(true);
    if (words.length > 1) byProgram.set(name, (byProgram.get(name) ?? new Set()).add(words.join(" ")));
  }
  expect([...byProgram.keys()]).toEqual(expect.arrayContaining(["hotpair-lease", "hotpair-mariadb", "hotpair-etcd"]));
  const wrong = [...byProgram].map(([name, lines]) => {
    const python = existsSync(join(ROOT, "infra/node", name.replace("hotpair-", ""), "verbs.py"));
    return python ? refusedByPython(name, [...lines]) : refusedByShell(name, [...lines]);
  });
  expect(wrong.join("")).toBe("");
});

// --- the pages themselves --------------------------------------------------------------------------------------------

const runbooks = readdirSync(join(ROOT, "docs/runbooks")).filter((name) => name !== "README.md");

test.each(runbooks)("the runbook %s says what is seen, what to do and when it is over, and is linked", (name) => {
  const text = read(`docs/runbooks/${name}`);
  expect(text.match(/^## .*$/gm)).toEqual(["## What you see", "## What to do", "## It is over when"]);
  expect(read("docs/runbooks/README.md")).toContain(`](${name})`);
  const pages = readdirSync(join(ROOT, "docs/failures")).map((page) => read(`docs/failures/${page}`));
  expect(pages.some((page) => page.includes(`](../runbooks/${name})`))).toBe(true);
});

test.each(["README.md", ...readdirSync(join(ROOT, "docs/runbooks"))])(
  "links of the runbooks' %s lead somewhere",
  (name) => {
    const folder = join(ROOT, "docs/runbooks");
    const links = [...read(`docs/runbooks/${name}`).matchAll(/\]\(([^)#]+)/g)].map(([, link = ""]) => link);
    expect(links.filter((link) => !existsSync(join(folder, link)))).toEqual([]);
  },
);
