// Secrets of the input: what each kind must look like, encrypted in a stack file (`{secure: …}`) and decrypted in the engine.
// A value is never shown. Which fields are secrets stands where their subject is.

import { z } from "zod";

/** What stands where a secret belongs: `{secure: …}` in a stack file, the decrypted text in the engine. */
export type Secret = (what: SecretField) => z.ZodType<unknown>;

export type SecretField =
  | "beaconKey"
  | "sshKey"
  | "hostKey"
  | "authorityKey"
  | "replicationPassword"
  | "fencingSecret"
  | "sharedSecret";

export const MAKE_AUTHORITY = "make it with `hotpair authority init`";

const SECRETS: Record<SecretField, { readonly what: string; readonly pattern: RegExp; readonly how: string }> = {
  beaconKey: {
    what: "a beacon key",
    pattern: /^[0-9a-f]{64}$/,
    how: "make one with `hotpair secrets rotate`",
  },
  sshKey: {
    what: "an SSH private key",
    pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
    how: "set it with `pulumi config set --path --secret`",
  },
  hostKey: {
    what: "an SSH host key",
    pattern: /^-----BEGIN OPENSSH PRIVATE KEY-----\n/,
    how: "make it with `hotpair cloud keys`",
  },
  authorityKey: {
    what: "a private key in PEM",
    pattern: /^-----BEGIN (EC )?PRIVATE KEY-----\n/,
    how: MAKE_AUTHORITY,
  },
  replicationPassword: {
    // CHANGE MASTER TO takes 32 characters for sure; longer ones have been cut.
    what: "a password of 20 to 32 letters and digits",
    pattern: /^[A-Za-z0-9]{20,32}$/,
    how: "make one with `hotpair secrets rotate`",
  },
  sharedSecret: {
    // shared-secret is at most 64 characters (drbd.conf(5)).
    what: "a secret of 20 to 64 letters and digits",
    pattern: /^[A-Za-z0-9]{20,64}$/,
    how: "set it with `pulumi config set --path --secret 'hotpair:drbd.sharedSecret'`",
  },
  fencingSecret: {
    what: "a text of one line",
    pattern: /^[\x20-\x7e]{1,200}$/,
    how: "set it with `pulumi config set --path --secret`",
  },
};

export const encrypted = (field: SecretField): z.ZodType<unknown> => {
  const { what, how } = SECRETS[field];
  return z.strictObject(
    { secure: z.string().min(1).describe("Ciphertext, as Pulumi writes it.") },
    {
      error: ({ input }) => {
        if (input === undefined) return `is missing; expected ${what}, encrypted: ${how}`;
        if (typeof input === "string" && input !== "")
          return `holds a secret in plain text (not shown); treat it as published, and ${how}`;
        return `is not an encrypted value; expected ${what} as {secure: …}: ${how}`;
      },
    },
  );
};

export const decrypted = (field: SecretField): z.ZodType<unknown> => {
  const { what, pattern, how } = SECRETS[field];
  const error = ({ input }: { readonly input?: unknown }) =>
    input === undefined
      ? `is missing; expected ${what}, encrypted: ${how}`
      : `does not decrypt to ${what} (value not shown); ${how}`;
  return z.string({ error }).regex(pattern, { error });
};
