// What a command says to the person at the keyboard: progress on standard error, so that standard output carries the
// result alone; questions only where there is somebody to answer. How a command ends is in main.ts.

import { createInterface } from "node:readline/promises";
import { UserError } from "../model/errors.ts";

/** One line of progress. */
export const announce = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/**
 * Asks for consent. `assumed` (an option like --yes) answers without asking.
 * @throws UserError where nobody can answer, naming the option that would.
 */
export async function confirm(question: string, assumed: boolean, option = "--yes"): Promise<boolean> {
  if (assumed) return true;
  if (!process.stdin.isTTY) throw new UserError(`${question} Nobody can answer here: give ${option}`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

/** Rows of one table, each cell as wide as the widest of its column. */
export function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
const CODES: Readonly<Record<Style, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

/** Colour where a terminal shows it and the user has not asked for none (https://no-color.org). */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  const shown = stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  return shown ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}
