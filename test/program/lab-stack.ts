// A stack file of the tests' own, where commands and the program look for it.

import { rmSync, writeFileSync } from "node:fs";
import { stackPath } from "../../infra/cli/stack.ts";

/** Returns what removes it. */
export function writeStack(stack: string, text: string): () => void {
  const file = stackPath(stack);
  writeFileSync(file, text);
  return () => rmSync(file, { force: true });
}
