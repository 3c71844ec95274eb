// When a node may become another server just like that, and when somebody must say what became of the old one.

import { expect, it } from "vitest";
import { movedServer } from "../../infra/components/moved.ts";
import type { Connection } from "../../infra/targets/onprem.ts";

const OLD = "198.18.0.11";
const NEW = "198.18.0.99";

const inputs = (host: string) => ({
  connection: { host, port: 22, user: "root", hostKey: "k", dialErrorLimit: 2, perDialTimeout: 5 } satisfies Connection,
  delete: "hotpair-apply remove --resource 0123456789abcdef",
});

/** What each address answers: an owner token, nobody's, or silence. */
const answers =
  (byHost: Readonly<Record<string, string | undefined | Error>>) =>
  async ({ host }: Connection): Promise<string | undefined> => {
    const answer = byHost[host];
    if (answer instanceof Error) throw answer;
    return answer;
  };

const silent = new Error("no answer");
const own = "0123456789abcdef";

it("asks nobody while the address stays", async () => {
  const ask = () => Promise.reject(new Error("asked"));
  expect(await movedServer(inputs(OLD), inputs(OLD), ask)).toBeUndefined();
});

it.each([
  ["the old server is alive and configured", own, undefined, /alive and configured/],
  ["the old server is silent", silent, undefined, /may be alive and hold the VIP/],
  ["both are silent", silent, silent, /may be alive and hold the VIP/],
])("refuses when %s", async (_, old, present, why) => {
  expect(await movedServer(inputs(OLD), inputs(NEW), answers({ [OLD]: old, [NEW]: present }))).toMatch(why);
});

it.each([
  ["the new address is the same machine", silent, own],
  ["the old server was given back", undefined, undefined],
  ["the old server belongs to another resource by now", "fedcba9876543210", undefined],
])("lets pass when %s", async (_, old, present) => {
  expect(await movedServer(inputs(OLD), inputs(NEW), answers({ [OLD]: old, [NEW]: present }))).toBeUndefined();
});
