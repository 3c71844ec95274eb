// The target `aws`: what a node may do there by the role that it has, action by action. Credentials are the node's own and
// change by themselves; none stands in a file.

import { NODE_IDS, type NodeId, peerOf } from "../model/pair.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";
import { type CloudPair, nodeOf } from "./aws-network.ts";

const roleOf = (id: NodeId): string => `role-${id}`;

/** A node's role, and the profile by which its instance has it. */
export const role = (pair: CloudPair, id: NodeId): readonly Declared[] => [
  {
    name: roleOf(id),
    type: "aws:iam/role:Role",
    inputs: {
      description: `${nodeOf(pair, id).name} of the pair ${pair.name}`,
      assumeRolePolicy: {
        json: {
          Version: "2012-10-17",
          Statement: [{ Effect: "Allow", Action: "sts:AssumeRole", Principal: { Service: "ec2.amazonaws.com" } }],
        },
      },
    },
  },
  {
    name: `profile-${id}`,
    type: "aws:iam/instanceProfile:InstanceProfile",
    inputs: { role: outputOf(roleOf(id), "name") },
  },
];

/** Each node's role may make the one call that brings the address to itself, may stop its peer where it fences, and no more. */
export const permission = (pair: CloudPair): readonly Declared[] =>
  NODE_IDS.map((id) => ({
    name: `right-${id}`,
    type: "aws:iam/rolePolicy:RolePolicy",
    inputs: {
      role: outputOf(roleOf(id)),
      policy: {
        json: { Version: "2012-10-17", Statement: [{ Effect: "Allow", ...moves(pair, id) }, ...fences(pair, id)] },
      },
    },
  }));

/** Actions and resources by the Service Authorization Reference, Amazon EC2 and Route 53. */
function moves(pair: CloudPair, id: NodeId): Readonly<Record<string, Value>> {
  const own = outputOf(`interface-public-${id}`, "arn");
  const { aws } = pair;
  switch (aws.vip.method) {
    case "secondary-ip":
      return { Action: ["ec2:AssignPrivateIpAddresses"], Resource: [own] };
    case "elastic-ip":
      return {
        Action: ["ec2:AssociateAddress"],
        Resource: [own, outputOf("address", "arn"), outputOf(`instance-${id}`, "arn")],
      };
    case "route":
      return {
        Action: ["ec2:ReplaceRoute"],
        Resource: [
          aws.vpc.existing === undefined
            ? outputOf("routes-public", "arn")
            : {
                join: [
                  `arn:aws:ec2:${aws.region}:`,
                  outputOf(`interface-public-${id}`, "ownerId"),
                  `:route-table/${aws.vpc.existing.routeTable}`,
                ],
              },
        ],
      };
    case "dns":
      return {
        Action: ["route53:ChangeResourceRecordSets"],
        Resource: [`arn:aws:route53:::hostedzone/${aws.vip.record?.hostedZone ?? ""}`],
        // This record alone, and only what it says.
        Condition: {
          "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [aws.vip.record?.name ?? ""],
            "route53:ChangeResourceRecordSetsRecordTypes": ["A"],
            "route53:ChangeResourceRecordSetsActions": ["UPSERT"],
          },
        },
      };
  }
}

/**
 * Where the pair fences by AWS: the other node's instance and no other, as long as it is this pair's; and the look that
 * confirms it, which AWS grants for everything in a region or not at all (Service Authorization Reference, Amazon EC2).
 */
function fences(pair: CloudPair, id: NodeId): readonly Readonly<Record<string, Value>>[] {
  const peer = peerOf(id);
  if (pair.fencing?.agents[peer].agent !== "aws") return [];
  return [
    {
      Effect: "Allow",
      Action: ["ec2:StopInstances"],
      Resource: [outputOf(`instance-${peer}`, "arn")],
      Condition: {
        StringEquals: { "aws:ResourceTag/hotpair:pair": pair.name, "aws:ResourceTag/hotpair:node": peer },
      },
    },
    {
      Effect: "Allow",
      Action: ["ec2:DescribeInstances"],
      Resource: "*",
      Condition: { StringEquals: { "aws:RequestedRegion": pair.aws.region } },
    },
  ];
}
