// A tiny Pulumi project in a directory of its own, driven by the real CLI: a program that declares the remote.Commands
// it is told to, a policy pack that forbids what it is told to, and a state in files beside it.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findToolchain } from "../../infra/toolchain/find.ts";
import { projectRoot } from "../../infra/toolchain/places.ts";
import type { JsonObject } from "./plugin.ts";

/** One remote.Command of the program. */
export interface Declared {
  name: string;
  args: JsonObject;
  options?: JsonObject;
  /** Inputs that the program wraps as secrets. */
  secret?: string[];
  /** The host comes from another resource's output, so that it is unknown in a preview. */
  hostFrom?: string;
}

export interface Outcome {
  code: number | null;
  /** Standard output and error together. */
  text: string;
  milliseconds: number;
}

export interface Stack {
  directory: string;
  policyPack: string;
  /** Marks every process of this stack's CLI calls in its environment. */
  mark: string;
  /** Runs the CLI on the stack `dev`; the declared commands are the program. */
  run(args: string[], program?: Declared[], environment?: Record<string, string>): Promise<Outcome>;
  /** Starts the CLI and returns at once. */
  start(args: string[], program: Declared[]): ChildProcess;
  /** The calls that the command plugin saw in the last run, in order, as the recordings name them. */
  calls(): string[];
  export(...flags: string[]): Promise<JsonObject>;
  remove(): void;
}

const program = `import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { readFileSync } from "node:fs";

interface Declared { name: string; args: Record<string, unknown>; options?: object; secret?: string[]; hostFrom?: string }

const made = new Map<string, command.remote.Command>();
for (const { name, args, options, secret, hostFrom } of JSON.parse(readFileSync("declared.json", "utf8")) as Declared[]) {
  for (const input of secret ?? []) args[input] = pulumi.secret(args[input]);
  const source = made.get(hostFrom ?? "");
  if (source) args.connection = { ...(args.connection as object), host: source.stdout };
  made.set(name, new command.remote.Command(name, args as unknown as command.remote.CommandArgs, options));
}
`;

const pack = `import { PolicyPack } from "@pulumi/policy";

new PolicyPack("tiny", {
  policies: [{
    name: "no-forbidden-command",
    description: "A command must not contain the forbidden word.",
    enforcementLevel: "mandatory",
    validateResource: (args, report) => {
      const word: string | undefined = process.env.FORBIDDEN;
      if (word && args.type === "command:remote:Command" && String(args.props.create).includes(word)) {
        report("the create command contains a forbidden word");
      }
    },
  }],
});
`;

export async function makeStack(): Promise<Stack> {
  const toolchain = await findToolchain();
  const directory = mkdtempSync(join(tmpdir(), "hotpair-stack-"));
  const file = (name: string, content: string) => writeFileSync(join(directory, name), content);
  symlinkSync(join(projectRoot, "node_modules"), join(directory, "node_modules"));
  file("Pulumi.yaml", "name: tiny\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n");
  file("package.json", '{ "name": "tiny", "version": "1.0.0", "type": "module", "main": "main.mjs" }');
  file("main.mjs", 'import "./program.ts";\n');
  file("program.ts", program);
  mkdirSync(join(directory, "policy"));
  file("policy/PulumiPolicy.yaml", "runtime:\n  name: nodejs\n  options:\n    typescript: false\n");
  file("policy/package.json", '{ "name": "tiny-pack", "version": "0.0.1", "type": "module", "main": "index.mjs" }');
  file("policy/index.mjs", 'import "./pack.ts";\n');
  file("policy/pack.ts", pack);

  const mark = `hotpair-test-${directory.slice(-6)}`;
  const log = join(directory, "grpc.jsonl");
  const start = (args: string[], declared: Declared[], environment: Record<string, string> = {}) => {
    rmSync(log, { force: true });
    file("declared.json", JSON.stringify(declared));
    return spawn(toolchain.pulumi, [...args, "--cwd", directory, "--non-interactive", "--color", "never"], {
      env: {
        ...process.env,
        ...toolchain.env,
        SSH_AUTH_SOCK: "",
        PULUMI_BACKEND_URL: `file://${directory}`,
        PULUMI_CONFIG_PASSPHRASE: "test",
        PULUMI_DEBUG_GRPC: log,
        HOTPAIR_TEST_MARK: mark,
        ...environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
  };
  const run: Stack["run"] = async (args, declared = [], environment = {}) => {
    const started = performance.now();
    const child = start(args, declared, environment);
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (text += data.toString()));
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { code, text, milliseconds: performance.now() - started };
  };
  const stack: Stack = {
    directory,
    policyPack: join(directory, "policy"),
    mark,
    run,
    start,
    calls: () => pluginCalls(readFileSync(log, "utf8")),
    export: async (...flags) => JSON.parse((await run(["stack", "export", ...flags])).text) as JsonObject,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
  const created = await run(["stack", "init", "dev"]);
  if (created.code !== 0) throw new Error(created.text);
  return stack;
}

/** Reads the engine's gRPC log: a line when a call begins and one when it ends; a preview's Create and Update are told apart. */
function pluginCalls(log: string): string[] {
  return log
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { method: string; progress?: string; request: { preview?: boolean } })
    .filter(({ method }) => method.startsWith("/pulumirpc.ResourceProvider/"))
    .filter(({ progress }) => progress === "request_started")
    .map(({ method, request }) => {
      const name = method.split("/").at(-1) ?? "";
      return request.preview ? `${name}(preview)` : name;
    });
}
