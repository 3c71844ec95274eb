// Signatures of an operator: made and verified by OpenSSH's own `ssh-keygen -Y` (ssh-keygen(1)), with the key that they
// log in with, or their agent. Which text is signed is history.ts; who may sign is the file that the stack names.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserError } from "../model/errors.ts";

/** What a signature is for, so that one that was made for a commit or a mail cannot stand here (PROTOCOL.sshsig). */
export const NAMESPACE = "evidence@hotpair";

/** Signs a text: the signature without its armour, in one line. */
export type Sign = (text: string) => string;

/**
 * Signs with a private key file, or with the agent where the file holds a public key. Tries it at once, so that a key that
 * does not work is found before a drill and not after it. Throws UserError.
 */
export function signerWith(keyFile: string): Sign {
  const sign: Sign = (text) => {
    const { status, stdout, stderr, error } = spawnSync("ssh-keygen", ["-Y", "sign", "-f", keyFile, "-n", NAMESPACE], {
      input: text,
      encoding: "utf8",
      // A passphrase is asked for at the terminal itself.
      stdio: ["pipe", "pipe", "pipe"],
    });
    if (error !== undefined || status !== 0)
      throw new UserError(`${keyFile} does not sign: ${error?.message ?? lastLine(stderr)}`, [
        "give a private key file, or the .pub file of a key that the SSH agent holds, with --sign or in HOTPAIR_SIGNING_KEY",
      ]);
    return stdout.replaceAll(/-----(BEGIN|END) SSH SIGNATURE-----|\s/g, "");
  };
  sign("does this key sign?");
  return sign;
}

const lastLine = (text: string): string => text.trim().split("\n").at(-1) ?? "";

export type Verdict = { readonly signer: string } | { readonly problem: string };

/** Who signed a text, of those who may (allowed_signers, ssh-keygen(1)) and could at that moment. `at`: ISO 8601. */
export type Verify = (text: string, signature: string, at: string) => Verdict;

/** A verifier keeps a directory of its own while `use` runs: a signature is read from a file. */
export function withVerifier<T>(allowedSigners: string, use: (verify: Verify) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "hotpair-signature-"));
  const file = join(directory, "signature");
  try {
    return use((text, signature, at) => {
      writeFileSync(file, `-----BEGIN SSH SIGNATURE-----\n${wrapped(signature)}\n-----END SSH SIGNATURE-----\n`);
      // An operator who has left since may sign nothing new; what they signed before stands (valid-before).
      const time = `-Overify-time=${at.replaceAll(/[-:T]|\..*/g, "").replace(/Z?$/, "Z")}`;
      const found = keygen(["find-principals", "-s", file, "-f", allowedSigners, time]);
      const signer = found.stdout.split("\n")[0] ?? "";
      if (found.status !== 0 || signer === "")
        return { problem: `its key may not sign, by ${allowedSigners} (${lastLine(found.stderr)})` };
      const verify = ["verify", "-f", allowedSigners, "-I", signer, "-n", NAMESPACE, "-s", file, time];
      const { status, stderr, stdout } = keygen(verify, text);
      return status === 0 ? { signer } : { problem: `its signature does not hold (${lastLine(`${stderr}${stdout}`)})` };
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function keygen(args: readonly string[], input = ""): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr, error } = spawnSync("ssh-keygen", ["-Y", ...args], { input, encoding: "utf8" });
  if (error !== undefined)
    throw new UserError(`signatures cannot be verified: ${error.message}`, ["install OpenSSH's client (ssh-keygen)"]);
  return { status, stdout, stderr };
}

/** ssh-keygen reads lines of any length, but a person reads 70 columns. */
const wrapped = (text: string): string => text.replaceAll(/(.{70})(?=.)/g, "$1\n");
