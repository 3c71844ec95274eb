// `hotpair evidence list | verify | prune`: what was drilled on a stack, whether it can be believed, and making room. Thin:
// what counts as proven is in infra/model/proof.ts, how evidence is kept in infra/evidence.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { DrillEntry } from "../evidence/history.ts";
import {
  evidenceDirectory,
  historyPath,
  pruneEvidence,
  readHistory,
  readRecords,
  verifyEvidence,
} from "../evidence/store.ts";
import { type Duration, parseDuration } from "../model/duration.ts";
import { FailedError, UserError } from "../model/errors.ts";
import { shortDigest } from "../model/proof.ts";
import { chooseStack, shownPath } from "./stack.ts";
import { announce, columns, confirm } from "./terminal.ts";

interface Named {
  readonly stack?: string;
  readonly evidence: string;
  readonly json: boolean;
}

export function register(program: Command): void {
  const group = program
    .command("evidence")
    .description("what was drilled, whether it can be believed, and making room");
  const command = (name: string, description: string): Command =>
    group
      .command(name)
      .description(description)
      .addOption(new Option("-s, --stack <name>", "default: PULUMI_STACK, or the only stack that there is"))
      .option("--evidence <directory>", "where drills keep what they measured", evidenceDirectory())
      .option("--json", "print as JSON", false);

  command("list", "every recorded drill, oldest first").action(list);
  command(
    "verify",
    "the history, line by line, and every file against it; exit code 1 when something was changed",
  ).action(verify);
  command("prune", "remove the files of old drills; the history keeps what came of them")
    .requiredOption("--older-than <age>", "e.g. 400d; the newest drill of each scenario is kept, whatever its age", age)
    .option("--yes", "do not ask", false)
    .action(prune);
}

function list(options: Named): void {
  const stack = chooseStack(options.stack);
  const { drills, broken } = readRecords(options.evidence, stack);
  if (options.json)
    console.log(
      JSON.stringify(
        {
          stack,
          broken: broken ?? null,
          drills: drills.map(({ entry, distrusted }) => ({ ...entry, distrusted: distrusted ?? null })),
        },
        undefined,
        2,
      ),
    );
  else if (drills.length === 0) console.log(`nothing was drilled yet: hotpair drill -s ${stack}`);
  else
    for (const line of columns([HEAD, ...drills.map(({ entry, distrusted }) => rowOf(entry, distrusted))]))
      console.log(line);
  if (broken !== undefined) throw new FailedError("the history cannot be believed", [broken]);
}

const HEAD = ["started", "scenario", "failure class", "runs", "verdict", "slowest", "configuration", ""];

const rowOf = (entry: DrillEntry, distrusted: string | undefined): readonly string[] => [
  entry.startedAt.slice(0, 16).replace("T", " "),
  entry.scenario,
  entry.failure,
  String(entry.runs),
  entry.passedRuns === entry.runs ? "passed" : `FAILED ${entry.runs - entry.passedRuns}`,
  entry.rtoMaxMs === null ? "not back" : `${Math.round(entry.rtoMaxMs)}ms`,
  shortDigest(entry.configDigest),
  distrusted === undefined ? "" : `does not count: ${distrusted}`,
];

function verify(options: Named): void {
  const stack = chooseStack(options.stack);
  const { broken, files } = verifyEvidence(options.evidence, stack);
  const problems = [...(broken === undefined ? [] : [broken]), ...files.flatMap(({ problem }) => problem ?? [])];
  const recorded = files.filter(({ sequence }) => sequence !== undefined).length;
  if (options.json)
    console.log(JSON.stringify({ stack, sound: problems.length === 0, broken: broken ?? null, files }, undefined, 2));
  else {
    for (const { file, sequence } of files)
      if (sequence === undefined) announce(`${file}: not in the history, so it counts for nothing`);
    if (problems.length === 0) console.log(`${stack}: ${recorded} recorded drills, nothing was changed or taken out`);
  }
  if (problems.length > 0)
    throw new FailedError(`the evidence of stack ${stack} is not what was recorded`, [
      ...problems,
      `restore what was changed from where it was committed, or drill again: hotpair drill -s ${stack}`,
    ]);
}

async function prune(options: Named & { readonly olderThan: Duration; readonly yes: boolean }): Promise<void> {
  const stack = chooseStack(options.stack);
  const { drills } = readRecords(options.evidence, stack);
  const { broken } = readHistory(options.evidence, stack);
  if (broken !== undefined)
    throw new UserError("nothing is removed, since the history cannot be believed", [
      broken,
      `see: hotpair evidence verify -s ${stack}`,
    ]);
  const newest = new Map(drills.map(({ entry }) => [entry.scenario, entry.file]));
  const before = new Date(Date.now() - options.olderThan).toISOString();
  const files = drills
    .filter(({ entry }) => entry.startedAt < before && newest.get(entry.scenario) !== entry.file)
    .map(({ entry }) => entry.file);
  const question = `Remove ${files.length} files of ${shownPath(historyPath(options.evidence, stack))}'s drills before ${before.slice(0, 10)}?`;
  const agreed = files.length > 0 && (await confirm(question, options.yes));
  if (agreed) pruneEvidence(options.evidence, stack, files, new Date().toISOString());
  if (options.json) console.log(JSON.stringify({ stack, removed: agreed ? files : [] }, undefined, 2));
  else console.log(agreed ? `removed ${files.length} files; the history keeps what came of them` : "nothing to remove");
}

function age(text: string): Duration {
  const value = parseDuration(text);
  if (value === undefined || value < 86_400_000) throw new InvalidArgumentError("Expected a day or more, e.g. 400d.");
  return value;
}
