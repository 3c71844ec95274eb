// A Pulumi engine as a resource plugin sees it: starts the plugin, makes its calls over gRPC and collects what it logs.
// Requests and answers are plain JSON here, with Pulumi's wire signatures in it.

import { type ChildProcess, spawn } from "node:child_process";
import * as grpc from "@grpc/grpc-js";
import engineRpc from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import type { LogRequest } from "@pulumi/pulumi/proto/engine_pb.js";
import providerRpc from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import providerProto from "@pulumi/pulumi/proto/provider_pb.js";
import { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { type JavaScriptValue, Struct } from "google-protobuf/google/protobuf/struct_pb.js";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/** One Engine.Log call: severity, "status" for an ephemeral message or "log", and the text. */
export type LogLine = [severity: string, channel: string, message: string];

export class CallFailed extends Error {
  readonly code: string;
  constructor(error: grpc.ServiceError) {
    super(error.details);
    this.code = grpc.status[error.code] ?? String(error.code);
  }
}

export interface Plugin {
  call(rpc: string, request: JsonObject, deadlineMs?: number): Promise<JsonObject>;
  /** What was logged for a URN, in order of arrival. */
  logs(urn: string): LogLine[];
  process: ChildProcess;
  /** As the engine ends a plugin: Cancel, then SIGINT. */
  stop(): Promise<void>;
}

const unlimited = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

export interface PluginOptions {
  environment?: NodeJS.ProcessEnv;
  /** False: started without the engine's address, and so without a place to log to. */
  engineAddress?: boolean;
  /** What the engine says of itself at the start. Default: that it takes byte strings, as CLI 3.259 does. */
  handshake?: JsonObject;
}

export async function startPlugin(binary: string, options: PluginOptions = {}): Promise<Plugin> {
  const lines = new Map<string, LogLine[]>();
  const engine = new grpc.Server(unlimited);
  engine.addService(engineRpc.EngineService as unknown as grpc.ServiceDefinition, {
    log: (call: grpc.ServerUnaryCall<LogRequest, unknown>, done: grpc.sendUnaryData<unknown>) => {
      const severity = ["debug", "info", "warning", "error"][call.request.getSeverity()] ?? "?";
      const urn = call.request.getUrn();
      const known = lines.get(urn) ?? [];
      known.push([severity, call.request.getEphemeral() ? "status" : "log", call.request.getMessage()]);
      lines.set(urn, known);
      done(null, new Empty());
    },
  });
  const enginePort = await new Promise<number>((resolve, reject) =>
    engine.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );

  const child = spawn(binary, options.engineAddress === false ? [] : [`127.0.0.1:${enginePort}`], {
    env: options.environment ?? process.env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once("data", (data: Buffer) => resolve(Number(data.toString().trim())));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the plugin ended with ${code}`)));
  });
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), unlimited);

  const call = (rpc: string, request: JsonObject, deadlineMs = 30_000): Promise<JsonObject> => {
    const methods = providerRpc.ResourceProviderService as unknown as Record<
      string,
      grpc.MethodDefinition<object, object>
    >;
    const method = methods[`${rpc.charAt(0).toLowerCase()}${rpc.slice(1)}`];
    if (!method) throw new Error(`no such call: ${rpc}`);
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        message(rpc, request),
        { deadline: Date.now() + deadlineMs },
        (error, answer) => (error ? reject(new CallFailed(error)) : resolve(json(answer ?? {}))),
      );
    });
  };
  await call("Handshake", options.handshake ?? { acceptsByteString: true });
  return {
    call,
    logs: (urn) => lines.get(urn) ?? [],
    process: child,
    stop: async () => {
      await call("Cancel", {}).catch(() => {});
      client.close();
      const ended = new Promise((resolve) => child.once("exit", resolve));
      if (child.exitCode === null && child.kill("SIGINT")) await ended;
      engine.forceShutdown();
    },
  };
}

const requestTypes: Record<string, () => object> = {
  Handshake: () => new providerProto.ProviderHandshakeRequest(),
  CheckConfig: () => new providerProto.CheckRequest(),
  DiffConfig: () => new providerProto.DiffRequest(),
  Configure: () => new providerProto.ConfigureRequest(),
  Check: () => new providerProto.CheckRequest(),
  Diff: () => new providerProto.DiffRequest(),
  Create: () => new providerProto.CreateRequest(),
  Read: () => new providerProto.ReadRequest(),
  Update: () => new providerProto.UpdateRequest(),
  Delete: () => new providerProto.DeleteRequest(),
};

const structFields = new Set(["olds", "news", "oldInputs", "properties", "inputs", "args"]);

/** Fills a generated message from JSON, by the names of its setters. */
function message(rpc: string, request: JsonObject): object {
  const filled = requestTypes[rpc]?.() ?? new Empty();
  for (const [name, value] of Object.entries(request)) {
    if (structFields.has(name))
      invoke(filled, `set${name}`, Struct.fromJavaScript(value as Record<string, JavaScriptValue>));
    else if (Array.isArray(value)) invoke(filled, `set${name}List`, value);
    else if (typeof value === "object" && value !== null) {
      const map = invoke(filled, `get${name}Map`) as Map<string, Json>;
      for (const [key, entry] of Object.entries(value)) map.set(key, entry);
    } else invoke(filled, `set${name}`, value);
  }
  return filled;
}

/** Calls a method by its name in any case: the generator writes setOldinputs or setOldInputs as it pleases. */
function invoke(target: object, method: string, ...values: unknown[]): unknown {
  const prototype: object = Object.getPrototypeOf(target);
  const name = Object.getOwnPropertyNames(prototype).find((own) => own.toLowerCase() === method.toLowerCase());
  const found: unknown = name === undefined ? undefined : Reflect.get(target, name);
  if (typeof found !== "function") throw new Error(`${target.constructor.name} has no ${method}`);
  return found.apply(target, values);
}

const diffKinds = ["ADD", "ADD_REPLACE", "DELETE", "DELETE_REPLACE", "UPDATE", "UPDATE_REPLACE"];

/** An answer as JSON in the form of the recorded vectors: what is unset or empty is left out. */
function json(answer: object): JsonObject {
  const result: JsonObject = {};
  const put = (name: string, value: Json | undefined) => {
    const empty = value === undefined || value === false || value === "" || (Array.isArray(value) && !value.length);
    if (!empty) result[name] = value;
  };
  const struct = (value: Struct | undefined) => value?.toJavaScript() as JsonObject | undefined;
  if (answer instanceof providerProto.CheckResponse) {
    put("inputs", struct(answer.getInputs()));
    put(
      "failures",
      answer.getFailuresList().map((failure) => ({ property: failure.getProperty(), reason: failure.getReason() })),
    );
  } else if (answer instanceof providerProto.DiffResponse) {
    put("replaces", answer.getReplacesList());
    put("stables", answer.getStablesList());
    put("deleteBeforeReplace", answer.getDeletebeforereplace());
    put("changes", ["DIFF_UNKNOWN", "DIFF_NONE", "DIFF_SOME"][answer.getChanges()]);
    put("diffs", answer.getDiffsList().sort());
    const detailed: JsonObject = {};
    answer.getDetaileddiffMap().forEach((kind, path) => {
      detailed[path] = diffKinds[kind.getKind()] ?? "?";
    });
    if (Object.keys(detailed).length) result.detailedDiff = detailed;
    put("hasDetailedDiff", answer.getHasdetaileddiff());
  } else if (answer instanceof providerProto.CreateResponse) {
    put("id", answer.getId());
    put("properties", struct(answer.getProperties()));
  } else if (answer instanceof providerProto.UpdateResponse) {
    put("properties", struct(answer.getProperties()));
  } else if (answer instanceof providerProto.ReadResponse) {
    put("id", answer.getId());
    put("properties", struct(answer.getProperties()));
    put("inputs", struct(answer.getInputs()));
  } else if (answer instanceof providerProto.ConfigureResponse) {
    put("acceptSecrets", answer.getAcceptsecrets());
    put("supportsPreview", answer.getSupportspreview());
    put("acceptResources", answer.getAcceptresources());
    put("acceptOutputs", answer.getAcceptoutputs());
  } else if (answer instanceof providerProto.ProviderHandshakeResponse) {
    put("acceptSecrets", answer.getAcceptSecrets());
    put("acceptResources", answer.getAcceptResources());
    put("acceptOutputs", answer.getAcceptOutputs());
    put("acceptsByteString", answer.getAcceptsByteString());
  } else if (!(answer instanceof Empty)) {
    put("version", invoke(answer, "getVersion") as string);
  }
  return result;
}
