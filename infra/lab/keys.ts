// The lab's SSH keys. They are derived from published words, so that the committed stack file can pin the host keys of
// hosts that do not exist yet. Anybody can derive them: they protect nothing, and lab hosts listen on lab bridges only.

import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import type { HostName } from "./layout.ts";

export interface KeyPair {
  /** "ssh-ed25519 AAAA…", without comment. */
  publicKey: string;
  /** PEM-like text in the openssh-key-v1 format, unencrypted. */
  privateKey: string;
}

/** Host key of a lab host: seed = SHA-256("hotpair lab <index> host <node>"). */
export function hostKeyPair(index: number, host: HostName): KeyPair {
  return derive(`hotpair lab ${index} host ${host}`);
}

/** The key that root and ops accept on the hosts of a lab: seed = SHA-256("hotpair lab <index> client"). */
export function clientKeyPair(index: number): KeyPair {
  return derive(`hotpair lab ${index} client`);
}

// RFC 8410: the fixed head of a PKCS #8 structure that carries an Ed25519 seed.
const pkcs8Head = Buffer.from("302e020100300506032b657004220420", "hex");

/** What the lab's power switch asks for: 64 hexadecimal digits, SHA-256("hotpair lab <index> power"). */
export function powerKey(index: number): string {
  return createHash("sha256").update(`hotpair lab ${index} power`).digest("hex");
}

function derive(words: string): KeyPair {
  const seed = createHash("sha256").update(words).digest();
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
    string(words),
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
