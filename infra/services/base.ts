// What every node of a pair needs before any daemon: kernel settings, a journal that survives the night, hotpair's own
// directories and its apply transaction. Nothing about a single daemon belongs here.

import type { Duration } from "../model/duration.ts";
import { ms } from "../model/duration.ts";
import type { Finding } from "../model/finding.ts";
import type { Attachment, NetworkName, Node, NodeId, Pair } from "../model/pair.ts";
import type { Contribution, HealthCheck, Listener, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { nodeFile, render } from "./template.ts";

export const base: Service = { name: "base", plan, timing, findings, listeners };

/** IPv4 header (20) and ICMP header (8): what a ping adds to its payload (RFC 791, RFC 792). */
const PING_OVERHEAD = 28;
/** Frames larger than this are jumbo frames, which every hop must carry (IEEE 802.3). */
const ETHERNET_MTU = 1500;

function plan(pair: Pair, id: NodeId): Contribution {
  const node = pair.nodes[id === "a" ? 0 : 1];
  const names = { pair: pair.name, node: node.name };
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const jumbo = jumboChecks(pair, id);
  return {
    packages: jumbo.length > 0 ? ["iputils-ping"] : [],
    files: [
      {
        ...root,
        path: "/etc/sysctl.d/60-hotpair.conf",
        content: render("base/sysctl.conf.hbs", {
          ...names,
          interfaces: interfaces(node),
          replicates: pair.drbd !== undefined,
        }),
        onChange: { action: "restart", unit: "systemd-sysctl.service" },
      },
      ...(pair.base.persistentJournal
        ? [
            {
              ...root,
              path: "/etc/systemd/journald.conf.d/60-hotpair.conf",
              content: render("base/journald.conf.hbs", names),
              onChange: { action: "restart", unit: "systemd-journald.service" },
            } as const,
          ]
        : []),
      ...(pair.base.watchdog === undefined
        ? []
        : [
            {
              ...root,
              path: "/etc/systemd/system.conf.d/60-hotpair.conf",
              content: render("base/watchdog.conf.hbs", { ...names, watchdog: pair.base.watchdog / 1_000 }),
              // Read at boot: a node that holds the lease gets no daemon-reload for it.
              onChange: { action: "none" },
            } as const,
          ]),
      {
        ...root,
        path: "/etc/tmpfiles.d/60-hotpair.conf",
        content: render("base/tmpfiles.conf.hbs", names),
        onChange: { action: "restart", unit: "hotpair-directories.service" },
      },
      {
        ...root,
        path: "/etc/systemd/system/hotpair-directories.service",
        content: render("base/directories.service.hbs", {}),
        onChange: { action: "none" },
      },
      {
        ...root,
        path: "/usr/lib/hotpair/hotpair-apply",
        mode: "0755",
        content: nodeFile("hotpair-apply"),
        onChange: { action: "none" },
      },
      // Its undo, at boot and by a deadline; hotpair-apply starts the timer before it changes anything.
      ...["hotpair-undo.service", "hotpair-undo.timer"].map(
        (unit): PlannedFile => ({
          ...root,
          path: `/etc/systemd/system/${unit}`,
          content: nodeFile(unit),
          onChange: { action: "none" },
        }),
      ),
    ],
    units: [{ name: "hotpair-undo.service", running: false, holdsRole: false }],
    validators: [
      {
        name: "systemd-sysctl",
        covers: ["/etc/sysctl.d/60-hotpair.conf"],
        // --dry-run arrived with systemd 256; older ones read the file only when they apply it.
        command:
          'case "$(/usr/lib/systemd/systemd-sysctl --help)" in *--dry-run*) ' +
          "/usr/lib/systemd/systemd-sysctl --dry-run /etc/sysctl.d/60-hotpair.conf >/dev/null;; esac",
      },
      {
        name: "sh -n",
        covers: ["/usr/lib/hotpair/hotpair-apply"],
        command: "sh -n /usr/lib/hotpair/hotpair-apply",
      },
      {
        name: "systemd-tmpfiles --dry-run",
        covers: ["/etc/tmpfiles.d/60-hotpair.conf"],
        // --dry-run arrived with systemd 256, too.
        command:
          'case "$(systemd-tmpfiles --help)" in *--dry-run*) ' +
          "systemd-tmpfiles --dry-run --create /etc/tmpfiles.d/60-hotpair.conf >/dev/null;; esac",
      },
    ],
    health: [
      {
        name: "VIPs can be bound before they are here",
        command: 'test "$(cat /proc/sys/net/ipv4/ip_nonlocal_bind)" = 1',
        deadlineSeconds: 5,
      },
      ...jumbo,
    ],
  };
}

/** Interfaces of a node, each once, with the networks it carries. */
function interfaces(node: Node): readonly { readonly name: string; readonly networks: string }[] {
  const carried = new Map<string, string[]>();
  for (const [network, attachment] of attachments(node))
    carried.set(attachment.interface, [...(carried.get(attachment.interface) ?? []), network]);
  return [...carried].map(([name, networks]) => ({ name, networks: networks.join(", ") }));
}

const attachments = (node: Node): readonly (readonly [NetworkName, Attachment])[] =>
  (["public", "heartbeat", "storage"] as const).flatMap((network) => {
    const attachment = node.networks[network];
    return attachment === undefined ? [] : [[network, attachment] as const];
  });

/**
 * One check per network with jumbo frames: a ping of full size that may not be fragmented reaches the peer. A peer that
 * does not answer a small ping is down or not there yet, which is no fault of this change.
 */
function jumboChecks(pair: Pair, id: NodeId): readonly HealthCheck[] {
  const [node, peer] = id === "a" ? pair.nodes : [pair.nodes[1], pair.nodes[0]];
  return attachments(node).flatMap(([network, { mtu, address, managed }]) => {
    const there = peer.networks[network];
    // Where hotpair itself makes the frames larger, it is the network service that judges.
    if (mtu <= ETHERNET_MTU || there === undefined || managed !== undefined) return [];
    const from = address.split("/")[0];
    const to = there.address.split("/")[0];
    return [
      {
        name: `${network} network carries ${mtu}-byte frames to ${peer.name}`,
        command:
          `ping -q -c 1 -W 1 -I ${from} ${to} >/dev/null || exit 0; ` +
          `ping -q -c 2 -i 0.2 -W 1 -M do -s ${mtu - PING_OVERHEAD} -I ${from} ${to}`,
        deadlineSeconds: 10,
      },
    ];
  });
}

/** Pings of full size (jumboChecks), and what routers say of packets that are too large (RFC 1191). */
function listeners(pair: Pair): readonly Listener[] {
  return (["public", "heartbeat", "storage"] as const).flatMap((network) =>
    pair.networks[network] === undefined
      ? []
      : [{ what: "ping", network, from: "peer", protocol: "icmp", port: undefined } as const],
  );
}

const NOTHING: Duration = ms(0);

/** The faults that no daemon of the pair has to act upon. */
function timing(): readonly TimingTerm[] {
  return [
    {
      service: "base",
      failure: "disk-full",
      step: "recover",
      name: "nothing that serves writes to the root disk",
      lower: NOTHING,
      upper: NOTHING,
      formula: "0",
      source: "docs/failures/disk-full.md",
    },
  ];
}

function findings(pair: Pair): readonly Finding[] {
  if (pair.base.persistentJournal) return [];
  return [
    {
      rule: "journal-kept",
      level: "advisory",
      path: "hotpair:pair.base.persistentJournal",
      message: "the journal is not kept on disk: what a node logged before a power cut is gone after it",
      fix: "set hotpair:pair.base.persistentJournal to true",
    },
  ];
}
