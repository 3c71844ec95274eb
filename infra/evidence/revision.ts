// What a stack's history was at a revision of the user's own git. Digests tell that an entry is gone only where another one
// follows it; that the last ones were taken out is seen by comparing with what was committed.

import { spawnSync } from "node:child_process";
import { UserError } from "../model/errors.ts";

export interface Committed {
  /** Names of the files in `<stack>/history/`. */
  readonly names: readonly string[];
  /** Lines of `<stack>/history.jsonl`. */
  readonly lines: readonly string[];
}

/** Empty when the stack had no history then. Throws UserError when git does not know the revision or the directory. */
export function committedAt(directory: string, stack: string, revision: string): Committed {
  const git = (...words: readonly string[]): string => {
    const { status, stdout, stderr, error } = spawnSync("git", ["-C", directory, ...words], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (error === undefined && status === 0) return stdout;
    const why = error?.message ?? stderr.trim().split("\n").at(-1);
    throw new UserError(`git does not say what ${directory} was at ${revision}: ${why}`, [
      "name a revision that this clone has, e.g. --since origin/main; CI may have to fetch it first",
    ]);
  };
  // Peeled first, so that nothing that is typed is taken for an option or a path.
  const commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`).trim();
  const lines = `${stack}/history.jsonl`;
  const paths = git("ls-tree", "-r", "-z", "--name-only", commit, "--", `${stack}/history/`, lines).split("\0");
  return {
    names: paths.flatMap((path) => (path.startsWith(`${stack}/history/`) ? (path.split("/").at(-1) ?? []) : [])),
    lines: paths.includes(lines) ? git("show", `${commit}:./${lines}`).split("\n").filter(Boolean) : [],
  };
}
