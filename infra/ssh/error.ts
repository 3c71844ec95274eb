// What can go wrong between here and a server, said for the person who must fix it: which host, what happened, what to do,
// and a line to paste into a shell to see it for oneself.

import { createHash } from "node:crypto";
import { UserError } from "../model/errors.ts";
import type { SshTarget } from "./target.ts";

/**
 * `unreachable`: no connection, or it broke. `host-key`: somebody else answers. `auth`: the login or sudo was refused.
 * `timeout`: the command did not end in its time. `command`: it ended with a failure.
 */
export type SshErrorKind = "unreachable" | "host-key" | "auth" | "timeout" | "command";

export class SshError extends UserError {
  readonly kind: SshErrorKind;
  /** "host:port" of the machine that the error is about; with a jump host this may be the jump host. */
  readonly server: string;

  constructor(kind: SshErrorKind, target: SshTarget, what: string, details: readonly string[] = [], remote?: string) {
    const server = `${target.host}:${target.port}`;
    super(`${server}: ${what}`, [...details, `try it: ${pasteableCommand(target, remote)}`]);
    this.name = "SshError";
    this.kind = kind;
    this.server = server;
  }
}

/** An ssh command line for a person, with that person's own known_hosts and configuration. */
export function pasteableCommand(target: SshTarget, remote?: string): string {
  const words = ["ssh"];
  if (target.port !== 22) words.push("-p", String(target.port));
  if (target.auth.kind === "key") words.push("-i", target.auth.file, "-o", "IdentitiesOnly=yes");
  if (target.jump) words.push("-J", `${target.jump.user}@${bracketed(target.jump.host)}:${target.jump.port}`);
  words.push(`${target.user}@${target.host}`);
  if (remote) words.push(remote.length > 300 ? `${remote.slice(0, 300)}…` : remote);
  return words.map(shellWord).join(" ");
}

/** "SHA256:…" of a public key line, as ssh-keygen -l prints it. */
export function fingerprint(publicKey: string): string {
  const blob = Buffer.from(publicKey.trim().split(/\s+/)[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

/** What is said when the ssh client's own words fit none of the known causes. */
export const connectionFailed = "the connection could not be made";

/** Makes the error out of what the ssh client said when it could not set up a connection. */
export function connectionError(target: SshTarget, stderr: string, connectTimeoutMs: number): SshError {
  const said = lastLines(stderr);
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No \S+ host key is known/.test(stderr)) {
    const sent = /fingerprint for the (\S+) key sent by the remote host is\s+(SHA256:[^\s.]+)/.exec(stderr);
    const answered = sent ? `host key ${sent[2]} (${sent[1]}) answers` : "another host key answers";
    return new SshError(
      "host-key",
      target,
      `${answered}, and ${fingerprint(target.hostKey)} is pinned: the server was reinstalled (fetch its key with hotpair scan and compare it on the console), or this is another machine`,
    );
  }
  if (/no matching host key type found/.test(stderr)) {
    const type = target.hostKey.split(" ")[0];
    return new SshError("host-key", target, `it has no host key of the pinned type ${type}`, said);
  }
  if (/Permission denied|Too many authentication failures|Load key .*(error|invalid|denied)/.test(stderr)) {
    const offered =
      target.auth.kind === "agent"
        ? "the keys of the SSH agent (ssh-add -l lists them)"
        : `the key ${target.auth.file} (one with a passphrase works through the agent only)`;
    return new SshError("auth", target, `user ${target.user} was refused with ${offered}`, said);
  }
  const seconds = Math.round(connectTimeoutMs / 1000);
  const why =
    [
      [/Connection refused/, "connection refused: no SSH server listens on this port"],
      [/Could not resolve hostname/, "its name cannot be resolved"],
      [/No route to host|Network is unreachable/, "no route to host"],
      [/timed out|Timeout/i, `no answer within ${seconds} s`],
      [/stdio forwarding failed/, `the jump host ${target.jump?.host ?? ""} cannot reach it`],
    ].find(([pattern]) => (pattern as RegExp).test(stderr))?.[1] ?? connectionFailed;
  return new SshError("unreachable", target, String(why), said);
}

function lastLines(stderr: string): string[] {
  const lines = stderr
    .trim()
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "" && !/^@+$|^Warning: Permanently added/.test(line));
  return lines.slice(-3).map((line) => `ssh: ${line}`);
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** One word for a POSIX shell. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
