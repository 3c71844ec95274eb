// The target `aws`: everything that is made in AWS for a pair, as data, one file per subject beside this one. Registering it is
// `infra/components/aws.ts`; what must never be made is in `infra/model/aws-rules.ts`.

import type { HostId } from "../model/pair.ts";
import type { Listener } from "../model/plan.ts";
import type { Declared } from "../model/resource.ts";
import { permission } from "./aws-access.ts";
import { address, elasticIp, interfaces } from "./aws-addresses.ts";
import { backup, bucket } from "./aws-backups.ts";
import { budget } from "./aws-budget.ts";
import { firewall } from "./aws-firewall.ts";
import { type CloudPair, network, SIDES } from "./aws-network.ts";
import { servers } from "./aws-servers.ts";
import { witness } from "./aws-witness.ts";

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
