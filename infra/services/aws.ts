// What AWS adds to a pair whose servers stand there: the program that moves its address, how long that takes, and what is
// unwise in the choice of servers and zones. What is made in AWS is in infra/targets/aws.ts; VRRP decides there as everywhere.

import { formatDuration, ms } from "../model/duration.ts";
import type { Finding } from "../model/finding.ts";
import type { Accepted, Aws, NodeId, Pair } from "../model/pair.ts";
import type { Contribution, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { ADDRESS_MOVES, hostOf } from "./keepalived.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const aws: Service = { name: "aws", plan, timing, findings };

const LIBRARY = "/usr/lib/hotpair";
const PROGRAM = `${LIBRARY}/hotpair-address`;
const UNIT = "hotpair-address.service";
/** A call that is under way is given up; without a lease nothing waits for the end of this unit. */
const STOP = ms(200);

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { aws: cloud, authority } = pair;
  if (cloud === undefined) return undefined;
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const restart = { action: "restart", unit: UNIT } as const;
  const node = pair.nodes[id === "a" ? 0 : 1];
  return {
    packages: ["ca-certificates", "iproute2", "python3"],
    files: [
      { ...root, path: PROGRAM, mode: "0755", content: nodeFile("hotpair-address"), onChange: restart },
      ...["address", "aws"].flatMap((room) =>
        nodeModules(room).map(
          (name): PlannedFile => ({
            ...root,
            path: `${LIBRARY}/${room}/${name}`,
            content: nodeFile(`${room}/${name}`),
            onChange: restart,
          }),
        ),
      ),
      {
        ...root,
        path: "/etc/hotpair/address.json",
        content: `${JSON.stringify(programSettings(pair, cloud, id), undefined, 2)}\n`,
        onChange: restart,
      },
      {
        ...root,
        path: `/etc/systemd/system/${UNIT}`,
        content: render("aws/hotpair-address.service.hbs", {
          pair: pair.name,
          node: node.name,
          method: cloud.vip.method,
          stateful: authority !== undefined,
          stopMs: authority?.lease.stopTimeout ?? STOP,
        }),
        onChange: restart,
      },
    ],
    // Up with the active target alone.
    units: [{ name: UNIT, running: false, holdsRole: false }],
    validators: [
      {
        name: "hotpair-address check",
        covers: [PROGRAM, `${LIBRARY}/address/`, `${LIBRARY}/aws/`, "/etc/hotpair/address.json"],
        command: `${PROGRAM} check`,
      },
    ],
    health: [
      // A role that may not move the address is found now, and not at the first failover.
      { name: "this node may move the address", command: `${PROGRAM} preflight --wait 45`, deadlineSeconds: 60 },
    ],
  };
}

/** /etc/hotpair/address.json; every time in seconds, as Python counts them. */
function programSettings(pair: Pair, { region, vip, ssh }: Aws, id: NodeId): Readonly<Record<string, unknown>> {
  const node = pair.nodes[id === "a" ? 0 : 1];
  const reached = ssh.elasticIps === undefined ? hostOf(node.networks.public.address) : node.ssh.host;
  return {
    version: 1,
    pair: pair.name,
    node: node.name,
    method: vip.method,
    region,
    interface: node.networks.public.interface,
    vips: pair.vips.map(({ address }) => hostOf(address)),
    own: vip.addresses?.[id] ?? reached,
    hostedZone: vip.record?.hostedZone ?? "",
    record: vip.record?.name ?? "",
    ttl: (vip.record?.ttl ?? 0) / 1_000,
    within: vip.within / 1_000,
  };
}

const DOCUMENTED = "docs/aws.md#the-address-that-moves";

function timing({ aws: cloud }: Pair): readonly TimingTerm[] {
  if (cloud === undefined) return [];
  const { method, within, record } = cloud.vip;
  return ADDRESS_MOVES.flatMap((failure): readonly TimingTerm[] => [
    {
      service: "aws",
      failure,
      step: "recover",
      name: `the address moves (${method}; stated, to be measured in your account)`,
      lower: ms(0),
      upper: within,
      formula: `≤ ${formatDuration(within)}`,
      source: DOCUMENTED,
    },
    ...(record === undefined
      ? []
      : [
          {
            service: "aws",
            failure,
            step: "client",
            name: "resolvers keep the old record",
            lower: ms(0),
            upper: record.ttl,
            formula: `≤ TTL ${formatDuration(record.ttl)}`,
            source: "RFC 1035 §3.2.1",
          } as const,
        ]),
  ]);
}

function findings({ aws: cloud }: Pair): readonly Finding[] {
  if (cloud === undefined) return [];
  return [...twoZones(cloud), ...steadyInstances(cloud), ...noDefaultVpc(cloud), ...backupsPresent(cloud)];
}

/** Refused, or with its owner's reason only advised against. */
function unlessAccepted(
  cloud: Aws,
  accepted: Accepted,
  finding: Omit<Finding, "level"> & { readonly fix: string },
): readonly Finding[] {
  const reason = cloud.accepted[accepted];
  return reason === undefined
    ? [
        {
          ...finding,
          level: "mandatory",
          fix: `${finding.fix}, or say why not as hotpair:aws.accepted.${accepted}`,
        },
      ]
    : [{ ...finding, level: "advisory", message: `${finding.message}. Accepted: ${reason}` }];
}

const twoZones = (cloud: Aws): readonly Finding[] =>
  cloud.zones.a !== cloud.zones.b
    ? []
    : unlessAccepted(cloud, "oneZone", {
        rule: "aws-two-zones",
        path: "hotpair:aws.zones",
        message: `both servers are in ${cloud.zones.a}: the loss of that zone takes the pair`,
        fix: "name two zones in hotpair:aws.zones",
      });

/** Families whose processor time is credit (Amazon EC2 user guide, burstable performance instances). */
const BURSTABLE = /^t[2-9][a-z]*\./;

function steadyInstances(cloud: Aws): readonly Finding[] {
  const { type, spot } = cloud.instance;
  const rule = "aws-steady-instances";
  return [
    ...(BURSTABLE.test(type)
      ? unlessAccepted(cloud, "burstable", {
          rule,
          path: "hotpair:aws.instance.type",
          message: `${type} runs at a fraction of its speed when its credits are used up, and a failover under load is when they are: VRRP's timers and the lease's would run out on a healthy node`,
          fix: "set hotpair:aws.instance.type to a type with steady performance, e.g. m7i.large",
        })
      : []),
    ...(BURSTABLE.test(cloud.witness?.type ?? "")
      ? unlessAccepted(cloud, "burstable", {
          rule,
          path: "hotpair:aws.witness.type",
          message: `a witness of type ${cloud.witness?.type} votes late when its credits are used up, and a vote that comes late is none`,
          fix: "set hotpair:aws.witness.type to a type with steady performance, e.g. m7g.medium",
        })
      : []),
    ...(spot
      ? unlessAccepted(cloud, "spot", {
          rule,
          path: "hotpair:aws.instance.spot",
          message: "AWS may take both servers away at the same time, with two minutes' notice",
          fix: "set hotpair:aws.instance.spot to false",
        })
      : []),
  ];
}

/** The prefix that AWS gives the VPC which every account has from its first day (Amazon VPC user guide, default VPCs). */
const DEFAULT_VPC = "172.31.0.0/16";

const noDefaultVpc = ({ vpc }: Aws): readonly Finding[] =>
  vpc.existing === undefined || vpc.prefix !== DEFAULT_VPC
    ? []
    : [
        {
          rule: "aws-no-default-vpc",
          level: "mandatory",
          path: "hotpair:aws.vpc.id",
          message: `${vpc.existing.id} with ${vpc.prefix} is the account's default VPC, where whatever anybody starts without thinking gets a public address beside the pair`,
          fix: "remove hotpair:aws.vpc.id and hotpair:aws.vpc.routeTable, so that the pair has a VPC of its own",
        },
      ];

const backupsPresent = ({ bucket, backup }: Aws): readonly Finding[] =>
  bucket !== undefined || backup !== undefined
    ? []
    : [
        {
          rule: "aws-backups-present",
          level: "advisory",
          path: "hotpair:aws.bucket",
          message:
            "the pair has neither a bucket for backups nor images of its servers: a mistake, or whoever has the account's keys, reaches both copies of the data",
          fix: "describe a bucket as hotpair:aws.bucket, with an object lock, or hotpair:aws.backup",
        },
      ];
