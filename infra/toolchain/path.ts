// Whether a Pulumi CLI on PATH can be used. The answer needs `pulumi version` (a quarter of a second), so it is kept
// in the cache until the binary changes.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildsDirectory, pulumisOnPath, pulumiVersion } from "./places.ts";

export interface PathCandidate {
  pulumi: string;
  version: string;
  /** Why it cannot be used. */
  problem?: string;
}

/** Every real CLI on PATH, in the order of PATH, with a verdict. */
export function compatibleOnPath(): PathCandidate[] {
  return pulumisOnPath().map((pulumi) => {
    const version = versionOf(pulumi);
    const problem = incompatibility(version);
    return problem === undefined ? { pulumi, version } : { pulumi, version, problem };
  });
}

/**
 * A CLI must be at least as new as the Node SDK of this project, which may use what older engines do not offer; within
 * a major version newer engines keep serving older SDKs (pulumi.com/docs/support/faq, "compatibility").
 */
export function incompatibility(version: string): string | undefined {
  const parts = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  const wanted = pulumiVersion.split(".").map(Number);
  if (!parts) return `its version "${version}" cannot be read`;
  if (parts[0] !== wanted[0]) return `version ${version} is of another major version than ${pulumiVersion}`;
  const older = [0, 1, 2].map((i) => (parts[i] ?? 0) - (wanted[i] ?? 0)).find((difference) => difference !== 0) ?? 0;
  return older < 0 ? `version ${version} is older than ${pulumiVersion}, which the project's SDK needs` : undefined;
}

function versionOf(pulumi: string): string {
  const stat = statSync(pulumi);
  const fingerprint = `${pulumi} ${stat.size} ${stat.mtimeMs}`;
  const file = join(buildsDirectory(), "path-version.json");
  try {
    const kept: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (Array.isArray(kept) && kept[0] === fingerprint && typeof kept[1] === "string") return kept[1];
  } catch {
    // Nothing kept yet.
  }
  let version: string;
  try {
    const environment = { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
    version = execFileSync(pulumi, ["version"], { encoding: "utf8", timeout: 20_000, env: environment });
  } catch {
    return "unknown";
  }
  version = version.trim().replace(/^v/, "");
  try {
    mkdirSync(dirname(file), { recursive: true });
    const temporary = `${file}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify([fingerprint, version]));
    renameSync(temporary, file);
  } catch {
    // A cache that cannot be written only makes the next look slower.
  }
  return version;
}
