// Promises of the policy `aws-rules-apart`.

import { expect, test } from "vitest";
import { rulesApart } from "../../../infra/policy/aws/rules-apart.ts";
import { judged } from "./judge.ts";

test("a group without rules of its own passes", async () => {
  expect(await judged(rulesApart, "aws:ec2/securityGroup:SecurityGroup", { description: "a group" })).toEqual([]);
  expect(await judged(rulesApart, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", { ingress: [] })).toEqual([]);
});

test("rules in a form that is not compared are refused", async () => {
  const own = await judged(rulesApart, "aws:ec2/securityGroup:SecurityGroup", { ingress: [{ fromPort: 80 }] });
  expect(own.join()).toContain("has rules of its own");
  expect(await judged(rulesApart, "aws:ec2/securityGroupRule:SecurityGroupRule", {})).toHaveLength(1);
});
