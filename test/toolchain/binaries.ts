// The binaries under test: those of the built toolchain in the cache, or, where Pulumi is an official one, only the
// stand-ins, built for the test.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "../../infra/machine/cache.ts";
import { buildStandIns } from "../../infra/toolchain/build.ts";
import { builtPlaces, builtPlacesIn, isBuilt, isExecutable } from "../../infra/toolchain/places.ts";

export async function commandPluginBinary(): Promise<string> {
  const built = builtPlaces();
  if (isBuilt(built)) return built.plugin;
  const own = builtPlacesIn(join(cacheDirectory(), "test", built.root.slice(-16)));
  if (!isExecutable(own.plugin)) {
    mkdirSync(own.root, { recursive: true });
    await buildStandIns(own);
  }
  return own.plugin;
}
