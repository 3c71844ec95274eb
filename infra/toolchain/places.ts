// Where the parts of a Pulumi toolchain are, or would be: pure look-ups in the file system and the environment, no
// process and no network. Deciding between them is find.ts.

import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { cacheDirectory, xdg } from "../machine/cache.ts";

/** The version that @pulumi/pulumi, the npm wrapper `pulumi` and the Go module are pinned to. */
export const pulumiVersion = "3.259.0";

/** The version of the `command` plugin that the pinned @pulumi/command asks for; the engine wants exactly this one. */
export const commandVersion = "1.2.1";

export const projectRoot = resolve(import.meta.dirname, "..", "..");
export const goModule = join(import.meta.dirname, "go");

/** The directory with the project's own Node, and nothing else, in it. */
export const nodeDirectory = join(projectRoot, "node_modules", "node", "bin");

/** Where the stacks' state goes when the user has no Pulumi backend of their own. */
export function localStateDirectory(): string {
  return join(xdg("XDG_STATE_HOME", join(".local", "state")), "hotpair", "pulumi");
}

/**
 * The user's own Pulumi directory: plugins, downloaded versions, and credentials unless those are moved elsewhere. Like
 * the CLI this goes by the account's home and not by $HOME, which may be another one under sudo.
 */
export function pulumiHome(): string {
  const home = process.env.PULUMI_HOME;
  return home ? resolve(home) : join(userInfo().homedir, ".pulumi");
}

export function credentialsDirectory(): string {
  const named = process.env.PULUMI_CREDENTIALS_PATH;
  return named ? resolve(named) : pulumiHome();
}

/**
 * Every real Pulumi CLI on PATH: one that has a Node language host beside it. That leaves out the npm wrapper in
 * node_modules/.bin, which would download a CLI when it is called.
 */
export function pulumisOnPath(): string[] {
  const found: string[] = [];
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    if (!directory) continue;
    const candidate = join(directory, "pulumi");
    if (!isExecutable(candidate)) continue;
    const real = realpathSync(candidate);
    const hasHost = [directory, dirname(real)].some((beside) => isExecutable(join(beside, "pulumi-language-nodejs")));
    if (hasHost && !found.includes(real)) found.push(real);
  }
  return found;
}

/** Where the npm wrapper puts the official download, given the same PULUMI_HOME. */
export function officialPulumi(): string {
  return join(pulumiHome(), "versions", pulumiVersion, "bin", "pulumi");
}

/** The official `command` plugin as the CLI would find it: installed, or on PATH. */
export function commandPlugin(): string | undefined {
  return installedCommandPlugin() ?? onPath("pulumi-resource-command");
}

/** The AWS plugin of this version, where the CLI would find it: installed, or on PATH. */
export function awsPlugin(version: string): string | undefined {
  const file = join(pulumiHome(), "plugins", `resource-aws-v${version}`, "pulumi-resource-aws");
  return isExecutable(file) ? file : onPath("pulumi-resource-aws");
}

/** The one in the user's own plugin directory. */
export function installedCommandPlugin(): string | undefined {
  const file = join(pulumiHome(), "plugins", `resource-command-v${commandVersion}`, "pulumi-resource-command");
  return isExecutable(file) ? file : undefined;
}

export function onPath(name: string): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .filter(Boolean)
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

export interface BuiltPlaces {
  /** Holds everything below; appears whole, by a rename, or not at all. */
  root: string;
  pulumi: string;
  languageHost: string;
  /** A PULUMI_HOME of hotpair's own, in which the command plugin is installed. */
  home: string;
  plugin: string;
}

/** Where the build of the Go module in its present state belongs: another source, another directory. */
export function builtPlaces(): BuiltPlaces {
  return builtPlacesIn(join(buildsDirectory(), sourceDigest()));
}

export function buildsDirectory(): string {
  return join(cacheDirectory(), "toolchain");
}

export function builtPlacesIn(root: string): BuiltPlaces {
  const home = join(root, "home");
  return {
    root,
    pulumi: join(root, "bin", "pulumi"),
    languageHost: join(root, "bin", "pulumi-language-nodejs"),
    home,
    plugin: join(home, "plugins", `resource-command-v${commandVersion}`, "pulumi-resource-command"),
  };
}

export function isBuilt(places: BuiltPlaces): boolean {
  return [places.pulumi, places.languageHost, places.plugin].every(isExecutable);
}

/** Names a build by what goes into it: go.mod, go.sum and every Go file, with their paths. */
function sourceDigest(): string {
  const digest = createHash("sha256");
  const files = readdirSync(goModule, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.go$|^go\.(mod|sum)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const file of files) {
    digest.update(file.slice(goModule.length)).update("\0").update(readFileSync(file)).update("\0");
  }
  return `${pulumiVersion}-${digest.digest("hex").slice(0, 16)}`;
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The Go command: on PATH, or where its own installer and Debian put it. */
export function goCommand(): string | undefined {
  const usual = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"];
  return onPath("go") ?? usual.find((file) => existsSync(file) && isExecutable(file));
}
