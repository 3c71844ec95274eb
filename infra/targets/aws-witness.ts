// The target `aws`: the witness of a pair that keeps data, where it is made with the nodes.

import type { Listener } from "../model/plan.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";
import { described } from "./aws-firewall.ts";
import { type CloudPair, publicRoutes, vpcId } from "./aws-network.ts";
import { everyServer, GIB, kept, newestDebian, operatorsAddress, recovery } from "./aws-servers.ts";
import { userData } from "./aws-user-data.ts";

/** What Debian's image has (wiki.debian.org, Cloud/AmazonEC2Image). */
const SYSTEM_GIB = 8;

/** A third server in a zone, a subnet and a group of its own. It calls nothing in AWS, so it has no role. */
export function witness(pair: CloudPair, listeners: readonly Listener[]): readonly Declared[] {
  const { aws, authority, witness: host } = pair;
  const { witness: made } = aws;
  if (made === undefined || host === undefined || authority === undefined) return [];
  const groupId = outputOf("group-witness");
  const opening = (name: string, port: number, inputs: Readonly<Record<string, Value>>): Declared => ({
    name,
    type: "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    inputs: { securityGroupId: groupId, ipProtocol: "tcp", fromPort: port, toPort: port, ...inputs },
  });
  // A member's database, and a copy of it while it is made smaller.
  const gib = SYSTEM_GIB + 2 * Math.ceil(authority.etcd.quota / GIB);
  return [
    {
      name: "subnet-witness",
      type: "aws:ec2/subnet:Subnet",
      inputs: {
        vpcId: vpcId(pair),
        cidrBlock: made.prefix,
        availabilityZone: made.zone,
        mapPublicIpOnLaunch: false,
      },
    },
    {
      name: "routes-witness",
      type: "aws:ec2/routeTableAssociation:RouteTableAssociation",
      inputs: { subnetId: outputOf("subnet-witness"), routeTableId: publicRoutes(pair) },
    },
    {
      name: "group-witness",
      type: "aws:ec2/securityGroup:SecurityGroup",
      inputs: { vpcId: vpcId(pair), description: described(`${pair.name}: the witness`) },
    },
    // What the nodes' members tell each other they tell this one.
    ...listeners.flatMap(({ from, port, what }) =>
      from !== "members" || port === undefined
        ? []
        : [
            opening(`in-witness-tcp-${port}`, port, {
              referencedSecurityGroupId: outputOf("group-public"),
              description: described(`${what}, for the nodes`),
            }),
          ],
    ),
    ...aws.ssh.from.map((prefix) =>
      opening(`ssh-witness-${host.ssh.port}-${prefix.replace("/", "-")}`, host.ssh.port, {
        cidrIpv4: prefix,
        description: "SSH, for operators",
      }),
    ),
    {
      name: "out-witness",
      type: "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
      inputs: { securityGroupId: groupId, ipProtocol: "-1", cidrIpv4: "0.0.0.0/0" },
    },
    {
      name: "interface-witness",
      type: "aws:ec2/networkInterface:NetworkInterface",
      inputs: {
        subnetId: outputOf("subnet-witness"),
        privateIps: [host.address],
        securityGroups: [groupId],
        sourceDestCheck: true,
        description: `${host.name}, witness of ${pair.name}`,
      },
      deleteBeforeReplace: true,
    },
    {
      name: "instance-witness",
      type: "aws:ec2/instance:Instance",
      inputs: {
        ...everyServer(pair, { type: "gp3", gib, iops: undefined }),
        ami: made.image ?? newestDebian(made.type),
        instanceType: made.type,
        primaryNetworkInterface: { networkInterfaceId: outputOf("interface-witness") },
        tags: { "hotpair:node": "witness" },
        userData: userData(pair, host, made.hostKey, [], { resource: "interface-witness", second: undefined }),
      },
      ...kept(pair),
    },
    ...(made.elasticIp === undefined
      ? []
      : [
          operatorsAddress(pair, "witness", {
            allocationId: made.elasticIp,
            networkInterfaceId: outputOf("interface-witness"),
            privateIpAddress: host.address,
          }),
        ]),
    recovery(pair, "witness", host.name),
  ];
}
