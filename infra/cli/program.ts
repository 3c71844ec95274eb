// The `hotpair` command as a tree: a list of command groups. Each group is a file beside this one that exports
// `register(program)`; what a command does lives in the room that it is about, and how it ends in main.ts.

import { Command } from "commander";
import { register as authority } from "./authority.ts";
import { register as check } from "./check.ts";
import { register as cloud } from "./cloud.ts";
import { register as configure } from "./configure.ts";
import { register as cost } from "./cost.ts";
import { register as deploy } from "./deploy.ts";
import { register as drill } from "./drill.ts";
import { register as estimate } from "./estimate.ts";
import { register as evidence } from "./evidence.ts";
import { register as fence } from "./fence.ts";
import { register as lab } from "./lab.ts";
import { register as operate } from "./operate.ts";
import { register as promote } from "./promote.ts";
import { register as report } from "./report.ts";
import { register as tune } from "./tune.ts";
import { register as upgrade } from "./upgrade.ts";

const groups = [
  configure,
  cloud,
  cost,
  check,
  estimate,
  tune,
  authority,
  deploy,
  lab,
  operate,
  promote,
  fence,
  upgrade,
  drill,
  report,
  evidence,
];

/** All commands, ready to parse; throws CommanderError instead of ending the process. */
export function hotpairProgram(): Command {
  const program = new Command("hotpair")
    .description("Turns two Linux servers into a hot-standby pair and keeps proving that they are one.")
    .helpCommand(false)
    .showHelpAfterError("(add --help for what is possible)")
    // What follows a command's own words belongs to what it starts: hotpair lab exec node-a -- ls -l
    .enablePositionalOptions()
    .exitOverride();
  for (const register of groups) register(program);
  return program;
}
