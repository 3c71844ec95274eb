// What `hotpair check` found, in the forms that CI systems show beside the lines of a change: SARIF 2.1.0 (OASIS) and
// JUnit's XML. Pure: facts in, texts out.

import { createHash } from "node:crypto";
import { formatDuration } from "../model/duration.ts";
import { showBound } from "../model/estimate.ts";
import { policies } from "../policy/policies.ts";
import type { Annotation, Checked } from "./checked.ts";

const MISTAKE = "configuration";

/** A mistake carries its place at its end, e.g. `… (stacks/Pulumi.prod.yaml:12:9)`. */
export function annotationOfMistake(mistake: string, file: string): Annotation {
  const [, message = mistake, at = file, line = "1", column = "1"] =
    /^(.*) \(([^()\s]+):(\d+):(\d+)\)$/s.exec(mistake) ?? [];
  return { rule: MISTAKE, level: "error", path: "", message, file: at, line: Number(line), column: Number(column) };
}

/** SARIF 2.1.0 §3: one run of one tool, its rules, and a result per annotation. */
export function sarif(annotations: readonly Annotation[]): string {
  const rules = [...new Set(annotations.map(({ rule }) => rule))].sort();
  const log = {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "hotpair",
            rules: rules.map((id) => ({ id, shortDescription: { text: descriptionOf(id) } })),
          },
        },
        results: annotations.map(({ rule, level, path, message, file, line, column }) => ({
          ruleId: rule,
          ruleIndex: rules.indexOf(rule),
          level,
          message: { text: path === "" ? message : `${path}: ${message}` },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: file.split("/").map(encodeURIComponent).join("/") },
                region: { startLine: line, startColumn: column },
              },
            },
          ],
          // What a result is known by from run to run, wherever its line moves to (§3.27.17).
          partialFingerprints: {
            "hotpair/v1": createHash("sha256")
              .update(`${rule} ${path === "" ? message : path}`)
              .digest("hex"),
          },
        })),
      },
    ],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}

const descriptionOf = (rule: string): string =>
  policies.find(({ name }) => name === rule)?.description ??
  (rule === MISTAKE
    ? "The stack file can be read, and every field is what it should be."
    : "Stacks of one project do not use each other's addresses.");

/** A suite of the targets, one case per failure class, and a suite of the findings; advice does not fail. */
export function junit({ stack, file, verdict, estimates, annotations }: Checked): string {
  const targets = estimates.map(({ failure, description, rto, rpo }): Case => {
    const missed = [rto, rpo].filter((each) => each.verdict === "missed");
    const bounds = ([["RTO", rto] as const, ["RPO", rpo] as const] as const).map(
      ([name, each]) =>
        `${name} ${showBound(each.upper)}${each.target === undefined ? ", no target" : `, target ${formatDuration(each.target.value)}`}: ${each.formula}`,
    );
    // Green would say that service is back in time.
    const unjudged = missed.length === 0 && rto.verdict !== "within";
    return {
      name: `${failure}: ${description}`,
      failure: missed.length === 0 ? undefined : "the target is missed",
      text: bounds.join("\n"),
      skipped: unjudged ? rto.verdict : undefined,
    };
  });
  const findings = annotations.map(({ rule, level, path, message, file: at, line }): Case => {
    const text = `${at}:${line}\n${message}`;
    const name = path === "" ? rule : `${rule} ${path}`;
    return { name, failure: level === "error" ? message : undefined, text, skipped: undefined };
  });
  // A suite without a case is a mistake to some readers.
  if (findings.length === 0)
    findings.push({ name: `no findings (${verdict})`, failure: undefined, text: "", skipped: undefined });
  const suites = [suite(`${stack}.targets`, file, targets), suite(`${stack}.findings`, file, findings)];
  const all = [...targets, ...findings];
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="hotpair" tests="${all.length}" failures="${failed(all)}" errors="0">`,
    ...suites,
    "</testsuites>",
    "",
  ].join("\n");
}

interface Case {
  readonly name: string;
  readonly failure: string | undefined;
  readonly text: string;
  readonly skipped: string | undefined;
}

const failed = (cases: readonly Case[]): number => cases.filter(({ failure }) => failure !== undefined).length;

function suite(name: string, file: string, cases: readonly Case[]): string {
  const skipped = cases.filter((each) => each.skipped !== undefined).length;
  const one = (each: Case): string => {
    const head = `    <testcase classname="${attribute(name)}" name="${attribute(each.name)}" file="${attribute(file)}" time="0"`;
    if (each.skipped !== undefined) return `${head}><skipped message="${attribute(each.skipped)}"/></testcase>`;
    if (each.failure !== undefined)
      return `${head}><failure type="hotpair" message="${attribute(each.failure)}">${attribute(each.text)}</failure></testcase>`;
    return each.text === "" ? `${head}/>` : `${head}><system-out>${attribute(each.text)}</system-out></testcase>`;
  };
  const figures = `tests="${cases.length}" failures="${failed(cases)}" errors="0" skipped="${skipped}" time="0"`;
  return [`  <testsuite name="${attribute(name)}" ${figures}>`, ...cases.map(one), "  </testsuite>"].join("\n");
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** XML 1.0 has no way to write most control characters, so that they are left out. */
const attribute = (text: string): string =>
  text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the ones that XML 1.0 §2.2 does not know
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
    .replaceAll(/[&<>"]/g, (character) => ENTITIES[character] ?? "");
