// `hotpair evidence list | verify | prune`: what was drilled on a stack, whether it can be believed, and making room. Thin:
// what counts as proven is in infra/model/proof.ts, how evidence is kept in infra/evidence.

import { type Command, InvalidArgumentError, Option } from "commander";
import { configDigest } from "../evidence/digest.ts";
import { ratesOf, showRate } from "../evidence/rate.ts";
import {
  historyFolder,
  pruneEvidence,
  type Recorded,
  readRecords,
  requireHistory,
  type Trust,
  verifyEvidence,
} from "../evidence/records.ts";
import { type Sign, signerWith } from "../evidence/signature.ts";
import { evidenceDirectory } from "../evidence/store.ts";
import { type Duration, parseDuration } from "../model/duration.ts";
import { FailedError, UserError } from "../model/errors.ts";
import type { Pair } from "../model/pair.ts";
import { shortDigest } from "../model/proof.ts";
import { loadStack, shownPath, stackOption } from "./stack.ts";
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
      .addOption(stackOption())
      .option("--evidence <directory>", "where drills keep what they measured", evidenceDirectory())
      .option("--json", "print as JSON", false);

  command("list", "every recorded drill, oldest first").action(list);
  command(
    "verify",
    "the history, entry by entry, and every file against it; exit code 1 when something was changed or taken out",
  )
    .option("--since <revision>", "a git revision of the evidence: nothing that was recorded then may be gone")
    .action(verify);
  command("prune", "remove the files of old drills; the history keeps what came of them")
    .requiredOption("--older-than <age>", "e.g. 400d; the newest drill of each scenario is kept, whatever its age", age)
    .addOption(signOption())
    .option("--yes", "do not ask", false)
    .action(prune);
}

const trustOf = ({ evidence }: Pair): Trust => ({ allowedSigners: evidence.allowedSigners });

export const signOption = (): Option =>
  new Option("--sign <key>", "sign what is recorded: a private key file, or the .pub of a key in the SSH agent").env(
    "HOTPAIR_SIGNING_KEY",
  );

/** Throws UserError where the stack wants signed evidence and nobody signs: what is recorded then would count for nothing. */
export function signerOf({ sign }: { readonly sign?: string }, { evidence }: Pair): Sign | undefined {
  if (sign !== undefined) return signerWith(sign);
  if (evidence.allowedSigners === undefined) return undefined;
  throw new UserError("evidence of this stack counts only when it is signed (hotpair:pair.evidence.allowedSigners)", [
    "name your key with --sign or in HOTPAIR_SIGNING_KEY, e.g. --sign ~/.ssh/id_ed25519.pub for one that the SSH agent holds",
  ]);
}

function list(options: Named): void {
  const { stack, pair } = loadStack(options.stack);
  const { drills, broken } = readRecords(options.evidence, stack, trustOf(pair));
  const newest = drills.at(-1)?.versions ?? {};
  const rates = [...ratesOf(drills, { configDigest: configDigest(pair), versions: newest })];
  if (options.json) {
    const entries = drills.map(({ entry, signer, distrusted }) => ({
      ...entry,
      signer: signer ?? null,
      distrusted: distrusted ?? null,
    }));
    const shown = Object.fromEntries(rates);
    console.log(JSON.stringify({ stack, broken: broken ?? null, drills: entries, rates: shown }, undefined, 2));
  } else if (drills.length === 0) {
    console.log(`nothing was drilled yet: hotpair drill -s ${stack}`);
  } else {
    for (const line of columns([HEAD, ...drills.map(rowOf)])) console.log(line);
    console.log(`\nkept on the configuration of the stack file, ${shortDigest(configDigest(pair))}:`);
    const rows = rates.map(([failure, rate]) => [failure, showRate(rate)]);
    for (const line of columns(rows.length === 0 ? [["nothing was drilled on it"]] : rows)) console.log(`  ${line}`);
  }
  if (broken !== undefined) throw new FailedError("the history cannot be believed", [broken]);
}

const HEAD = ["started", "scenario", "failure class", "runs", "verdict", "slowest", "configuration", "signed by", ""];

const rowOf = ({ entry, signer, distrusted }: Recorded): readonly string[] => [
  entry.startedAt.slice(0, 16).replace("T", " "),
  entry.scenario,
  entry.failure,
  String(entry.runs),
  entry.passedRuns === entry.runs ? "passed" : `FAILED ${entry.runs - entry.passedRuns}`,
  entry.rtoMaxMs === null ? "not back" : `${Math.round(entry.rtoMaxMs)}ms`,
  shortDigest(entry.configDigest),
  signer ?? "-",
  distrusted === undefined ? "" : `does not count: ${distrusted}`,
];

function verify(options: Named & { readonly since?: string }): void {
  const { stack, pair } = loadStack(options.stack);
  const { broken, files, gone, branches } = verifyEvidence(options.evidence, stack, trustOf(pair), options.since);
  const changed = files.flatMap(({ problem }) => problem ?? []);
  const problems = [...(broken === undefined ? [] : [broken]), ...gone, ...changed];
  const recorded = files.filter(({ sequence }) => sequence !== undefined).length;
  const sound = problems.length === 0;
  if (options.json)
    console.log(JSON.stringify({ stack, sound, broken: broken ?? null, gone, branches, files }, undefined, 2));
  else {
    for (const { file, sequence } of files)
      if (sequence === undefined) announce(`${file}: not in the history, so it counts for nothing`);
    const merged = branches > 1 ? `; ${branches} branches, which the next drill joins` : "";
    if (sound) console.log(`${stack}: ${recorded} recorded drills, nothing was changed or taken out${merged}`);
  }
  if (!sound)
    throw new FailedError(`the evidence of stack ${stack} is not what was recorded`, [
      ...problems,
      `restore what was changed from where it was committed, or drill again: hotpair drill -s ${stack}`,
    ]);
}

async function prune(
  options: Named & { readonly olderThan: Duration; readonly sign?: string; readonly yes: boolean },
): Promise<void> {
  const { stack, pair } = loadStack(options.stack);
  const { drills } = readRecords(options.evidence, stack, trustOf(pair));
  requireHistory(options.evidence, stack);
  const sign = signerOf(options, pair);
  const newest = new Map(drills.map(({ entry }) => [entry.scenario, entry.file]));
  const before = new Date(Date.now() - options.olderThan).toISOString();
  const files = drills
    .filter(({ entry }) => entry.startedAt < before && newest.get(entry.scenario) !== entry.file)
    .map(({ entry }) => entry.file);
  const question = `Remove ${files.length} files of ${shownPath(historyFolder(options.evidence, stack))}'s drills before ${before.slice(0, 10)}?`;
  const agreed = files.length > 0 && (await confirm(question, options.yes));
  if (agreed) pruneEvidence(options.evidence, stack, { files, at: new Date().toISOString(), sign });
  if (options.json) console.log(JSON.stringify({ stack, removed: agreed ? files : [] }, undefined, 2));
  else console.log(agreed ? `removed ${files.length} files; the history keeps what came of them` : "nothing to remove");
}

function age(text: string): Duration {
  const value = parseDuration(text);
  if (value === undefined || value < 86_400_000) throw new InvalidArgumentError("Expected a day or more, e.g. 400d.");
  return value;
}
