// Where hotpair keeps on this machine what can be made again: images, labs, toolchain. What lies inside belongs to the
// room that put it there.

import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** hotpair's cache: $HOTPAIR_CACHE, else hotpair/ under $XDG_CACHE_HOME or ~/.cache (XDG Base Directory). */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.HOTPAIR_CACHE) return resolve(environment.HOTPAIR_CACHE);
  return join(xdg("XDG_CACHE_HOME", ".cache", environment), "hotpair");
}

/**
 * A user's directory by its XDG variable, else `fallback` in the home directory. A relative path in such a variable is
 * invalid and must be ignored (XDG Base Directory, "Environment variables").
 */
export function xdg(variable: string, fallback: string, environment: NodeJS.ProcessEnv = process.env): string {
  const value = environment[variable];
  return value?.startsWith("/") ? value : join(homedir(), fallback);
}
