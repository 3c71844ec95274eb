// Connections to servers through the system's OpenSSH client: one shared connection per target and process, the pinned
// host key alone, no file of the user's read or changed. Running commands over them is in run.ts.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectionError, SshError, shellWord } from "./error.ts";
import type { SshJump, SshTarget } from "./target.ts";

/** Time for TCP, key exchange and login together. */
export const connectTimeoutMs = 5_000;
/** How long a shared connection outlives its last use when this process could not close it. */
const persistSeconds = 60;

/** Targets with a shared connection that this process opened, by socket. */
const open = new Map<string, SshTarget>();
const opening = new Map<string, Promise<void>>();
let directory: string | undefined;

/** Makes sure that the shared connection to the target is there. Rejects with SshError. */
export async function connect(target: SshTarget): Promise<void> {
  const socket = socketOf(target);
  // A connection that died unnoticed costs nothing: the client then makes one of its own.
  if (open.has(socket) && existsSync(socket)) return;
  const running = opening.get(socket);
  if (running) return running;
  const attempt = establish(target, socket).finally(() => opening.delete(socket));
  opening.set(socket, attempt);
  return attempt;
}

/** Ends the shared connection to a target, if there is one; what runs over it is cut off. */
export function disconnect(target: SshTarget): void {
  const socket = socketOf(target);
  if (!open.delete(socket)) return;
  spawnSync("ssh", ["-F", "none", "-S", socket, "-O", "exit", "any"], { stdio: "ignore", timeout: 2_000 });
  rmSync(socket, { force: true });
}

/** Ends every shared connection of this process. It happens by itself when the process exits. */
export function disconnectAll(): void {
  for (const target of [...open.values()].reverse()) disconnect(target);
}

/**
 * Arguments for the ssh client up to and including the destination; a command may follow. They hold while this process
 * lives. `terminal` asks for one on the server, for a person.
 */
export function sshArguments(target: SshTarget, terminal = false): string[] {
  const shared = ["-S", socketOf(target), "-o", "ControlMaster=no"];
  return [...(terminal ? ["-t"] : ["-T"]), ...clientOptions(target), ...shared, "--", destination(target)];
}

async function establish(target: SshTarget, socket: string): Promise<void> {
  open.delete(socket);
  requireKey(target);
  if (target.jump) await connect(jumpTarget(target, target.jump));
  const started = Date.now();
  const master = ["-S", socket, "-o", "ControlMaster=yes", "-o", `ControlPersist=${persistSeconds}`];
  const args = ["-T", ...clientOptions(target), ...master, "--", destination(target), "exit 0"];
  const { code, stderr } = await client(args, connectTimeoutMs + 2_000);
  if (code !== 0) {
    const late = code === null && Date.now() - started >= connectTimeoutMs;
    throw connectionError(target, late ? `${stderr}\nssh: connection timed out` : stderr, connectTimeoutMs);
  }
  open.set(socket, target);
}

function clientOptions(target: SshTarget): string[] {
  const options = [
    "BatchMode=yes",
    `ConnectTimeout=${connectTimeoutMs / 1000}`,
    "ServerAliveInterval=3",
    "ServerAliveCountMax=3",
    "StrictHostKeyChecking=yes",
    `UserKnownHostsFile=${knownHostsFile(target)}`,
    "GlobalKnownHostsFile=none",
    "HostKeyAlias=pinned",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "VerifyHostKeyDNS=no",
    "PreferredAuthentications=publickey",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "LogLevel=ERROR",
    ...(target.auth.kind === "key"
      ? [`IdentityFile=${quoteForConfig(target.auth.file)}`, "IdentitiesOnly=yes", "IdentityAgent=none"]
      : ["IdentityFile=none"]),
    ...(target.jump ? [`ProxyCommand=${proxyCommand(jumpTarget(target, target.jump), target)}`] : []),
  ];
  return ["-F", "none", "-p", String(target.port), ...options.flatMap((option) => ["-o", option])];
}

function destination(target: SshTarget): string {
  return `${target.user}@${target.host}`;
}

function jumpTarget(target: SshTarget, jump: SshJump): SshTarget {
  return { ...jump, auth: target.auth };
}

function proxyCommand(jump: SshTarget, target: SshTarget): string {
  const forward = ["-W", `[${target.host}]:${target.port}`];
  const args = sshArguments(jump);
  const words = ["ssh", ...args.slice(0, -2), ...forward, ...args.slice(-2)];
  // ssh expands % in a proxy command.
  return words.map(shellWord).join(" ").replaceAll("%", "%%");
}

// In a configuration value, blanks end a word and % introduces a token.
function quoteForConfig(path: string): string {
  return `"${path.replaceAll("%", "%%").replaceAll('"', '\\"')}"`;
}

/** The file that holds the pinned key and nothing else. */
function knownHostsFile(target: SshTarget): string {
  const [type = "", key = ""] = target.hostKey.trim().split(/\s+/);
  const file = join(privateDirectory(), `known-${digest(`${type} ${key}`)}`);
  writeFileSync(file, `pinned ${type} ${key}\n`, { mode: 0o600 });
  return file;
}

function socketOf(target: SshTarget): string {
  const { host, port, user, hostKey, auth, jump } = target;
  const way = jump ? [jump.host, jump.port, jump.user, jump.hostKey] : [];
  // Short, because a socket's path may have 107 bytes and ssh appends 17 while it makes one.
  return join(privateDirectory(), digest(JSON.stringify([host, port, user, hostKey, auth, way])));
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** Directory of this process alone, made at the first use and removed at exit. */
function privateDirectory(): string {
  if (directory) return directory;
  removeAbandoned();
  directory = mkdtempSync(join(tmpdir(), prefix));
  writeFileSync(join(directory, "owner"), `${process.pid} ${startTime(process.pid)}`);
  process.once("exit", () => {
    disconnectAll();
    if (directory) rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

const prefix = "hotpair-ssh-";

/** Directories of processes that were killed. Their connections end by themselves, see `persistSeconds`. */
function removeAbandoned(): void {
  for (const entry of readdirSync(tmpdir())) {
    if (!entry.startsWith(prefix)) continue;
    try {
      const path = join(tmpdir(), entry);
      const [pid = "0", started] = readFileSync(join(path, "owner"), "utf8").split(" ");
      if (startTime(Number(pid)) !== started) rmSync(path, { recursive: true, force: true });
    } catch {
      // Another user's, or one that is being made or removed right now.
    }
  }
}

/** Field 22 of /proc/PID/stat (proc_pid_stat(5)): a process id alone may have been used again. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function alive(socket: string): boolean {
  const check = spawnSync("ssh", ["-F", "none", "-S", socket, "-O", "check", "any"], {
    stdio: "ignore",
    timeout: 2_000,
  });
  return check.status === 0;
}

function requireKey(target: SshTarget): void {
  if (target.auth.kind === "agent") {
    if (!process.env.SSH_AUTH_SOCK) {
      throw new SshError(
        "auth",
        target,
        "no SSH agent is running here (SSH_AUTH_SOCK is not set): ssh-add a key, or configure a key file",
      );
    }
    return;
  }
  try {
    accessSync(target.auth.file, constants.R_OK);
  } catch {
    throw new SshError(
      "auth",
      target,
      `the key file ${target.auth.file} does not exist or may not be read by this user`,
    );
  }
}

/** Runs the ssh client to its end; `code` is null when it had to be killed. */
function client(args: string[], timeoutMs: number): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("ssh", args, { stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMs, killSignal: "SIGKILL" });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Whether the shared connection to the target still carries commands. */
export function isConnected(target: SshTarget): boolean {
  return alive(socketOf(target));
}

/** One host key of a server that was asked for its keys. */
export interface ScannedHostKey {
  /** "ssh-ed25519 AAAA…", as it is pinned. */
  hostKey: string;
  /** "SHA256:…" */
  fingerprint: string;
}

/** Key exchange with any key, for `scanHostKeys` behind a jump host: the client notes the key, and the login is refused. */
export async function keyThroughJump(via: { jump: SshJump; auth: SshTarget["auth"] }, host: string, port: number) {
  const target: SshTarget = { host, port, user: "scan", hostKey: "", auth: via.auth, jump: via.jump };
  await connect(jumpTarget(target, via.jump));
  const noted = join(privateDirectory(), `scan-${digest(`${host} ${port} ${Math.random()}`)}`);
  const accept = ["StrictHostKeyChecking=accept-new", `UserKnownHostsFile=${noted}`, "PreferredAuthentications=none"];
  // For ssh the first value of an option counts.
  const args = [
    ...accept.flatMap((option) => ["-o", option]),
    ...clientOptions(target),
    "--",
    destination(target),
    "exit",
  ];
  const { stderr } = await client(args, connectTimeoutMs + 2_000);
  try {
    return readFileSync(noted, "utf8");
  } catch {
    throw connectionError(target, stderr, connectTimeoutMs);
  } finally {
    rmSync(noted, { force: true });
  }
}
