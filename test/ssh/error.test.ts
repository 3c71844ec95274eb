// Promises of the SSH errors that need no server: what the user reads and can paste.

import { expect, test } from "vitest";
import { connectionError, fingerprint, pasteableCommand, SshError } from "../../infra/ssh/error.ts";
import type { SshTarget } from "../../infra/ssh/target.ts";

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILxuUvf5nXJFJl1qc9IByaKEZH1onEnlmeBao0WeGckd";
const target: SshTarget = { host: "db1.example.org", port: 2222, user: "ops", hostKey, auth: { kind: "agent" } };

test("a fingerprint is what ssh-keygen -l prints", () => {
  // From: echo "$hostKey" | ssh-keygen -lf -
  expect(fingerprint(hostKey)).toBe("SHA256:B47f9h2h18nNfsxQbr/UD79W9bRIi7DFklQvO1XQnlA");
});

test("the line to paste carries port, key, jump host and command, quoted for a shell", () => {
  const jump = { host: "2001:db8::1", port: 22, user: "hop", hostKey };
  const auth = { kind: "key", file: "/home/me/my key" } as const;
  expect(pasteableCommand({ ...target, auth, jump }, "echo it's")).toBe(
    "ssh -p 2222 -i '/home/me/my key' -o IdentitiesOnly=yes -J 'hop@[2001:db8::1]:22' ops@db1.example.org 'echo it'\\''s'",
  );
  expect(pasteableCommand({ ...target, port: 22 })).toBe("ssh ops@db1.example.org");
});

test("an error names the server, what happened and how to see it", () => {
  const error = new SshError("command", target, "the command ended with exit code 3", ["it said: no"], "false");
  expect(error.message).toBe("db1.example.org:2222: the command ended with exit code 3");
  expect(error.details).toEqual(["it said: no", "try it: ssh -p 2222 ops@db1.example.org false"]);
});

test.each([
  ["ssh: connect to host db1.example.org port 2222: Connection refused", "unreachable", "connection refused"],
  ["ssh: connect to host db1.example.org port 2222: No route to host", "unreachable", "no route to host"],
  ["ssh: Could not resolve hostname db1.example.org: Name or service not known", "unreachable", "cannot be resolved"],
  ["Connection timed out during banner exchange", "unreachable", "no answer within 5 s"],
  ["ops@db1.example.org: Permission denied (publickey).", "auth", "user ops was refused"],
  ["No ED25519 host key is known for pinned and you have requested strict checking.", "host-key", "SHA256:B47f9h"],
  ["Unable to negotiate: no matching host key type found.", "host-key", "no host key of the pinned type ssh-ed25519"],
  ["kex_exchange_identification: read: Connection reset by peer", "unreachable", "could not be made"],
])("what the client says becomes the cause: %s", (stderr, kind, words) => {
  const error = connectionError(target, stderr, 5_000);
  expect(error.kind).toBe(kind);
  expect(error.message).toContain("db1.example.org:2222: ");
  expect(error.message).toContain(words);
});
