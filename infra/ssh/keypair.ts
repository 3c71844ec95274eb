// An SSH key pair in OpenSSH's own format from 32 bytes, wherever they come from: random for a server that is to be made,
// derived from published words for the lab.

import { createPrivateKey, createPublicKey } from "node:crypto";

export interface KeyPair {
  /** "ssh-ed25519 AAAA…", without comment. */
  publicKey: string;
  /** PEM-like text in the openssh-key-v1 format, unencrypted. */
  privateKey: string;
}

// RFC 8410: the fixed head of a PKCS #8 structure that carries an Ed25519 seed.
const pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex");

/** Ed25519. `seed` has 32 bytes; the comment stands in the private key alone. */
export function keyPairOf(seed: Buffer, comment: string): KeyPair {
  const secret = createPrivateKey({ key: Buffer.concat([pkcs8Head, seed]), format: "der", type: "pkcs8" });
  const x = createPublicKey(secret).export({ format: "jwk" }).x;
  if (!x) throw new Error("Node exported an Ed25519 key without its public part");
  const point = Buffer.from(x, "base64url");
  const publicBlob = Buffer.concat([string("ssh-ed25519"), string(point)]);

  // PROTOCOL.key of OpenSSH: two equal check words, the key, its comment, then padding 1, 2, 3 … to a multiple of 8.
  const check = seed.subarray(0, 4);
  const body = Buffer.concat([
    check,
    check,
    string("ssh-ed25519"),
    string(point),
    string(Buffer.concat([seed, point])),
    string(comment),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (body.length % 8)) % 8 }, (_, i) => i + 1));
  const file = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    string("none"),
    string("none"),
    string(""),
    uint32(1),
    string(publicBlob),
    string(Buffer.concat([body, padding])),
  ]);
  const lines = file.toString("base64").match(/.{1,70}/g) ?? [];
  return {
    publicKey: `ssh-ed25519 ${publicBlob.toString("base64")}`,
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join("\n")}\n-----END OPENSSH PRIVATE KEY-----\n`,
  };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function string(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([uint32(bytes.length), bytes]);
}
