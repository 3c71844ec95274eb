// The vendor's own download: whether its site can be reached at all, and fetching the CLI and the command plugin. A
// sealed network answers in seconds, and the answer is remembered for some hours.

import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { arch } from "node:os";
import { dirname, join } from "node:path";
import { pulumiEnvironment } from "./environment.ts";
import {
  buildsDirectory,
  commandPlugin,
  commandVersion,
  isExecutable,
  officialPulumi,
  projectRoot,
  pulumiHome,
  pulumiVersion,
} from "./places.ts";

/** One short question decides, so that an unreachable site costs seconds. */
const probeTimeoutMs = 3_000;

/** How long a failed attempt is believed: a working day's worth of commands asks twice. */
const failureKeptMs = 6 * 3_600_000;

/** About 100 MB over a slow line; whoever is slower still is served by the build. */
const downloadTimeoutMs = 600_000;

const release = `https://get.pulumi.com/releases/sdk/pulumi-v${pulumiVersion}-linux-${arch() === "arm64" ? "arm64" : "x64"}.tar.gz`;

function failureFile(): string {
  return join(buildsDirectory(), "vendor-unreachable");
}

/** Why and when the vendor's site was found unreachable, if that is recent enough to be believed. */
export function rememberedFailure(): string | undefined {
  try {
    const file = failureFile();
    const { mtime } = statSync(file);
    if (Date.now() - mtime.getTime() > failureKeptMs) return undefined;
    return `unreachable at ${mtime.toISOString().slice(0, 16)}Z: ${readFileSync(file, "utf8").trim()}`;
  } catch {
    return undefined; // never failed
  }
}

function rememberFailure(reason: string): void {
  mkdirSync(dirname(failureFile()), { recursive: true });
  writeFileSync(failureFile(), `${reason}\n`);
}

/** Asks the vendor's site for the release's headers, through the proxy of the environment if there is one. */
export async function vendorReachable(step: (line: string) => void): Promise<boolean> {
  if (rememberedFailure()) return false;
  const problem = await probe();
  if (problem === undefined) return true;
  step(`get.pulumi.com cannot be reached (${problem})`);
  rememberFailure(problem);
  return false;
}

/** Why the release cannot be downloaded, or undefined when it can. */
export function probe(url: string = release): Promise<string | undefined> {
  return new Promise((resolve) => {
    // proxyEnv: HTTPS_PROXY, NO_PROXY and their lower-case forms, as every other tool here reads them.
    const agent = new Agent({ proxyEnv: process.env });
    const end = (problem: string | undefined) => {
      clearTimeout(timer);
      attempt.destroy();
      agent.destroy();
      resolve(problem);
    };
    const attempt = request(url, { method: "HEAD", agent });
    const timer = setTimeout(() => end(`no answer within ${probeTimeoutMs / 1000} s`), probeTimeoutMs);
    attempt.on("response", (response) => {
      const status = response.statusCode ?? 0;
      end(status >= 200 && status < 400 ? undefined : `HTTP status ${status}`);
    });
    attempt.on("error", (error) => end(error.message));
    attempt.end();
  });
}

/** Downloads the CLI and the command plugin; false, with the reason as a step, when that did not work. */
export async function installOfficial(step: (line: string) => void): Promise<boolean> {
  return toldAndKept((await downloadCli(step)) ?? (await downloadPlugin(officialPulumi(), step)), step);
}

/** Lets a CLI that is there already download the command plugin; false, with the reason as a step, when it could not. */
export async function installPlugin(pulumi: string, step: (line: string) => void): Promise<boolean> {
  return toldAndKept(await downloadPlugin(pulumi, step), step);
}

function toldAndKept(problem: string | undefined, step: (line: string) => void): boolean {
  if (problem === undefined) return true;
  step(`the official download failed (${problem})`);
  rememberFailure(problem);
  return false;
}

async function downloadCli(step: (line: string) => void): Promise<string | undefined> {
  const pulumi = officialPulumi();
  if (isExecutable(pulumi)) return undefined;
  step(`downloading Pulumi ${pulumiVersion}`);
  const wrapper = join(projectRoot, "node_modules", "pulumi", "run.js");
  const environment = {
    ...process.env,
    // Node's fetch, with which the wrapper starts, looks at the proxy variables only when told to.
    NODE_USE_ENV_PROXY: "1",
    PULUMI_HOME: pulumiHome(),
    PULUMI_VERSION: pulumiVersion,
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  const failed = await run(process.execPath, [wrapper, "version"], environment);
  if (failed !== undefined) return failed;
  return isExecutable(pulumi) ? undefined : `the wrapper put no CLI at ${pulumi}`;
}

async function downloadPlugin(pulumi: string, step: (line: string) => void): Promise<string | undefined> {
  if (commandPlugin()) return undefined;
  step(`downloading the command plugin ${commandVersion}`);
  const environment = { ...process.env, ...pulumiEnvironment(pulumi) };
  const failed = await run(
    pulumi,
    ["plugin", "install", "resource", "command", commandVersion, "--exact"],
    environment,
  );
  if (failed !== undefined) return failed;
  return commandPlugin() ? undefined : "the CLI reported success, and yet the command plugin is not there";
}

/** Runs to the end within the download's deadline; the last line it printed is the reason when it fails. */
function run(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], timeout: downloadTimeoutMs });
    let printed = "";
    const collect = (data: Buffer) => {
      printed = (printed + data.toString()).slice(-4_000);
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => {
      if (code === 0) return resolve(undefined);
      const last = printed.trim().split("\n").at(-1);
      resolve(last || (signal ? `ended by ${signal}` : `exit status ${code}`));
    });
  });
}
