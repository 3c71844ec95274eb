// The target `aws`: the fixed addresses of the nodes' interfaces, and the one that moves between them. Who may move it is in
// aws-access.ts, what moves it in infra/services/aws.ts.

import { NODE_IDS, type NodeId } from "../model/pair.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";
import { type CloudPair, networksOf, nodeOf, plain, publicRoutes, subnetOf } from "./aws-network.ts";

export const interfaces = (pair: CloudPair): readonly Declared[] =>
  NODE_IDS.flatMap((id) =>
    networksOf(pair).map((name): Declared => {
      const own = nodeOf(pair, id).networks[name]?.address.split("/")[0] ?? "";
      return {
        name: `interface-${name}-${id}`,
        type: "aws:ec2/networkInterface:NetworkInterface",
        inputs: {
          subnetId: outputOf(`subnet-${subnetOf(pair, name, id).name}`),
          ...addressesOf([own, ...(name === "public" ? serviceAddress(pair, id) : [])]),
          securityGroups: [outputOf(`group-${name}`)],
          // A routed address is nobody's address in the VPC's eyes: the check would drop what is sent to it.
          sourceDestCheck: !(name === "public" && pair.aws.vip.method === "route"),
          description: `${nodeOf(pair, id).name}, ${name} network`,
        },
        deleteBeforeReplace: true,
        // An Elastic IP in use is not released (Amazon EC2 API reference, ReleaseAddress), and the stack does not know
        // which node has it: deleted before it, the interfaces let go of it.
        ...(name === "public" && pair.aws.vip.method === "elastic-ip" ? { after: ["address"] } : {}),
        // The nodes move the VIP from one to the other.
        ...(name === "public" && pair.aws.vip.method === "secondary-ip"
          ? { ignoreChanges: ["privateIps", "privateIpsCount"] }
          : {}),
      };
    }),
  );

/** The first one is the primary, which DHCP hands out; of several, Pulumi's `privateIps` would let a hash decide. */
const addressesOf = (addresses: readonly string[]): Readonly<Record<string, Value>> =>
  addresses.length === 1 ? { privateIps: addresses } : { privateIpListEnabled: true, privateIpLists: addresses };

/** With which the Elastic IP that moves is associated while this node is active. */
export const serviceAddress = ({ aws }: CloudPair, id: NodeId): readonly string[] =>
  aws.vip.addresses === undefined ? [] : [aws.vip.addresses[id]];

export const elasticIp = ({ aws }: CloudPair): readonly Declared[] =>
  aws.vip.method !== "elastic-ip"
    ? []
    : [
        {
          name: "address",
          type: "aws:ec2/eip:Eip",
          inputs: { domain: "vpc" },
          ignoreChanges: ["instance", "networkInterface", "associateWithPrivateIp"],
          // An internet gateway must be there first (Amazon VPC user guide, Elastic IP addresses).
          ...(aws.vpc.existing === undefined ? { after: ["gateway"] } : {}),
        },
      ];

/** What the nodes then move; where it starts does not matter. */
export function address(pair: CloudPair): readonly Declared[] {
  const { vip } = pair.aws;
  switch (vip.method) {
    case "secondary-ip":
    case "elastic-ip":
      return [];
    case "route":
      return pair.vips.map(
        ({ name, address: prefix }): Declared => ({
          name: `address-${name}`,
          type: "aws:ec2/route:Route",
          inputs: {
            routeTableId: publicRoutes(pair),
            destinationCidrBlock: prefix,
            networkInterfaceId: outputOf("interface-public-a"),
          },
          ignoreChanges: ["networkInterfaceId"],
        }),
      );
    case "dns": {
      if (vip.record === undefined) throw new Error("the rules let method dns pass without a record");
      const { hostedZone, name, ttl } = vip.record;
      const [first] = pair.nodes;
      return [
        {
          name: "address",
          type: "aws:route53/record:Record",
          inputs: {
            zoneId: hostedZone,
            name,
            type: "A",
            ttl: ttl / 1_000,
            records: [pair.aws.ssh.elasticIps === undefined ? plain(first.networks.public.address) : first.ssh.host],
          },
          ignoreChanges: ["records"],
        },
      ];
    }
  }
}
