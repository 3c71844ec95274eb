// Promises of the policy `aws-stops-peer-alone`.

import { expect, test } from "vitest";
import { stopsPeerAlone } from "../../../infra/policy/aws/stops-peer-alone.ts";
import { judged } from "./judge.ts";

const ask = (statement: unknown, type = "aws:iam/rolePolicy:RolePolicy") =>
  judged(stopsPeerAlone, type, { policy: JSON.stringify({ Version: "2012-10-17", Statement: [statement] }) });

const PEER = "arn:aws:ec2:eu-central-1:123456789012:instance/i-0a1b2c3d4e5f60718";
const TAGGED = { StringEquals: { "aws:ResourceTag/hotpair:pair": "shop", "aws:ResourceTag/hotpair:node": "b" } };
const right = { Effect: "Allow", Action: ["ec2:StopInstances"], Resource: [PEER], Condition: TAGGED };

test("one server, by name and tag, may be stopped; who stops nobody needs neither", async () => {
  expect(await ask(right)).toEqual([]);
  expect(await ask({ ...right, Resource: PEER })).toEqual([]);
  expect(await ask({ Effect: "Allow", Action: ["ec2:AssociateAddress"], Resource: ["arn:x", "arn:y"] })).toEqual([]);
  expect(await ask({ Effect: "Deny", Action: ["ec2:TerminateInstances"], Resource: "*" })).toEqual([]);
  // A group's rules are no rights.
  expect(await ask({ ...right, Resource: "*" }, "aws:ec2/securityGroup:SecurityGroup")).toEqual([]);
});

test.each([
  ["two servers", { ...right, Resource: [PEER, PEER.replace("0718", "0719")] }, /may stop more than one server/],
  ["every server", { ...right, Resource: "*" }, /may stop more than one server/],
  ["a server without the pair's tag", { ...right, Condition: { StringEquals: {} } }, /whatever tags it has/],
  ["any server, under no condition", { ...right, Condition: undefined }, /whatever tags it has/],
  ["something that is no server", { ...right, Resource: ["arn:aws:ec2:::volume/vol-1"] }, /may stop more than one/],
  ["more than a stop", { ...right, Action: ["ec2:StopInstances", "ec2:TerminateInstances"] }, /ec2:TerminateInstances/],
  ["a start", { ...right, Action: "ec2:StartInstances" }, /ec2:StartInstances/],
])("%s is not", async (_, statement, said) => {
  expect(await ask(statement)).toEqual([expect.stringMatching(said)]);
});
