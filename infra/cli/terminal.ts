// What a command says to the person at the keyboard, and asks: progress and questions on standard error, so that standard
// output carries the result alone. How a command ends is in main.ts.

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { UserError } from "../model/errors.ts";

/** One line of progress. */
export const announce = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Whether there is somebody to answer. */
export const isTerminal = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true;

/** Asks until there is an answer; an empty one takes the proposal, when there is one (which may be empty itself). */
export async function ask(question: string, proposal?: string): Promise<string> {
  for (;;) {
    const answer = (await line(`${question}${proposal ? ` [${proposal}]` : ""}: `)).trim();
    if (answer !== "") return answer;
    if (proposal !== undefined) return proposal;
  }
}

/** As typed, and not shown while it is. */
export async function askHidden(question: string): Promise<string> {
  process.stderr.write(`${question}: `);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    return await line("", nowhere);
  } finally {
    process.stderr.write("\n");
  }
}

/** Yes or no; an empty answer is no. */
export const confirm = async (question: string): Promise<boolean> =>
  /^y(es)?$/i.test((await line(`${question} [y/N] `)).trim());

/**
 * Consent to what a command is about to do; `given` is an option that answers without asking, such as --yes.
 * @throws UserError where nobody can answer, naming the option.
 */
export async function consent(question: string, given: boolean, option = "--yes"): Promise<boolean> {
  if (given) return true;
  if (!isTerminal()) throw new UserError(question, [`nobody can answer here: run it at a terminal, or give ${option}`]);
  return confirm(question);
}

async function line(prompt: string, output: NodeJS.WritableStream = process.stderr): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output, terminal: isTerminal() });
  // The end of the input is no answer: waiting on would end the process without a word.
  const ended = new Promise<never>((_, reject) => {
    terminal.once("close", () => reject(new UserError("there was no answer to a question; nothing was changed")));
  });
  try {
    return await Promise.race([terminal.question(prompt), ended]);
  } finally {
    terminal.close();
  }
}

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
const CODES: Readonly<Record<Style, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

/** Colour where a terminal shows it and the user has not asked for none (https://no-color.org). */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  const shown = stream.isTTY && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  return shown ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}
