// All that hotpair knows of etcd: the member of a pair's authority that runs on each node and on the witness, its
// certificates and limits, and when it may be interrupted. What the pair keeps in it is the lease's room.

import { type Authority, type HostId, NODE_IDS, type Pair } from "../model/pair.ts";
import type { Contribution, PlannedFile, Service } from "../model/plan.ts";
import { nodeFile, render } from "./template.ts";

export const etcd: Service = {
  name: "etcd",
  plan: contribution,
  witness: (pair) => contribution(pair, "witness"),
  // Elections are inside what the lease waits for (deadline > 2 × election + renewal): etcd adds nothing of its own.
  timing: () => [],
  findings: () => [],
  listeners: ({ authority }) =>
    authority === undefined
      ? []
      : [
          {
            what: "etcd's clients",
            network: "public",
            from: "members",
            protocol: "tcp",
            port: authority.etcd.clientPort,
          },
          {
            what: "etcd's members",
            network: "public",
            from: "members",
            protocol: "tcp",
            port: authority.etcd.peerPort,
          },
        ],
};

export const MEMBER_IDS: readonly [HostId, HostId, HostId] = [...NODE_IDS, "witness"];

/** From a start to a member that answers, with a majority there; a slow disk replays its log. */
const SETTLED_SECONDS = 30;
const MIB = 1024 ** 2;
/**
 * Memory of a member beside its database, of which etcd maps the whole file: 60 MiB at rest, less than 100 MiB in every
 * test of ours.
 */
const MEMORY_BESIDE_DATABASE_MIB = 192;

export const unitOf = (pair: Pair): string => `hotpair-etcd-${pair.name}.service`;

/** Certificates and settings of the member on this host. */
export const directoryOf = (pair: Pair): string => `/etc/hotpair/authority/${pair.name}`;

/** Programs of a pair on a witness stand apart from those of other pairs, which may be of another release. */
export const witnessLibrary = (pair: Pair): string => `/usr/lib/hotpair/pairs/${pair.name}`;

/** Puts back an interrupted change before the member starts. */
export const undoOf = (pair: Pair, id: HostId): string =>
  `hotpair-undo${id === "witness" ? `-${pair.name}` : ""}.service`;

export const programOf = (pair: Pair, id: HostId): string =>
  `${id === "witness" ? witnessLibrary(pair) : "/usr/lib/hotpair"}/hotpair-etcd`;

/** Exit code 0 when every member on this host may be interrupted, of whatever pair it is; otherwise says why not. */
export const mayReboot = (): string =>
  "for settings in /etc/hotpair/authority/*; do pair=$(basename $settings); " +
  "for program in /usr/lib/hotpair/pairs/$pair/hotpair-etcd /usr/lib/hotpair/hotpair-etcd; do " +
  "[ -x $program ] || continue; $program $pair may-stop || exit 1; break; done; done";

/** IPv4 address of a member: on the network that clients use. */
export function memberAddress(pair: Pair, id: HostId): string {
  const address =
    id === "witness" ? pair.witness?.address : pair.nodes[id === "a" ? 0 : 1].networks.public.address.split("/")[0];
  if (address === undefined) throw new Error(`the pair ${pair.name} has no ${id}`);
  return address;
}

/** Where clients of a member connect, e.g. `https://198.18.0.11:2379`. */
export const clientUrl = (pair: Pair, { etcd }: Authority, id: HostId): string =>
  `https://${memberAddress(pair, id)}:${etcd.clientPort}`;

export const peerUrl = (pair: Pair, { etcd }: Authority, id: HostId): string =>
  `https://${memberAddress(pair, id)}:${etcd.peerPort}`;

export const hostName = (pair: Pair, id: HostId): string =>
  id === "witness" ? (pair.witness?.name ?? id) : pair.nodes[id === "a" ? 0 : 1].name;

function contribution(pair: Pair, id: HostId): Contribution | undefined {
  const { authority } = pair;
  if (authority === undefined) return undefined;
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  const [directory, program, unit] = [directoryOf(pair), programOf(pair, id), unitOf(pair)];
  const restart = { action: "restart", unit } as const;
  const names = { pair: pair.name, member: id, host: hostName(pair, id), directory, program };
  const data = `/var/lib/hotpair/etcd/${pair.name}`;
  const memory = Math.ceil(authority.etcd.quota / MIB) + MEMORY_BESIDE_DATABASE_MIB;
  const { certificate, key } = authority.members[id];
  const files: readonly PlannedFile[] = [
    { ...root, path: program, mode: "0755", content: nodeFile("hotpair-etcd"), onChange: { action: "none" } },
    {
      ...root,
      path: `${directory}/etcd.env`,
      content: render("etcd/etcd.env.hbs", {
        ...names,
        data,
        clientUrl: clientUrl(pair, authority, id),
        peerUrl: peerUrl(pair, authority, id),
        heartbeatMs: authority.etcd.heartbeat,
        electionMs: authority.etcd.election,
        quota: authority.etcd.quota,
        slowMs: Math.max(100, authority.lease.rpcTimeout / 2),
      }),
      onChange: restart,
    },
    {
      ...root,
      path: `${directory}/members.env`,
      content: render("etcd/members.env.hbs", {
        ...names,
        peers: MEMBER_IDS.map((member) => `${member}=${peerUrl(pair, authority, member)}`).join(","),
        clients: MEMBER_IDS.map((member) => `${member}=${clientUrl(pair, authority, member)}`).join(","),
      }),
      onChange: { action: "none" },
    },
    // Whom a member trusts, it reads once; its own certificate at every connection.
    {
      ...root,
      path: `${directory}/ca.pem`,
      content: `${authority.caCertificate}${authority.previousCaCertificate ?? ""}`,
      onChange: restart,
    },
    { ...root, path: `${directory}/member.pem`, content: certificate, onChange: { action: "none" } },
    {
      ...root,
      path: `${directory}/member.key`,
      owner: "etcd",
      group: "etcd",
      mode: "0600",
      secret: true,
      content: [key],
      onChange: { action: "none" },
    },
    {
      ...root,
      path: `/etc/systemd/system/${unit}`,
      content: render("etcd/hotpair-etcd.service.hbs", {
        ...names,
        witness: id === "witness",
        undo: undoOf(pair, id),
        memoryHigh: `${memory - 32}M`,
        memoryMax: `${memory}M`,
      }),
      onChange: restart,
    },
  ];
  return {
    packages: ["curl", "etcd-client", "etcd-server"],
    files,
    units: [{ name: unit, running: true, holdsRole: false, guard: `${program} ${pair.name} may-stop` }],
    validators: [
      { name: "sh -n", covers: [program], command: `sh -n ${program}` },
      {
        name: "etcd's certificates",
        covers: [`${directory}/`],
        // openssl is on most servers; where it is not, etcd itself judges them after the start.
        command:
          `! command -v openssl >/dev/null || { openssl verify -CAfile ${directory}/ca.pem ${directory}/member.pem >/dev/null && ` +
          `[ "$(openssl x509 -in ${directory}/member.pem -noout -pubkey)" = "$(openssl pkey -in ${directory}/member.key -pubout)" ]; }`,
      },
    ],
    health: [
      {
        name: "the member of the pair's authority",
        command: `${program} ${pair.name} settled`,
        deadlineSeconds: SETTLED_SECONDS,
      },
    ],
    state: [data, `${data}.epoch`, `${data}.old`, `${data}.alone`],
  };
}
