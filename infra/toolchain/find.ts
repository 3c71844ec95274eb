// Gives every hotpair command a working Pulumi. In this order: a compatible CLI on PATH; the official download through
// the npm wrapper; where the vendor's site cannot be reached, a CLI built from its Go module with hotpair's own Node
// host and `command` plugin. What is there is found without starting a process or asking the network; what is missing
// is fetched or built, which takes minutes, once.

import { UserError } from "../model/errors.ts";
import { pulumiEnvironment } from "./environment.ts";
import { compatibleOnPath, type PathCandidate } from "./path.ts";
import {
  type BuiltPlaces,
  builtPlaces,
  commandPlugin,
  commandVersion,
  isBuilt,
  isExecutable,
  officialPulumi,
  pulumiVersion,
} from "./places.ts";

export interface Toolchain {
  kind: "path" | "official" | "built";
  /** Absolute path of the CLI. */
  pulumi: string;
  /** Without a leading v. */
  version: string;
  /** To merge into process.env for every call of the CLI. */
  env: Record<string, string>;
  /** One line for the user, when the stand-ins are used. */
  notice?: string;
}

export interface FindOptions {
  /** Told of every step that takes time, as a line to show. */
  onStep?: (step: string) => void;
  /** False: only look, and fail when nothing is there. Default true. */
  build?: boolean;
}

/** Throws UserError when there is no toolchain and none can be had, naming what to install. */
export async function findToolchain(options: FindOptions = {}): Promise<Toolchain> {
  const step = options.onStep ?? (() => {});
  const present = presentToolchain();
  if (present) return present;
  if (options.build === false) {
    throw new UserError(`no Pulumi CLI ${pulumiVersion} with its command plugin is here; run: hotpair setup`);
  }

  // Loaded only here: with everything in place a command must not pay for them.
  const { installOfficial, installPlugin, vendorReachable } = await import("./official.ts");
  if (await vendorReachable(step)) {
    const onPath = firstCompatible();
    if (onPath && (await installPlugin(onPath.pulumi, step))) return pathToolchain(onPath);
    if (await installOfficial(step)) return officialToolchain();
  }
  const { buildToolchain } = await import("./build.ts");
  const places = builtPlaces();
  await buildToolchain(places, step);
  return builtToolchain(places);
}

/** What can be used as it is, or nothing. */
export function presentToolchain(): Toolchain | undefined {
  // Without its plugin a CLI is of use only where it can download that; presence is the simple and certain answer.
  const onPath = firstCompatible();
  if (onPath && commandPlugin()) return pathToolchain(onPath);
  if (isExecutable(officialPulumi()) && commandPlugin()) return officialToolchain();
  const places = builtPlaces();
  return isBuilt(places) ? builtToolchain(places) : undefined;
}

function firstCompatible(): PathCandidate | undefined {
  return compatibleOnPath().find((candidate) => candidate.problem === undefined);
}

function pathToolchain({ pulumi, version }: PathCandidate): Toolchain {
  return { kind: "path", pulumi, version, env: pulumiEnvironment(pulumi) };
}

function officialToolchain(): Toolchain {
  const pulumi = officialPulumi();
  return { kind: "official", pulumi, version: pulumiVersion, env: pulumiEnvironment(pulumi) };
}

function builtToolchain(places: BuiltPlaces): Toolchain {
  return {
    kind: "built",
    pulumi: places.pulumi,
    version: pulumiVersion,
    env: pulumiEnvironment(places.pulumi, places),
    notice:
      `Pulumi ${pulumiVersion} was built from its Go module, and hotpair's stand-ins serve as Node host and command ` +
      `plugin ${commandVersion}: the vendor's download site could not be reached.`,
  };
}
