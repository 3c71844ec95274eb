// The `hotpair` command: a list of command groups and one way to end. Each group is a file beside this one that exports
// `register(program)`; what a command does lives in the room that it is about.

import { Command, CommanderError } from "commander";
import { UserError } from "../model/errors.ts";
import { register as authority } from "./authority.ts";
import { register as configure } from "./configure.ts";
import { register as deploy } from "./deploy.ts";
import { register as drill } from "./drill.ts";
import { register as fence } from "./fence.ts";
import { register as lab } from "./lab.ts";
import { register as operate } from "./operate.ts";
import { register as promote } from "./promote.ts";
import { register as report } from "./report.ts";
import { register as upgrade } from "./upgrade.ts";

const groups = [configure, authority, deploy, lab, operate, promote, fence, upgrade, drill, report];

const program = new Command("hotpair")
  .description("Turns two Linux servers into a hot-standby pair and keeps proving that they are one.")
  .helpCommand(false)
  .showHelpAfterError("(add --help for what is possible)")
  // What follows a command's own words belongs to what it starts: hotpair lab exec node-a -- ls -l
  .enablePositionalOptions()
  .exitOverride();

for (const register of groups) register(program);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeFor(error);
}

/** Says what went wrong; exit code 2 for what the person at the keyboard can fix, 1 for everything else. */
function exitCodeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UserError) {
    console.error(`hotpair: ${error.message}`);
    for (const detail of error.details) console.error(`  ${detail}`);
    return 2;
  }
  console.error(error);
  return 1;
}
