// What a drill has an operator do: the same commands, typed at the same program. Which ones is the scenario's business.

import { execFile } from "node:child_process";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "../../bin/hotpair.mjs");
/** A forced promotion looks at what does not answer (10 s each), begins an epoch and waits for the database. */
const DEADLINE_MS = 180_000;
const RESTORE_ROUNDS = 20;

/** Runs `hotpair WORDS`; rejects with its last words when it fails. */
export function hotpair(words: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [PROGRAM, ...words], { timeout: DEADLINE_MS }, (error, stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`hotpair ${words.join(" ")}: ${(stderr || stdout || error.message).trim().slice(-500)}`));
    });
  });
}

/** Shell that takes in again the members on these hosts that are not healthy, as often as it takes; harmless when all are. */
export function restoreScript(stack: string, hosts: readonly string[]): string {
  const command = (words: string) => `'${process.execPath}' '${PROGRAM}' ${words} -s '${stack}'`;
  const restores = hosts.map((host) => command(`authority restore '${host}' --yes`));
  return `cd '${process.cwd()}'
tries=0
until ${command("authority status")}; do
  tries=$((tries + 1))
  [ $tries -le ${RESTORE_ROUNDS} ] || exit 1
  ${restores.join("\n  ")}
  sleep 1
done`;
}
