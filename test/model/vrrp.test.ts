// VRRP's arithmetic against values worked out by hand from RFC 9568 §6.1.

import { expect, test } from "vitest";
import { ms, seconds } from "../../infra/model/duration.ts";
import { masterDownFormula, masterDownInterval, skewTime, vipInterface } from "../../infra/model/vrrp.ts";
import { labPair } from "./pairs.ts";

test.each([
  // The RFC's defaults: priority 100, one second.
  { priority: 100, advert: seconds(1), skew: 609.375, down: 3609.375 },
  // The address owner's priority has the smallest skew that there is.
  { priority: 255, advert: seconds(1), skew: 3.90625, down: 3003.90625 },
  { priority: 1, advert: seconds(1), skew: 996.09375, down: 3996.09375 },
  { priority: 253, advert: ms(100), skew: 1.171875, down: 301.171875 },
  { priority: 253, advert: ms(10), skew: 0.1171875, down: 30.1171875 },
])("priority $priority, advert $advert ms: a backup waits $down ms", ({ priority, advert, skew, down }) => {
  expect(skewTime(advert, priority)).toBe(skew);
  expect(masterDownInterval(advert, priority)).toBe(down);
});

test("the sum is written as a person checks it", () => {
  expect(masterDownFormula(ms(100), 253)).toBe("3 × 100ms + (256 − 253) × 100ms / 256");
});

test("a VIP stands on the public interface, or on the macvlan above it", () => {
  const [node] = labPair.nodes;
  const [vip] = labPair.vips;
  if (vip === undefined) throw new Error("the lab's pair has a VIP");
  expect(vipInterface(node, vip)).toBe("a-pub");
  expect(vipInterface(node, { ...vip, mode: "vmac" })).toBe("vrrp.51");
});
