// How the section `hotpair:aws` must fit the pair: what a VPC cannot do, said before anything is made there. Rules that
// hold on every target are in rules.ts.

import { formatDuration, ms } from "../model/duration.ts";
import {
  broadcastOf,
  type Cidr,
  contains,
  formatCidr,
  formatIpv4,
  halvesOf,
  networkOf,
  overlap,
} from "../model/ipv4.ts";
import type { Draft, DraftAws } from "./draft.ts";
import type { Path, Problem } from "./problem.ts";

export type Rule = (draft: Draft) => Iterable<Problem>;

const at = (...path: readonly PropertyKey[]): Path => ["aws", ...path];
const problem = (path: Path, message: string): Problem => ({ path, message });

/** On premises, and with `secondary-ip`, a VIP is an address of the public network; every other method keeps it out of the VPC. */
export const vipIsInNetwork = (aws: DraftAws | undefined): boolean =>
  aws === undefined || aws.method === undefined || aws.method === "secondary-ip";

function* sectionStandsWithItsTarget({ target, aws }: Draft): Generator<Problem> {
  if (target === "aws" && aws === undefined)
    yield problem(
      at(),
      "is missing: target is aws, and nothing says where and how; describe it, or write target: onprem",
    );
  if (target !== "aws" && aws !== undefined)
    yield problem(
      ["target"],
      `"${target}" stands beside hotpair:aws, which nobody would read; write target: aws, or remove that section`,
    );
}

function* zonesAreInTheRegion({ aws }: Draft): Generator<Problem> {
  if (aws?.region === undefined) return;
  for (const [index, zone] of aws.zones.entries())
    if (zone !== undefined && zone.slice(0, -1) !== aws.region)
      yield problem(at("zones", index), `"${zone}" is not in ${aws.region}; expected e.g. ${aws.region}a`);
  const [one, other] = aws.zones;
  if (one !== undefined && one === other)
    yield problem(at("zones", 1), `"${one}" is the first node's too; write one zone, or another one`);
}

/** Smallest and largest subnet (Amazon VPC user guide, subnet CIDR blocks). */
const SMALLEST_SUBNET = 28;
const LARGEST_SUBNET = 16;

function* networksAreSubnets({ aws, networks }: Draft): Generator<Problem> {
  if (aws === undefined) return;
  const { prefix: vpc } = aws;
  if (vpc !== undefined) {
    if (vpc.bits < LARGEST_SUBNET || vpc.bits > SMALLEST_SUBNET)
      yield problem(
        at("vpc", "prefix"),
        `"${formatCidr(vpc)}" has ${vpc.bits} bits; a VPC has 16 to 28, e.g. 10.20.0.0/16`,
      );
    else if (networkOf(vpc) !== vpc.address)
      yield problem(
        at("vpc", "prefix"),
        `"${formatCidr(vpc)}" is an address inside a network; write ${formatIpv4(networkOf(vpc))}/${vpc.bits}`,
      );
  }
  const longest = SMALLEST_SUBNET - (aws.zones.length > 1 ? 1 : 0);
  for (const { path, prefix } of networks) {
    if (prefix === undefined) continue;
    if (vpc !== undefined && !(contains(vpc, networkOf(prefix)) && contains(vpc, broadcastOf(prefix))))
      yield problem(
        [...path, "prefix"],
        `"${formatCidr(prefix)}" is not in the VPC (${formatCidr(vpc)}); choose a part of it, or a larger VPC`,
      );
    else if (prefix.bits > longest)
      yield problem(
        [...path, "prefix"],
        `"${formatCidr(prefix)}" is too small: a subnet has at least 16 addresses${aws.zones.length > 1 ? ", and each zone has one of its own" : ""}; write a prefix of at most ${longest} bits`,
      );
  }
}

/** The subnet of the node at this position: with two zones, half of the network. */
const subnetOf = (aws: DraftAws, network: Cidr, index: number): Cidr =>
  aws.zones.length > 1 ? (halvesOf(network)[index === 0 ? 0 : 1] as Cidr) : network;

/** Beyond it a half is no subnet; that mistake is reported for itself. */
const LARGEST_PREFIX = SMALLEST_SUBNET - 1;

/** AWS keeps the first four addresses of a subnet and the last (Amazon VPC user guide, subnet CIDR reserved addresses). */
const isReserved = (subnet: Cidr, address: number): boolean =>
  address < networkOf(subnet) + 4 || address === broadcastOf(subnet);

function* addressesAreInTheirSubnets({ aws, networks, nodes }: Draft): Generator<Problem> {
  if (aws === undefined) return;
  for (const [index, { attachments }] of nodes.entries())
    for (const { network: name, path, address } of attachments) {
      const prefix = networks.find((network) => network.name === name)?.prefix;
      if (address === undefined || prefix === undefined || !contains(prefix, address.address)) continue;
      if (prefix.bits > LARGEST_PREFIX) continue;
      const subnet = subnetOf(aws, prefix, index);
      const example = `${formatIpv4(networkOf(subnet) + 11)}/${prefix.bits}`;
      if (!contains(subnet, address.address))
        yield problem(
          [...path, "address"],
          `"${formatCidr(address)}" is not in this node's zone: of networks.${name}, ${aws.zones[index]} has ${formatCidr(subnet)}; expected e.g. ${example}`,
        );
      else if (isReserved(subnet, address.address))
        yield problem(
          [...path, "address"],
          `"${formatCidr(address)}" is kept by AWS, which has the first four addresses of a subnet and the last; expected e.g. ${example}`,
        );
    }
}

function* serviceAddressesAreFree({ aws, networks, nodes }: Draft): Generator<Problem> {
  if (aws?.method === undefined) return;
  if (aws.method !== "elastic-ip") {
    if (aws.hasAddresses)
      yield problem(at("vip", "addresses"), `are for method elastic-ip, and the method is ${aws.method}; remove them`);
    return;
  }
  if (!aws.hasAddresses)
    yield problem(
      at("vip", "addresses"),
      "is missing: the Elastic IP that moves needs a private address on each node, beside the one that operators use",
    );
  const network = networks.find(({ name }) => name === "public")?.prefix;
  const taken = nodes.flatMap(({ attachments }) => attachments.map(({ address }) => address?.address));
  for (const [index, address] of aws.addresses.entries()) {
    if (address === undefined || network === undefined || network.bits > LARGEST_PREFIX) continue;
    const path = at("vip", "addresses", index === 0 ? "a" : "b");
    const subnet = subnetOf(aws, network, index);
    const example = formatIpv4(networkOf(subnet) + 12);
    if (!contains(subnet, address) || isReserved(subnet, address))
      yield problem(
        path,
        `"${formatIpv4(address)}" is no address for this node: of networks.public its zone has ${formatCidr(subnet)}, without the first four addresses and the last; expected e.g. ${example}`,
      );
    else if (taken.includes(address) || aws.addresses.indexOf(address) < index)
      yield problem(path, `"${formatIpv4(address)}" is taken; choose a free address, e.g. ${example}`);
  }
}

function* vipsCanMove({ aws, networks, vips }: Draft): Generator<Problem> {
  if (aws === undefined) return;
  const { method, prefix: vpc } = aws;
  for (const { path, address, mode } of vips) {
    if (mode === "vmac")
      yield problem([...path, "mode"], '"vmac" cannot be: a VPC carries no other MAC than its own; write ip');
    if (address === undefined) continue;
    const text = formatCidr(address);
    const network = networks.find(({ name }) => name === "public")?.prefix;
    if (method === "secondary-ip" && network !== undefined && contains(network, address.address)) {
      if (isReserved(network, address.address))
        yield problem(
          [...path, "address"],
          `"${text}" is kept by AWS, which has the first four addresses of a subnet and the last; expected e.g. ${formatIpv4(networkOf(network) + 100)}/${network.bits}`,
        );
    } else if (!vipIsInNetwork(aws)) {
      if (address.bits !== 32)
        yield problem(
          [...path, "address"],
          `"${text}" is alone with method ${method}; write ${formatIpv4(address.address)}/32`,
        );
      if (vpc !== undefined && contains(vpc, address.address))
        yield problem(
          [...path, "address"],
          `"${text}" is in the VPC (${formatCidr(vpc)}), whose router knows better where it is; with method ${method} choose one outside, e.g. 198.18.0.100/32`,
        );
    }
  }
  const [, second] = vips;
  if (second !== undefined && (method === "elastic-ip" || method === "dns"))
    yield problem(
      second.path,
      `is a second VIP, and with method ${method} a node has one address for all that reaches it; keep one VIP, or write method: route`,
    );
}

function* methodFitsZones({ aws }: Draft): Generator<Problem> {
  if (aws?.method === "secondary-ip" && aws.zones.length > 1)
    yield problem(
      at("vip", "method"),
      '"secondary-ip" cannot leave its subnet, and a subnet is in one zone; write route, elastic-ip or dns, or one zone',
    );
}

/** What arrives by an Elastic IP or a name is addressed to the node, and not to the VIP (Amazon EC2 user guide, Elastic IP addresses). */
function* frontendsHearTheNode({ aws, frontends }: Draft): Generator<Problem> {
  if (aws?.method !== "elastic-ip" && aws?.method !== "dns") return;
  for (const { path, bindHost, bindPort } of frontends)
    if (bindHost !== undefined && bindHost !== "*")
      yield problem(
        [...path, "bind"],
        `"${bindHost}:${bindPort}" hears nothing with method ${aws.method}: packets come to the node's own address; write "*:${bindPort}"`,
      );
}

function* recordIsStated({ aws }: Draft): Generator<Problem> {
  if (aws === undefined) return;
  for (const [name, present] of [
    ["hostedZone", aws.hasHostedZone],
    ["record", aws.hasRecord],
  ] as const) {
    if (aws.method === "dns" && !present)
      yield problem(at("vip", name), "is missing: method dns changes a record, and must know which one");
    if (aws.method !== undefined && aws.method !== "dns" && present)
      yield problem(at("vip", name), `is for method dns, and the method is ${aws.method}; remove it`);
  }
}

function* vpcIsWhole({ aws }: Draft): Generator<Problem> {
  if (aws === undefined) return;
  if (aws.hasVpcId && !aws.hasRouteTable)
    yield problem(
      at("vpc", "routeTable"),
      "is missing: an existing VPC has a way to clients and operators of its own; name the route table that has it",
    );
  if (!aws.hasVpcId && aws.hasRouteTable)
    yield problem(at("vpc", "routeTable"), "belongs to an existing VPC; add vpc.id, or remove it");
}

function* routerIsNotTracked({ aws, networks }: Draft): Generator<Problem> {
  const gateway = networks.find((network) => network.gateway !== undefined);
  if (aws !== undefined && gateway !== undefined)
    yield problem(
      [...gateway.path, "gateway"],
      "would track a VPC's router, which is no host and differs from subnet to subnet; remove it",
    );
}

function* operatorsGetIn({ aws, nodes }: Draft): Generator<Problem> {
  if (aws === undefined) return;
  for (const { path, sshHost, attachments } of nodes) {
    const own = attachments.map(({ address }) => (address === undefined ? "" : formatIpv4(address.address)));
    if (sshHost === undefined || own.includes("")) continue;
    if (!aws.hasElasticIps && !own.includes(sshHost))
      yield problem(
        [...path, "ssh", "host"],
        `"${sshHost}" would not be this server: it has ${own.join(", ")} in the VPC and no Elastic IP; write one of these, or allocate Elastic IPs for hotpair:aws.ssh.elasticIps`,
      );
    if (aws.hasElasticIps && own.includes(sshHost))
      yield problem(
        [...path, "ssh", "host"],
        `"${sshHost}" is its address in the VPC, and hotpair:aws.ssh.elasticIps gives it another; write the Elastic IP, or remove elasticIps`,
      );
  }
}

/** A third server in a place of its own: what takes a node must not take its vote along. */
function* witnessIsApart({ aws, witness, networks }: Draft): Generator<Problem> {
  if (aws?.witness === undefined) return;
  if (witness === undefined) {
    yield problem(
      at("witness"),
      "would be a server for nothing: the pair has no witness; describe it as hotpair:witness, or remove this",
    );
    return;
  }
  const { zone, prefix } = aws.witness;
  if (zone !== undefined && aws.region !== undefined && zone.slice(0, -1) !== aws.region)
    yield problem(at("witness", "zone"), `"${zone}" is not in ${aws.region}; expected e.g. ${aws.region}c`);
  else if (zone !== undefined && aws.zones.includes(zone))
    yield problem(
      at("witness", "zone"),
      `"${zone}" is a node's, and its loss would take two of three votes; write a zone that neither node is in`,
    );
  if (prefix === undefined) return;
  const text = formatCidr(prefix);
  const path = at("witness", "prefix");
  const { prefix: vpc } = aws;
  const taken = networks.find((network) => network.prefix !== undefined && overlap(network.prefix, prefix));
  if (networkOf(prefix) !== prefix.address)
    yield problem(
      path,
      `"${text}" is an address inside a network; write ${formatIpv4(networkOf(prefix))}/${prefix.bits}`,
    );
  else if (prefix.bits > SMALLEST_SUBNET)
    yield problem(
      path,
      `"${text}" is too small: a subnet has at least 16 addresses; write a prefix of at most 28 bits`,
    );
  else if (vpc !== undefined && !(contains(vpc, networkOf(prefix)) && contains(vpc, broadcastOf(prefix))))
    yield problem(path, `"${text}" is not in the VPC (${formatCidr(vpc)}); choose a part of it, or a larger VPC`);
  else if (taken?.prefix !== undefined)
    yield problem(
      path,
      `"${text}" overlaps networks.${taken.name} (${formatCidr(taken.prefix)}), which is the nodes' zones'; choose a part of the VPC beside it`,
    );
  else if (witness.address !== undefined && (!contains(prefix, witness.address) || isReserved(prefix, witness.address)))
    yield problem(
      ["witness", "address"],
      `"${formatIpv4(witness.address)}" is no address for it: its subnet has ${text}, without the first four addresses and the last; expected e.g. ${formatIpv4(networkOf(prefix) + 10)}`,
    );
}

/** Operators reach it, and it reaches its packages, as the nodes do. */
function* witnessIsReached({ aws, witness }: Draft): Generator<Problem> {
  if (aws?.witness === undefined || witness === undefined) return;
  const path = at("witness", "elasticIp");
  if (aws.hasElasticIps && !aws.witness.hasElasticIp)
    yield problem(
      path,
      "is missing: the nodes have Elastic IPs, by which they are reached and reach others, and so needs the witness; allocate another one (aws ec2 allocate-address)",
    );
  if (!aws.hasElasticIps && aws.witness.hasElasticIp)
    yield problem(path, "stands alone: the nodes are reached by their addresses in the VPC, and so is it; remove it");
  if (aws.hasElasticIps !== aws.witness.hasElasticIp || witness.sshHost === undefined) return;
  const own = witness.address === undefined ? "" : formatIpv4(witness.address);
  if (aws.hasElasticIps && witness.sshHost === own)
    yield problem(
      ["witness", "ssh", "host"],
      `"${own}" is its address in the VPC, and hotpair:aws.witness.elasticIp gives it another; write the Elastic IP`,
    );
  if (!aws.hasElasticIps && own !== "" && witness.sshHost !== own)
    yield problem(
      ["witness", "ssh", "host"],
      `"${witness.sshHost}" would not be this server: it has ${own} in the VPC and no Elastic IP; write that`,
    );
}

function* elasticIpsAreDistinct({ aws }: Draft): Generator<Problem> {
  for (const [index, { path, allocation }] of (aws?.elasticIps ?? []).entries()) {
    const first = aws?.elasticIps.slice(0, index).find((other) => other.allocation === allocation);
    if (allocation !== undefined && first !== undefined)
      yield problem(
        at(...path),
        `"${allocation}" is hotpair:aws.${first.path.join(".")} too, and leads to one server; allocate another one (aws ec2 allocate-address)`,
      );
  }
}

/** An internet gateway translates for public addresses alone (Amazon VPC user guide, internet gateways). */
function* ownVpcHasAWayOut({ aws }: Draft): Generator<Problem> {
  if (aws !== undefined && !aws.hasVpcId && !aws.hasElasticIps)
    yield problem(
      at("ssh", "elasticIps"),
      "is missing: in a VPC of its own a server without a public address reaches no packages and is reached by nobody; allocate two Elastic IPs (aws ec2 allocate-address), or name an existing VPC that has a NAT gateway",
    );
}

function* prefixesArePrefixes({ aws }: Draft): Generator<Problem> {
  for (const [list, name] of [
    [aws?.sshFrom ?? [], "from"],
    [aws?.clients ?? [], "clients"],
  ] as const)
    for (const [index, prefix] of list.entries()) {
      const path = name === "from" ? at("ssh", "from", index) : at("clients", index);
      if (prefix === undefined) continue;
      if (networkOf(prefix) !== prefix.address)
        yield problem(
          path,
          `"${formatCidr(prefix)}" is an address inside a network; write ${formatIpv4(prefix.address)}/32 or ${formatIpv4(networkOf(prefix))}/${prefix.bits}`,
        );
      // Half of the Internet is as much everybody as all of it.
      else if (name === "from" && prefix.bits < 8)
        yield problem(
          path,
          `"${formatCidr(prefix)}" lets everybody try; write the prefix that operators come from, e.g. 203.0.113.0/24`,
        );
    }
}

/** What a gp3 volume has without being asked for more (Amazon EBS user guide, gp3 volumes). */
const GP3_OPERATIONS = 3_000;

function* volumeHasItsOperations({ aws }: Draft): Generator<Problem> {
  if (aws?.volumeType === "gp3" && aws.iops !== undefined && aws.iops < GP3_OPERATIONS)
    yield problem(
      at("volume", "iops"),
      `"${aws.iops}" is less than every gp3 volume has; remove it, or write more than ${GP3_OPERATIONS}`,
    );
  if (aws?.volumeType === "io2" && !aws.hasIops)
    yield problem(
      at("volume", "iops"),
      "is missing: io2 is bought by its operations per second; write e.g. 3000, or type: gp3",
    );
}

/** Amazon EC2 user guide, change instance termination protection. */
function* spotIsNotProtected({ aws }: Draft): Generator<Problem> {
  if (aws?.spot && aws.terminationProtection)
    yield problem(
      at("instance", "terminationProtection"),
      '"true" cannot be with spot: AWS lets nobody protect a server that it may take away; write false',
    );
}

/** The agent `aws` stops what this stack has made, by rights that this stack gives (infra/targets/aws.ts). */
function* agentsAreForAws({ target, aws, fencing }: Draft): Generator<Problem> {
  for (const { path, agent, options, secrets } of fencing?.agents ?? []) {
    if (agent !== "aws") continue;
    if (target !== "aws")
      yield problem(
        [...path, "agent"],
        '"aws" stops servers that hotpair made in AWS, and these are on premises; write e.g. fence_ipmilan',
      );
    if (options.length > 0 || secrets.length > 0)
      yield problem(path, "needs neither options nor secrets with agent aws: the stack knows the servers; remove them");
    if (aws?.spot)
      yield problem(
        [...path, "agent"],
        '"aws" cannot stop a spot server: AWS lets one that was asked for once only end for good; set hotpair:aws.instance.spot to false',
      );
  }
}

/** S3 keeps objects in infrequent access for at least 30 days before they may move on (Amazon S3 user guide, lifecycle transitions). */
const DAYS_IN_INFREQUENT_ACCESS = 30;
const DAY = 24 * 3_600_000;

function* agesGrow({ aws }: Draft): Generator<Problem> {
  const ages = aws?.ages ?? [];
  for (const [index, { name, age }] of ages.entries()) {
    const before = ages[index - 1];
    if (age === undefined || before?.age === undefined) continue;
    const least = before.age + (before.name === "infrequentAccess" ? DAYS_IN_INFREQUENT_ACCESS : 1) * DAY;
    if (age < least)
      yield problem(
        at("bucket", name),
        `${formatDuration(age)} is too soon after ${before.name} (${formatDuration(before.age)}); write ${formatDuration(ms(least))} or more`,
      );
  }
}

export const AWS_RULES: readonly Rule[] = [
  sectionStandsWithItsTarget,
  zonesAreInTheRegion,
  networksAreSubnets,
  addressesAreInTheirSubnets,
  serviceAddressesAreFree,
  vipsCanMove,
  methodFitsZones,
  frontendsHearTheNode,
  recordIsStated,
  vpcIsWhole,
  routerIsNotTracked,
  operatorsGetIn,
  ownVpcHasAWayOut,
  prefixesArePrefixes,
  volumeHasItsOperations,
  spotIsNotProtected,
  witnessIsApart,
  witnessIsReached,
  elasticIpsAreDistinct,
  agentsAreForAws,
  agesGrow,
];
