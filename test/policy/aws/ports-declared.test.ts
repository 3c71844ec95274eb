// Promises of the policy `aws-ports-declared`.

import { expect, test } from "vitest";
import { portsDeclared } from "../../../infra/policy/aws/ports-declared.ts";
import { judgedInStack } from "./judge.ts";

const INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";
const ask = (props: Readonly<Record<string, unknown>>) => judgedInStack(portsDeclared, INGRESS, props);
const tcp = (fromPort: number, cidrIpv4: string, toPort = fromPort) => ({
  ipProtocol: "tcp",
  fromPort,
  toPort,
  cidrIpv4,
});

test("a service's port for clients may be open to the world", async () => {
  expect(await ask(tcp(80, "0.0.0.0/0"))).toEqual([]);
});

test.each([
  ["SSH", tcp(22, "0.0.0.0/0"), "it opens tcp 22 to the world, and no service declares that for clients."],
  [
    "a port that is for the peer",
    tcp(8080, "0.0.0.0/0"),
    "it opens tcp 8080 to the world, and no service declares that for clients.",
  ],
  [
    "half of the world",
    tcp(22, "128.0.0.0/1"),
    "it opens tcp 22 to the world, and no service declares that for clients.",
  ],
  [
    "a range around a service's port",
    tcp(80, "0.0.0.0/0", 90),
    "it opens tcp 80-90 to the world, and no service declares that for clients.",
  ],
  [
    "everything",
    { ipProtocol: "-1", cidrIpv4: "0.0.0.0/0" },
    "it opens everything to the world, and no service declares that for clients.",
  ],
  [
    "everything by IPv6",
    { ipProtocol: "-1", cidrIpv6: "::/0" },
    "it opens everything to the world, and no service declares that for clients.",
  ],
])("%s may not", async (_, props, said) => {
  expect(await ask(props)).toEqual([said]);
});

test("what is open to somebody is somebody's business", async () => {
  expect(await ask(tcp(22, "203.0.113.0/24"))).toEqual([]);
  expect(await ask({ ipProtocol: "-1", referencedSecurityGroupId: "sg-1" })).toEqual([]);
});
