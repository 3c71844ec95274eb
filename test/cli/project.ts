// A copy of the project in a directory of its own, so that commands that write stack files can be run as users run them
// without a stack of theirs, or of another test, coming in between. One process runs all commands of a copy: loading the
// program takes longer than most of them.

import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SOURCE = join(import.meta.dirname, "../..");

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program's entry once per message, with arguments, environment and streams of its own. */
const DRIVER = `
let run = 0;
process.on("message", async ({ args, environment }) => {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"])
    process[name].write = (chunk) => { written[name] += chunk; return true; };
  const before = { ...process.env };
  Object.assign(process.env, environment);
  process.argv = [process.argv[0], "hotpair", ...args];
  process.exitCode = 0;
  await import("./infra/cli/main.ts?run=" + run++);
  process.env = before;
  process.send({ code: Number(process.exitCode), ...written });
  process.exitCode = 0;
});
`;

export class Project {
  readonly directory = mkdtempSync(join(tmpdir(), "hotpair-project-"));
  private driver: ChildProcess | undefined;

  constructor() {
    for (const part of ["infra", "templates", "stacks/Pulumi.lab.yaml", "Pulumi.yaml", "package.json"])
      cpSync(join(SOURCE, part), join(this.directory, part), { recursive: true });
    symlinkSync(join(SOURCE, "node_modules"), join(this.directory, "node_modules"));
    writeFileSync(join(this.directory, "driver.mjs"), DRIVER);
  }

  stackFile(stack: string): string {
    return join(this.directory, `stacks/Pulumi.${stack}.yaml`);
  }

  read(stack: string): string {
    return readFileSync(this.stackFile(stack), "utf8");
  }

  write(stack: string, text: string): void {
    writeFileSync(this.stackFile(stack), text);
  }

  /** Runs `hotpair ARGS` without a terminal. */
  async hotpair(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const driver = this.driver ?? this.start();
    this.driver = driver;
    return new Promise<Outcome>((resolve, reject) => {
      const ended = () => reject(new Error(`hotpair ${args.join(" ")} ended its process`));
      driver.once("exit", ended);
      driver.once("message", (outcome) => {
        driver.off("exit", ended);
        resolve(outcome as Outcome);
      });
      driver.send({ args, environment });
    });
  }

  private start(): ChildProcess {
    const { PULUMI_STACK, PULUMI_CONFIG_PASSPHRASE, PULUMI_CONFIG_PASSPHRASE_FILE, ...env } = process.env;
    return spawn(process.execPath, ["driver.mjs"], {
      cwd: this.directory,
      env,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
  }

  remove(): void {
    this.driver?.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
