// Pulumi's passphrase encryption of stack secrets (sdk/go/common/resource/config/crypt.go and pkg/secrets/passphrase):
// AES-256-GCM under PBKDF2-SHA256. It stands here so that `hotpair init` can write a complete stack file before the stack
// exists in any backend, and so that a secret goes into the file without `pulumi config set` rewriting the rest of it.
// Every other secrets provider goes through the CLI (encrypt.ts).

import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { UserError } from "../model/errors.ts";

/** crypt.go, SymmetricCrypterKeyBytes and SymmetricCrypterNumIterations... of Pulumi 3.259. */
const ITERATIONS = 1_000_000;
const KEY_BYTES = 32;
const SALT_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface Crypter {
  /** Returns Pulumi's ciphertext, `v1:<nonce>:<ciphertext and tag>`, to stand under `secure`. */
  encrypt(plain: string): string;
  /** Throws when the ciphertext was made with another key. */
  decrypt(ciphertext: string): string;
}

/** A new salt, for the stack file's `encryptionsalt`: it also carries a known text, by which a wrong passphrase is found. */
export async function newSalt(passphrase: string): Promise<{ readonly salt: string; readonly crypter: Crypter }> {
  const salt = randomBytes(SALT_BYTES);
  const crypter = await crypterOf(passphrase, salt);
  return { salt: `v1:${salt.toString("base64")}:${crypter.encrypt("pulumi")}`, crypter };
}

/** The crypter of a stack file with this `encryptionsalt`. Throws UserError when the passphrase is not its own. */
export async function openSalt(encryptionSalt: string, passphrase: string): Promise<Crypter> {
  const match = /^v1:([A-Za-z0-9+/=]+):(v1:.+)$/.exec(encryptionSalt);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new UserError("the stack file's encryptionsalt is not one that Pulumi writes (v1:SALT:v1:NONCE:TEXT)");
  const crypter = await crypterOf(passphrase, Buffer.from(match[1], "base64"));
  try {
    if (crypter.decrypt(match[2]) === "pulumi") return crypter;
  } catch {
    // A wrong key shows as a failed authentication tag; said below in words.
  }
  throw new UserError("the passphrase is not this stack's; give its own in PULUMI_CONFIG_PASSPHRASE");
}

async function crypterOf(passphrase: string, salt: Buffer): Promise<Crypter> {
  const key = await promisify(pbkdf2)(passphrase, salt, ITERATIONS, KEY_BYTES, "sha256");
  return {
    encrypt(plain) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const sealed = Buffer.concat([cipher.update(plain, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `v1:${nonce.toString("base64")}:${sealed.toString("base64")}`;
    },
    decrypt(ciphertext) {
      const [version, nonce, sealed, ...rest] = ciphertext.split(":");
      if (version !== "v1" || nonce === undefined || sealed === undefined || rest.length > 0)
        throw new Error("a secret in the stack file is not in the form v1:NONCE:TEXT");
      const bytes = Buffer.from(sealed, "base64");
      const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"));
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(0, bytes.length - TAG_BYTES)), decipher.final()]).toString(
        "utf8",
      );
    },
  };
}
