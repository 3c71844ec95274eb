// What AWS adds to a pair whose servers stand there: how long its address takes to move, and what is unwise in the choice
// of servers and zones. What is made in AWS is in infra/targets/aws.ts; VRRP decides there as everywhere.

import { formatDuration, ms } from "../model/duration.ts";
import type { Finding } from "../model/finding.ts";
import type { Accepted, Aws, Pair } from "../model/pair.ts";
import type { Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { ADDRESS_MOVES } from "./keepalived.ts";

export const aws: Service = { name: "aws", plan: () => undefined, timing, findings };

const DOCUMENTED = "docs/aws.md#the-address-that-moves";

const STAYS = "nothing moves the address in AWS yet: clients reach the old node until somebody does";

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
      beyond: STAYS,
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
  return [
    ...addressMoves(cloud),
    ...twoZones(cloud),
    ...steadyInstances(cloud),
    ...noDefaultVpc(cloud),
    ...backupsPresent(cloud),
  ];
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

/** Nothing on the servers calls AWS yet. */
const addressMoves = (cloud: Aws): readonly Finding[] =>
  unlessAccepted(cloud, "addressStays", {
    rule: "aws-address-moves",
    path: "hotpair:aws.vip.method",
    message: `this version makes what ${cloud.vip.method} needs and moves the address itself only on the servers, not in AWS: after a failover clients would still reach the old node`,
    fix: "use target: onprem until a version moves it",
  });

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

const backupsPresent = ({ bucket }: Aws): readonly Finding[] =>
  bucket !== undefined
    ? []
    : [
        {
          rule: "aws-backups-present",
          level: "advisory",
          path: "hotpair:aws.bucket",
          message:
            "the pair has no bucket for backups: a mistake, or whoever has the account's keys, reaches both copies of the data",
          fix: "describe one as hotpair:aws.bucket, with an object lock",
        },
      ];
