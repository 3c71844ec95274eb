// Runs that a benchmark keeps as it goes: one line of JSON each, appended at once, so that an interrupted one goes on.

import { existsSync, readFileSync } from "node:fs";

/** In the order in which they were measured; none when the file is not there. */
export function keptRuns<Run>(file: string): readonly Run[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Run);
}
