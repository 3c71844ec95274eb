// Builds the Pulumi CLI and hotpair's two stand-ins from the Go module in go/. The result appears in the cache whole or
// not at all; two builds at once become one; a killed one leaves only a temporary directory that the next removes.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { withLock } from "../machine/lock.ts";
import { UserError } from "../model/errors.ts";
import { type BuiltPlaces, builtPlacesIn, goCommand, goModule, isBuilt, pulumiVersion } from "./places.ts";

/** The version that go.mod asks for; Go 1.21 and later fetch it by themselves where GOTOOLCHAIN allows (go.dev/doc/toolchain). */
const goWanted = [1, 25] as const;
const goFetchesToolchains = [1, 21] as const;

/** Builds of other versions of the sources that are kept, for other checkouts: 145 MB each. */
const otherBuildsKept = 2;

/** The Go package of the CLI, which is not ours. */
const cliPackage = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi";

/** Throws UserError when Go is missing or too old, or when the build fails, with Go's own last lines. */
export async function buildToolchain(
  places: BuiltPlaces,
  step: (line: string) => void,
  cli: string = cliPackage,
): Promise<void> {
  const go = usableGo();
  const onWait = () => step("another hotpair command is building the toolchain; waiting for it");
  // One build at a time for one target.
  await withLock(`the toolchain in ${places.root}`, { onWait }, async () => {
    if (isBuilt(places)) return;
    const builds = dirname(places.root);
    mkdirSync(builds, { recursive: true });
    removeLeftovers(builds);

    const temporary = builtPlacesIn(join(builds, `.building-${process.pid}`));
    step("building the Node host and the command plugin (downloads Go modules on first use)");
    await buildStandIns(temporary);
    step(`building the Pulumi CLI ${pulumiVersion} from its Go module (about 4 minutes on 2 cores, once)`);
    mkdirSync(dirname(temporary.pulumi), { recursive: true });
    await goBuild(go, temporary.pulumi, cli);
    rmSync(places.root, { recursive: true, force: true });
    renameSync(temporary.root, places.root);
    removeOldBuilds(builds, basename(places.root));
  });
}

/** Builds only what is hotpair's own: seconds, where the CLI takes minutes. */
export async function buildStandIns(places: BuiltPlaces): Promise<void> {
  const go = usableGo();
  for (const file of [places.languageHost, places.plugin]) mkdirSync(dirname(file), { recursive: true });
  await goBuild(go, places.languageHost, "./cmd/pulumi-language-nodejs");
  await goBuild(go, places.plugin, "./cmd/pulumi-resource-command");
}

/** What is wrong with the machine's Go for this build, or undefined. */
export function goProblem(go: string | undefined): string | undefined {
  const install =
    "install Go 1.25 or later (https://go.dev/dl/), or 1.21 or later, which fetches a newer one by itself";
  if (go === undefined) return `Go is not installed; ${install}`;
  const version = goVersion(go);
  if (version === undefined) return `${go} does not print its version; ${install}`;
  if (!olderThan(version, goWanted)) return undefined;
  if (olderThan(version, goFetchesToolchains)) return `Go ${version} at ${go} is too old; ${install}`;
  const setting = process.env.GOTOOLCHAIN;
  if (setting === "local" || setting === "path") {
    return `Go ${version} at ${go} may not fetch a newer one (GOTOOLCHAIN=${setting}); ${install}`;
  }
  return undefined;
}

/** Like "1.26.8"; of the Go that is installed, not of one that it would fetch. */
export function goVersion(go: string): string | undefined {
  const environment = { ...process.env, GOTOOLCHAIN: "local" };
  const printed = spawnSync(go, ["version"], { encoding: "utf8", cwd: "/", env: environment }).stdout ?? "";
  return /go(\d+\.\d+(?:\.\d+)?)/.exec(printed)?.[1];
}

function olderThan(version: string, wanted: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < wanted[0] || (major === wanted[0] && minor < wanted[1]);
}

function usableGo(): string {
  const go = goCommand();
  const problem = goProblem(go);
  if (go === undefined || problem !== undefined) {
    throw new UserError("Pulumi's download site cannot be reached, and its CLI cannot be built here either", [
      problem ?? "",
      "or put a Pulumi CLI with its plugins on PATH: https://www.pulumi.com/docs/install/",
    ]);
  }
  return go;
}

// CGO_ENABLED=0 needs no C compiler; -trimpath and fixed flags give the same binary for everybody. GOPROXY, GOFLAGS,
// HTTPS_PROXY and the like are the user's and pass through.
async function goBuild(go: string, output: string, pkg: string): Promise<void> {
  const version = `-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${pulumiVersion}`;
  const args = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", `-s -w ${version}`];
  const env: NodeJS.ProcessEnv = { ...process.env, CGO_ENABLED: "0", GOWORK: "off", GO111MODULE: "on" };
  // Distributions switch the fetching of newer toolchains off; a user who did so has set the variable.
  env.GOTOOLCHAIN ??= "auto";
  const child = spawn(go, [...args, "-o", output, pkg], { cwd: goModule, env, stdio: ["ignore", "ignore", "pipe"] });
  let printed = "";
  child.stderr.on("data", (data: Buffer) => {
    printed = (printed + data.toString()).slice(-8_000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code === 0) return;
  const lines = printed
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("go: downloading"));
  throw new UserError(`building ${pkg} with ${go} failed (exit status ${code})`, [
    ...lines.slice(-12),
    "modules come from GOPROXY (`go env GOPROXY`); behind a proxy set HTTPS_PROXY, with a mirror set GOPROXY",
  ]);
}

function removeLeftovers(builds: string): void {
  for (const name of readdirSync(builds)) {
    const owner = /^\.building-(\d+)$/.exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) rmSync(join(builds, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return pid !== process.pid;
  } catch {
    return false;
  }
}

function removeOldBuilds(builds: string, current: string): void {
  const others = readdirSync(builds, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== current && !entry.name.startsWith("."))
    .map((entry) => ({ path: join(builds, entry.name), time: statSync(join(builds, entry.name)).mtimeMs }))
    .sort((a, b) => b.time - a.time);
  for (const { path } of others.slice(otherBuildsKept)) rmSync(path, { recursive: true, force: true });
}
