// How a server of a pair is reached: from what its stack file says to what SSH needs.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { cacheDirectory } from "../machine/cache.ts";
import { UserError } from "../model/errors.ts";
import type { SecretRef, Ssh } from "../model/pair.ts";
import type { SshJump, SshTarget } from "./target.ts";

const PROJECT = join(import.meta.dirname, "../..");

/** `secrets` is asked only when the private key is a Pulumi secret. */
export function sshTargetOf({ ssh }: { readonly ssh: Ssh }, secrets: (ref: SecretRef) => string): SshTarget {
  const { host, port, user, hostKey, auth, jump } = ssh;
  return {
    ...{ host, port, user, hostKey },
    auth:
      auth.kind === "agent"
        ? { kind: "agent" }
        : { kind: "key", file: auth.kind === "keyFile" ? keyFilePath(auth.file) : keptInFile(secrets(auth.key)) },
    ...(jump ? { jump } : {}),
  };
}

/** The same for a connection with its key as text, as a stack's state remembers it. */
export function sshTargetAt(at: SshJump & { readonly privateKey?: string; readonly proxy?: SshJump }): SshTarget {
  const hop = ({ host, port, user, hostKey }: SshJump): SshJump => ({ host, port, user, hostKey });
  return {
    ...hop(at),
    auth: at.privateKey === undefined ? { kind: "agent" } : { kind: "key", file: keptInFile(at.privateKey) },
    ...(at.proxy ? { jump: hop(at.proxy) } : {}),
  };
}

/** A node or the witness. */
export interface Reachable {
  readonly id?: "a" | "b";
  readonly name: string;
  readonly ssh: Ssh;
}

/**
 * Text of the key that opens `server`; undefined when the agent has it.
 * @throws UserError when a key file cannot be read.
 */
export function privateKeyOf(server: Reachable, secrets: (ref: SecretRef) => string): string | undefined {
  const { auth } = server.ssh;
  if (auth.kind === "agent") return undefined;
  if (auth.kind === "key") return secrets(auth.key);
  const file = keyFilePath(auth.file);
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const place = `hotpair:${server.id === undefined ? "witness" : `pair.nodes[${server.id === "a" ? 0 : 1}]`}.ssh.keyFile`;
    throw new UserError(
      `${place}: ${file}, the key for ${server.name}, ${missing ? "does not exist" : "cannot be read"}`,
      ["name another private key file, or leave keyFile out to use the SSH agent"],
    );
  }
}

/** Where the committed stack file of the lab says that hotpair's cache is; it may have been moved. */
const USUAL_CACHE = "~/.cache/hotpair/";

/** `~/` is the home directory; a relative path starts at the project, wherever the command was typed. */
function keyFilePath(file: string): string {
  if (file.startsWith(USUAL_CACHE)) return join(cacheDirectory(), file.slice(USUAL_CACHE.length));
  return file.startsWith("~/") ? join(homedir(), file.slice(2)) : resolve(PROJECT, file);
}

const kept = new Map<string, string>();

/** ssh takes keys from files alone: one that only this user can read, removed when this process ends. */
function keptInFile(key: string): string {
  const known = kept.get(key);
  if (known !== undefined) return known;
  const directory = mkdtempSync(join(tmpdir(), "hotpair-key-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "key");
  writeFileSync(file, key.endsWith("\n") ? key : `${key}\n`, { mode: 0o600 });
  kept.set(key, file);
  return file;
}
