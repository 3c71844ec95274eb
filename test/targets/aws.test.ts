// What would be made in AWS, as data: the references, addresses, openings and rights of the example, and what holds for every
// configuration. That it is registered as it is declared is proven in test/components/aws.test.ts.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { resourceFindings } from "../../infra/model/aws-rules.ts";
import { seconds } from "../../infra/model/duration.ts";
import { contains, networkOf, overlap, parseCidr } from "../../infra/model/ipv4.ts";
import { type Declared, outputsIn, type Value } from "../../infra/model/resource.ts";
import { clientPorts, collectListeners } from "../../infra/services/listeners.ts";
import { serverOf } from "../../infra/targets/aws.ts";
import { cloudDataPair, cloudPair } from "../model/pairs.ts";
import { arbitraryCloud } from "./cloud-arbitrary.ts";
import { BY_METHOD, type CloudPair, declare, existing, fencedPair, inAws, vip } from "./cloud-pairs.ts";

function find(declared: readonly Declared[], name: string): Declared {
  const found = declared.find((each) => each.name === name);
  if (found === undefined) throw new Error(`${name} is not declared`);
  return found;
}

const ofType = (declared: readonly Declared[], kind: string) =>
  declared.filter(({ type }) => type.endsWith(`:${kind}`));

/** The openings of the firewall, as `network protocol port source`. */
const openings = (declared: readonly Declared[]): readonly string[] =>
  ofType(declared, "SecurityGroupIngressRule")
    .map(({ inputs }) => {
      const group = (inputs.securityGroupId as { of: string }).of.replace("group-", "");
      const from = (inputs.cidrIpv4 as string | undefined) ?? (inputs.referencedSecurityGroupId as { of: string }).of;
      return `${group} ${inputs.ipProtocol} ${inputs.fromPort ?? ""} ${from}`;
    })
    .toSorted();

describe("the example", () => {
  const declared = declare(cloudPair);

  it("has the network that the pair describes, cut in two zones, in a VPC of its own", () => {
    expect(find(declared, "vpc").inputs).toMatchObject({ cidrBlock: "10.20.0.0/16" });
    const subnets = ofType(declared, "Subnet").map(({ name, inputs }) => [
      name,
      inputs.cidrBlock,
      inputs.availabilityZone,
    ]);
    expect(subnets).toEqual([
      ["subnet-public-a", "10.20.0.0/25", "eu-central-1a"],
      ["subnet-public-b", "10.20.0.128/25", "eu-central-1b"],
      ["subnet-heartbeat-a", "10.20.1.0/25", "eu-central-1a"],
      ["subnet-heartbeat-b", "10.20.1.128/25", "eu-central-1b"],
      ["subnet-storage-a", "10.20.2.0/25", "eu-central-1a"],
      ["subnet-storage-b", "10.20.2.128/25", "eu-central-1b"],
    ]);
  });

  it("has a way out of the public network alone", () => {
    const routes = ofType(declared, "Route");
    expect(routes.map(({ inputs }) => inputs)).toEqual([
      {
        routeTableId: { of: "routes-public", output: "id" },
        destinationCidrBlock: "0.0.0.0/0",
        gatewayId: { of: "gateway", output: "id" },
      },
    ]);
    expect(find(declared, "routes-storage-b").inputs.routeTableId).toEqual({ of: "routes-inside", output: "id" });
    expect(find(declared, "routes-public-b").inputs.routeTableId).toEqual({ of: "routes-public", output: "id" });
  });

  it("lets in what its services declare, from whom they declare it for, and SSH from the operators", () => {
    expect(openings(declared)).toEqual([
      "heartbeat 112  group-heartbeat",
      "heartbeat icmp -1 group-heartbeat",
      "heartbeat udp 7788 group-heartbeat",
      "public icmp -1 group-public",
      "public tcp 22 203.0.113.0/24",
      "public tcp 80 0.0.0.0/0",
      "public tcp 8080 group-public",
      "public udp 7788 group-public",
      "storage icmp -1 group-storage",
      "storage udp 7788 group-storage",
    ]);
  });

  it("has fixed addresses on every interface, and attaches the other networks beside the public one", () => {
    expect(find(declared, "interface-public-b").inputs).toMatchObject({
      // In this order: the first one is what the server has by DHCP.
      privateIpListEnabled: true,
      privateIpLists: ["10.20.0.139", "10.20.0.140"],
      subnetId: { of: "subnet-public-b" },
      securityGroups: [{ of: "group-public" }],
      sourceDestCheck: true,
    });
    expect(find(declared, "interface-heartbeat-b").inputs.privateIps).toEqual(["10.20.1.139"]);
    expect(find(declared, "instance-b").inputs.primaryNetworkInterface).toMatchObject({
      networkInterfaceId: { of: "interface-public-b" },
    });
    expect(
      ofType(declared, "NetworkInterfaceAttachment").map(({ name, inputs }) => [name, inputs.deviceIndex]),
    ).toEqual([
      ["attachment-heartbeat-a", 1],
      ["attachment-storage-a", 2],
      ["attachment-heartbeat-b", 1],
      ["attachment-storage-b", 2],
    ]);
  });

  it("has servers that keep what is theirs: encrypted, with tokens, protected, not exchanged for a newer image", () => {
    const { inputs, ignoreChanges, secretInputs } = find(declared, "instance-a");
    expect(inputs).toMatchObject({
      instanceType: "m7i.large",
      metadataOptions: {
        httpEndpoint: "enabled",
        httpTokens: "required",
        httpPutResponseHopLimit: 1,
        instanceMetadataTags: "enabled",
      },
      tags: { "hotpair:address": { of: "address", output: "id" } },
      rootBlockDevice: { encrypted: true, volumeType: "gp3", volumeSize: 20 },
      disableApiTermination: true,
      instanceInitiatedShutdownBehavior: "stop",
      ami: { lookup: "aws:ec2/getAmi:getAmi", args: { owners: ["136693071363"], mostRecent: true } },
    });
    expect(JSON.stringify(inputs.ami)).toContain("debian-13-amd64-*");
    expect(secretInputs).toEqual(["userData"]);
    // For another type the plugin would stop it, for each of the others exchange it: both servers at the same time.
    expect(ignoreChanges).toEqual(["ami", "userData", "keyName", "instanceType", "instanceMarketOptions"]);
  });

  it("has servers that the engine does not exchange or end while they are protected", () => {
    const of = (pair: CloudPair) => ofType(declare(pair), "Instance").map(({ name, protect }) => [name, protect]);
    expect(of(cloudDataPair)).toEqual([
      ["instance-a", true],
      ["instance-b", true],
      ["instance-witness", true],
    ]);
    const open = inAws({ instance: { ...cloudPair.aws.instance, terminationProtection: false } });
    expect(of(open).map(([, protect]) => protect)).toEqual([false, false]);
  });

  it("has its public addresses while it has a way out", () => {
    for (const name of ["address", "operators-a", "operators-b"])
      expect(find(declared, name).after, name).toContain("gateway");
  });

  it("is reached only when its servers have all their interfaces and the operators' address", () => {
    expect(serverOf(cloudPair, "a")).toEqual([
      "instance-a",
      "attachment-heartbeat-a",
      "attachment-storage-a",
      "operators-a",
      "right-a",
    ]);
    for (const name of serverOf(cloudPair, "b")) expect(declared.map((each) => each.name)).toContain(name);
  });

  it("has a bucket that is versioned, encrypted, closed and locked, and grows cold by age", () => {
    expect(find(declared, "bucket").inputs).toMatchObject({ bucket: "cloud-backups", objectLockEnabled: true });
    expect(find(declared, "bucket-versions").inputs.versioningConfiguration).toEqual({ status: "Enabled" });
    expect(find(declared, "bucket-lock").inputs.rule).toEqual({ defaultRetention: { mode: "COMPLIANCE", days: 30 } });
    const [rule] = find(declared, "bucket-ages").inputs.rules as readonly { readonly transitions: Value }[];
    expect(rule?.transitions).toEqual([
      { storageClass: "STANDARD_IA", days: 30 },
      { storageClass: "GLACIER", days: 90 },
      { storageClass: "DEEP_ARCHIVE", days: 365 },
    ]);
  });

  it("takes a Graviton image for a Graviton type", () => {
    const arm = declare(inAws({ instance: { ...cloudPair.aws.instance, type: "m7g.large" } }));
    expect(JSON.stringify(find(arm, "instance-a").inputs.ami)).toContain("debian-13-arm64-*");
    const gpu = declare(inAws({ instance: { ...cloudPair.aws.instance, type: "g6e.xlarge" } }));
    expect(JSON.stringify(find(gpu, "instance-a").inputs.ami)).toContain("debian-13-amd64-*");
  });
});

describe("the first boot", () => {
  const text = (pair: CloudPair, node: "a" | "b") => {
    const { userData } = find(declare(pair), `instance-${node}`).inputs;
    const parts = (userData as { readonly join: readonly (string | object)[] }).join;
    return parts
      .map((part) => (typeof part === "string" ? part : "quoted" in part ? '"HOST KEY\\n"' : "0a:00:00:00:00:01"))
      .join("");
  };

  it("knows the pinned host key and the interfaces that DHCP does not serve, and nothing else", () => {
    const said = text(cloudPair, "b");
    expect(said.split("\n")[0]).toBe("#cloud-config");
    const { write_files: files, ...rest } = parse(said);
    expect(rest).toEqual({
      hostname: "node-b",
      ssh_deletekeys: true,
      ssh_pwauth: false,
      ssh_keys: { ed25519_public: cloudPair.nodes[1].ssh.hostKey, ed25519_private: "HOST KEY\n" },
      runcmd: [["networkctl", "reload"]],
    });
    const byPath = Object.fromEntries(
      (files as { path: string; content: string }[]).map(({ path, content }) => [path, content]),
    );
    expect(Object.keys(byPath)).toEqual([
      "/etc/cloud/cloud.cfg.d/60-hotpair.cfg",
      "/etc/systemd/network/05-hotpair-public.network",
      "/etc/systemd/network/05-hotpair-heartbeat.network",
      "/etc/systemd/network/05-hotpair-storage.network",
    ]);
    expect(byPath["/etc/systemd/network/05-hotpair-heartbeat.network"]).toBe(
      [
        "# heartbeat network. Written by hotpair.",
        "[Match]",
        "PermanentMACAddress=0a:00:00:00:00:01",
        "",
        "[Link]",
        "RequiredForOnline=no",
        "",
        "[Network]",
        "Address=10.20.1.139/25",
        "LinkLocalAddressing=no",
        "",
        "[Route]",
        "Destination=10.20.1.0/24",
        "Gateway=10.20.1.129",
        "",
      ].join("\n"),
    );
    expect(byPath["/etc/systemd/network/05-hotpair-public.network"]).toContain(
      "DHCP=ipv4\nKeepConfiguration=yes\nAddress=10.20.0.140/25\n",
    );
  });

  it("leaves the VIP to keepalived, whatever the method", () => {
    for (const pair of Object.values(BY_METHOD)) expect(text(pair, "a")).toContain("DHCP=ipv4\\nKeepConfiguration=yes");
  });

  it("needs no route to the peer within one zone", () => {
    expect(text(BY_METHOD["secondary-ip"], "a")).not.toContain("[Route]");
  });
});

describe("the address that moves", () => {
  it.each(["elastic-ip", "secondary-ip", "route", "dns"] as const)(
    "%s: each role may make the one call that brings it to its own node, and no other",
    (method) => {
      const declared = declare(BY_METHOD[method]);
      const statement = (id: string) => {
        const { policy } = find(declared, `right-${id}`).inputs as {
          readonly policy: { readonly json: { readonly Statement: readonly Record<string, Value>[] } };
        };
        expect(policy.json.Statement).toHaveLength(1);
        return policy.json.Statement[0] ?? {};
      };
      const action = {
        "elastic-ip": "ec2:AssociateAddress",
        "secondary-ip": "ec2:AssignPrivateIpAddresses",
        route: "ec2:ReplaceRoute",
        dns: "route53:ChangeResourceRecordSets",
      }[method];
      for (const [id, other] of [
        ["a", "b"],
        ["b", "a"],
      ] as const) {
        expect(statement(id).Action).toEqual([action]);
        const named = outputsIn(statement(id).Resource as Value).map(({ of }) => of);
        expect(named.filter((name) => name.endsWith(`-${other}`))).toEqual([]);
      }
    },
  );

  it("with fencing by AWS each role may stop the other's instance, of this pair and region, and see its state", () => {
    const declared = declare(fencedPair);
    for (const [id, other] of [
      ["a", "b"],
      ["b", "a"],
    ] as const) {
      const { policy } = find(declared, `right-${id}`).inputs as {
        readonly policy: { readonly json: { readonly Statement: readonly Record<string, Value>[] } };
      };
      expect(policy.json.Statement.slice(1)).toEqual([
        {
          Effect: "Allow",
          Action: ["ec2:StopInstances"],
          Resource: [{ of: `instance-${other}`, output: "arn" }],
          Condition: {
            StringEquals: { "aws:ResourceTag/hotpair:pair": "cloud", "aws:ResourceTag/hotpair:node": other },
          },
        },
        {
          Effect: "Allow",
          Action: ["ec2:DescribeInstances"],
          Resource: "*",
          Condition: { StringEquals: { "aws:RequestedRegion": "eu-central-1" } },
        },
      ]);
      expect(find(declared, `instance-${id}`).inputs.tags).toMatchObject({
        "hotpair:pair": "cloud",
        "hotpair:node": id,
      });
    }
    expect(resourceFindings(declared, [80])).toEqual([]);
    // An agent with keys of its own needs no right of the role.
    const agent = { agent: "fence_aws", options: {} };
    const others = {
      ...fencedPair,
      fencing: { agents: { a: agent, b: agent }, timeout: seconds(20), required: false },
    };
    expect(JSON.stringify(find(declare(others), "right-b"))).not.toContain("StopInstances");
  });

  it("is left where the nodes have put it", () => {
    expect(find(declare(BY_METHOD.route), "address-web").ignoreChanges).toEqual(["networkInterfaceId"]);
    expect(find(declare(BY_METHOD.dns), "address").ignoreChanges).toEqual(["records"]);
    expect(find(declare(BY_METHOD["elastic-ip"]), "address").ignoreChanges).toContain("networkInterface");
    expect(find(declare(BY_METHOD["secondary-ip"]), "interface-public-a").ignoreChanges).toContain("privateIps");
  });

  it("goes after the interfaces that may have it, for an Elastic IP in use is not released", () => {
    const waits = (pair: CloudPair) =>
      ofType(declare(pair), "NetworkInterface").flatMap(({ name, after: first }) => (first ? [[name, ...first]] : []));
    expect(waits(BY_METHOD["elastic-ip"])).toEqual([
      ["interface-public-a", "address"],
      ["interface-public-b", "address"],
    ]);
    for (const method of ["secondary-ip", "route", "dns"] as const) expect(waits(BY_METHOD[method])).toEqual([]);
  });

  it("passes the check of source and destination only where it is nobody's address", () => {
    expect(find(declare(BY_METHOD.route), "interface-public-a").inputs.sourceDestCheck).toBe(false);
    expect(find(declare(BY_METHOD.route), "interface-heartbeat-a").inputs.sourceDestCheck).toBe(true);
  });
});

it("images of both servers are made daily at the stated time, kept as long as stated, by the owner's own role", () => {
  const declared = declare(cloudPair);
  expect(find(declared, "backup-plan").inputs.rules).toEqual([
    expect.objectContaining({
      schedule: "cron(30 3 * * ? *)",
      targetVaultName: { of: "backups", output: "name" },
      lifecycle: { deleteAfter: 35 },
    }),
  ]);
  expect(find(declared, "backup-servers").inputs).toEqual({
    planId: { of: "backup-plan", output: "id" },
    iamRoleArn: "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole",
    resources: [
      { of: "instance-a", output: "arn" },
      { of: "instance-b", output: "arn" },
    ],
  });
  const none = declare(inAws({ backup: undefined })).map(({ type }) => type);
  expect(none.filter((type) => type.startsWith("aws:backup/"))).toEqual([]);
});

it("a budget counts what is the pair's, and tells who is named before and after it is spent", () => {
  const { inputs } = find(declare(cloudPair), "budget");
  expect(inputs).toMatchObject({
    limitAmount: "300",
    limitUnit: "USD",
    timeUnit: "MONTHLY",
    costFilters: [{ name: "TagKeyValue", values: ["user:hotpair:pair$cloud"] }],
  });
  const alarms = inputs.notifications as readonly Record<string, Value>[];
  expect(alarms.map(({ notificationType, threshold }) => [notificationType, threshold])).toEqual([
    ["FORECASTED", 100],
    ["ACTUAL", 100],
  ]);
  for (const alarm of alarms) expect(alarm.subscriberEmailAddresses).toEqual(["ops@example.net"]);
  expect(declare(inAws({ budget: undefined })).map(({ name }) => name)).not.toContain("budget");
});

it("in one zone the servers are on different hardware", () => {
  const declared = declare(BY_METHOD["secondary-ip"]);
  expect(find(declared, "apart").inputs).toMatchObject({ strategy: "spread" });
  expect(find(declared, "instance-b").inputs.placementGroup).toEqual({ of: "apart", output: "name" });
});

it("an existing VPC keeps its gateway and its routes", () => {
  const declared = declare(inAws({ vpc: { prefix: "10.20.0.0/16", existing }, vip: vip("route") }));
  expect(declared.filter(({ type }) => /:(Vpc|InternetGateway|DefaultSecurityGroup)$/.test(type))).toEqual([]);
  expect(find(declared, "routes-public-a").inputs.routeTableId).toBe(existing.routeTable);
  expect(find(declared, "group-public").inputs.vpcId).toBe(existing.id);
  expect(JSON.stringify(find(declared, "right-a").inputs)).toContain(`:route-table/${existing.routeTable}`);
});

/** The same pair with a witness that is somebody's server already. */
const givenWitness: CloudPair = {
  ...cloudDataPair,
  witness: cloudDataPair.witness && { ...cloudDataPair.witness, address: "192.0.2.13" },
  aws: cloudPair.aws,
};

it("members of an authority hear each other and the witness; the database only the other node", () => {
  expect(openings(declare(givenWitness)).filter((line) => / tcp /.test(line))).toEqual([
    "public tcp 22 203.0.113.0/24",
    "public tcp 2379 192.0.2.13/32",
    "public tcp 2379 group-public",
    "public tcp 2380 192.0.2.13/32",
    "public tcp 2380 group-public",
    "public tcp 3305 group-public",
    "public tcp 3306 group-public",
    "public tcp 3307 0.0.0.0/0",
    "storage tcp 3305 group-storage",
    "storage tcp 3306 group-storage",
  ]);
});

describe("a witness that is made", () => {
  const declared = declare(cloudDataPair);

  it("stands in a third zone, in a subnet of its own beside the way out", () => {
    expect(find(declared, "subnet-witness").inputs).toMatchObject({
      cidrBlock: "10.20.3.0/28",
      availabilityZone: "eu-central-1c",
    });
    expect(find(declared, "routes-witness").inputs.routeTableId).toEqual({ of: "routes-public", output: "id" });
    expect(find(declared, "interface-witness").inputs).toMatchObject({
      subnetId: { of: "subnet-witness" },
      privateIps: ["10.20.3.10"],
      securityGroups: [{ of: "group-witness" }],
    });
  });

  it("is told by the nodes what their members tell each other, and by operators; the nodes hear it at its address", () => {
    const open = openings(declared);
    expect(open.filter((line) => line.startsWith("witness "))).toEqual([
      "witness tcp 22 203.0.113.0/24",
      "witness tcp 2379 group-public",
      "witness tcp 2380 group-public",
    ]);
    expect(open.filter((line) => line.includes("10.20.3.10"))).toEqual([
      "public tcp 2379 10.20.3.10/32",
      "public tcp 2380 10.20.3.10/32",
    ]);
    expect(resourceFindings(declared, clientPorts(cloudDataPair))).toEqual([]);
  });

  it("is a small server that may call nothing, protected and encrypted as the nodes are", () => {
    const { inputs, ignoreChanges, secretInputs } = find(declared, "instance-witness");
    const node = find(declared, "instance-a");
    const { metadataOptions, disableApiTermination } = node.inputs;
    expect(inputs).toMatchObject({
      instanceType: "m7g.medium",
      primaryNetworkInterface: { networkInterfaceId: { of: "interface-witness" } },
      rootBlockDevice: { encrypted: true, volumeType: "gp3", volumeSize: 10 },
      tags: { "hotpair:node": "witness", "hotpair:pair": "cloud", Name: "cloud-instance-witness" },
      volumeTags: { "hotpair:pair": "cloud" },
      metadataOptions,
      disableApiTermination,
    });
    expect(inputs).not.toHaveProperty("iamInstanceProfile");
    expect(JSON.stringify(inputs.ami)).toContain("debian-13-arm64-*");
    expect([ignoreChanges, secretInputs]).toEqual([node.ignoreChanges, node.secretInputs]);
  });

  it("starts with its own pinned host key, its name, and no network but the one that DHCP serves", () => {
    const { userData } = find(declared, "instance-witness").inputs;
    const { join: parts } = userData as { readonly join: readonly (string | object)[] };
    expect(parts).toContainEqual({ quoted: { secret: "aws.witness.hostKey" } });
    const said = parse(
      parts.map((part) => (typeof part === "string" ? part : "quoted" in part ? '""' : "0a:00:00:00:00:01")).join(""),
    );
    expect(said).toMatchObject({
      hostname: "witness",
      ssh_keys: { ed25519_public: cloudDataPair.witness?.ssh.hostKey },
    });
    expect(said.write_files.map(({ path }: { path: string }) => path)).toEqual([
      "/etc/cloud/cloud.cfg.d/60-hotpair.cfg",
      "/etc/systemd/network/05-hotpair-public.network",
    ]);
  });

  it("has its image pinned where one is named, and room for two copies of the largest database", () => {
    const { authority } = cloudDataPair;
    const { witness } = cloudDataPair.aws;
    const pair = inAws(
      { witness: witness && { ...witness, image: "ami-0a1b2c3d4e5f60719" } },
      { ...cloudDataPair, authority: authority && { ...authority, etcd: { ...authority.etcd, quota: 3 * 1024 ** 3 } } },
    );
    expect(find(declare(pair), "instance-witness").inputs).toMatchObject({
      ami: "ami-0a1b2c3d4e5f60719",
      rootBlockDevice: { volumeSize: 14 },
    });
  });

  it("is on demand, with another machine when its hardware fails, also beside servers of the spot market", () => {
    const spot = declare(inAws({ instance: { ...cloudPair.aws.instance, spot: true } }, cloudDataPair));
    expect(find(spot, "instance-a").inputs.instanceMarketOptions).toBeDefined();
    expect(find(spot, "instance-witness").inputs.instanceMarketOptions).toBeUndefined();
    expect(ofType(spot, "MetricAlarm").map(({ name }) => name)).toEqual(["recovery-witness"]);
  });

  it("is reached when it is there with its address; one that exists is not waited for, and not made", () => {
    expect(serverOf(cloudDataPair, "witness")).toEqual(["instance-witness", "operators-witness"]);
    expect(find(declared, "operators-witness").inputs).toMatchObject({
      allocationId: "eipalloc-0a1b2c3d4e5f60713",
      networkInterfaceId: { of: "interface-witness" },
      privateIpAddress: "10.20.3.10",
    });
    expect(serverOf(givenWitness, "witness")).toEqual([]);
    expect(declare(givenWitness).filter(({ name }) => name.includes("-witness") && !name.startsWith("in-"))).toEqual(
      [],
    );
  });
});

// --- what holds for every configuration -------------------------------------------------------------------------------

const everywhere = (holds: (declared: readonly Declared[], pair: CloudPair) => void) =>
  fc.assert(
    fc.property(arbitraryCloud(), (pair) => holds(declare(pair), pair)),
    { numRuns: 60 },
  );

describe("in every configuration", () => {
  it("references lead to what stands before them", () => {
    everywhere((declared) => {
      expect(new Set(declared.map(({ name }) => name)).size).toBe(declared.length);
      for (const [index, { name, inputs, after = [] }] of declared.entries()) {
        const before = declared.slice(0, index);
        for (const needed of after) expect(before.map((each) => each.name)).toContain(needed);
        for (const { of } of outputsIn(inputs))
          expect(
            before.map((each) => each.name),
            `${name} needs ${of}`,
          ).toContain(of);
      }
    });
  });

  it("everything that has tags has the owner's and the pair's", () => {
    everywhere((declared, pair) => {
      for (const { name, inputs } of declared) {
        if (inputs.tags === undefined) continue;
        expect(inputs.tags).toMatchObject({
          owner: "shop-team",
          Name: `${pair.name}-${name}`,
          "hotpair:pair": pair.name,
        });
      }
    });
  });

  it("groups and rules are described in letters that AWS takes", () => {
    everywhere((declared) => {
      for (const { name, type, inputs } of declared)
        if (/SecurityGroup/.test(type))
          expect(inputs.description ?? "", name).toMatch(/^[a-zA-Z0-9. _\-:/()#,@[\]+=&;{}!$*]{0,255}$/);
    });
  });

  it("servers are encrypted, keep their credentials to themselves, and only nodes have any", () => {
    everywhere((declared, pair) => {
      const servers = ofType(declared, "Instance");
      expect(servers.map(({ name }) => name)).toEqual([
        "instance-a",
        "instance-b",
        ...(pair.aws.witness === undefined ? [] : ["instance-witness"]),
      ]);
      for (const { name, inputs } of servers) {
        expect(inputs).toMatchObject({
          rootBlockDevice: { encrypted: true },
          metadataOptions: { httpTokens: "required" },
        });
        expect(inputs.iamInstanceProfile === undefined).toBe(name === "instance-witness");
      }
    });
  });

  it("subnets do not overlap, lie in the VPC, and hold the addresses that are fixed in them", () => {
    everywhere((declared, pair) => {
      const vpc = cidr(pair.aws.vpc.prefix);
      const subnets = ofType(declared, "Subnet").map(({ name, inputs }) => ({ name, cidr: cidr(inputs.cidrBlock) }));
      for (const [index, one] of subnets.entries()) {
        expect(contains(vpc, networkOf(one.cidr))).toBe(true);
        for (const other of subnets.slice(0, index)) expect(overlap(one.cidr, other.cidr)).toBe(false);
      }
      for (const { inputs } of ofType(declared, "NetworkInterface")) {
        const subnet = subnets.find(({ name }) => name === (inputs.subnetId as { of: string }).of);
        // The example's second addresses belong to its own prefix.
        const [own] = (inputs.privateIpLists ?? inputs.privateIps) as readonly string[];
        expect(subnet && contains(subnet.cidr, cidr(`${own}/32`).address)).toBe(true);
      }
    });
  });

  it("nothing is open but what a service declares, and to the world only what is for clients", () => {
    everywhere((declared, pair) => {
      const listeners = collectListeners(pair);
      const protocols = { tcp: "tcp", udp: "udp", icmp: "icmp", "112": "vrrp" } as const;
      for (const { name, inputs } of ofType(declared, "SecurityGroupIngressRule")) {
        const network = (inputs.securityGroupId as { of: string }).of.replace("group-", "");
        const ssh = inputs.fromPort === pair.nodes[0].ssh.port && pair.aws.ssh.from.includes(String(inputs.cidrIpv4));
        const protocol = protocols[inputs.ipProtocol as keyof typeof protocols];
        // The witness hears, and is heard, as a member and in no other way.
        const votes = network === "witness" || inputs.cidrIpv4 === `${pair.witness?.address}/32`;
        const listener = listeners.find(
          (each) =>
            each.network === (network === "witness" ? "public" : network) &&
            each.protocol === protocol &&
            (each.port ?? -1) === (inputs.fromPort ?? -1) &&
            (votes ? each.from === "members" : inputs.cidrIpv4 === undefined || each.from === "clients"),
        );
        expect(ssh || listener !== undefined, name).toBe(true);
        expect(inputs.fromPort).toBe(inputs.toPort);
      }
      expect(resourceFindings(declared, clientPorts(pair))).toEqual([]);
    });
  });
});

function cidr(text: unknown) {
  const parsed = parseCidr(String(text));
  if (parsed === undefined) throw new Error(`${text} is no prefix`);
  return parsed;
}

it("the operator's policy has what makes and deletes every type, and no wildcard among its actions", () => {
  const text = readFileSync(join(import.meta.dirname, "../../docs/aws-operator-policy.json"), "utf8");
  const { Statement } = JSON.parse(text) as { readonly Statement: readonly { readonly Action: readonly string[] }[] };
  const allowed = Statement.flatMap(({ Action }) => Action);
  expect(allowed.filter((action) => action.includes("*"))).toEqual([]);
  // By the Service Authorization Reference.
  const needed: Readonly<Record<string, string>> = {
    Vpc: "ec2:CreateVpc ec2:DeleteVpc",
    DefaultSecurityGroup: "ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress",
    InternetGateway:
      "ec2:CreateInternetGateway ec2:AttachInternetGateway ec2:DetachInternetGateway ec2:DeleteInternetGateway",
    Subnet: "ec2:CreateSubnet ec2:DeleteSubnet",
    RouteTable: "ec2:CreateRouteTable ec2:DeleteRouteTable",
    Route: "ec2:CreateRoute ec2:DeleteRoute",
    RouteTableAssociation: "ec2:AssociateRouteTable ec2:DisassociateRouteTable",
    SecurityGroup: "ec2:CreateSecurityGroup ec2:DeleteSecurityGroup",
    SecurityGroupIngressRule: "ec2:AuthorizeSecurityGroupIngress ec2:RevokeSecurityGroupIngress",
    SecurityGroupEgressRule: "ec2:AuthorizeSecurityGroupEgress ec2:RevokeSecurityGroupEgress",
    NetworkInterface: "ec2:CreateNetworkInterface ec2:DeleteNetworkInterface",
    NetworkInterfaceAttachment: "ec2:AttachNetworkInterface ec2:DetachNetworkInterface",
    Eip: "ec2:AllocateAddress ec2:ReleaseAddress",
    EipAssociation: "ec2:AssociateAddress ec2:DisassociateAddress",
    Record: "route53:ChangeResourceRecordSets route53:GetChange",
    KeyPair: "ec2:ImportKeyPair ec2:DeleteKeyPair",
    PlacementGroup: "ec2:CreatePlacementGroup ec2:DeletePlacementGroup",
    Role: "iam:CreateRole iam:DeleteRole iam:PassRole",
    InstanceProfile: "iam:CreateInstanceProfile iam:AddRoleToInstanceProfile iam:DeleteInstanceProfile",
    RolePolicy: "iam:PutRolePolicy iam:DeleteRolePolicy",
    Instance: "ec2:RunInstances ec2:TerminateInstances ec2:DescribeImages",
    MetricAlarm: "cloudwatch:PutMetricAlarm cloudwatch:DeleteAlarms",
    // Made with its tags (Amazon S3 API reference, CreateBucket).
    Bucket: "s3:CreateBucket s3:DeleteBucket s3:TagResource s3:ListTagsForResource",
    BucketVersioning: "s3:PutBucketVersioning",
    BucketServerSideEncryptionConfiguration: "s3:PutEncryptionConfiguration",
    BucketPublicAccessBlock: "s3:PutBucketPublicAccessBlock",
    BucketObjectLockConfiguration: "s3:PutBucketObjectLockConfiguration",
    BucketLifecycleConfiguration: "s3:PutLifecycleConfiguration",
    Vault: "backup:CreateBackupVault backup:DeleteBackupVault backup-storage:MountCapsule kms:CreateGrant",
    Plan: "backup:CreateBackupPlan backup:UpdateBackupPlan backup:DeleteBackupPlan",
    Selection: "backup:CreateBackupSelection backup:DeleteBackupSelection iam:PassRole",
    Budget: "budgets:ViewBudget budgets:ModifyBudget",
  };
  const pairs = [...Object.values(BY_METHOD), cloudDataPair];
  for (const type of new Set(pairs.flatMap((pair) => declare(pair).map(({ type }) => type))))
    expect(allowed, type).toEqual(expect.arrayContaining(needed[type.split(":").at(-1) ?? ""]?.split(" ") ?? [type]));
});
