// The target `aws`: a pair's networks in a VPC, and in which subnet of which zone a node is.

import { type Cidr, formatCidr, halvesOf, parseCidr } from "../model/ipv4.ts";
import type { Aws, NetworkName, NodeId, Pair } from "../model/pair.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";

export type CloudPair = Pair & { readonly aws: Aws };

export const nodeOf = (pair: Pair, id: NodeId) => pair.nodes[id === "a" ? 0 : 1];

const NETWORKS = ["public", "heartbeat", "storage"] as const;
/** Attached beside the public interface, in the order of their device numbers. */
export const SIDES = ["heartbeat", "storage"] as const;
export const networksOf = (pair: Pair): readonly NetworkName[] =>
  NETWORKS.filter((name) => pair.networks[name] !== undefined);

export const oneZone = ({ aws }: CloudPair): boolean => aws.zones.a === aws.zones.b;

/** An address with prefix as the configuration has checked it. */
export function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`the configuration let ${text} pass as an address with prefix`);
  return cidr;
}

/** The address alone, of one with its prefix length. */
export const plain = (withPrefix: string): string => withPrefix.split("/")[0] ?? withPrefix;

/** Zones with the half of every network that is theirs; one zone has the whole. */
function subnetsOf(
  pair: CloudPair,
  name: NetworkName,
): readonly { readonly name: string; readonly zone: string; readonly subnet: Cidr }[] {
  const network = pair.networks[name];
  if (network === undefined) return [];
  const whole = cidrOf(network.prefix);
  const { zones } = pair.aws;
  if (oneZone(pair)) return [{ name: `${name}-a`, zone: zones.a, subnet: whole }];
  const [lower, upper] = halvesOf(whole);
  return [
    { name: `${name}-a`, zone: zones.a, subnet: lower },
    { name: `${name}-b`, zone: zones.b, subnet: upper },
  ];
}

/** The subnet that a node's interface on a network is in. */
export function subnetOf(
  pair: CloudPair,
  name: NetworkName,
  id: NodeId,
): { readonly name: string; readonly subnet: Cidr } {
  const subnets = subnetsOf(pair, name);
  const found = subnets[id === "b" && subnets.length > 1 ? 1 : 0];
  if (found === undefined) throw new Error(`the pair ${pair.name} has no network ${name}`);
  return found;
}

export const vpcId = ({ aws }: CloudPair): Value => aws.vpc.existing?.id ?? outputOf("vpc");
export const publicRoutes = ({ aws }: CloudPair): Value => aws.vpc.existing?.routeTable ?? outputOf("routes-public");

export function network(pair: CloudPair): readonly Declared[] {
  const { existing, prefix } = pair.aws.vpc;
  const own: readonly Declared[] =
    existing !== undefined
      ? []
      : [
          {
            name: "vpc",
            type: "aws:ec2/vpc:Vpc",
            inputs: { cidrBlock: prefix, enableDnsSupport: true, enableDnsHostnames: true },
          },
          // What somebody starts here without a group of its own is let in by nobody.
          {
            name: "default-group",
            type: "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
            inputs: { vpcId: outputOf("vpc"), ingress: [], egress: [] },
          },
          {
            name: "gateway",
            type: "aws:ec2/internetGateway:InternetGateway",
            inputs: { vpcId: outputOf("vpc") },
          },
          {
            name: "routes-public",
            type: "aws:ec2/routeTable:RouteTable",
            inputs: { vpcId: outputOf("vpc") },
          },
          {
            name: "route-out",
            type: "aws:ec2/route:Route",
            inputs: {
              routeTableId: outputOf("routes-public"),
              destinationCidrBlock: "0.0.0.0/0",
              gatewayId: outputOf("gateway"),
            },
          },
        ];
  return [
    ...own,
    // Heartbeat and storage lead nowhere else.
    { name: "routes-inside", type: "aws:ec2/routeTable:RouteTable", inputs: { vpcId: vpcId(pair) } },
    ...networksOf(pair).flatMap((name) =>
      subnetsOf(pair, name).flatMap((subnet): readonly Declared[] => [
        {
          name: `subnet-${subnet.name}`,
          type: "aws:ec2/subnet:Subnet",
          inputs: {
            vpcId: vpcId(pair),
            cidrBlock: formatCidr(subnet.subnet),
            availabilityZone: subnet.zone,
            mapPublicIpOnLaunch: false,
          },
        },
        {
          name: `routes-${subnet.name}`,
          type: "aws:ec2/routeTableAssociation:RouteTableAssociation",
          inputs: {
            subnetId: outputOf(`subnet-${subnet.name}`),
            routeTableId: name === "public" ? publicRoutes(pair) : outputOf("routes-inside"),
          },
        },
      ]),
    ),
  ];
}
