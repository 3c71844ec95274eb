// Questions whose answer is a text, for commands that write a stack file. Whoever has no terminal gives flags instead:
// nothing here waits for an answer that cannot come. Consent to something is asked for in terminal.ts.

import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { UserError } from "../model/errors.ts";

export const isTerminal = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true;

/** Asks on standard error, so that what a command prints stays clean. An empty answer gives `otherwise`. */
export async function ask(question: string, otherwise = ""): Promise<string> {
  const answer = await answerTo(`${question}${otherwise === "" ? "" : ` [${otherwise}]`}: `, process.stderr);
  return answer.trim() || otherwise;
}

/** Asks without showing what is typed. */
export async function askHidden(question: string): Promise<string> {
  process.stderr.write(`${question}: `);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const answer = await answerTo("", nowhere);
  process.stderr.write("\n");
  return answer;
}

async function answerTo(prompt: string, output: NodeJS.WritableStream): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output, terminal: true });
  // At the end of input readline never answers; without this the command would end silently, with success.
  const ended = new Promise<never>((_, reject) => {
    terminal.once("close", () => reject(new UserError("no answer; nothing was changed")));
  });
  const answered = terminal.question(prompt);
  try {
    return await Promise.race([answered, ended]);
  } finally {
    ended.catch(() => {});
    terminal.close();
  }
}
