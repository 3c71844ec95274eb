// What AWS adds to the estimate, to keepalived's file and to the nodes; what is unwise there is in test/model/violations.ts.

import { expect, test } from "vitest";
import { seconds } from "../../infra/model/duration.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { aws } from "../../infra/services/aws.ts";
import { estimate } from "../../infra/services/estimate.ts";
import { keepalived } from "../../infra/services/keepalived.ts";
import { collectListeners } from "../../infra/services/listeners.ts";
import { cloudPair, labPair, statefulPair } from "../model/pairs.ts";

test("every failover waits for AWS as long as the stack says, and for resolvers where a name moves", () => {
  const of = (pair: typeof cloudPair, failure: string) => estimate(pair).find((each) => each.failure === failure)?.rto;
  const { vip } = cloudPair.aws;
  const record = { hostedZone: "Z0123456789", name: "shop.example.net", ttl: seconds(5) };
  const byName = { ...cloudPair, aws: { ...cloudPair.aws, vip: { ...vip, method: "dns" as const, record } } };
  for (const failure of ["node-power-cut", "planned-switch", "keepalived-hang"]) {
    const onPremises = Number(estimate(labPair).find((each) => each.failure === failure)?.rto.upper);
    expect(of(cloudPair, failure)?.upper).toBeCloseTo(onPremises + 10_000);
    expect(of(byName, failure)?.upper).toBeCloseTo(onPremises + 15_000);
    expect(of(byName, failure)?.formula).toContain("TTL 5s");
  }
  // What moves no address costs what it costs everywhere.
  expect(of(cloudPair, "haproxy-kill")?.upper).toBe(
    estimate(labPair).find(({ failure }) => failure === "haproxy-kill")?.rto.upper,
  );
});

test("the node's program knows what to move and from where, and nothing secret", () => {
  const plan = aws.plan(cloudPair, "b");
  const settings = plan?.files.find(({ path }) => path === "/etc/hotpair/address.json");
  expect(JSON.parse(String(settings?.content))).toEqual({
    version: 1,
    pair: "cloud",
    node: "node-b",
    method: "elastic-ip",
    region: "eu-central-1",
    interface: "ens5",
    vips: ["198.18.0.100"],
    own: "10.20.0.140",
    hostedZone: "",
    record: "",
    ttl: 0,
    within: 10,
  });
  expect(plan?.units).toEqual([{ name: "hotpair-address.service", running: false, holdsRole: false }]);
  expect(aws.plan(labPair, "b")).toBeUndefined();
});

test("where data is kept, the address is moved by the holder of the lease alone", () => {
  const unit = (pair: Pair) =>
    String(aws.plan(pair, "a")?.files.find(({ path }) => path.endsWith(".service"))?.content);
  expect(unit(cloudPair)).toContain("PartOf=hotpair-active.target");
  expect(unit(cloudPair)).not.toContain("hotpair-lease");
  expect(unit({ ...statefulPair, target: "aws", aws: cloudPair.aws })).toContain("BindsTo=hotpair-lease.service");
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
