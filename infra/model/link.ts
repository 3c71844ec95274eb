// What a node's networks are made of where hotpair sets them up: cards, bonds and VLANs, derived from its attachments. Pure;
// how systemd-networkd is told is in infra/services/network.ts.

import type { Attachment, Bond, NetworkName, Node } from "./pair.ts";

const NETWORKS = ["public", "heartbeat", "storage"] as const;

/** An interface that hotpair sets up, with everything that stands on it. */
export interface Link {
  readonly name: string;
  readonly kind: "card" | "bond" | "vlan";
  /** Networks that it carries, also for VLANs on it. */
  readonly networks: readonly NetworkName[];
  /** Bytes: what the largest of its networks needs. */
  readonly mtu: number;
  /** With prefix length; undefined where only VLANs stand on it. */
  readonly address: string | undefined;
  /** Names of the VLANs on it. */
  readonly vlans: readonly string[];
  /** Defined exactly for a VLAN. */
  readonly vlan: number | undefined;
  /** Defined exactly for a bond. */
  readonly bond: Bond | undefined;
  /** Each network that it carries may be changed although SSH comes over it. */
  readonly overSsh: boolean;
}

/** The card or bond that an attachment's traffic goes over: `bond0` for the VLAN `bond0.10`. */
export const carrierOf = ({ interface: name, managed }: Attachment): string =>
  managed?.vlan === undefined ? name : name.slice(0, name.lastIndexOf("."));

/** Attachments of a node that hotpair sets up, in the order of the networks. */
export const managedOf = (node: Node): readonly { readonly network: NetworkName; readonly attachment: Attachment }[] =>
  NETWORKS.flatMap((network) => {
    const attachment = node.networks[network];
    return attachment?.managed === undefined ? [] : [{ network, attachment }];
  });

/** Cards and bonds first, each followed by the VLANs on it; none where the networks are the server's own. */
export function linksOf(node: Node): readonly Link[] {
  const attached = managedOf(node);
  const carriers = [...new Set(attached.map(({ attachment }) => carrierOf(attachment)))];
  return carriers.flatMap((name): readonly Link[] => {
    const here = attached.filter(({ attachment }) => carrierOf(attachment) === name);
    const tagged = here.filter(({ attachment }) => attachment.managed?.vlan !== undefined);
    const untagged = here.find(({ attachment }) => attachment.managed?.vlan === undefined);
    const bond = here.map(({ attachment }) => attachment.managed?.bond).find((one) => one !== undefined);
    const overSsh = here.every(({ attachment }) => attachment.managed?.overSsh !== undefined);
    return [
      {
        name,
        kind: bond === undefined ? "card" : "bond",
        networks: here.map(({ network }) => network),
        mtu: Math.max(...here.map(({ attachment }) => attachment.mtu)),
        address: untagged?.attachment.address,
        vlans: tagged.map(({ attachment }) => attachment.interface),
        vlan: undefined,
        bond,
        overSsh,
      },
      ...tagged.map(
        ({ network, attachment }): Link => ({
          name: attachment.interface,
          kind: "vlan",
          networks: [network],
          mtu: attachment.mtu,
          address: attachment.address,
          vlans: [],
          vlan: attachment.managed?.vlan,
          bond: undefined,
          overSsh: attachment.managed?.overSsh !== undefined,
        }),
      ),
    ];
  });
}

/** The bond that a network's traffic goes over on this node, if hotpair set one up. */
export const bondOf = (node: Node, network: NetworkName): Bond | undefined => node.networks[network]?.managed?.bond;
