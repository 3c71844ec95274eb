// What AWS adds to the estimate and to keepalived's file; what is unwise there is in test/model/violations.ts.

import { expect, test } from "vitest";
import { estimate } from "../../infra/services/estimate.ts";
import { keepalived } from "../../infra/services/keepalived.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { cloudPair, labPair } from "../model/pairs.ts";

test("where nothing moves the address, no failover has a bound, and the estimate says why", () => {
  const all = estimate(cloudPair);
  const of = (failure: string) => all.find((each) => each.failure === failure);
  expect(of("node-power-cut")).toMatchObject({
    rto: { upper: "unbounded", verdict: "beyond" },
    beyond: expect.stringContaining("nothing moves the address in AWS yet"),
  });
  expect(of("node-power-cut")?.rto.formula).toContain("≤ 10s");
  // What moves no address costs what it costs everywhere.
  const onPremises = estimate(labPair).find(({ failure }) => failure === "haproxy-kill");
  expect(of("haproxy-kill")?.rto.upper).toBe(onPremises?.rto.upper);
});

test("keepalived announces nothing where nobody listens", () => {
  const text = (pair: typeof labPair) =>
    String(keepalived.plan(pair, "a")?.files.find(({ path }) => path.endsWith("keepalived.conf"))?.content);
  expect(text(labPair)).toContain("vrrp_garp_master_repeat 5");
  expect(text(cloudPair)).not.toContain("garp");
  expect(text(cloudPair)).toContain("unicast_peer");
});

test("services without a balancer in front are for clients, behind one for the peer", () => {
  const from = (pair: typeof labPair) => collectListeners(pair).find(({ what }) => what === "nginx")?.from;
  expect(from(labPair)).toBe("peer");
  expect(from({ ...labPair, haproxy: undefined })).toBe("clients");
});
