// The target `aws`: who is let in, at which ports, by what the services declare. What may never be open is in
// infra/model/aws-rules.ts.

import type { NetworkName } from "../model/pair.ts";
import type { Listener } from "../model/plan.ts";
import { type Declared, outputOf, type Value } from "../model/resource.ts";
import { type CloudPair, networksOf, vpcId } from "./aws-network.ts";

/** What AWS takes as the description of a group or a rule, and refuses otherwise (Amazon EC2 API reference, IpRange): no apostrophe, e.g. */
export const described = (text: string): string =>
  text.replaceAll(/[^a-zA-Z0-9. _\-:/()#,@[\]+=&;{}!$*]/g, "").slice(0, 255);

/** IP protocol numbers and names as security groups take them; VRRP is 112 (RFC 9568 §5.1.1.4). */
const PROTOCOL = { tcp: "tcp", udp: "udp", icmp: "icmp", vrrp: "112" } as const;

interface Opening {
  readonly name: string;
  readonly network: NetworkName;
  readonly inputs: Readonly<Record<string, Value>>;
}

/** One group per network, shared by both nodes' interfaces there, so that "the peer" is the group itself. */
export function firewall(pair: CloudPair, listeners: readonly Listener[]): readonly Declared[] {
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
