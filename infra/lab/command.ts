// Runs a program of this machine for the lab and turns its failure into one error that shows the command line.

import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { delimiter } from "node:path";

export interface CommandOptions {
  /** Written to standard input, which is empty otherwise. */
  input?: string;
  /** Called with each complete line of standard output and standard error. */
  onLine?: (line: string) => void;
  env?: NodeJS.ProcessEnv;
  /** Working directory; this process's own otherwise. */
  cwd?: string;
}

/** A program of this machine that ended with a failure. `output` is what it wrote, both streams in order. */
export class CommandError extends Error {
  readonly output: string;
  readonly code: number | null;

  constructor(argv: readonly string[], code: number | null, output: string) {
    const last = output.trim().split("\n").slice(-5).join("\n");
    super(
      `${quoteArguments(argv)} ended with ${code === null ? "a signal" : `exit code ${code}`}${last && `:\n${last}`}`,
    );
    this.name = "CommandError";
    this.output = output;
    this.code = code;
  }
}

/** Runs to completion and resolves to standard output. Rejects with CommandError on any exit code but 0. */
export function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [program = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      cwd: options.cwd,
      env: { ...(options.env ?? process.env), PATH: programPath(), LC_ALL: "C.UTF-8" },
    });
    let stdout = "";
    let output = "";
    let line = "";
    const take = (text: string) => {
      output += text;
      if (!options.onLine) return;
      const lines = (line + text).split(/[\r\n]+/);
      line = lines.pop() ?? "";
      for (const one of lines) if (one) options.onLine(one);
    };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      take(text);
    });
    child.stderr.setEncoding("utf8").on("data", take);
    child.on("error", reject);
    child.on("close", (code) => {
      if (line && options.onLine) options.onLine(line);
      if (code === 0) resolve(stdout);
      else reject(new CommandError(argv, code, output));
    });
    // A program that ends without reading its input is judged by its exit code.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}

/** The PATH of a Debian administrator. */
export const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Starts a program that outlives this process, with a session of its own and its output in a log file. */
export function startDetached(
  argv: readonly string[],
  logFile: string,
  env: NodeJS.ProcessEnv = { PATH: systemPath, LC_ALL: "C.UTF-8" },
): void {
  const [program = "", ...args] = argv;
  const log = openSync(logFile, "a", 0o600);
  spawn(program, args, { detached: true, cwd: "/", stdio: ["ignore", log, log], env }).unref();
  closeSync(log);
}

/** The user's PATH, and where the administrator's programs are: su(1) and cron leave those out. */
export function programPath(): string {
  return [process.env.PATH, "/usr/sbin", "/usr/bin", "/sbin", "/bin"].filter(Boolean).join(delimiter);
}

/** A line that can be pasted into a shell. */
export function quoteArguments(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
