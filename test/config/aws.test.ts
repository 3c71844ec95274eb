// What a VPC cannot do, in the exact words that the author of a stack file reads; and the Pair that the example gives.

import { expect, test } from "vitest";
import { readPair, secretPaths, secretStates, withPlaceholders } from "../../infra/config/index.ts";
import {
  cloudDataInput,
  cloudInput,
  cloudWitnessInput,
  type Input,
  mistakesAfter,
  mistakesIn,
  mistakesInCloud,
  statefulInput,
} from "./sample.ts";

test("the example in AWS is right", () => {
  expect(mistakesInCloud(() => {})).toEqual([]);
});

test("the example is read as it is meant", () => {
  const pair = readPair(cloudInput(), { stack: "cloud", locate: () => undefined });
  expect(pair.target).toBe("aws");
  expect(pair.aws).toMatchObject({
    zones: { a: "eu-central-1a", b: "eu-central-1b" },
    vpc: { prefix: "10.20.0.0/16", existing: undefined },
    vip: { method: "elastic-ip", addresses: { a: "10.20.0.12", b: "10.20.0.140" }, within: 10_000 },
    instance: { type: "m7i.large", spot: false, terminationProtection: true },
    volume: { type: "gp3", size: 20 * 1024 ** 3 },
    clients: ["0.0.0.0/0"],
    bucket: { objectLockDays: 30, infrequentAccessDays: 30, glacierDays: 90, deepArchiveDays: 365 },
  });
  expect(secretPaths(pair)).toEqual(["beaconKey", "aws.hostKeys.a", "aws.hostKeys.b"]);
});

test("one zone is both nodes' zone", () => {
  const input = cloudInput();
  Object.assign(input.aws, { zones: ["eu-central-1a"], vip: { method: "route" } });
  for (const name of ["public", "heartbeat", "storage"])
    input.nodes[1].networks[name].address = input.nodes[1].networks[name].address.replace(".139/", ".12/");
  for (const node of input.nodes) delete node.site;
  const pair = readPair(input, { stack: "cloud", locate: () => undefined });
  expect(pair.aws?.zones).toEqual({ a: "eu-central-1a", b: "eu-central-1a" });
  expect(pair.nodes.map(({ site }) => site)).toEqual(["eu-central-1a", "eu-central-1a"]);
});

test("where servers stand is their zone, unless the stack file says more", () => {
  const sites = (change: (input: Input) => void) => {
    const input = cloudWitnessInput();
    for (const host of [...input.nodes, input.witness]) delete host.site;
    change(input);
    const { nodes, witness } = readPair(input, { stack: "cloud", locate: () => undefined });
    return [...nodes, witness].map((host) => host?.site);
  };
  const zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];
  expect(sites(() => {})).toEqual(zones);
  expect(
    sites(({ nodes }) => {
      nodes[1].site = "euc1-az3";
    }),
  ).toEqual(zones.with(1, "euc1-az3"));
  // Where a host stands that was there before, nobody knows.
  const given = sites(({ witness, aws }) => {
    delete aws.witness;
    witness.address = "198.51.100.13";
  });
  expect(given).toEqual([...zones.slice(0, 2), undefined]);
});

test("a pair on premises has no target of its own to state", () => {
  expect(mistakesAfter((pair) => Object.assign(pair, { target: "aws" }))).toEqual([
    "hotpair:aws: is missing: target is aws, and nothing says where and how; describe it, or write target: onprem",
  ]);
  expect(mistakesInCloud((input) => delete input.target)).toEqual([
    'hotpair:pair.target: "onprem" stands beside hotpair:aws, which nobody would read; write target: aws, or remove that section',
  ]);
});

const vip = (address: string) => (input: Input) => {
  input.vips[0].address = address;
};

const CASES: Record<string, [change: (input: Input) => void, expected: string[]]> = {
  "a zone of another region": [
    ({ aws }) => {
      aws.zones[1] = "eu-west-1b";
    },
    ['hotpair:aws.zones[1]: "eu-west-1b" is not in eu-central-1; expected e.g. eu-central-1a'],
  ],
  "the same zone twice": [
    ({ aws }) => {
      aws.zones[1] = "eu-central-1a";
    },
    ['hotpair:aws.zones[1]: "eu-central-1a" is the first node\'s too; write one zone, or another one'],
  ],
  "a network outside the VPC": [
    ({ aws }) => {
      aws.vpc.prefix = "10.20.0.0/23";
    },
    [
      'hotpair:pair.networks.storage.prefix: "10.20.2.0/24" is not in the VPC (10.20.0.0/23); choose a part of it, or a larger VPC',
    ],
  ],
  "a node in the other zone's half": [
    ({ nodes }) => {
      nodes[1].networks.storage.address = "10.20.2.12/24";
    },
    [
      'hotpair:pair.nodes[1].networks.storage.address: "10.20.2.12/24" is not in this node\'s zone: of networks.storage, eu-central-1b has 10.20.2.128/25; expected e.g. 10.20.2.139/24',
    ],
  ],
  "an address that AWS keeps": [
    ({ nodes }) => {
      nodes[0].networks.heartbeat.address = "10.20.1.3/24";
    },
    [
      'hotpair:pair.nodes[0].networks.heartbeat.address: "10.20.1.3/24" is kept by AWS, which has the first four addresses of a subnet and the last; expected e.g. 10.20.1.11/24',
    ],
  ],
  "a VIP in the VPC that is not a secondary address": [
    vip("10.20.0.100/32"),
    [
      'hotpair:pair.vips[0].address: "10.20.0.100/32" is in the VPC (10.20.0.0/16), whose router knows better where it is; with method elastic-ip choose one outside, e.g. 198.18.0.100/32',
    ],
  ],
  "a VIP with a network": [
    vip("198.18.0.100/24"),
    ['hotpair:pair.vips[0].address: "198.18.0.100/24" is alone with method elastic-ip; write 198.18.0.100/32'],
  ],
  "a virtual MAC": [
    ({ vips }) => {
      vips[0].mode = "vmac";
    },
    ['hotpair:pair.vips[0].mode: "vmac" cannot be: a VPC carries no other MAC than its own; write ip'],
  ],
  "a secondary address in two zones": [
    ({ aws, vips }) => {
      aws.vip = { method: "secondary-ip" };
      vips[0].address = "10.20.0.100/24";
    },
    [
      'hotpair:aws.vip.method: "secondary-ip" cannot leave its subnet, and a subnet is in one zone; write route, elastic-ip or dns, or one zone',
    ],
  ],
  "a frontend that hears the VIP alone": [
    ({ haproxy }) => {
      haproxy.frontends[0].bind = "web:80";
    },
    [
      'hotpair:pair.haproxy.frontends[0].bind: "web:80" hears nothing with method elastic-ip: packets come to the node\'s own address; write "*:80"',
    ],
  ],
  "an Elastic IP without its private addresses": [
    ({ aws }) => {
      delete aws.vip.addresses;
    },
    [
      "hotpair:aws.vip.addresses: is missing: the Elastic IP that moves needs a private address on each node, beside the one that operators use",
    ],
  ],
  "a private address that is taken, and one of the other zone": [
    ({ aws }) => {
      aws.vip.addresses = { a: "10.20.0.11", b: "10.20.0.12" };
    },
    [
      'hotpair:aws.vip.addresses.a: "10.20.0.11" is taken; choose a free address, e.g. 10.20.0.12',
      'hotpair:aws.vip.addresses.b: "10.20.0.12" is no address for this node: of networks.public its zone has 10.20.0.128/25, without the first four addresses and the last; expected e.g. 10.20.0.140',
    ],
  ],
  "a record without its zone, and private addresses that it does not need": [
    ({ aws }) => {
      Object.assign(aws.vip, { method: "dns", record: "shop.example.net" });
    },
    [
      "hotpair:aws.vip.addresses: are for method elastic-ip, and the method is dns; remove them",
      "hotpair:aws.vip.hostedZone: is missing: method dns changes a record, and must know which one",
    ],
  ],
  "two VIPs at one address": [
    ({ vips }) => {
      vips.push({ name: "api", address: "198.18.0.101/32", routerId: 52 });
    },
    [
      "hotpair:pair.vips[1]: is a second VIP, and with method elastic-ip a node has one address for all that reaches it; keep one VIP, or write method: route",
    ],
  ],
  "an existing VPC without its route table": [
    ({ aws }) => {
      aws.vpc.id = "vpc-0a1b2c3d4e5f60718";
    },
    [
      "hotpair:aws.vpc.routeTable: is missing: an existing VPC has a way to clients and operators of its own; name the route table that has it",
    ],
  ],
  "a tracked router": [
    ({ networks }) => {
      networks.public.gateway = "10.20.0.1";
    },
    [
      "hotpair:pair.networks.public.gateway: would track a VPC's router, which is no host and differs from subnet to subnet; remove it",
    ],
  ],
  "no way in": [
    ({ aws }) => {
      delete aws.ssh.elasticIps;
    },
    [
      'hotpair:pair.nodes[0].ssh.host: "203.0.113.11" would not be this server: it has 10.20.0.11, 10.20.1.11, 10.20.2.11 in the VPC and no Elastic IP; write one of these, or allocate Elastic IPs for hotpair:aws.ssh.elasticIps',
      'hotpair:pair.nodes[1].ssh.host: "203.0.113.12" would not be this server: it has 10.20.0.139, 10.20.1.139, 10.20.2.139 in the VPC and no Elastic IP; write one of these, or allocate Elastic IPs for hotpair:aws.ssh.elasticIps',
      "hotpair:aws.ssh.elasticIps: is missing: in a VPC of its own a server without a public address reaches no packages and is reached by nobody; allocate two Elastic IPs (aws ec2 allocate-address), or name an existing VPC that has a NAT gateway",
    ],
  ],
  "SSH for everybody": [
    ({ aws }) => {
      aws.ssh.from = ["0.0.0.0/0", "128.0.0.0/1"];
    },
    [
      'hotpair:aws.ssh.from[0]: "0.0.0.0/0" lets everybody try; write the prefix that operators come from, e.g. 203.0.113.0/24',
      'hotpair:aws.ssh.from[1]: "128.0.0.0/1" lets everybody try; write the prefix that operators come from, e.g. 203.0.113.0/24',
    ],
  ],
  "a volume without its operations": [
    ({ aws }) => {
      aws.volume = { type: "io2" };
    },
    ["hotpair:aws.volume.iops: is missing: io2 is bought by its operations per second; write e.g. 3000, or type: gp3"],
  ],
  "a gp3 volume with fewer operations than it has": [
    ({ aws }) => {
      aws.volume = { type: "gp3", iops: 1_000 };
    },
    ['hotpair:aws.volume.iops: "1000" is less than every gp3 volume has; remove it, or write more than 3000'],
  ],
  "ages that S3 does not take": [
    ({ aws }) => {
      Object.assign(aws.bucket, { infrequentAccess: "40d", glacier: "50d" });
    },
    ["hotpair:aws.bucket.glacier: 50d is too soon after infrequentAccess (40d); write 70d or more"],
  ],
  "a tag that AWS keeps, and a reason that is none": [
    ({ aws }) => {
      aws.tags["aws:owner"] = "me";
      aws.accepted = { spot: "cheap" };
    },
    [
      'hotpair:aws.tags["aws:owner"]: is not the name of a tag, of at most 64 letters, digits and . _ : + = @ -; expected e.g. owner',
      'hotpair:aws.accepted.spot: "cheap" is not a reason in a sentence of 10 to 200 characters; expected e.g. the second zone of this region has no capacity of the type that we need',
    ],
  ],
  "a tag in letters that not every service takes": [
    ({ aws }) => {
      aws.tags.owner = "the shop's team";
    },
    [
      'hotpair:aws.tags.owner: "the shop\'s team" is not a text of at most 200 letters, digits, spaces and _ . : / = + - @; expected e.g. shop-team',
    ],
  ],
  "a spot server that nobody may take away": [
    ({ aws }) => {
      aws.instance.spot = true;
    },
    [
      'hotpair:aws.instance.terminationProtection: "true" cannot be with spot: AWS lets nobody protect a server that it may take away; write false',
    ],
  ],
  "a tag of hotpair's own": [
    ({ aws }) => {
      aws.tags["hotpair:node"] = "b";
    },
    [
      'hotpair:aws.tags["hotpair:node"]: is not the name of a tag, of at most 64 letters, digits and . _ : + = @ -; expected e.g. owner',
    ],
  ],
  "a host key in plain text": [
    ({ aws }) => {
      aws.hostKeys.a = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    },
    [
      "hotpair:aws.hostKeys.a: holds a secret in plain text (not shown); treat it as published, and make it with `hotpair cloud keys`",
    ],
  ],
};

test.each(Object.entries(CASES))("%s", (_, [change, expected]) => {
  expect(mistakesInCloud(change).toSorted()).toEqual(expected.toSorted());
});

/** The example with data, and each server stopped by the other one's role. */
const fencedInput = (): Input => ({
  ...cloudDataInput(),
  fencing: { timeout: "120s", agents: ["cloud-a", "cloud-b"].map((node) => ({ node, agent: "aws" })) },
});

const read = (input: Input) => readPair(input, { stack: "shop", locate: () => undefined });

const mistakesWhenRead = (input: Input): readonly string[] => mistakesIn(() => read(input));

test("a witness is made where hotpair:aws describes one, with a host key that is a secret", () => {
  expect(read(cloudDataInput()).aws?.witness).toBeUndefined();
  const pair = read(cloudWitnessInput());
  expect(pair.aws?.witness).toEqual({
    zone: "eu-central-1c",
    prefix: "10.20.3.0/28",
    type: "m7g.medium",
    image: undefined,
    elasticIp: "eipalloc-0a1b2c3d4e5f60713",
    hostKey: { secret: "aws.witness.hostKey" },
  });
  expect(secretPaths(pair)).toContain("aws.witness.hostKey");
  const without = cloudWitnessInput();
  delete without.aws.witness.hostKey;
  expect(secretStates(without)).toContainEqual({ path: "aws.witness.hostKey", state: "missing" });
  expect(mistakesWhenRead(without)).toEqual([
    "hotpair:aws.witness.hostKey: is missing; expected an SSH host key, encrypted: make it with `hotpair cloud keys`",
  ]);
  expect(mistakesWhenRead(withPlaceholders(without))).toEqual([]);
  expect(secretStates(cloudDataInput()).map(({ path }) => path)).not.toContain("aws.witness.hostKey");
});

const WITNESSES: Record<string, [change: (input: Input) => void, expected: string[]]> = {
  "in the zone of a node": [
    ({ aws }) => Object.assign(aws.witness, { zone: "eu-central-1b" }),
    [
      'hotpair:aws.witness.zone: "eu-central-1b" is a node\'s, and its loss would take two of three votes; write a zone that neither node is in',
    ],
  ],
  "in another region": [
    ({ aws }) => Object.assign(aws.witness, { zone: "eu-west-1c" }),
    ['hotpair:aws.witness.zone: "eu-west-1c" is not in eu-central-1; expected e.g. eu-central-1c'],
  ],
  "in a network of the nodes": [
    ({ aws }) => Object.assign(aws.witness, { prefix: "10.20.2.128/28" }),
    [
      "hotpair:aws.witness.prefix: \"10.20.2.128/28\" overlaps networks.storage (10.20.2.0/24), which is the nodes' zones'; choose a part of the VPC beside it",
    ],
  ],
  "outside the VPC": [
    ({ aws }) => Object.assign(aws.witness, { prefix: "10.21.3.0/28" }),
    [
      'hotpair:aws.witness.prefix: "10.21.3.0/28" is not in the VPC (10.20.0.0/16); choose a part of it, or a larger VPC',
    ],
  ],
  "in a subnet that is too small": [
    ({ aws }) => Object.assign(aws.witness, { prefix: "10.20.3.8/29" }),
    [
      'hotpair:aws.witness.prefix: "10.20.3.8/29" is too small: a subnet has at least 16 addresses; write a prefix of at most 28 bits',
    ],
  ],
  "in a subnet that is an address": [
    ({ aws }) => Object.assign(aws.witness, { prefix: "10.20.3.10/28" }),
    ['hotpair:aws.witness.prefix: "10.20.3.10/28" is an address inside a network; write 10.20.3.0/28'],
  ],
  "at an address of another subnet": [
    ({ witness }) => Object.assign(witness, { address: "10.20.4.10" }),
    [
      'hotpair:witness.address: "10.20.4.10" is no address for it: its subnet has 10.20.3.0/28, without the first four addresses and the last; expected e.g. 10.20.3.10',
    ],
  ],
  "at an address that AWS keeps": [
    ({ witness }) => Object.assign(witness, { address: "10.20.3.3" }),
    [
      'hotpair:witness.address: "10.20.3.3" is no address for it: its subnet has 10.20.3.0/28, without the first four addresses and the last; expected e.g. 10.20.3.10',
    ],
  ],
  "without an Elastic IP beside nodes that have theirs": [
    ({ aws }) => delete aws.witness.elasticIp,
    [
      "hotpair:aws.witness.elasticIp: is missing: the nodes have Elastic IPs, by which they are reached and reach others, and so needs the witness; allocate another one (aws ec2 allocate-address)",
    ],
  ],
  "with an Elastic IP of a node": [
    ({ aws }) => Object.assign(aws.witness, { elasticIp: aws.ssh.elasticIps.b }),
    [
      'hotpair:aws.witness.elasticIp: "eipalloc-0a1b2c3d4e5f60712" is hotpair:aws.ssh.elasticIps.b too, and leads to one server; allocate another one (aws ec2 allocate-address)',
    ],
  ],
  "that is to be reached at its address in the VPC, in spite of its Elastic IP": [
    ({ witness }) => Object.assign(witness.ssh, { host: "10.20.3.10" }),
    [
      'hotpair:witness.ssh.host: "10.20.3.10" is its address in the VPC, and hotpair:aws.witness.elasticIp gives it another; write the Elastic IP',
    ],
  ],
  "for a pair that has none": [
    (input) => {
      for (const key of ["witness", "authority", "mariadb"]) delete input[key];
      input.haproxy.backends = [
        { name: "data", mode: "tcp", servers: [{ name: "one", address: "10.9.9.9", port: 1 }] },
      ];
    },
    [
      "hotpair:aws.witness: would be a server for nothing: the pair has no witness; describe it as hotpair:witness, or remove this",
    ],
  ],
};

test.each(Object.entries(WITNESSES))("a witness %s", (_, [change, expected]) => {
  const input = cloudWitnessInput();
  change(input);
  expect(mistakesWhenRead(input)).toEqual(expected);
});

test("in an existing VPC a witness is reached at its address there, as the nodes are, and has no Elastic IP", () => {
  const inside = cloudWitnessInput();
  Object.assign(inside.aws.vpc, { id: "vpc-0a1b2c3d4e5f60718", routeTable: "rtb-0a1b2c3d4e5f60718" });
  delete inside.aws.ssh.elasticIps;
  for (const node of inside.nodes) node.ssh.host = node.networks.public.address.split("/")[0];
  expect(mistakesWhenRead(inside)).toEqual([
    "hotpair:aws.witness.elasticIp: stands alone: the nodes are reached by their addresses in the VPC, and so is it; remove it",
  ]);
  delete inside.aws.witness.elasticIp;
  expect(mistakesWhenRead(inside)).toEqual([
    'hotpair:witness.ssh.host: "203.0.113.13" would not be this server: it has 10.20.3.10 in the VPC and no Elastic IP; write that',
  ]);
  inside.witness.ssh.host = "10.20.3.10";
  expect(mistakesWhenRead(inside)).toEqual([]);
});

test("two servers at one Elastic IP", () => {
  expect(mistakesInCloud(({ aws }) => Object.assign(aws.ssh.elasticIps, { b: aws.ssh.elasticIps.a }))).toEqual([
    'hotpair:aws.ssh.elasticIps.b: "eipalloc-0a1b2c3d4e5f60711" is hotpair:aws.ssh.elasticIps.a too, and leads to one server; allocate another one (aws ec2 allocate-address)',
  ]);
});

test("servers that the stack makes it can also stop: the agent aws needs no options, and gets what names its peer", () => {
  expect(read(fencedInput()).fencing?.agents).toEqual({
    a: { agent: "aws", options: { pair: "shop", plug: "a", region: "eu-central-1" } },
    b: { agent: "aws", options: { pair: "shop", plug: "b", region: "eu-central-1" } },
  });
  const own = fencedInput();
  own.fencing.agents[1].options = { plug: "i-0a1b2c3d4e5f60718" };
  Object.assign(own.aws.instance, { spot: true, terminationProtection: false });
  const spot = (index: number) =>
    `hotpair:fencing.agents[${index}].agent: "aws" cannot stop a spot server: AWS lets one that was asked for once only end for good; set hotpair:aws.instance.spot to false`;
  expect(mistakesWhenRead(own)).toEqual([
    spot(0),
    "hotpair:fencing.agents[1]: needs neither options nor secrets with agent aws: the stack knows the servers; remove them",
    spot(1),
  ]);
  const onPremises = statefulInput();
  onPremises.fencing.agents[0] = { node: "node-b", agent: "aws" };
  expect(mistakesWhenRead(onPremises)).toEqual([
    'hotpair:fencing.agents[0].agent: "aws" stops servers that hotpair made in AWS, and these are on premises; write e.g. fence_ipmilan',
  ]);
});
