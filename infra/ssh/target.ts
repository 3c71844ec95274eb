// What is needed to reach a server: pure data, shared by everything that connects. How the connection is made is in
// run.ts.

/** How the user proves who he is: the running agent, or a private key file (without passphrase) that he may read. */
export type SshAuth = { kind: "agent" } | { kind: "key"; file: string };

/** A host on the way. It is reached with the same agent or key as the target behind it. */
export interface SshJump {
  /** Host name or address, as this machine resolves it. */
  host: string;
  port: number;
  user: string;
  /** The public host key that must answer: "ssh-ed25519 AAAA…" (type and base64; a comment is ignored). */
  hostKey: string;
}

/** A server as SSH sees it. With a jump host, `host` is resolved there. */
export interface SshTarget extends SshJump {
  auth: SshAuth;
  jump?: SshJump;
}
