// The environment in which every Pulumi call of hotpair runs: which Node, which plugins, whose credentials, which
// backend. What the user has set stays as it is.

import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type BuiltPlaces,
  credentialsDirectory,
  installedCommandPlugin,
  localStateDirectory,
  nodeDirectory,
  projectRoot,
  pulumiHome,
} from "./places.ts";

/** The variables to merge into process.env; `built` gives the private home of a CLI that hotpair built. */
export function pulumiEnvironment(pulumi: string, built?: BuiltPlaces): Record<string, string> {
  const environment: Record<string, string> = {
    // Node first, so that the official language host runs the program with the project's Node and not the machine's;
    // not node_modules/.bin, where `pulumi` is the wrapper that downloads.
    PATH: [nodeDirectory, dirname(pulumi), process.env.PATH ?? ""].filter(Boolean).join(delimiter),
    PULUMI_SKIP_UPDATE_CHECK: "true",
  };
  if (built) {
    // What cannot be reached must not be asked: a missing plugin is then a clear error at once.
    environment.PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION = "true";
  }
  // The stand-in never takes the place of an official plugin that the user has installed.
  if (built && !installedCommandPlugin()) {
    environment.PULUMI_HOME = built.home;
    environment.PULUMI_CREDENTIALS_PATH = credentialsDirectory();
    showInstalledPlugins(built);
  }
  if (!hasBackend()) {
    const directory = localStateDirectory();
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    environment.PULUMI_BACKEND_URL = pathToFileURL(directory).href;
  }
  return environment;
}

/** Whether the user, or the project, has chosen a backend: a login, a variable, or a line in Pulumi.yaml. */
export function hasBackend(): boolean {
  if (process.env.PULUMI_BACKEND_URL || process.env.PULUMI_ACCESS_TOKEN) return true;
  try {
    const credentials: unknown = JSON.parse(readFileSync(join(credentialsDirectory(), "credentials.json"), "utf8"));
    if (typeof credentials === "object" && credentials !== null && "current" in credentials && credentials.current) {
      return true;
    }
  } catch {
    // No file, or one that Pulumi would refuse as well: not logged in.
  }
  // A block `backend:` with a `url:`; the program's own YAML reader is not needed for one line of our own file.
  return /^backend:\s*\n(?:[ \t]+.*\n)*?[ \t]+url:[ \t]*\S/m.test(
    readFileSync(join(projectRoot, "Pulumi.yaml"), "utf8"),
  );
}

/**
 * Links the plugins that the user has installed into the private home, so that the built CLI finds them as well. A
 * plugin directory must be a real one (the CLI skips links to directories), so its files are linked one by one.
 */
function showInstalledPlugins(built: BuiltPlaces): void {
  const theirs = join(pulumiHome(), "plugins");
  const ours = join(built.home, "plugins");
  for (const entry of list(theirs)) {
    if (!entry.isDirectory()) continue;
    const target = join(ours, entry.name);
    if (list(target).length > 0) continue;
    mkdirSync(target, { recursive: true });
    for (const file of list(join(theirs, entry.name))) {
      try {
        symlinkSync(join(theirs, entry.name, file.name), join(target, file.name));
      } catch (error) {
        // Another hotpair command was quicker with the same link.
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
  }
}

function list(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}
