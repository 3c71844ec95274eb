// The lab's SSH keys. They are derived from published words, so that the committed stack file can pin the host keys of
// hosts that do not exist yet. Anybody can derive them: they protect nothing, and lab hosts listen on lab bridges only.

import { createHash } from "node:crypto";
import { type KeyPair, keyPairOf } from "../ssh/keypair.ts";
import type { HostName } from "./layout.ts";

/** Host key of a lab host: seed = SHA-256("hotpair lab <index> host <node>"). */
export function hostKeyPair(index: number, host: HostName): KeyPair {
  return derive(`hotpair lab ${index} host ${host}`);
}

/** The key that root and ops accept on the hosts of a lab: seed = SHA-256("hotpair lab <index> client"). */
export function clientKeyPair(index: number): KeyPair {
  return derive(`hotpair lab ${index} client`);
}

/** What the lab's power switch asks for: 64 hexadecimal digits, SHA-256("hotpair lab <index> power"). */
export function powerKey(index: number): string {
  return createHash("sha256").update(`hotpair lab ${index} power`).digest("hex");
}

const derive = (words: string): KeyPair => keyPairOf(createHash("sha256").update(words).digest(), words);
