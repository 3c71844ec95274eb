// The `hotpair` command: parses what was typed, and knows one way to end.

import { CommanderError } from "commander";
import { FailedError, UserError } from "../model/errors.ts";
import { hotpairProgram } from "./program.ts";

try {
  await hotpairProgram().parseAsync();
} catch (error) {
  process.exitCode = exitCodeFor(error);
}

/** Says what went wrong; exit code 2 for what the person at the keyboard can fix, 1 for everything else. */
function exitCodeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    console.error(`hotpair: ${error.message}`);
    for (const detail of error.details) console.error(`  ${detail}`);
    return error instanceof FailedError ? 1 : 2;
  }
  console.error(error);
  return 1;
}
