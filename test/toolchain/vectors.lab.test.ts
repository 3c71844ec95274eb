// Promise: hotpair's `command` plugin answers every recorded call of the official plugin that concerns remote.Command
// as the official plugin did (inputs, state, diffs, messages, log lines), but for the differences in differences.ts.
// Each call goes over gRPC to the built plugin, which talks to a real OpenSSH server.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commandPluginBinary } from "./binaries.ts";
import { differences } from "./differences.ts";
import { type Peers, startPeers } from "./peers.ts";
import {
  CallFailed,
  type Json,
  type JsonObject,
  type LogLine,
  type Plugin,
  type PluginOptions,
  startPlugin,
} from "./plugin.ts";
import { type Sshd, sshdProblem, startSshd } from "./sshd.ts";

interface Vector {
  name: string;
  rpc: string;
  request: JsonObject;
  response?: Json;
  error?: { code?: string; message?: string; grpc?: string[]; note?: string };
  logs?: LogLine[];
  elapsedMs?: number;
}

const [placeholders, ...vectors] = readFileSync(join(import.meta.dirname, "vectors", "remote-command.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Vector);

// The order in which an engine calls is the engine's doing: toolchain.e2e.test.ts compares that with the real CLI.
const calls = vectors.filter((vector) => vector.rpc !== "(order seen by the plugin)");

// Calls that need a plugin to themselves: a Cancel ends every call of its plugin, others were recorded with another
// environment or engine.
const alone: Record<string, PluginOptions & { cancel?: true; cancelBefore?: true }> = {
  "cli/up-create/cancel": {},
  "create/cancel-during-run": { cancel: true },
  "create/cancel-during-dial-retry": { cancel: true },
  "create/after-cancel": { cancelBefore: true },
  "create/started-without-argv": { engineAddress: false },
  "create/nonutf8-without-acceptsByteString": { handshake: {} },
  "create/stale-SSH_AUTH_SOCK-in-plugin-env": {
    environment: { ...process.env, SSH_AUTH_SOCK: "/nonexistent/stale.sock" },
  },
};

// Recorded without a look at the log.
const logsNotRecorded = /^cli\/|^create\/(after-cancel|logged-line-.*)$/;

const problem = sshdProblem();
if (problem) console.log(`skipped: the vectors of the command plugin: ${problem}`);

describe.skipIf(problem)("the command plugin answers as the recorded one", () => {
  let sshd: Sshd;
  let peers: Peers;
  let plugin: Plugin;
  let binary: string;
  let environment: NodeJS.ProcessEnv;

  beforeAll(async () => {
    binary = await commandPluginBinary();
    sshd = await startSshd();
    peers = await startPeers(sshd);
    environment = { ...process.env };
    delete environment.SSH_AUTH_SOCK;
    plugin = await startPlugin(binary, { environment });
  }, 120_000);

  afterAll(async () => {
    await plugin?.stop();
    await peers?.stop();
    await sshd?.stop();
  });

  test("every vector about remote.Command is here, and every difference belongs to one", () => {
    expect(vectors.length).toBe(228);
    expect(Object.keys(differences).filter((name) => !calls.some((vector) => vector.name === name))).toEqual([]);
  });

  test.concurrent.for(calls.map((vector, index) => ({ ...vector, index })))("$name", async (vector) => {
    const difference = differences[vector.name];
    const request = concrete(vector.request) as JsonObject;
    // A stack of its own, so that log lines find their way back while the calls run side by side.
    const urn = String(request.urn ?? "").replace(/^urn:pulumi:\w+::/, `urn:pulumi:v${vector.index}::`);
    if (urn) request.urn = urn;

    const own = alone[vector.name];
    const used = own ? await startPlugin(binary, { environment, ...own }) : plugin;
    if (own?.cancelBefore) await used.call("Cancel", {});
    const endless = vector.name === "create/negative-unlimited-then-deadline";
    const started = performance.now();
    const answer = used.call(vector.rpc, request, endless ? 3_000 : 40_000).then(
      (response) => ({ response }),
      (error: unknown) => {
        if (!(error instanceof CallFailed)) throw error;
        return { error: { code: error.code, message: recorded(error.message) } };
      },
    );
    if (own?.cancel) {
      await expect.poll(() => used.logs(urn).length, { timeout: 10_000 }).toBe(vector.logs?.length);
      await used.call("Cancel", {});
    }
    const outcome: { response?: JsonObject; error?: { code: string; message: string } } = await answer;
    const elapsed = performance.now() - started;
    const logs = used.logs(urn);
    if (own) await used.stop();

    const expected = difference?.error ?? vector.error;
    if (difference?.response === undefined && expected !== undefined) {
      expect(outcome.response).toBeUndefined();
      if (endless) expect(outcome.error?.code).toMatch(/^(DEADLINE_EXCEEDED|CANCELLED)$/);
      else if (difference?.error) {
        expect(outcome.error?.message).toMatch(difference.error.message);
        expect(outcome.error?.code).toBe(difference.error.code);
      } else {
        const { code, text } = recordedError(vector);
        expect(inAnyOrder(outcome.error?.message ?? "")).toEqual(inAnyOrder(concrete(text) as string));
        expect(outcome.error?.code).toBe(code);
      }
    } else {
      expect(outcome.error).toBeUndefined();
      expect(withoutId(outcome.response ?? {})).toEqual(
        sortedDiffs(concrete(difference?.response ?? vector.response ?? {})),
      );
    }

    const recordedLogs = difference?.logs ?? vector.logs ?? [];
    // stdout and stderr reach the plugin in any order, and of a cancelled or endless call only the start is certain.
    const expectedLogs = recordedLogs.map((line) => concrete(line) as LogLine);
    if (endless) expect(logs.slice(0, expectedLogs.length)).toEqual(expectedLogs);
    else if (!logsNotRecorded.test(vector.name)) expect(advice(logs).sort()).toEqual(advice(expectedLogs).sort());

    if (difference?.within !== undefined) expect(elapsed).toBeLessThan(difference.within);
    else if (vector.elapsedMs !== undefined && !difference && !own)
      expect(elapsed).toBeGreaterThan(vector.elapsedMs * 0.8 - 5);
  });

  /** Puts real values where the recording has placeholders. */
  function concrete(value: Json): Json {
    if (Array.isArray(value)) return value.map(concrete);
    if (typeof value === "object" && value !== null) {
      const signature = "4dabf18193072939515e22adb298388d";
      if ("<SECRET>" in value) {
        return { [signature]: "1b47061264138c4ac30d75fd1eb44270", value: concrete(value["<SECRET>"] ?? null) };
      }
      return Object.fromEntries(
        Object.entries(value).map(([name, inner]) => {
          if (name === "<SIG>") return [signature, "803fd3297a5875dc03ca845dda5d2a98"];
          return [name, name === "port" ? (peers.ports.get(Number(inner)) ?? inner) : concrete(inner)];
        }),
      );
    }
    if (typeof value !== "string") return value;
    if (value === "<CONN>") return concrete(placeholders?.request["<CONN>"] ?? null);
    const keys = sshd.keys;
    const exact: Record<string, string> = {
      "<randomSeed>": "c2VlZA==",
      "<UNKNOWN>": "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
      "<KEY>": keys.authorized,
      "<KEY> without final newline": keys.authorized.trimEnd(),
      "<KEY> with CRLF": keys.authorized.replaceAll("\n", "\r\n"),
      "<UNAUTHORIZED_KEY>": keys.unauthorized,
      "<ENCRYPTED_KEY>": keys.encrypted,
      "<RSA_PEM_KEY>": keys.rsaPem,
      "<HOSTKEY_ED25519> without comment": keys.hostEd25519.split(" ").slice(0, 2).join(" "),
    };
    const known = exact[value];
    if (known !== undefined) return known;
    return value
      .replaceAll("<HOSTKEY_ED25519>", keys.hostEd25519)
      .replaceAll("<HOSTKEY_RSA>", keys.hostRsa)
      .replaceAll("<OTHER_HOSTKEY_ED25519>", keys.otherHostEd25519)
      .replaceAll("<OTHER_HOSTKEY_ECDSA>", keys.otherHostEcdsa)
      .replaceAll("<HOST>", sshd.host)
      .replaceAll("/REMOTE", sshd.scratch)
      .replaceAll("/AGENT.sock", peers.agentSocket)
      .replace(/<(\d+) times "(.)">/g, (_, times: string, what: string) => what.repeat(Number(times)))
      .replace(/\b22(01|02|90|91|92|93)\b/g, (port) => String(peers.ports.get(Number(port)) ?? port));
  }

  /** An error text as the recording has it: without what changes from run to run. */
  function recorded(message: string): string {
    return message
      .replace(/127\.0\.0\.1:\d+->/, "127.0.0.1:<EPHEMERAL>->")
      .replace(/(lookup nosuchhost\.invalid)[^:]*(?::\d+)?: (?:no such host|server misbehaving)/, "$1: no such host");
  }
});

/** The recorded failure as code and text, in either of the two forms of the recording. */
function recordedError(vector: Vector): { code: string; text: string } {
  const viaGrpc = /^rpc error: code = (\w+) desc = ([\s\S]*)$/.exec(vector.error?.grpc?.[0] ?? "");
  if (viaGrpc) return { code: viaGrpc[1]?.toUpperCase() ?? "", text: viaGrpc[2] ?? "" };
  return { code: vector.error?.code ?? "", text: vector.error?.message ?? "" };
}

/** The lines of a failure text; a command's two streams are interleaved in the order of their arrival. */
function inAnyOrder(text: string): string[] {
  const [first = "", ...rest] = text.split("\n");
  return [first, ...rest.sort()];
}

function withoutId(response: JsonObject): JsonObject {
  if (typeof response.id === "string") response.id = response.id.replace(/(?<=^(my-res|a|r))[0-9a-f]{8}$/, "<8 hex>");
  return response;
}

function sortedDiffs(response: Json): Json {
  if (typeof response === "object" && response !== null && !Array.isArray(response) && Array.isArray(response.diffs)) {
    return { ...response, diffs: [...response.diffs].sort() };
  }
  return response;
}

/** The wording of the advice about AcceptEnv is free; that it names the variable and AcceptEnv is not. */
function advice(logs: LogLine[]): LogLine[] {
  return logs.map(([severity, channel, text]) => {
    const named = /\b(FOO|PULUMI_COMMAND_STD(?:OUT|ERR))\b.*AcceptEnv/.exec(text)?.[1];
    return [severity, channel, named ? `${named} and AcceptEnv` : text];
  });
}
