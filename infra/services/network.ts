// All that hotpair knows of a node's own interfaces: what it renders for systemd-networkd where `managed` asks for it (bonds,
// VLANs, MTU, addresses), the program that carries a change out and takes it back, and what a bond adds to a recovery. By
// default the networks are the server's own, and nothing of this room exists.

import { type Duration, formatDuration, ms } from "../model/duration.ts";
import type { Finding } from "../model/finding.ts";
import { bondOf, type Link, linksOf, managedOf } from "../model/link.ts";
import type { Bond, NetworkName, Node, NodeId, Pair } from "../model/pair.ts";
import type { Contribution, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { masterDownFormula, masterDownInterval } from "../model/vrrp.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const network: Service = { name: "network", plan, timing, findings };

const NETWORKS = ["public", "heartbeat", "storage"] as const;
const LIBRARY = "/usr/lib/hotpair";
const PROGRAM = `${LIBRARY}/hotpair-network`;
export const NETWORK_UNIT = "hotpair-network.service";
/** Before what a server's owner usually calls his: the first file that matches an interface is the one that counts (systemd.network(5)). */
const FILES = "/etc/systemd/network/05-hotpair-";
/** They find their interfaces when they start. */
const DAEMONS = ["keepalived", "hotpair-arbiter", "hotpair-etcd", "hotpair-drbd", "haproxy", "nginx"];
/** Frames larger than this are jumbo frames, which every hop must carry (IEEE 802.3). */
const ETHERNET_MTU = 1500;
/** From the change to the answer of everybody who answered before it; systemd-networkd has 20 s of them (infra/node/network/change.py). */
const REACHED_SECONDS = 40;

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const [node, peer] = id === "a" ? pair.nodes : [pair.nodes[1], pair.nodes[0]];
  const links = linksOf(node);
  if (links.length === 0) return undefined;
  const names = { pair: pair.name, node: node.name };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  // One unit carries every change out, and takes it back: systemd-networkd alone does neither wholly.
  const change = { action: "reload", unit: NETWORK_UNIT } as const;
  const nothing = { action: "none" } as const;
  const rendered = links.flatMap((link) => linkFiles(pair, names, link));
  const files: readonly PlannedFile[] = rendered.map((file) => ({ ...root, ...file, onChange: change }));
  return {
    packages: ["iproute2", "iputils-ping", "python3"],
    files: [
      ...files,
      {
        ...root,
        path: "/etc/hotpair/network.json",
        content: `${JSON.stringify(
          programSettings(
            pair,
            node,
            peer,
            files.map(({ path }) => path),
          ),
          undefined,
          2,
        )}\n`,
        onChange: change,
      },
      { ...root, path: PROGRAM, mode: "0755", content: nodeFile("hotpair-network"), onChange: nothing },
      ...nodeModules("network").map(
        (name): PlannedFile => ({
          ...root,
          path: `${LIBRARY}/network/${name}`,
          content: nodeFile(`network/${name}`),
          onChange: nothing,
        }),
      ),
      {
        ...root,
        path: `/etc/systemd/system/${NETWORK_UNIT}`,
        content: render("network/hotpair-network.service.hbs", {
          ...names,
          daemons: DAEMONS.map((daemon) => `${daemon}.service`).join(" "),
        }),
        onChange: nothing,
      },
    ],
    units: [{ name: NETWORK_UNIT, running: true, holdsRole: false, interrupts: true }],
    validators: [
      { name: "hotpair-network check", covers: [FILES, "/etc/hotpair/network.json"], command: `${PROGRAM} check` },
    ],
    health: [
      {
        name: "whoever answered over this node's networks still does",
        command: `${PROGRAM} verify`,
        deadlineSeconds: REACHED_SECONDS,
      },
    ],
  };
}

interface Rendered {
  readonly path: string;
  readonly content: string;
}

/** What systemd-networkd is told of a link, and of the members of a bond. */
function linkFiles(
  pair: Pair,
  names: { readonly pair: string; readonly node: string },
  { name, kind, networks, mtu, address, vlans, vlan, bond }: Link,
): readonly Rendered[] {
  const common = { ...names, name, networks: networks.join(", "), mtu };
  const isPublic = pair.nodes.some((node) => node.networks.public.address === address);
  const device: Rendered = {
    path: `${FILES}${name}.netdev`,
    content: render("network/netdev.hbs", {
      ...common,
      kind,
      vlan,
      bond: bond && { miimonMs: bond.miimon, primary: bond.primary },
    }),
  };
  return [
    ...(kind === "card" ? [] : [device]),
    {
      path: `${FILES}${name}.network`,
      content: render("network/link.network.hbs", {
        ...common,
        address,
        gateway: isPublic ? pair.networks.public.gateway : undefined,
        vlans,
        keepsVips: isPublic,
      }),
    },
    ...(bond?.members ?? []).map((member, index): Rendered => {
      const mac = member.includes(":");
      return {
        path: `${FILES}${name}-member${index + 1}.network`,
        content: render("network/member.network.hbs", {
          ...names,
          bond: name,
          mac: mac ? member : undefined,
          name: mac ? undefined : member,
          primary: bond?.primary === member,
        }),
      };
    }),
  ];
}

/** /etc/hotpair/network.json, as infra/node/network/settings.py reads it. */
function programSettings(
  pair: Pair,
  node: Node,
  peer: Node,
  files: readonly string[],
): Readonly<Record<string, unknown>> {
  const links = linksOf(node);
  return {
    version: 1,
    pair: pair.name,
    node: node.name,
    files,
    cards: links.flatMap(({ name, kind, bond, overSsh }) =>
      kind === "vlan" ? [] : (bond?.members ?? [name]).map((id) => ({ id, ssh: overSsh })),
    ),
    devices: links.map(({ name, kind, mtu, address, bond, overSsh }) => ({
      name,
      kind,
      mtu,
      address: address ?? null,
      cards: bond?.members ?? [],
      ssh: overSsh,
      miimon: bond?.miimon ?? 0,
      primary: bond?.primary ?? null,
    })),
    // Every network, also the owner's: one that hotpair no longer sets up, and nobody else does, is found by its silence.
    reach: NETWORKS.flatMap((name) => {
      const [here, there] = [node.networks[name], peer.networks[name]];
      if (here === undefined || there === undefined) return [];
      return [
        {
          network: name,
          address: plain(here.address),
          peer: plain(there.address),
          // Of the owner's networks the base service judges the size of packets.
          mtu: here.managed === undefined ? ETHERNET_MTU : here.mtu,
          port: peer.ssh.port,
        },
      ];
    }),
    gateway: pair.networks.public.gateway ?? null,
    vips: pair.vips.map(({ address }) => plain(address)),
  };
}

const plain = (address: string): string => address.split("/")[0] ?? address;

/** The longest that the loss of a member's link goes unnoticed, on either node. */
const longestMiimon = ({ nodes }: Pair, name: NetworkName): Duration | undefined => {
  const found = nodes.flatMap((node) => bondOf(node, name)?.miimon ?? []);
  return found.length === 0 ? undefined : ms(Math.max(...found));
};

/**
 * Of a bond, the public link is lost when its last member is; that one member lost its link is no failure of the pair. The
 * driver looks at the links, and no interrupt tells it.
 */
function timing(pair: Pair): readonly TimingTerm[] {
  const miimon = longestMiimon(pair, "public");
  if (miimon === undefined) return [];
  return [
    {
      service: "network",
      failure: "public-link-loss",
      step: "detect",
      name: "the bond looks at the link of its last member",
      lower: ms(0),
      upper: miimon,
      formula: `≤ miimon ${formatDuration(miimon)}`,
      source: "Linux, Documentation/networking/bonding.rst (miimon)",
    },
  ];
}

const RULE = "managed-networks";

function findings(pair: Pair): readonly Finding[] {
  return [
    ...pair.nodes.flatMap((node, index) =>
      NETWORKS.flatMap((name) => {
        const bond = bondOf(node, name);
        const at = `hotpair:pair.nodes[${index}].networks.${name}`;
        return [...(bond === undefined ? [] : lonely(node, bond, at)), ...jumboPublic(pair, node, name, at)];
      }),
    ),
    ...pair.nodes.flatMap((node, index) => sameVlans(node, index)),
    ...differentVlans(pair),
    ...routerless(pair),
    ...slowBonds(pair),
  ];
}

const advisory = (path: string, message: string, fix: string): Finding => ({
  rule: RULE,
  level: "advisory",
  path,
  message,
  fix,
});

const lonely = (node: Node, { members }: Bond, at: string): readonly Finding[] =>
  members.length > 1
    ? []
    : [
        advisory(
          `${at}.managed.bond.members`,
          `${node.name}: the bond has one member, ${members[0]}: its cable is as alone as without a bond`,
          `add a second card to ${at}.managed.bond.members, best one that leads to another switch`,
        ),
      ];

function jumboPublic(pair: Pair, node: Node, name: NetworkName, at: string): readonly Finding[] {
  const { mtu } = node.networks[name] ?? { mtu: ETHERNET_MTU };
  if (name !== "public" || mtu <= ETHERNET_MTU || pair.target === "aws") return [];
  return [
    advisory(
      `${at}.mtu`,
      `${node.name}: packets of ${mtu} bytes on the network where clients are: whoever is behind a hop with ${ETHERNET_MTU} and does not let the answers of routers through (ICMP, RFC 1191) connects, and then hears nothing`,
      `set ${at}.mtu to ${ETHERNET_MTU}`,
    ),
  ];
}

/** Two cards with the same tag may lead to one network, and a fault of that one takes both. */
function sameVlans(node: Node, index: number): readonly Finding[] {
  const seen = new Map<number, NetworkName>();
  return managedOf(node).flatMap(({ network: name, attachment }) => {
    const vlan = attachment.managed?.vlan;
    const other = vlan === undefined ? undefined : seen.get(vlan);
    if (vlan !== undefined && other === undefined) seen.set(vlan, name);
    if (other === undefined) return [];
    const at = `hotpair:pair.nodes[${index}].networks.${name}`;
    return [
      advisory(
        `${at}.managed.vlan`,
        `${node.name}: ${name} and ${other} are both VLAN ${vlan}: where the two cables meet they are one network, and fail together`,
        `give ${name} a VLAN of its own, on both nodes`,
      ),
    ];
  });
}

function differentVlans({ nodes: [a, b] }: Pair): readonly Finding[] {
  return NETWORKS.flatMap((name) => {
    const [here, there] = [a.networks[name]?.managed?.vlan, b.networks[name]?.managed?.vlan];
    if (here === undefined || there === undefined || here === there) return [];
    const at = `hotpair:pair.nodes[1].networks.${name}.managed.vlan`;
    return [
      advisory(
        at,
        `the ${name} network is VLAN ${here} at ${a.name} and VLAN ${there} at ${b.name}: they reach each other only where a switch translates one into the other`,
        `set ${at} to ${here}`,
      ),
    ];
  });
}

/** The owner's file had the route to everybody beyond; hotpair's has it only where it was told of the router. */
function routerless({ networks, nodes }: Pair): readonly Finding[] {
  const index = nodes.findIndex((node) => node.networks.public.managed !== undefined);
  if (index === -1 || networks.public.gateway !== undefined) return [];
  return [
    advisory(
      `hotpair:pair.nodes[${index}].networks.public.managed`,
      "hotpair sets the public network up and knows no router on it: clients beyond it get no answers, unless another interface has the default route",
      "set hotpair:pair.networks.public.gateway to the router's address",
    ),
  ];
}

/** What a pulled cable of a bond costs must be less than what the daemons on it take for a failure. */
function slowBonds(pair: Pair): readonly Finding[] {
  const { advertInterval: advert, priority } = pair.vrrp;
  const ends = masterDownInterval(advert, priority);
  const heartbeat = longestMiimon(pair, "heartbeat");
  const replication = pair.drbd === undefined ? undefined : longestMiimon(pair, pair.drbd.network);
  const at = (name: NetworkName) =>
    `hotpair:pair.nodes[${bondOf(pair.nodes[0], name) === undefined ? 1 : 0}].networks.${name}.managed.bond.miimon`;
  return [
    ...(heartbeat === undefined || heartbeat + advert < ends
      ? []
      : [
          advisory(
            at("heartbeat"),
            `a pulled cable of the heartbeat's bond is noticed within ${formatDuration(heartbeat)}; with the advert before it, ${formatDuration(ms(heartbeat + advert))} without adverts, and VRRP takes over after ${masterDownFormula(advert, priority)} = ${formatDuration(ends)}: only the arbiter's veto is left`,
            `set miimon there to ${formatDuration(ms((Math.ceil((ends - advert) / 10) - 1) * 10))} or less`,
          ),
        ]),
    ...(pair.drbd === undefined || replication === undefined || replication <= pair.drbd.pingTimeout
      ? []
      : [
          advisory(
            at(pair.drbd.network),
            `a pulled cable of the bond that disks are replicated over is noticed within ${formatDuration(replication)}, and DRBD gives its peer up after ${formatDuration(pair.drbd.pingTimeout)}: the spare member would not save the connection`,
            `set miimon there to ${formatDuration(pair.drbd.pingTimeout)} or less, or hotpair:drbd.pingTimeout to more`,
          ),
        ]),
  ];
}
