// The Pulumi engine as commands use it: the CLI with the right environment, its event stream read into what a command
// wants to know. What is deployed is decided in the program; what is shown, in the commands.

import { spawn } from "node:child_process";
import { hostname } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { StackFile } from "../config/index.ts";
import { cacheDirectory } from "../machine/cache.ts";
import { UserError } from "../model/errors.ts";
import { type HostId, NODE_IDS, type Pair } from "../model/pair.ts";
import { AWS_PLUGIN_VERSION } from "../model/resource.ts";
import { installAwsPackage } from "../toolchain/aws-package.ts";
import { findToolchain } from "../toolchain/find.ts";
import { awsPlugin, projectRoot, pulumiHome } from "../toolchain/places.ts";
import { passphrase, usePublishedPassphrase } from "./secrets.ts";
import { announce } from "./terminal.ts";

const PACK = join(projectRoot, "infra", "policy");

/** What the engine does to a resource; `same` is nothing. */
export interface Step {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  readonly oldInputs: Readonly<Record<string, unknown>>;
  readonly newInputs: Readonly<Record<string, unknown>>;
  readonly outputs: Readonly<Record<string, unknown>>;
}

export interface Diagnostic {
  readonly severity: "warning" | "error";
  /** Empty when it is about the whole operation. */
  readonly urn: string;
  readonly message: string;
}

export interface Violation {
  readonly policy: string;
  readonly level: "advisory" | "mandatory";
  readonly message: string;
}

export interface Outcome {
  readonly succeeded: boolean;
  readonly steps: readonly Step[];
  readonly diagnostics: readonly Diagnostic[];
  readonly violations: readonly Violation[];
  /** What the CLI said outside its events, e.g. that the stack is locked. */
  readonly said: string;
}

export interface OperateOptions {
  readonly policyPacks?: readonly string[];
  /** More arguments for the CLI. */
  readonly args?: readonly string[];
  /** Variables that the program reads (infra/index.ts). */
  readonly env?: Readonly<Record<string, string>>;
  readonly onStart?: (step: Step) => void;
  readonly onDone?: (step: Step) => void;
}

export interface Engine {
  readonly stack: string;
  operate(verb: "preview" | "up" | "destroy", options?: OperateOptions): Promise<Outcome>;
  /** Standard output of another CLI command on the stack. Throws UserError when it fails. */
  ask(args: readonly string[], input?: string): Promise<string>;
  /** The CLI at this terminal, as it is; its exit code. */
  handOver(args: readonly string[]): Promise<number>;
}

/**
 * Fetches or builds the toolchain when it is not there, saying so. A stack that is encrypted with a passphrase needs it
 * from the environment or the terminal: the CLI, whose output is read here, could not ask. Throws UserError.
 */
export async function openEngine(
  stack: string,
  stackFile?: Pick<StackFile, "encryptionSalt">,
  target: Pair["target"] = "onprem",
): Promise<Engine> {
  const toolchain = await findToolchain({ onStep: announce });
  if (toolchain.notice) announce(toolchain.notice);
  // Where the vendor can be reached the engine fetches it by itself.
  if (target === "aws" && toolchain.kind === "built") requireAwsPlugin();
  usePublishedPassphrase(stack);
  if (stackFile?.encryptionSalt !== undefined && !process.env.PULUMI_CONFIG_PASSPHRASE_FILE)
    process.env.PULUMI_CONFIG_PASSPHRASE = await passphrase(stack);
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    ...toolchain.env,
    PULUMI_STACK: stack,
    // The program and the pack are compiled by V8 once, not at each of their four starts per `up`.
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(cacheDirectory(), "compiled"),
  };
  const start = (args: readonly string[], stdio: "inherit" | "pipe", extra: NodeJS.ProcessEnv = {}) =>
    spawn(toolchain.pulumi, args, { cwd: projectRoot, env: { ...environment, ...extra }, stdio });

  const ask: Engine["ask"] = async (args, input = "") => {
    const { code, stdout, stderr } = await collected(start(["--non-interactive", ...args], "pipe"), input);
    if (code !== 0) throw new UserError(`pulumi ${args.slice(0, 2).join(" ")} failed`, [withoutPrefix(stderr)]);
    return stdout;
  };

  const attempt = async (verb: string, options: OperateOptions): Promise<{ code: number; outcome: Outcome }> => {
    const packs = verb === "destroy" ? [] : [PACK, ...(options.policyPacks ?? [])];
    const args = [
      ...[verb, "--json", "--non-interactive", "--stack", stack],
      ...(verb === "preview" ? [] : ["--yes", "--skip-preview"]),
      ...packs.flatMap((pack) => ["--policy-pack", pack]),
      ...(options.args ?? []),
    ];
    const child = start(args, "pipe", { ...options.env, PULUMI_ENABLE_STREAMING_JSON_PREVIEW: "true" });
    // Ctrl-C reaches the CLI by itself, which finishes what has begun; this process stays to tell how it ended.
    const stopping = () => announce("stopping: what has begun on a server is finished first");
    const terminated = () => child.kill("SIGINT");
    process.on("SIGINT", stopping).on("SIGTERM", terminated);
    try {
      return await readEvents(child, options);
    } finally {
      process.off("SIGINT", stopping).off("SIGTERM", terminated);
    }
  };

  return {
    stack,
    ask,
    async operate(verb, options = {}) {
      // Its program declares what is to be there; to end it none is run.
      if (target === "aws" && verb !== "destroy") await installAwsPackage(announce);
      let { code, outcome } = await attempt(verb, options);
      if (code !== 0 && /no stack named/.test(outcome.said)) {
        await ask(["stack", "init", "--stack", stack]);
        ({ outcome } = await attempt(verb, options));
      }
      return outcome;
    },
    handOver: async (args) => {
      const child = start(args, "inherit");
      // Ctrl-C goes to both; the CLI cancels in its own way and this process ends with its exit code.
      const ignore = () => undefined;
      process.on("SIGINT", ignore);
      const code = await ended(child);
      process.off("SIGINT", ignore);
      return code;
    },
  };
}

/** Throws UserError: unlike the command plugin, it can be had from its vendor alone. */
export function requireAwsPlugin(): void {
  if (awsPlugin(AWS_PLUGIN_VERSION) !== undefined) return;
  const directory = join(pulumiHome(), "plugins", `resource-aws-v${AWS_PLUGIN_VERSION}`);
  throw new UserError(
    `Pulumi's AWS plugin ${AWS_PLUGIN_VERSION} is not here, and its vendor (get.pulumi.com) cannot be reached from this machine`,
    [
      `where it can be reached, run: pulumi plugin install resource aws ${AWS_PLUGIN_VERSION}`,
      `then bring ~/.pulumi/plugins/resource-aws-v${AWS_PLUGIN_VERSION} from there to ${directory}`,
      "check and render need no plugin; AWS itself must be reachable from here as well",
    ],
  );
}

/** Locks that a killed process of this machine left: nobody will take them away. */
export function deadLocks(said: string): readonly { readonly pid: number; readonly since: string }[] {
  const locks = [...said.matchAll(/created by \S+@(\S+) \(pid (\d+)\) at (\S+)/g)];
  const dead = locks.filter(([, host, pid]) => host === hostname() && !isRunning(Number(pid)));
  return dead.length === locks.length ? dead.map(([, , pid, since]) => ({ pid: Number(pid), since: since ?? "" })) : [];
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Name of a server's resources, e.g. `node-a`: infra/components gives component and command the same. */
export const resourceOf = (id: HostId): string => (id === "witness" ? id : `node-${id}`);

const HOST_IDS: readonly HostId[] = ["witness", ...NODE_IDS];

/** The server whose component or command this is. */
export const hostOf = (urn: string): HostId | undefined => HOST_IDS.find((id) => urn.endsWith(`::${resourceOf(id)}`));

export const COMMAND_TYPE = "command:remote:Command";

/** Whether the engine would make this server, so that nobody can answer there yet. */
export const makesServer = ({ steps }: Pick<Outcome, "steps">, id: HostId): boolean =>
  instanceStep(steps, id, /^(create|replace)/) !== undefined;

const instanceStep = (steps: Outcome["steps"], id: HostId, ops: RegExp): Step | undefined =>
  steps.find(
    ({ type, op, urn }) => type === "aws:ec2/instance:Instance" && ops.test(op) && urn.endsWith(`::instance-${id}`),
  );

/** Whether the engine would run the command that sets this server up, changes it or gives it back. */
export const runsCommand = ({ steps }: Pick<Outcome, "steps">, id: HostId): boolean =>
  steps.some(({ type, op, urn }) => type === COMMAND_TYPE && op !== "same" && hostOf(urn) === id);

/** In the place of a server that is gone: nothing else has changed for its command, so the engine would not run it. */
export const makesAnew = (outcome: Pick<Outcome, "steps">, id: HostId): boolean =>
  makesServer(outcome, id) && !runsCommand(outcome, id);

/** The type of instance that a server keeps running as; undefined when it is none, or is only about to be made. */
export const typeThatRuns = ({ steps }: Pick<Outcome, "steps">, id: HostId): string | undefined => {
  const kept = instanceStep(steps, id, /^(same|update)$/);
  return kept && String(kept.oldInputs.instanceType);
};

const urnOf = (stack: string, type: string, id: HostId): string =>
  `urn:pulumi:${stack}::hotpair::hotpair:index:Pair$${type}::${resourceOf(id)}`;

/** Everything of one server, for the engine's --exclude and for the state. */
export function urnsOf(stack: string, id: HostId): readonly string[] {
  const type = id === "witness" ? "hotpair:index:Witness" : "hotpair:index:Node";
  return [urnOf(stack, type, id), urnOf(stack, `${type}$${COMMAND_TYPE}`, id)];
}

/** The owner token that the resource was created with (infra/components/node.ts). */
export const tokenIn = (inputs: Readonly<Record<string, unknown>>): string | undefined =>
  /--resource ([A-Za-z0-9]+)/.exec(String(inputs.delete ?? ""))?.[1];

/** Marks a secret in a state (sdk/go/common/resource/properties.go, SigKey); `plaintext` is there with --show-secrets. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";

/** A value of an exported state with its secrets opened. */
export function openedState(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(openedState);
  if (typeof value !== "object" || value === null) return value;
  if (SIGNATURE in value && "plaintext" in value) return openedState(JSON.parse(String(value.plaintext)));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, openedState(inner)]));
}

interface WireState {
  readonly inputs?: Record<string, unknown>;
  readonly outputs?: Record<string, unknown>;
}

/** An engine event as `--json` prints it (sdk/go/common/apitype/events.go), with the parts that are read here. */
interface WireEvent {
  readonly resourcePreEvent?: { readonly metadata: WireMetadata };
  readonly resOutputsEvent?: { readonly metadata: WireMetadata };
  readonly diagnosticEvent?: { readonly urn?: string; readonly message: string; readonly severity: string };
  readonly policyEvent?: {
    readonly policyName: string;
    readonly enforcementLevel: string;
    readonly message: string;
  };
  readonly summaryEvent?: { readonly result?: string };
}

interface WireMetadata {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  readonly old?: WireState | null;
  readonly new?: WireState | null;
}

async function readEvents(
  child: ReturnType<typeof spawn>,
  { onStart, onDone }: OperateOptions,
): Promise<{ code: number; outcome: Outcome }> {
  const steps = new Map<string, Step>();
  const diagnostics: Diagnostic[] = [];
  const violations: Violation[] = [];
  let said = "";
  const read = (event: WireEvent) => {
    const { resourcePreEvent, resOutputsEvent, diagnosticEvent, policyEvent } = event;
    const metadata = resourcePreEvent?.metadata ?? resOutputsEvent?.metadata;
    if (metadata) {
      const step = stepOf(metadata);
      steps.set(`${step.op} ${step.urn}`, step);
      (resourcePreEvent ? onStart : onDone)?.(step);
    }
    if (diagnosticEvent) {
      const { severity, message, urn = "" } = diagnosticEvent;
      if (severity === "warning" || severity === "error") diagnostics.push({ severity, urn, message: message.trim() });
    }
    if (policyEvent) {
      const { policyName, enforcementLevel, message } = policyEvent;
      violations.push({
        policy: policyName,
        level: enforcementLevel === "mandatory" ? "mandatory" : "advisory",
        // Before its message, the engine puts the policy's description on a line.
        message: withoutColour(message).trim().split("\n").at(-1) ?? "",
      });
    }
  };
  if (!child.stdout || !child.stderr) throw new Error("the CLI was started without pipes");
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    if (line.startsWith("{")) read(JSON.parse(line) as WireEvent);
    else said += `${line}\n`;
  });
  const allRead = new Promise((resolve) => lines.once("close", resolve));
  const code = await ended(child);
  await allRead;
  const outcome = {
    succeeded: code === 0,
    steps: [...steps.values()],
    diagnostics,
    violations,
    said: withoutPrefix(said),
  };
  return { code, outcome };
}

const stepOf = ({ op, urn, type, old, new: wanted }: WireMetadata): Step => ({
  ...{ op, urn, type },
  oldInputs: old?.inputs ?? {},
  newInputs: wanted?.inputs ?? {},
  outputs: wanted?.outputs ?? {},
});

const withoutPrefix = (text: string): string =>
  withoutColour(text)
    .trim()
    .replace(/^error: /, "");

/** The engine marks colours as `<{%reset%}>` in texts that it has not rendered. */
const withoutColour = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal escapes begin with one
  text.replaceAll(/<\{%[^%]*%\}>|\u001b\[[0-9;]*m/g, "");

const ended = (child: ReturnType<typeof spawn>): Promise<number> =>
  new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });

async function collected(
  child: ReturnType<typeof spawn>,
  input: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return { code: await ended(child), stdout, stderr };
}
