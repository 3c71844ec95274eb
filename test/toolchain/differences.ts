// Where hotpair's `command` plugin behaves otherwise than the recorded official one, on purpose. Nothing else may
// differ. None of these shows in a state or in a diff, so a stack can change hands between the two plugins.

import type { Json, LogLine } from "./plugin.ts";

export interface Difference {
  reason: string;
  /** What replaces the recorded outcome. */
  response?: Json;
  error?: { code: string; message: RegExp };
  logs?: LogLine[];
  /** Upper bound in milliseconds. */
  within?: number;
}

const fingerprint = "SHA256:[A-Za-z0-9+/]{43}";
const mismatch =
  `ssh: handshake failed: ssh: host key mismatch: 127\\.0\\.0\\.1:\\d+ presented ssh-ed25519 ${fingerprint}, ` +
  `expected ssh-ed25519 ${fingerprint}`;

function longLine(length: number): Difference {
  return {
    reason: "As for long-line-100k-logged.",
    response: {
      id: "my-res<8 hex>",
      properties: {
        connection: "<CONN>",
        create: `head -c ${length} /dev/zero | tr "\\0" y; echo`,
        stderr: "",
        stdout: `<${length} times "y">`,
      },
    },
  };
}

export const differences: Record<string, Difference> = {
  "create/long-line-100k-logged": {
    reason: "The official plugin hangs for ever on a logged line of 64 KiB; ours logs it in pieces.",
    response: {
      id: "my-res<8 hex>",
      properties: {
        connection: "<CONN>",
        create: 'head -c 100000 /dev/zero | tr "\\0" y; echo; echo after',
        stderr: "",
        stdout: '<100000 times "y">\nafter',
      },
    },
    logs: [
      ["info", "status", '<65536 times "y">'],
      ["info", "status", '<34464 times "y">'],
      ["info", "status", "after"],
    ],
  },
  "create/logged-line-65536": longLine(65536),
  "create/logged-line-65537": longLine(65537),
  "create/mute-server-perDialTimeout1": {
    reason: "The official plugin waits for ever for the handshake of a silent server; perDialTimeout bounds ours.",
    error: {
      code: "DEADLINE_EXCEEDED",
      message: /^after 0 failed attempts: ssh: handshake failed: read tcp 127\.0\.0\.1:\d+: i\/o timeout$/,
    },
    within: 8_000,
  },
  "create/hostkey-wrong": {
    reason: "Another host key does not become right by trying again: it fails at once and names both keys.",
    error: { code: "UNKNOWN", message: new RegExp(`^${mismatch}$`) },
    logs: [],
  },
  "create/hostkey-wrong-algo-not-offered": {
    reason: "A server without a key of the pinned type has another key, which is as final.",
    error: {
      code: "UNKNOWN",
      message:
        /^ssh: handshake failed: ssh: no common algorithm for host key; we offered: \["ecdsa-sha2-nistp256"\], peer offered: \["ssh-ed25519" "rsa-sha2-512" "rsa-sha2-256"\]$/,
    },
    logs: [],
  },
  "create/proxy-target-hostkey-wrong": {
    reason: "As for hostkey-wrong; the official plugin loses the cause on its retry over the dead channel.",
    error: { code: "UNKNOWN", message: new RegExp(`^proxy: ${mismatch}$`) },
    logs: [],
  },
  "create/proxy-target-hostkey-wrong-limit0": {
    reason: "As for hostkey-wrong.",
    error: { code: "UNKNOWN", message: new RegExp(`^proxy: ${mismatch}$`) },
  },
  "create/proxy-target-auth-fail": {
    reason:
      "Each retry behind a jump host opens a new channel, so that the cause is not replaced by the dead one's EOF.",
    error: {
      code: "UNKNOWN",
      message:
        /^proxy: after 1 failed attempts: ssh: handshake failed: ssh: unable to authenticate, attempted methods \[none publickey\], no supported methods remain$/,
    },
  },
  "create/hostkey-ok-rsa": {
    reason: "An RSA host key is verified by its SHA-2 signatures; the official plugin offers only the retired SHA-1.",
    response: {
      id: "my-res<8 hex>",
      properties: {
        connection: {
          "<SECRET>": {
            dialErrorLimit: 1,
            host: "<HOST>",
            hostKey: "<HOSTKEY_RSA>",
            perDialTimeout: 15,
            port: 2201,
            privateKey: { "<SECRET>": "<KEY>" },
            user: "root",
          },
        },
        create: "echo hk",
        stderr: "",
        stdout: "hk",
      },
    },
    logs: [["info", "status", "hk"]],
  },
  "create/missing-defaults-in-create": {
    reason: "The official plugin crashes without the defaults that Check fills in; ours knows them (and runs: x).",
    error: { code: "UNKNOWN", message: /^Process exited with status 127: running "x":\n.*x: command not found\n$/ },
    logs: [["info", "status", "bash: line 1: x: command not found"]],
  },
  "create/cancel-during-run": {
    reason: "The official plugin waits for a running command after Cancel; ours ends the call and its connection.",
    error: { code: "CANCELLED", message: /^context canceled: running "echo start; sleep 20; echo end":\nstart\n$/ },
    within: 12_000,
  },
  "create/secret-stdin": {
    reason: "A secret input is masked in log lines; the output in the state is the same.",
    logs: [["info", "status", "[secret]"]],
  },
  "update/prev-secret-state": {
    reason: "A secret previous output is masked in log lines; the output in the state is the same.",
    logs: [["info", "status", "[[secret]|]"]],
  },
};
