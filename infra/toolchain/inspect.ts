// What `hotpair setup --check` says of the toolchain: what is there, from where, and what is missing. It looks and asks
// nothing to change; a network question is asked only when nothing usable is there.

import { spawnSync } from "node:child_process";
import { goProblem, goVersion } from "./build.ts";
import { hasBackend } from "./environment.ts";
import { presentToolchain } from "./find.ts";
import { probe, rememberedFailure } from "./official.ts";
import { compatibleOnPath } from "./path.ts";
import {
  builtPlaces,
  commandPlugin,
  commandVersion,
  goCommand,
  isBuilt,
  isExecutable,
  localStateDirectory,
  nodeDirectory,
  officialPulumi,
  pulumiVersion,
} from "./places.ts";

export interface ToolchainPart {
  name: string;
  /** One line: where it is and of which version, or why not. */
  text: string;
}

export interface ToolchainReport {
  /** Which of the three ways is used now; absent when there is none. */
  kind?: "path" | "official" | "built";
  /** Absolute path of the CLI in use. */
  pulumi?: string;
  version?: string;
  parts: ToolchainPart[];
  /** What to do, one line each; empty when everything is there. */
  missing: string[];
  toText(): string;
}

export async function inspectToolchain(): Promise<ToolchainReport> {
  const toolchain = presentToolchain();
  const places = builtPlaces();
  const plugin = commandPlugin();
  const go = goCommand();
  const goLack = goProblem(go);

  const onPath = compatibleOnPath().map(({ pulumi, version, problem }) => {
    if (problem !== undefined) return `${pulumi}: not used, ${problem}`;
    return `${pulumi} ${version}${plugin ? "" : `: not used, its command plugin ${commandVersion} is not installed`}`;
  });
  const vendor = rememberedFailure() ?? (toolchain ? undefined : await vendorNow());
  const official = isExecutable(officialPulumi())
    ? `${officialPulumi()}${plugin ? "" : `: not used, its command plugin ${commandVersion} is not installed`}`
    : "not downloaded";
  const parts: ToolchainPart[] = [
    { name: "on PATH", text: onPath.length > 0 ? onPath.join("; ") : "none with a Node language host beside it" },
    { name: "official", text: vendor ? `${official} (${vendor})` : official },
    { name: "built", text: isBuilt(places) ? places.root : `not built (would be ${places.root})` },
    {
      name: "command plugin",
      text: plugin ?? (toolchain?.kind === "built" ? `hotpair's own ${commandVersion}: ${places.plugin}` : "none"),
    },
    { name: "Node", text: nodeText() },
    { name: "Go", text: go && goLack === undefined ? `${go} ${goVersion(go)}` : `${goLack} (needed to build only)` },
    { name: "backend", text: backendText() },
  ];

  const missing: string[] = [];
  if (!isExecutable(`${nodeDirectory}/node`)) missing.push("the project's Node: npm ci");
  if (!toolchain) {
    missing.push(`a Pulumi CLI ${pulumiVersion} with its command plugin: hotpair setup`);
    if (vendor && goLack !== undefined) missing.push(goLack);
  }
  return {
    ...(toolchain && { kind: toolchain.kind, pulumi: toolchain.pulumi, version: toolchain.version }),
    parts,
    missing,
    toText: () => {
      const width = Math.max(...parts.map(({ name }) => name.length));
      return [
        toolchain
          ? `Pulumi ${toolchain.version}, ${ways[toolchain.kind]}: ${toolchain.pulumi}`
          : "no usable Pulumi toolchain",
        ...parts.map(({ name, text }) => `  ${name.padEnd(width)}  ${text}`),
        ...(missing.length > 0 ? ["missing:", ...missing.map((line) => `  ${line}`)] : ["nothing is missing"]),
      ].join("\n");
    },
  };
}

const ways = { path: "found on PATH", official: "the official download", built: "built from its Go module" } as const;

async function vendorNow(): Promise<string | undefined> {
  const problem = await probe();
  return problem === undefined ? undefined : `get.pulumi.com cannot be reached: ${problem}`;
}

function nodeText(): string {
  const node = `${nodeDirectory}/node`;
  if (!isExecutable(node)) return "not installed";
  return `${node} ${spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim()}`;
}

function backendText(): string {
  if (process.env.PULUMI_BACKEND_URL) return `${process.env.PULUMI_BACKEND_URL} (PULUMI_BACKEND_URL)`;
  if (hasBackend()) return "the user's own (login, or Pulumi.yaml)";
  return `files in ${localStateDirectory()} (no login and no PULUMI_BACKEND_URL)`;
}
