// `hotpair setup | preview | up | destroy | replace | drift | key | pulumi`: what brings a stack file and its servers
// together. Only what is typed: applying is in apply.ts, servers that leave in destroy.ts, drift in drift.ts.

import { type Command, Option } from "commander";
import { findToolchain } from "../toolchain/find.ts";
import { inspectToolchain } from "../toolchain/inspect.ts";
import { type Applying, apply, compare, printPreview, showPreview } from "./apply.ts";
import { destroy, replace, rotateKey } from "./destroy.ts";
import { drift } from "./drift.ts";
import { openEngine } from "./engine.ts";
import { chooseStack, type Named, stackOption } from "./stack.ts";
import { announce } from "./terminal.ts";

export function register(program: Command): void {
  program
    .command("preview")
    .description("which files a change would touch on which server, and how; touches nothing")
    .addOption(stackOption())
    .addOption(onlyOption())
    .addOption(policyOption())
    .option("--full", "show new files and hotpair's own programs whole", false)
    .option("--json", "print as JSON", false)
    .action(async (options: Applying & { json: boolean }) => {
      const work = await compare(options);
      if (options.json) printPreview(work);
      else showPreview(work, options.full);
    });

  program
    .command("up")
    .description("bring the servers into the state that the stack file describes: the witness first, then the standby")
    .addOption(stackOption())
    .addOption(onlyOption())
    .option("--yes", "do not ask", false)
    .addOption(policyOption())
    .option("--full", "show new files and hotpair's own programs whole", false)
    .action(async (options: Applying & { yes: boolean }) => {
      const work = await compare(options);
      await apply(work, options);
    });

  program
    .command("drift")
    .description(
      "what was changed by hand on the servers; exit code 3 when something was, 1 when a server cannot be asked",
    )
    .addOption(stackOption())
    .option("--json", "print as JSON", false)
    .action(drift);

  program
    .command("destroy")
    .description("give the servers back as they were before hotpair")
    .addOption(stackOption())
    .option("--abandon <server>", "forget this server without touching it, because it is dead")
    .option("--purge-packages", "also uninstall the packages that hotpair installed", false)
    .option("--yes", "do not ask", false)
    .action(destroy);

  program
    .command("replace")
    .description("after the stack file names another server for a node: give the old one back, set the new one up")
    .argument("<server>", "its name")
    .addOption(stackOption())
    .option("--old-is-off", "the old server is switched off and stays so; nobody can ask it", false)
    .option("--yes", "do not ask", false)
    .action(replace);

  program
    .command("key")
    .description("the private key by which Pulumi reaches the servers")
    .command("rotate")
    .description("take the key that the stack file names now into the stack's state")
    .addOption(stackOption())
    .option("--yes", "do not ask", false)
    .action(rotateKey);

  program
    .command("pulumi")
    .description("the plain Pulumi CLI with hotpair's toolchain, passphrase and stack")
    .usage("[options] -- <arguments...>")
    .argument("<words...>", "arguments of the CLI")
    .addOption(stackOption())
    .passThroughOptions()
    .action(async (words: string[], options: Named) => {
      const engine = await openEngine(chooseStack(options.stack));
      process.exitCode = await engine.handOver(words[0] === "--" ? words.slice(1) : words);
    });

  program
    .command("setup")
    .description("make a working Pulumi ready: found, downloaded or built")
    .option("--check", "only say what is there, from where, and what is missing", false)
    .option("--json", "print as JSON", false)
    .action(setup);
}

const onlyOption = (): Option =>
  new Option("--only <server>", "leave the others out, because they are dead; may be given again")
    .argParser((name: string, all: readonly string[]) => [...all, name])
    .default([]);

const policyOption = (): Option =>
  new Option("--policy-pack <path>", "a policy pack beside hotpair's own; may be given again")
    .argParser((path: string, all: readonly string[]) => [...all, path])
    .default([]);

async function setup(options: { check: boolean; json: boolean }): Promise<void> {
  if (!options.check) await findToolchain({ onStep: announce });
  const { toText, ...report } = await inspectToolchain();
  console.log(options.json ? JSON.stringify(report, undefined, 2) : toText());
  if (report.missing.length > 0) process.exitCode = 1;
}
