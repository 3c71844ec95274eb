// A stack before and after a change: which estimates and findings differ, and the comment that a pull request gets. Pure:
// facts in, texts out.

import { formatDuration } from "../model/duration.ts";
import { type Estimate, showBound } from "../model/estimate.ts";
import type { Finding } from "../model/finding.ts";
import { type ClassProof, shortDigest } from "../model/proof.ts";
import type { Checked } from "./checked.ts";

/** The version to compare with. */
export type Before =
  | {
      readonly source: string;
      readonly kind: "read";
      readonly estimates: readonly Estimate[];
      readonly findings: readonly Finding[];
    }
  /** It does not have the stack yet. */
  | { readonly source: string; readonly kind: "new" }
  | { readonly source: string; readonly kind: "unreadable"; readonly why: string };

export interface Changes {
  /** Why nothing can be compared; undefined: it can. */
  readonly note: string | undefined;
  /** Those whose bounds or targets differ. */
  readonly classes: readonly ClassChange[];
  /** Findings about the configuration itself; what is proven is a matter of today, and not of the change. */
  readonly appeared: readonly Finding[];
  readonly gone: readonly Finding[];
}

interface ClassChange {
  readonly failure: string;
  readonly rto: Sides;
  readonly rpo: Sides;
  readonly target: Sides;
}

/** As a person reads it; `-` where a version does not have it. */
interface Sides {
  readonly before: string;
  readonly after: string;
}

export function changesOf({ estimates, findings }: Checked, before: Before): Changes {
  if (before.kind !== "read") {
    const note = before.kind === "new" ? "the stack is new" : `its configuration is not valid (${before.why})`;
    return { note, classes: [], appeared: [], gone: [] };
  }
  const one = new Map(before.estimates.map((each) => [each.failure, each]));
  const other = new Map(estimates.map((each) => [each.failure, each]));
  const classes = [...new Set([...one.keys(), ...other.keys()])].map((failure): ClassChange => {
    const sides = (of: (each: Estimate) => string): Sides => {
      const [was, is] = [one.get(failure), other.get(failure)];
      return { before: was === undefined ? "-" : of(was), after: is === undefined ? "-" : of(is) };
    };
    return {
      failure,
      rto: sides(({ rto }) => showBound(rto.upper)),
      rpo: sides(({ rpo }) => showBound(rpo.upper)),
      target: sides(({ rto }) => (rto.target === undefined ? "-" : formatDuration(rto.target.value))),
    };
  });
  const own = findings.filter(({ rule }) => !rule.startsWith("evidence-"));
  const key = ({ level, rule, path }: Finding) => `${level} ${rule} ${path}`;
  const [was, is] = [new Set(before.findings.map(key)), new Set(own.map(key))];
  return {
    note: undefined,
    classes: classes.filter((each) => [each.rto, each.rpo, each.target].some((sides) => sides.before !== sides.after)),
    appeared: own.filter((finding) => !was.has(key(finding))),
    gone: before.findings.filter((finding) => !is.has(key(finding))),
  };
}

const VERDICTS: Readonly<Record<Checked["verdict"], string>> = {
  good: "✅ good",
  wrong: "❌ wrong",
  "target missed": "❌ a target is missed",
  "target not proven": "⚠️ a target is not proven",
};

/** Markdown as GitHub, GitLab and Bitbucket read it. Its first line lets a script find the comment to replace. */
export function commentOn(checked: Checked, before: Before | undefined): string {
  const { stack, verdict, mistakes, findings, estimates, classes, proof } = checked;
  const head = [`<!-- hotpair ${stack} -->`, `### hotpair: stack \`${stack}\`: ${VERDICTS[verdict]}`, ""];
  if (mistakes.length > 0) return `${[...head, ...mistakes.map((mistake) => `- ${cell(mistake)}`)].join("\n")}\n`;
  const changes = before && changesOf(checked, before);
  const compared = changes !== undefined && changes.note === undefined;
  const changed = new Map(changes?.classes.map((each) => [each.failure, each]));
  const row = ({ failure, rto, rpo }: Estimate, index: number): string => {
    const change = changed.get(failure);
    const bound = (sides: Sides | undefined, now: string) =>
      sides === undefined || sides.before === sides.after ? now : `${sides.before} → **${sides.after}**`;
    return `| \`${failure}\` | ${[
      bound(change?.rto, showBound(rto.upper)),
      bound(change?.target, rto.target === undefined ? "-" : formatDuration(rto.target.value)),
      rto.verdict === "missed" ? "❌ missed" : rto.verdict,
      bound(change?.rpo, showBound(rpo.upper)),
      rpo.verdict === "missed" ? "❌ missed" : rpo.verdict,
      evidenceWords(classes[index]),
    ].join(" | ")} |`;
  };
  const table = (only: (each: Estimate) => boolean): readonly string[] => [
    "| failure class | RTO at most | target | | RPO at most | | evidence |",
    "|---|---|---|---|---|---|---|",
    ...estimates.flatMap((each, index) => (only(each) ? [row(each, index)] : [])),
  ];
  // Classes that the change is gone from have no row of their own: they have no estimate any more.
  const vanished = changes?.classes.filter(({ rto }) => rto.after === "-").map(({ failure }) => `\`${failure}\``) ?? [];
  const shown = ({ failure, rto, rpo }: Estimate) =>
    !compared || changed.has(failure) || rto.verdict === "missed" || rpo.verdict === "missed";
  const hidden = estimates.filter((each) => !shown(each));
  const finding = ({ level, rule, path, message, fix }: Finding): string =>
    `- ${level === "mandatory" ? "❌" : "💡"} \`${rule}\` at \`${path}\`: ${cell(message)}. To fix: ${cell(fix)}.`;
  const listed = compared ? [...(changes?.appeared ?? []), ...findings.filter(isUrgent)] : findings;
  const sections = [
    ...head,
    ...(changes?.note === undefined ? [] : [`Nothing to compare with at \`${before?.source}\`: ${changes.note}.`, ""]),
    ...(compared && changed.size === 0 ? [`No estimate differs from \`${before?.source}\`.`, ""] : []),
    ...(estimates.some(shown) ? [...table(shown), ""] : []),
    ...(vanished.length === 0 ? [] : [`No longer a failure class of this pair: ${vanished.join(", ")}.`, ""]),
    ...(listed.length === 0 ? [] : [compared ? "New or mandatory:" : "Findings:", ...new Set(listed.map(finding)), ""]),
    ...(changes === undefined || changes.gone.length === 0
      ? []
      : [`Gone: ${changes.gone.map(({ rule, path }) => `\`${rule}\` at \`${path}\``).join(", ")}.`, ""]),
    ...(hidden.length === 0
      ? []
      : [
          `<details><summary>${hidden.length} failure classes as before</summary>`,
          "",
          ...table((each) => !shown(each)),
          "",
          "</details>",
          "",
        ]),
    `Configuration \`${shortDigest(proof?.configDigest ?? "")}\`.`,
  ];
  return `${sections.join("\n")}\n`;
}

const isUrgent = ({ level, rule }: Finding): boolean => level === "mandatory" || rule.startsWith("evidence-");

/** Text of ours inside Markdown: no table and no markup begins in it. */
const cell = (text: string): string => text.replaceAll(/[\\|<>*_`[\]]/g, "\\$&").replaceAll("\n", " ");

/** What drills say of one failure class, in a column's width. */
export function evidenceWords(proof: ClassProof | undefined): string {
  if (proof === undefined) return "-";
  switch (proof.state) {
    case "proven": {
      const last = proof.by.toSorted((one, other) => (one.startedAt < other.startedAt ? -1 : 1)).at(-1);
      return `proven ${last?.startedAt.slice(0, 10) ?? ""}`;
    }
    case "failed":
      return `FAILED ${proof.by.startedAt.slice(0, 10)}`;
    case "old":
      return `${proof.ageDays} days old`;
    case "not demanded":
      return "-";
    default:
      return proof.state;
  }
}
