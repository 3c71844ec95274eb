// A copy of the project in a directory of its own, so that commands that write stack files can be run as users run them
// without a stack of theirs, or of another test, coming in between.

import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SOURCE = join(import.meta.dirname, "../..");

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Project {
  readonly directory = mkdtempSync(join(tmpdir(), "hotpair-project-"));

  constructor() {
    for (const part of ["infra", "templates", "stacks/Pulumi.lab.yaml", "Pulumi.yaml", "package.json"])
      cpSync(join(SOURCE, part), join(this.directory, part), { recursive: true });
    symlinkSync(join(SOURCE, "node_modules"), join(this.directory, "node_modules"));
  }

  stackFile(stack: string): string {
    return join(this.directory, `stacks/Pulumi.${stack}.yaml`);
  }

  read(stack: string): string {
    return readFileSync(this.stackFile(stack), "utf8");
  }

  write(stack: string, text: string): void {
    mkdirSync(join(this.directory, "stacks"), { recursive: true });
    writeFileSync(this.stackFile(stack), text);
  }

  /** Runs `hotpair ARGS` without a terminal. */
  async hotpair(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const child = spawn(process.execPath, [join(this.directory, "infra/cli/main.ts"), ...args], {
      cwd: this.directory,
      env: { ...withoutStack(), ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    return { code, stdout: Buffer.concat(stdout).toString("utf8"), stderr: Buffer.concat(stderr).toString("utf8") };
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function withoutStack(): NodeJS.ProcessEnv {
  const {
    PULUMI_STACK: _stack,
    PULUMI_CONFIG_PASSPHRASE: _phrase,
    PULUMI_CONFIG_PASSPHRASE_FILE: _file,
    ...rest
  } = process.env;
  return rest;
}
