// Runs a command on a server and reports what became of it. The one way by which hotpair talks to a node.
//
// A command's text is visible to every user of both machines (in the process list): secrets go in through `input`.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import {
  connect,
  connectTimeoutMs,
  disconnect,
  isConnected,
  keyThroughJump,
  type ScannedHostKey,
  sshArguments,
} from "./connection.ts";
import { connectionError, connectionFailed, fingerprint, SshError, shellWord } from "./error.ts";
import type { SshAuth, SshJump, SshTarget } from "./target.ts";

export type { ScannedHostKey } from "./connection.ts";
export { disconnect, disconnectAll, sshArguments } from "./connection.ts";
export { fingerprint, SshError, type SshErrorKind } from "./error.ts";
export type { SshAuth, SshJump, SshTarget } from "./target.ts";

export interface RunOptions {
  /** Written to the command's standard input, which is closed after it; empty by default. */
  input?: string | Buffer;
  /** From the call to the end of the command, the connection's set-up included. */
  timeoutMs: number;
  /** Run as root: through `sudo -n` unless the target's user is root. */
  becomeRoot?: boolean;
  /** Called with each line, of standard output and standard error, as it arrives. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

export interface RunResult {
  /** Exit code of the command; 255 also when a signal ended it. */
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs a POSIX shell command. Resolves whatever its exit code is; rejects with SshError when it could not be run to its end
 * (kinds "unreachable", "host-key", "auth", "timeout"). A command that timed out may still be running on the server.
 */
export async function run(target: SshTarget, command: string, options: RunOptions): Promise<RunResult> {
  const deadline = Date.now() + options.timeoutMs;
  const remote = remoteCommand(target, command, options.becomeRoot ?? false);
  const waitMs = options.timeoutMs;
  await within(
    waitMs,
    connect(target),
    () => new SshError("timeout", target, `no connection within ${duration(waitMs)}`),
  );

  return new Promise((resolve, reject) => {
    const child = spawn("ssh", [...sshArguments(target), remote], { stdio: ["pipe", "pipe", "pipe"] });
    const stdout = collect(child.stdout, (line) => options.onLine?.(line, "stdout"));
    const stderr = collect(child.stderr, (line) => options.onLine?.(line, "stderr"));
    let late = false;
    const timer = setTimeout(
      () => {
        late = true;
        child.kill("SIGKILL");
        // The server may have died under the connection; the next command shall find that out by a new one.
        disconnect(target);
      },
      Math.max(1, deadline - Date.now()),
    );
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      const result = { code: code ?? 255, stdout: stdout(), stderr: stderr() };
      if (late) {
        const last = result.stderr.trim().split("\n").slice(-3).filter(Boolean);
        const what = `the command did not end within ${duration(options.timeoutMs)}`;
        return reject(new SshError("timeout", target, what, last, command));
      }
      // 255 is what the client says of itself, and what a command may say too: a living connection tells them apart.
      if (result.code === 255 && !isConnected(target)) {
        disconnect(target);
        return reject(broken(target, result.stderr));
      }
      if (options.becomeRoot && target.user !== "root" && /^sudo: .*(password|tty|may not run)/m.test(result.stderr)) {
        const what = `user ${target.user} may not become root without a password: visudo: ${target.user} ALL=(ALL) NOPASSWD: ALL`;
        return reject(new SshError("auth", target, what, [result.stderr.trim()], "sudo -n true"));
      }
      resolve(result);
    });
    // A command that ends without reading its input is judged by its exit code.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}

/** As `run`, for a command that is expected to succeed: resolves to its standard output, rejects also for exit code ≠ 0. */
export async function runOrThrow(target: SshTarget, command: string, options: RunOptions): Promise<string> {
  const { code, stdout, stderr } = await run(target, command, options);
  if (code === 0) return stdout;
  const said = (stderr.trim() || stdout.trim()).split("\n").slice(-8).filter(Boolean);
  throw new SshError("command", target, `the command ended with exit code ${code}`, said, command);
}

/**
 * Starts a command that runs until it is told to stop, and hands over its streams. To end it, end its standard input or
 * kill the child: a program on the server that neither reads nor writes would not notice the latter.
 */
export async function spawnStream(
  target: SshTarget,
  command: string,
  options: { becomeRoot?: boolean } = {},
): Promise<ChildProcessWithoutNullStreams> {
  await connect(target);
  return spawn("ssh", [...sshArguments(target), remoteCommand(target, command, options.becomeRoot ?? false)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
}

/** Asks a server for its public host keys, the preferred type first. What comes back is not verified: show it. */
export async function scanHostKeys(
  host: string,
  port = 22,
  via?: { jump: SshJump; auth: SshAuth },
): Promise<ScannedHostKey[]> {
  const target: SshTarget = { host, port, user: "root", hostKey: "", auth: { kind: "agent" } };
  const text = via ? await keyThroughJump(via, host, port) : await keyscan(target);
  const preference = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];
  const rank = (key: string) =>
    (preference.indexOf(key.split(" ")[0] ?? "") + preference.length + 1) % (preference.length + 1);
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(" ").slice(1, 3).join(" "))
    .sort((a, b) => rank(a) - rank(b))
    .map((hostKey) => ({ hostKey, fingerprint: fingerprint(hostKey) }));
}

function keyscan(target: SshTarget): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("ssh-keyscan", ["-T", "5", "-p", String(target.port), "--", target.host], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    child.on("error", reject);
    child.on("close", () => {
      if (stdout().trim() !== "") resolve(stdout());
      else reject(connectionError(target, stderr() || "ssh-keyscan: connection timed out", 5_000));
    });
  });
}

function remoteCommand(target: SshTarget, command: string, becomeRoot: boolean): string {
  const shell = `sh -c ${shellWord(command)}`;
  return becomeRoot && target.user !== "root" ? `sudo -n -- ${shell}` : shell;
}

function broken(target: SshTarget, stderr: string): SshError {
  const error = connectionError(target, stderr, connectTimeoutMs);
  return error.message.endsWith(connectionFailed)
    ? new SshError("unreachable", target, "the connection broke while the command ran", error.details.slice(0, -1))
    : error;
}

/** Gathers a stream as text; the returned function gives what came so far. */
function collect(stream: NodeJS.ReadableStream, onLine?: (line: string) => void): () => string {
  let all = "";
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    all += text;
    if (!onLine) return;
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
  stream.on("end", () => {
    if (rest && onLine) onLine(rest);
    rest = "";
  });
  return () => all;
}

async function within<T>(timeoutMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const alarm = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), timeoutMs);
  });
  try {
    return await Promise.race([work, alarm]);
  } finally {
    clearTimeout(timer);
  }
}

function duration(milliseconds: number): string {
  return milliseconds < 1_000 ? `${milliseconds} ms` : `${Math.round(milliseconds / 100) / 10} s`;
}
