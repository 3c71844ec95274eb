// What `hotpair check` finds out, as its command, its annotations and its comparison read it. Types alone.

import type { Estimate } from "../model/estimate.ts";
import type { Finding } from "../model/finding.ts";
import type { ClassProof, Proof } from "../model/proof.ts";

/** One finding or mistake, at one place. */
export interface Annotation {
  readonly rule: string;
  readonly level: "error" | "warning";
  /** Configuration path; empty for a mistake, whose message begins with it. */
  readonly path: string;
  readonly message: string;
  /** From where the command was started. */
  readonly file: string;
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
}

/** What `check` found out. A configuration that cannot be read has mistakes and nothing else. */
export interface Checked {
  readonly stack: string;
  /** As users read it. */
  readonly file: string;
  readonly verdict: "good" | "wrong" | "target missed" | "target not proven";
  readonly mistakes: readonly string[];
  readonly findings: readonly Finding[];
  readonly annotations: readonly Annotation[];
  readonly estimates: readonly Estimate[];
  readonly classes: readonly ClassProof[];
  readonly proof: Proof | undefined;
}
