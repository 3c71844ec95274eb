// Where clients of a pair in AWS are sent, from what both nodes say.

import { describe, expect, test } from "vitest";
import { reachedBy, whereMoved } from "../../infra/drill/address.ts";
import { destinationOf } from "../../infra/drill/clients.ts";
import type { Answer } from "../../infra/drill/health.ts";
import type { AddressStatus } from "../../infra/model/status.ts";
import { cloudPair, labPair } from "../model/pairs.ts";
import { BY_METHOD } from "../targets/cloud-pairs.ts";

const FAULT = 100_000;
const [A] = cloudPair.nodes;
/** Acknowledged at that time by the node's clock. */
const here = (at: number, ...vips: readonly string[]): AddressStatus => ({
  state: "here",
  at,
  vips,
  attempts: 2,
  elapsedMs: 340,
  error: null,
  reached: null,
});
const says = (address: AddressStatus | null): Answer => ({
  version: 1,
  ...{ node: "", at: 0, uptimeMs: 0, vips: [], daemons: [], arbiter: null, peer: null },
  ...{ maintenance: false, lastChanges: [], backends: [], manifest: null },
  address,
});
const SILENT: Answer = { error: "does not answer" };
const moved = (a: Answer, b: Answer, pair = cloudPair) =>
  whereMoved(pair, [a, b], FAULT, (node) => (node === "b" ? 50 : 0))?.moves;
const NOBODY = { vip: "web", node: null, atMs: null, tookMs: 0, attempts: 0 };

describe("where clients are sent", () => {
  test("is where AWS has acknowledged it last, by the drill's own clock", () => {
    expect(moved(says(here(90_000, "198.18.0.100")), says(here(101_050, "198.18.0.100")))).toEqual([
      { vip: "web", node: "b", atMs: 1_000, tookMs: 340, attempts: 2 },
    ]);
  });
  test("is nobody's while it is only being moved, was left, or cannot be asked", () => {
    for (const state of ["moving", "left", "never moved"] as const)
      expect(moved(says({ ...here(90_000, "198.18.0.100"), state }), SILENT)).toEqual([NOBODY]);
    expect(moved(says(null), SILENT)).toEqual([NOBODY]);
  });
  test("is each VIP's own", () => {
    const [web] = cloudPair.vips;
    if (web === undefined) throw new Error("the pair has no VIP");
    const two = { ...cloudPair, vips: [web, { ...web, name: "mail", address: "198.18.0.101/32" }] };
    const both = moved(says(here(90_000, "198.18.0.100")), says(here(90_050, "198.18.0.101")), two);
    expect(both?.map(({ vip, node }) => `${vip} ${node}`)).toEqual(["web a", "mail b"]);
  });
  test("is not asked of a pair that is not in AWS", () => {
    expect(whereMoved(labPair, [SILENT, SILENT], FAULT, () => 0)).toBeUndefined();
  });
});

describe("a drill asks for what clients ask for", () => {
  const by = (pair: typeof cloudPair, answer: Answer = SILENT) => reachedBy(pair, A, [answer, SILENT]);

  test("the VIP, where the network leads to it", () => {
    for (const method of ["route", "secondary-ip"] as const) expect(by(BY_METHOD[method])).toBeUndefined();
    expect(reachedBy(labPair, A, [])).toBeUndefined();
  });
  test("the record, or the Elastic IP that leads to the active node", () => {
    expect(by(BY_METHOD.dns)).toBe("shop.example.net");
    expect(by(cloudPair, says({ ...here(90_000), reached: "203.0.113.7" }))).toBe("203.0.113.7");
    expect(() => by(cloudPair, says(here(90_000)))).toThrow("no Elastic IP leads to node-a, the active node");
  });
  test("in the place of the VIP, with everything else the same", () => {
    const [vip] = cloudPair.vips;
    if (vip === undefined) throw new Error("the pair has no VIP");
    const plain = destinationOf(cloudPair, vip, undefined);
    expect(plain.address).toBe("198.18.0.100");
    expect(destinationOf(cloudPair, vip, "shop.example.net")).toEqual({ ...plain, address: "shop.example.net" });
  });
});
