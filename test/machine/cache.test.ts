// Where hotpair's cache is on this machine.

import { expect, test } from "vitest";
import { cacheDirectory } from "../../infra/machine/cache.ts";

test("the cache is where the environment says", () => {
  expect(cacheDirectory({ HOTPAIR_CACHE: "/srv/cache" })).toBe("/srv/cache");
  expect(cacheDirectory({ XDG_CACHE_HOME: "/home/me/.c" })).toBe("/home/me/.c/hotpair");
  expect(cacheDirectory({})).toMatch(/\/\.cache\/hotpair$/);
});
