// The target `aws`: the two nodes, and what every server has. What they read at their first boot is in aws-user-data.ts.

import { type HostId, NODE_IDS, type NodeId } from "../model/pair.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";
import { role } from "./aws-access.ts";
import { serviceAddress } from "./aws-addresses.ts";
import { type CloudPair, cidrOf, nodeOf, oneZone, plain, publicRoutes, SIDES, subnetOf } from "./aws-network.ts";
import { type PublicInterface, type SideInterface, userData } from "./aws-user-data.ts";

export function servers(pair: CloudPair): readonly Declared[] {
  const { aws } = pair;
  return [
    {
      name: "operators-key",
      type: "aws:ec2/keyPair:KeyPair",
      inputs: { publicKey: aws.ssh.publicKey },
    },
    // In one zone at least not on one rack; two zones are apart anyway.
    ...(oneZone(pair)
      ? [{ name: "apart", type: "aws:ec2/placementGroup:PlacementGroup", inputs: { strategy: "spread" } }]
      : []),
    ...NODE_IDS.flatMap((id) => server(pair, id)),
  ];
}

export const GIB = 1024 ** 3;

/** Debian's own account (wiki.debian.org, Cloud/AmazonEC2Image); anybody can publish an image under any name. */
const DEBIAN = "136693071363";

function server(pair: CloudPair, id: NodeId): readonly Declared[] {
  const { aws } = pair;
  const node = nodeOf(pair, id);
  const sides = SIDES.filter((name) => node.networks[name] !== undefined);
  return [
    ...role(pair, id),
    {
      name: `instance-${id}`,
      type: "aws:ec2/instance:Instance",
      inputs: {
        ...everyServer(pair, { type: aws.volume.type, gib: aws.volume.size / GIB, iops: aws.volume.iops }),
        ami: aws.instance.image ?? newestDebian(aws.instance.type),
        instanceType: aws.instance.type,
        primaryNetworkInterface: { networkInterfaceId: outputOf(`interface-public-${id}`) },
        iamInstanceProfile: outputOf(`profile-${id}`, "name"),
        tags: { ...madeFor(pair), "hotpair:node": id },
        userData: userData(
          pair,
          node,
          aws.hostKeys[id],
          sides.map((name) => sideInterface(pair, name, id)),
          publicInterface(pair, id),
        ),
        ...(oneZone(pair) ? { placementGroup: outputOf("apart", "name") } : {}),
        ...(aws.instance.spot ? { instanceMarketOptions: { marketType: "spot" } } : {}),
      },
      ...kept(pair),
    },
    ...sides.map(
      (name, index): Declared => ({
        name: `attachment-${name}-${id}`,
        type: "aws:ec2/networkInterfaceAttachment:NetworkInterfaceAttachment",
        inputs: {
          instanceId: outputOf(`instance-${id}`),
          networkInterfaceId: outputOf(`interface-${name}-${id}`),
          deviceIndex: index + 1,
        },
        deleteBeforeReplace: true,
      }),
    ),
    ...(aws.ssh.elasticIps === undefined
      ? []
      : [
          operatorsAddress(pair, id, {
            allocationId: aws.ssh.elasticIps[id],
            networkInterfaceId: outputOf(`interface-public-${id}`),
            privateIpAddress: plain(node.networks.public.address),
          }),
        ]),
    // A spot server has none.
    ...(aws.instance.spot ? [] : [recovery(pair, id, node.name)]),
  ];
}

interface Disk {
  readonly type: string;
  readonly gib: number;
  /** undefined: the type's own. */
  readonly iops: number | undefined;
}

/** What every server has. */
export const everyServer = ({ aws }: CloudPair, { type, gib, iops }: Disk): Readonly<Record<string, Value>> => ({
  keyName: outputOf("operators-key", "keyName"),
  // Credentials of the role only for who can ask with a token, and not from beyond this machine.
  metadataOptions: {
    httpEndpoint: "enabled",
    httpTokens: "required",
    httpPutResponseHopLimit: 1,
    // Where a node finds what was made for it.
    instanceMetadataTags: "enabled",
  },
  rootBlockDevice: {
    encrypted: true,
    deleteOnTermination: true,
    volumeType: type,
    volumeSize: gib,
    ...(iops === undefined ? {} : { iops }),
  },
  disableApiTermination: aws.instance.terminationProtection,
  // A server that shuts itself down is off, and not gone.
  instanceInitiatedShutdownBehavior: "stop",
  monitoring: true,
});

/**
 * A server that runs is neither exchanged nor stopped, and so never both at once, for what is meant for one that is made: a
 * newer image, another word at the first boot, another key, another market. For another type AWS's plugin would stop it.
 */
export const kept = ({ aws }: CloudPair): Omit<Declared, "name" | "type" | "inputs"> => ({
  secretInputs: ["userData"],
  ignoreChanges: ["ami", "userData", "keyName", "instanceType", "instanceMarketOptions"],
  deleteBeforeReplace: true,
  protect: aws.instance.terminationProtection,
});

/** The operators' Elastic IP at a host's public interface. */
export const operatorsAddress = (
  { aws }: CloudPair,
  id: HostId,
  inputs: { readonly allocationId: string; readonly networkInterfaceId: Value; readonly privateIpAddress: string },
): Declared => ({
  name: `operators-${id}`,
  type: "aws:ec2/eipAssociation:EipAssociation",
  inputs,
  // A public address needs the way out, too (Amazon VPC user guide, internet gateways), and goes before it.
  after: [`instance-${id}`, ...(aws.vpc.existing === undefined ? ["gateway"] : [])],
});

/** Another machine for a server whose hardware has failed. */
export const recovery = ({ name: pair, aws }: CloudPair, id: HostId, host: string): Declared => ({
  name: `recovery-${id}`,
  type: "aws:cloudwatch/metricAlarm:MetricAlarm",
  inputs: {
    alarmDescription: `${host} of the pair ${pair}: its hardware has failed`,
    namespace: "AWS/EC2",
    metricName: "StatusCheckFailed_System",
    dimensions: { InstanceId: outputOf(`instance-${id}`) },
    statistic: "Maximum",
    // Two failed minutes, as the user guide's own example has it (Amazon EC2 user guide, recovery alarm).
    period: 60,
    evaluationPeriods: 2,
    threshold: 1,
    comparisonOperator: "GreaterThanOrEqualToThreshold",
    alarmActions: [`arn:aws:automate:${aws.region}:ec2:recover`],
  },
});

/** Ids that only AWS knows and that the nodes need to move the address, as tags that they read in their metadata. */
const madeFor = (pair: CloudPair): Readonly<Record<string, Value>> =>
  pair.aws.vip.method === "elastic-ip"
    ? { "hotpair:address": outputOf("address") }
    : pair.aws.vip.method === "route"
      ? { "hotpair:routes": publicRoutes(pair) }
      : {};

/** Graviton families have a g behind their generation (Amazon EC2 user guide, instance type naming). */
const isArm = (type: string): boolean => /^(a1|[a-z]+\d+[a-z]*g[a-z]*)[.-]/.test(type);

export const newestDebian = (type: string): Value => ({
  lookup: "aws:ec2/getAmi:getAmi",
  args: {
    owners: [DEBIAN],
    mostRecent: true,
    filters: [{ name: "name", values: [`debian-13-${isArm(type) ? "arm64" : "amd64"}-*`] }],
  },
  output: "id",
});

function sideInterface(pair: CloudPair, name: (typeof SIDES)[number], id: NodeId): SideInterface {
  const network = pair.networks[name];
  const attachment = nodeOf(pair, id).networks[name];
  if (network === undefined || attachment === undefined) throw new Error(`node ${id} is not on the ${name} network`);
  return {
    network: name,
    resource: `interface-${name}-${id}`,
    address: cidrOf(attachment.address).address,
    subnet: subnetOf(pair, name, id).subnet,
    whole: cidrOf(network.prefix),
  };
}

const publicInterface = (pair: CloudPair, id: NodeId): PublicInterface => ({
  resource: `interface-public-${id}`,
  second: serviceAddress(pair, id)
    .map((address) => `${address}/${subnetOf(pair, "public", id).subnet.bits}`)
    .at(0),
});
