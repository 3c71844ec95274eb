// The target `aws`: everything that is made in AWS for a pair, as data. It reads from the outside in: network, firewall,
// interfaces, address, servers, witness, right to move the address, bucket. Registering it is `infra/components/aws.ts`; what must never be
// made is in `infra/model/aws-rules.ts`.

import { type Cidr, formatCidr, halvesOf } from "../model/ipv4.ts";
import { type Aws, type HostId, type NetworkName, NODE_IDS, type NodeId, type Pair, peerOf } from "../model/pair.ts";
import type { Listener } from "../model/plan.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";
import { cidrOf, type PublicInterface, type SideInterface, userData } from "./aws-user-data.ts";

type CloudPair = Pair & { readonly aws: Aws };

/** In an order in which everything that a resource needs stands before it. */
export function declareAws(pair: CloudPair, listeners: readonly Listener[]): readonly Declared[] {
  const resources = [
    ...network(pair),
    ...firewall(pair, listeners),
    ...elasticIp(pair),
    ...interfaces(pair),
    ...address(pair),
    ...servers(pair),
    ...witness(pair, listeners),
    ...permission(pair),
    ...bucket(pair),
    ...backup(pair),
    ...budget(pair),
  ];
  return resources.map((resource) => (TAGGED.has(resource.type) ? tagged(pair, resource) : resource));
}

/** Names of the resources that a host is reached by: when they are there, it can be asked over SSH. None: it is not made. */
export function serverOf({ aws, networks }: CloudPair, id: HostId): readonly string[] {
  const reached = aws.ssh.elasticIps === undefined ? [] : [`operators-${id}`];
  if (id === "witness") return aws.witness === undefined ? [] : [`instance-${id}`, ...reached];
  return [
    `instance-${id}`,
    ...SIDES.filter((name) => networks[name] !== undefined).map((name) => `attachment-${name}-${id}`),
    ...reached,
    // Asked for by the node's own preflight.
    `right-${id}`,
  ];
}

const nodeOf = (pair: Pair, id: NodeId) => pair.nodes[id === "a" ? 0 : 1];

const NETWORKS = ["public", "heartbeat", "storage"] as const;
/** Attached beside the public interface, in the order of their device numbers. */
const SIDES = ["heartbeat", "storage"] as const;
const networksOf = (pair: Pair): readonly NetworkName[] => NETWORKS.filter((name) => pair.networks[name] !== undefined);

const oneZone = ({ aws }: CloudPair): boolean => aws.zones.a === aws.zones.b;

// --- tags -------------------------------------------------------------------------------------------------------------

/** Types that take tags. The others are parts of one that does: routes, associations, settings of a bucket, policies of a role. */
const TAGGED = new Set([
  "aws:ec2/vpc:Vpc",
  "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
  "aws:ec2/internetGateway:InternetGateway",
  "aws:ec2/subnet:Subnet",
  "aws:ec2/routeTable:RouteTable",
  "aws:ec2/securityGroup:SecurityGroup",
  "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
  "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
  "aws:ec2/networkInterface:NetworkInterface",
  "aws:ec2/eip:Eip",
  "aws:ec2/placementGroup:PlacementGroup",
  "aws:ec2/keyPair:KeyPair",
  "aws:iam/role:Role",
  "aws:iam/instanceProfile:InstanceProfile",
  "aws:ec2/instance:Instance",
  "aws:cloudwatch/metricAlarm:MetricAlarm",
  "aws:s3/bucket:Bucket",
  "aws:backup/vault:Vault",
  "aws:backup/plan:Plan",
  "aws:budgets/budget:Budget",
]);

function tagged(pair: CloudPair, { inputs, ...resource }: Declared): Declared {
  const tags = tagsOf(pair, resource.name);
  const volumes = resource.type === "aws:ec2/instance:Instance" ? { volumeTags: tags } : {};
  return { ...resource, inputs: { ...inputs, tags: { ...(inputs.tags as object | undefined), ...tags }, ...volumes } };
}

/** The owner's own tags never hide whose a resource is. */
const tagsOf = ({ name, aws }: CloudPair, resource: string): Readonly<Record<string, string>> => ({
  ...aws.tags,
  Name: `${name}-${resource}`,
  "hotpair:pair": name,
});

// --- network ----------------------------------------------------------------------------------------------------------

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
function subnetOf(pair: CloudPair, name: NetworkName, id: NodeId): { readonly name: string; readonly subnet: Cidr } {
  const subnets = subnetsOf(pair, name);
  const found = subnets[id === "b" && subnets.length > 1 ? 1 : 0];
  if (found === undefined) throw new Error(`the pair ${pair.name} has no network ${name}`);
  return found;
}

const vpcId = ({ aws }: CloudPair): Value => aws.vpc.existing?.id ?? outputOf("vpc");
const publicRoutes = ({ aws }: CloudPair): Value => aws.vpc.existing?.routeTable ?? outputOf("routes-public");

function network(pair: CloudPair): readonly Declared[] {
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

// --- firewall ---------------------------------------------------------------------------------------------------------

/** What AWS takes as the description of a group or a rule, and refuses otherwise (Amazon EC2 API reference, IpRange): no apostrophe, e.g. */
const described = (text: string): string => text.replaceAll(/[^a-zA-Z0-9. _\-:/()#,@[\]+=&;{}!$*]/g, "").slice(0, 255);

/** IP protocol numbers and names as security groups take them; VRRP is 112 (RFC 9568 §5.1.1.4). */
const PROTOCOL = { tcp: "tcp", udp: "udp", icmp: "icmp", vrrp: "112" } as const;

interface Opening {
  readonly name: string;
  readonly network: NetworkName;
  readonly inputs: Readonly<Record<string, Value>>;
}

/** One group per network, shared by both nodes' interfaces there, so that "the peer" is the group itself. */
function firewall(pair: CloudPair, listeners: readonly Listener[]): readonly Declared[] {
  const groups = networksOf(pair).map(
    (name): Declared => ({
      name: `group-${name}`,
      type: "aws:ec2/securityGroup:SecurityGroup",
      inputs: { vpcId: vpcId(pair), description: described(`${pair.name}: interfaces on the ${name} network`) },
    }),
  );
  const openings = [...listeners.flatMap((listener) => openingsFor(pair, listener)), ...sshOpenings(pair)];
  const unique = new Map(openings.map((opening) => [opening.name, opening]));
  return [
    ...groups,
    ...[...unique.values()].map(
      ({ name, network, inputs }): Declared => ({
        name,
        type: "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        inputs: { securityGroupId: outputOf(`group-${network}`), ...inputs },
      }),
    ),
    ...networksOf(pair).map(
      (name): Declared => ({
        name: `out-${name}`,
        type: "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        inputs: {
          securityGroupId: outputOf(`group-${name}`),
          ipProtocol: "-1",
          // Packages, time, mail and the witness are beyond the public network; nothing is beyond the others.
          ...(name === "public" ? { cidrIpv4: "0.0.0.0/0" } : { referencedSecurityGroupId: outputOf(`group-${name}`) }),
        },
      }),
    ),
  ];
}

function openingsFor(pair: CloudPair, listener: Listener): readonly Opening[] {
  const { network, from, protocol, port, what } = listener;
  const ports =
    protocol === "vrrp"
      ? {}
      : protocol === "icmp"
        ? { fromPort: -1, toPort: -1 }
        : { fromPort: port ?? 0, toPort: port ?? 0 };
  const opening = (source: string, inputs: Readonly<Record<string, Value>>): Opening => ({
    name: `in-${network}-${protocol}${port === undefined ? "" : `-${port}`}-${source}`,
    network,
    inputs: { ipProtocol: PROTOCOL[protocol], ...ports, ...inputs, description: described(`${what}, for ${source}`) },
  });
  const peer = opening("peer", { referencedSecurityGroupId: outputOf(`group-${network}`) });
  switch (from) {
    case "clients":
      return pair.aws.clients.map((prefix) => opening(prefix.replace("/", "-"), { cidrIpv4: prefix }));
    case "members":
      return pair.witness === undefined
        ? [peer]
        : [peer, opening("witness", { cidrIpv4: `${pair.witness.address}/32` })];
    case "peer":
      return [peer];
  }
}

const sshOpenings = ({ aws, nodes }: CloudPair): readonly Opening[] =>
  [...new Set(nodes.map(({ ssh }) => ssh.port))].flatMap((port) =>
    aws.ssh.from.map((prefix) => ({
      name: `ssh-${port}-${prefix.replace("/", "-")}`,
      network: "public" as const,
      inputs: { ipProtocol: "tcp", fromPort: port, toPort: port, cidrIpv4: prefix, description: "SSH, for operators" },
    })),
  );

// --- interfaces -------------------------------------------------------------------------------------------------------

const interfaces = (pair: CloudPair): readonly Declared[] =>
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
const serviceAddress = ({ aws }: CloudPair, id: NodeId): readonly string[] =>
  aws.vip.addresses === undefined ? [] : [aws.vip.addresses[id]];

// --- the address that moves -------------------------------------------------------------------------------------------

const elasticIp = ({ aws }: CloudPair): readonly Declared[] =>
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
function address(pair: CloudPair): readonly Declared[] {
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

const plain = (withPrefix: string): string => withPrefix.split("/")[0] ?? withPrefix;

// --- servers ----------------------------------------------------------------------------------------------------------

function servers(pair: CloudPair): readonly Declared[] {
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

/** Debian's own account (wiki.debian.org, Cloud/AmazonEC2Image); anybody can publish an image under any name. */
const DEBIAN = "136693071363";

function server(pair: CloudPair, id: NodeId): readonly Declared[] {
  const { aws } = pair;
  const node = nodeOf(pair, id);
  const sides = SIDES.filter((name) => node.networks[name] !== undefined);
  const role = roleOf(id);
  return [
    {
      name: `role-${id}`,
      type: "aws:iam/role:Role",
      inputs: {
        description: `${node.name} of the pair ${pair.name}`,
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
      inputs: { role: outputOf(role, "name") },
    },
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
      ...KEPT,
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
const everyServer = ({ aws }: CloudPair, { type, gib, iops }: Disk): Readonly<Record<string, Value>> => ({
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

/** A newer image, or another word at the first boot, is no reason to exchange a server that runs. */
const KEPT = { secretInputs: ["userData"], ignoreChanges: ["ami", "userData"], deleteBeforeReplace: true } as const;

/** The operators' Elastic IP at a host's public interface. */
const operatorsAddress = (
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
const recovery = ({ name: pair, aws }: CloudPair, id: HostId, host: string): Declared => ({
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

const roleOf = (id: NodeId): string => `role-${id}`;

/** Graviton families have a g behind their generation (Amazon EC2 user guide, instance type naming). */
const isArm = (type: string): boolean => /^(a1|[a-z]+\d+[a-z]*g[a-z]*)[.-]/.test(type);

const newestDebian = (type: string): Value => ({
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

// --- the witness ------------------------------------------------------------------------------------------------------

const GIB = 1024 ** 3;
/** What Debian's image has (wiki.debian.org, Cloud/AmazonEC2Image). */
const SYSTEM_GIB = 8;

/** A third server in a zone, a subnet and a group of its own. It calls nothing in AWS, so it has no role. */
function witness(pair: CloudPair, listeners: readonly Listener[]): readonly Declared[] {
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
      ...KEPT,
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

// --- the right to move the address ------------------------------------------------------------------------------------

/** Each node's role may make the one call that brings the address to itself, may stop its peer where it fences, and no more. */
const permission = (pair: CloudPair): readonly Declared[] =>
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

// --- bucket -----------------------------------------------------------------------------------------------------------

function bucket({ aws }: CloudPair): readonly Declared[] {
  const settings = aws.bucket;
  if (settings === undefined) return [];
  const of = { bucket: outputOf("bucket", "bucket") };
  const ages = [
    ["STANDARD_IA", settings.infrequentAccessDays],
    ["GLACIER", settings.glacierDays],
    ["DEEP_ARCHIVE", settings.deepArchiveDays],
  ] as const;
  const transitions = ages.flatMap(([storageClass, days]) => (days === undefined ? [] : [{ storageClass, days }]));
  return [
    {
      name: "bucket",
      type: "aws:s3/bucket:Bucket",
      inputs: { bucket: settings.name, objectLockEnabled: settings.objectLockDays !== undefined },
      deleteBeforeReplace: true,
    },
    {
      name: "bucket-versions",
      type: "aws:s3/bucketVersioning:BucketVersioning",
      inputs: { ...of, versioningConfiguration: { status: "Enabled" } },
    },
    {
      name: "bucket-encryption",
      type: "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
      inputs: { ...of, rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }] },
    },
    {
      name: "bucket-closed",
      type: "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
      inputs: {
        ...of,
        blockPublicAcls: true,
        blockPublicPolicy: true,
        ignorePublicAcls: true,
        restrictPublicBuckets: true,
      },
    },
    ...(settings.objectLockDays === undefined
      ? []
      : [
          {
            name: "bucket-lock",
            type: "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
            inputs: { ...of, rule: { defaultRetention: { mode: "COMPLIANCE", days: settings.objectLockDays } } },
            after: ["bucket-versions"],
          },
        ]),
    ...(transitions.length === 0
      ? []
      : [
          {
            name: "bucket-ages",
            type: "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            inputs: { ...of, rules: [{ id: "by-age", status: "Enabled", filter: { prefix: "" }, transitions }] },
            after: ["bucket-versions"],
          },
        ]),
  ];
}

// --- backups of the servers -------------------------------------------------------------------------------------------

/** Minutes; AWS's own are eight hours and a week (AWS Backup developer guide, backup plan options). */
const BEGINS_WITHIN = 60;
const ENDS_WITHIN = 360;

/** Its role is its owner's: AWS Backup's needs rights on everything of its kind, which nothing here gives. */
function backup({ aws }: CloudPair): readonly Declared[] {
  if (aws.backup === undefined) return [];
  const { role, at, keepDays } = aws.backup;
  const [hour, minute] = at.split(":").map(Number);
  return [
    { name: "backups", type: "aws:backup/vault:Vault", inputs: {} },
    {
      name: "backup-plan",
      type: "aws:backup/plan:Plan",
      inputs: {
        rules: [
          {
            ruleName: "daily",
            targetVaultName: outputOf("backups", "name"),
            schedule: `cron(${minute} ${hour} * * ? *)`,
            startWindow: BEGINS_WITHIN,
            completionWindow: ENDS_WITHIN,
            lifecycle: { deleteAfter: keepDays },
          },
        ],
      },
    },
    {
      name: "backup-servers",
      type: "aws:backup/selection:Selection",
      inputs: {
        planId: outputOf("backup-plan"),
        iamRoleArn: role,
        resources: NODE_IDS.map((id) => outputOf(`instance-${id}`, "arn")),
      },
    },
  ];
}

// --- budget -----------------------------------------------------------------------------------------------------------

/** Of the sum: AWS expects it before it is spent. */
const ALARMS = [
  { notificationType: "FORECASTED", threshold: 100 },
  { notificationType: "ACTUAL", threshold: 100 },
] as const;

/** Of what carries the pair's tag, and so nothing before the owner has activated that tag (AWS Billing user guide, cost allocation tags). */
function budget({ name, aws }: CloudPair): readonly Declared[] {
  if (aws.budget === undefined) return [];
  const { monthly, email } = aws.budget;
  return [
    {
      name: "budget",
      type: "aws:budgets/budget:Budget",
      inputs: {
        budgetType: "COST",
        timeUnit: "MONTHLY",
        limitAmount: String(monthly),
        limitUnit: "USD",
        costFilters: [{ name: "TagKeyValue", values: [`user:hotpair:pair$${name}`] }],
        notifications: ALARMS.map((alarm) => ({
          ...alarm,
          thresholdType: "PERCENTAGE",
          comparisonOperator: "GREATER_THAN",
          subscriberEmailAddresses: email,
        })),
      },
    },
  ];
}
