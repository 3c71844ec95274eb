// The digest changes with what decides timing and safety, and with nothing else.

import { expect, test } from "vitest";
import { loadStack } from "../../infra/cli/stack.ts";
import { canonical, configDigest } from "../../infra/evidence/digest.ts";
import { ms } from "../../infra/model/duration.ts";
import type { Pair } from "../../infra/model/pair.ts";

const { pair } = loadStack("lab");
const [a, b] = pair.nodes;
const vip = pair.vips[0];
if (vip === undefined) throw new Error("the lab has no VIP");

test("has the form that evidence and policies compare", () => {
  expect(configDigest(pair)).toMatch(/^sha256:[0-9a-f]{64}$/);
});

const same: Record<string, Pair> = {
  "another name": { ...pair, name: "shop" },
  "other logins": { ...pair, nodes: [{ ...a, name: "x", ssh: { ...a.ssh, user: "ops" } }, b] },
  "another target": { ...pair, objectives: { tier: "critical", rto: {}, rpo: {} } },
  "a rotated key": { ...pair, secrets: { ...pair.secrets, previousBeaconKey: { secret: "previousBeaconKey" } } },
  "an e-mail address": { ...pair, vrrp: { ...pair.vrrp, notify: "/usr/local/bin/call" } },
};
test.each(Object.entries(same))("%s leaves it as it is", (_, changed) => {
  expect(configDigest(changed)).toBe(configDigest(pair));
});

const other: Record<string, Pair> = {
  "the advertisement interval": { ...pair, vrrp: { ...pair.vrrp, advertInterval: ms(200) } },
  "the hold after boot": { ...pair, arbiter: { ...pair.arbiter, hold: ms(10_000) } },
  "a preferred node": { ...pair, vips: [{ ...vip, preferred: "a" }] },
  "an address": {
    ...pair,
    nodes: [
      { ...a, networks: { ...a.networks, heartbeat: { ...a.networks.heartbeat, address: "198.18.1.99/24" } } },
      b,
    ],
  },
  "a HAProxy check": {
    ...pair,
    haproxy: pair.haproxy && {
      ...pair.haproxy,
      backends: pair.haproxy.backends.map((backend) => ({ ...backend, check: { ...backend.check, fall: 5 } })),
    },
  },
};
test.each(Object.entries(other))("%s changes it", (_, changed) => {
  expect(configDigest(changed)).not.toBe(configDigest(pair));
});

test("the text does not depend on the order of keys nor on what is undefined", () => {
  expect(canonical({ b: [1, { d: undefined, c: "x" }], a: null })).toBe('{"a":null,"b":[1,{"c":"x"}]}');
});
