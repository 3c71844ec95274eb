// `hotpair check`: is a stack file right, will the pair keep its targets, and have drills proven it? It reaches no server and
// no network. Gathering is here; how it reads for CI is annotations.ts, beside another version of the file comparison.ts.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { Command } from "commander";
import { parsePath, readStack } from "../config/index.ts";
import { proofOf } from "../drill/proof.ts";
import { formatDuration } from "../model/duration.ts";
import { UserError } from "../model/errors.ts";
import { showBound, showRange } from "../model/estimate.ts";
import type { Pair } from "../model/pair.ts";
import { proofOfClasses, shortDigest } from "../model/proof.ts";
import { estimate } from "../services/estimate.ts";
import { collectFindings } from "../services/findings.ts";
import { annotationOfMistake, junit, sarif } from "./annotations.ts";
import type { Annotation, Checked } from "./checked.ts";
import { type Before, changesOf, commentOn, evidenceWords } from "./comparison.ts";
import { type LoadedStack, loadStack, readStackText, shownPath, stackClashes, stackOption } from "./stack.ts";
import { columns } from "./terminal.ts";

interface Options {
  readonly stack?: string;
  readonly explain: boolean;
  readonly json: boolean;
  readonly sarif?: string;
  readonly junit?: string;
  readonly compare?: string;
  readonly comment?: string;
}

export function register(program: Command): void {
  program
    .command("check")
    .description(
      "is the configuration right, and will the pair keep its targets? exit 2: wrong, 3: a target is missed or not proven",
    )
    .addOption(stackOption())
    .option("--explain", "write out the sum behind every estimate", false)
    .option("--json", "print as JSON", false)
    .option("--sarif <file>", "also write the findings as SARIF 2.1.0, for annotations of a change")
    .option("--junit <file>", "also write targets and findings as JUnit's XML")
    .option("--compare <before>", "also show what changes against this version: a file, or a git revision")
    .option("--comment <file>", "also write a comment for a pull request, as Markdown")
    .action(check);
}

const EXIT_CODES: Readonly<Record<Checked["verdict"], number>> = {
  good: 0,
  wrong: 2,
  "target missed": 3,
  "target not proven": 3,
};

const TARGET_RULES = ["rto-within-target", "rpo-within-target"];
const EVIDENCE_RULES = [
  "evidence-present",
  "evidence-passed",
  "evidence-matches",
  "evidence-fresh",
  "evidence-trusted",
];

function check(options: Options): void {
  const found = readStackText(options.stack);
  const loaded = loadedOr(found.stack);
  const checked =
    loaded instanceof UserError ? mistaken(found.stack, shownPath(found.file), loaded.details) : judge(loaded);
  const before = options.compare === undefined ? undefined : versionBefore(options.compare, found);
  if (options.sarif !== undefined) writeFileSync(options.sarif, sarif(checked.annotations));
  if (options.junit !== undefined) writeFileSync(options.junit, junit(checked));
  if (options.comment !== undefined) writeFileSync(options.comment, commentOn(checked, before));
  if (options.json) console.log(JSON.stringify(plain(checked, before), null, 2));
  else if (loaded instanceof UserError) throw loaded;
  else console.log(textOf(checked, loaded.pair, before, options.explain));
  process.exitCode = EXIT_CODES[checked.verdict];
}

function loadedOr(stack: string): LoadedStack | UserError {
  try {
    return loadStack(stack);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

function judge({ stack, file, pair, stackFile }: LoadedStack): Checked {
  const proof = proofOf(stack, pair);
  const findings = [...collectFindings(pair, proof), ...stackClashes(stack, pair)];
  const estimates = estimate(pair);
  const stopping = findings.flatMap(({ level, rule }) => (level === "mandatory" ? [rule] : []));
  const wrong = stopping.some((rule) => !TARGET_RULES.includes(rule) && !EVIDENCE_RULES.includes(rule));
  const missed = estimates.some(({ rto, rpo }) => rto.verdict === "missed" || rpo.verdict === "missed");
  const unproven = stopping.some((rule) => EVIDENCE_RULES.includes(rule));
  const annotations = findings.map((finding): Annotation => {
    // Whoever looks at a change is shown the line; the whole file where a finding is about no line of it.
    const place = stackFile.locate(parsePath(finding.path.replace(/^hotpair:(pair\.?)?/, "")));
    return {
      rule: finding.rule,
      level: finding.level === "mandatory" ? "error" : "warning",
      path: finding.path,
      message: `${finding.message}. To fix: ${finding.fix}.`,
      file: place?.file ?? shownPath(file),
      line: place?.line ?? 1,
      column: place?.column ?? 1,
    };
  });
  return {
    stack,
    file: shownPath(file),
    verdict: wrong ? "wrong" : missed ? "target missed" : unproven ? "target not proven" : "good",
    mistakes: [],
    findings,
    annotations,
    estimates,
    classes: proofOfClasses(pair, estimates, proof),
    proof,
  };
}

const mistaken = (stack: string, file: string, mistakes: readonly string[]): Checked => ({
  stack,
  file,
  verdict: "wrong",
  mistakes,
  findings: [],
  annotations: mistakes.map((mistake) => annotationOfMistake(mistake, file)),
  estimates: [],
  classes: [],
  proof: undefined,
});

/** The same stack as a file or a revision of git has it. */
function versionBefore(source: string, { stack, file }: { readonly stack: string; readonly file: string }): Before {
  let text: string;
  try {
    text = existsSync(source)
      ? readFileSync(source, "utf8")
      : execFileSync("git", ["-C", dirname(file), "show", `${source}:./${basename(file)}`], {
          encoding: "utf8",
          stdio: ["ignore", "pipe", "pipe"],
        });
  } catch (error) {
    const said = String((error as { readonly stderr?: unknown }).stderr ?? error).trim();
    // A new stack has no version before, which is no mistake; a revision that there is not, is one.
    if (/exists on disk, but not in|does not exist in/.test(said)) return { source, kind: "new" };
    throw new UserError(`--compare ${source}: is neither a file nor a revision of git that is here`, [
      said.split("\n")[0] ?? "",
      "in CI fetch it first, e.g. git fetch origin main, and compare with FETCH_HEAD",
    ]);
  }
  try {
    const { pair } = readStack(text, source, stack);
    return { source, kind: "read", estimates: estimate(pair), findings: collectFindings(pair) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { source, kind: "unreadable", why: error.message };
  }
}

function plain(checked: Checked, before: Before | undefined): unknown {
  const { stack, verdict, mistakes, findings, estimates, classes, proof } = checked;
  return {
    ...{ stack, verdict, mistakes, findings, estimates, evidence: classes },
    ...(proof === undefined ? {} : { configDigest: proof.configDigest }),
    ...(before === undefined ? {} : { compared: { with: before.source, ...changesOf(checked, before) } }),
  };
}

function textOf(checked: Checked, pair: Pair, before: Before | undefined, explain: boolean): string {
  const { stack, file, findings, annotations, estimates, classes, proof, verdict } = checked;
  const found = findings.flatMap(({ level, rule, path, message, fix }, index) => {
    const place = annotations[index];
    const where = place === undefined ? "" : ` (${place.file}:${place.line}:${place.column})`;
    return [`  ${level}  ${rule}${where}`, `    ${path}: ${message}`, `    ${fix}`];
  });
  const rows = estimates.map(({ failure, rto, rpo }, index) => [
    failure,
    showRange(rto.lower, rto.upper),
    rto.target === undefined ? "-" : formatDuration(rto.target.value),
    rto.verdict,
    showBound(rpo.upper),
    rpo.target === undefined ? "-" : formatDuration(rpo.target.value),
    rpo.verdict,
    evidenceWords(classes[index]),
  ]);
  const table = columns([["failure", "RTO", "target", "", "RPO", "target", "", "evidence"], ...rows]);
  const sums = estimates.flatMap(({ failure, rto, beyond, needed }) => [
    `  ${failure}`,
    `    ${rto.formula}`,
    ...(beyond === undefined ? [] : [`    ${beyond}`]),
    ...(needed === undefined ? [] : [`    needed: ${needed}`]),
  ]);
  const nodes = pair.nodes.map(({ name }) => name).join(" and ");
  const vips = pair.vips.map(({ name, address }) => `${name} ${address}`).join(", ");
  return [
    `${pair.name}: ${nodes}, ${vips} (${file})`,
    "",
    ...(found.length === 0 ? ["No findings."] : ["Findings:", ...found]),
    "",
    "What a client will see, from the terms of every service (hotpair check --explain writes out the sums):",
    ...table.map((line) => `  ${line}`),
    ...(explain ? ["", "Sums:", ...sums] : []),
    ...(before === undefined ? [] : ["", ...comparedText(checked, before)]),
    "",
    `configuration ${shortDigest(proof?.configDigest ?? "")} (docs/evidence.md)`,
    `${stack}: ${verdict}`,
  ].join("\n");
}

function comparedText(checked: Checked, before: Before): readonly string[] {
  const { note, classes, appeared, gone } = changesOf(checked, before);
  const rows = classes.map(({ failure, rto, rpo }) => [
    failure,
    `RTO ${rto.before} → ${rto.after}`,
    rpo.before === rpo.after ? "" : `RPO ${rpo.before} → ${rpo.after}`,
  ]);
  return [
    `Against ${before.source}${note === undefined ? ":" : `: ${note}`}`,
    ...(rows.length === 0 && note === undefined ? ["  no estimate changes"] : columns(rows).map((line) => `  ${line}`)),
    ...appeared.map(({ level, rule, path }) => `  new: ${level} ${rule} at ${path}`),
    ...gone.map(({ level, rule, path }) => `  gone: ${level} ${rule} at ${path}`),
  ];
}
