// Promises of the policy `aws-no-wildcards`.

import { expect, test } from "vitest";
import { noWildcards } from "../../../infra/policy/aws/no-wildcards.ts";
import { judged } from "./judge.ts";

const ask = (statement: unknown, type = "aws:iam/rolePolicy:RolePolicy") =>
  judged(noWildcards, type, { policy: JSON.stringify({ Version: "2012-10-17", Statement: statement }) });

test("named actions on named resources pass", async () => {
  expect(
    await ask([{ Effect: "Allow", Action: ["ec2:AssociateAddress"], Resource: "arn:aws:ec2:::address/1" }]),
  ).toEqual([]);
  expect(await ask({ Effect: "Deny", Action: "*", Resource: "*" })).toEqual([]);
  // AWS knows no resources for it.
  expect(await ask([{ Effect: "Allow", Action: ["ec2:DescribeInstances"], Resource: "*" }])).toEqual([]);
});

test.each([
  [{ Effect: "Allow", Action: "*", Resource: "arn:aws:ec2:::address/1" }, "allows *"],
  [{ Effect: "Allow", Action: ["ec2:Describe*"], Resource: "arn:aws:ec2:::address/1" }, "allows ec2:Describe*"],
  [{ Effect: "Allow", Action: "ec2:AssociateAddress", Resource: ["*"] }, "allows *"],
  [{ Effect: "Allow", Action: ["ec2:DescribeInstances", "ec2:StopInstances"], Resource: "*" }, "allows *"],
  [{ Effect: "Allow", Action: [], Resource: "*" }, "allows *"],
  [{ Effect: "Allow", NotAction: "iam:*", Resource: "arn:x" }, "allows what it does not name"],
])("%j does not", async (statement, said) => {
  expect(await ask([statement])).toEqual([`This resource ${said}: name actions and resources one by one.`]);
});

test("somebody else's policy is not taken over", async () => {
  expect(await judged(noWildcards, "aws:iam/rolePolicyAttachment:RolePolicyAttachment", {})).toHaveLength(1);
  expect(
    await judged(noWildcards, "aws:iam/role:Role", { managedPolicyArns: ["arn:aws:iam::aws:policy/A"] }),
  ).toHaveLength(1);
});
