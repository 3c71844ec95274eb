// Questions whose answer is a text, for commands that write a stack file. Whoever has no terminal gives flags instead:
// nothing here waits for an answer that cannot come. Consent to something is asked for in terminal.ts.

import { createInterface, type Interface } from "node:readline/promises";
import { Writable } from "node:stream";
import { UserError } from "../model/errors.ts";

export const isTerminal = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true;

/** Asks on standard error, so that what a command prints stays clean. An empty answer gives `otherwise`. */
export async function ask(question: string, otherwise = ""): Promise<string> {
  const prompt = `${question}${otherwise === "" ? "" : ` [${otherwise}]`}: `;
  const answer = await answerTo(process.stderr, (terminal) => terminal.question(prompt));
  return answer.trim() || otherwise;
}

/** Asks without showing what is typed. */
export async function askHidden(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const answer = await answerTo(nowhere, (terminal) => {
    const answered = terminal.question("");
    // Only now: the terminal has stopped showing what is typed, however early somebody starts.
    process.stderr.write(`${question}: `);
    return answered;
  });
  process.stderr.write("\n");
  return answer;
}

async function answerTo(
  output: NodeJS.WritableStream,
  question: (terminal: Interface) => Promise<string>,
): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output, terminal: true });
  // At the end of input readline never answers; without this the command would end silently, with success.
  const ended = new Promise<never>((_, reject) => {
    terminal.once("close", () => reject(new UserError("no answer; nothing was changed")));
  });
  ended.catch(() => {});
  try {
    return await Promise.race([question(terminal), ended]);
  } finally {
    terminal.close();
  }
}
