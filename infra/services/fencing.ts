// All that hotpair knows of fencing: the program by which the holder of the lease switches the other node off, what it needs
// for that on each node, and what fencing adds to a recovery. When it shoots is decided in infra/node/fence/right.py; why
// then, in docs/fencing.md.

import { type Duration, formatDuration, ms } from "../model/duration.ts";
import type { FailureClassId } from "../model/failure.ts";
import {
  type Fencing,
  type FencingAgent,
  holdsState,
  NODE_IDS,
  type NodeId,
  type Pair,
  peerOf,
  type SecretRef,
} from "../model/pair.ts";
import type { Contribution, PlannedFile, Service } from "../model/plan.ts";
import type { TimingTerm } from "../model/timing.ts";
import { DEVICES_PRIMARY_UNIT } from "./drbd.ts";
import { hostName } from "./etcd.ts";
import { PRIMARY_UNIT } from "./mariadb.ts";
import { nodeFile, nodeModules, render } from "./template.ts";

export const fencing: Service = { name: "fencing", plan, timing, findings: () => [] };

const LIBRARY = "/usr/lib/hotpair";
export const FENCE_PROGRAM = `${LIBRARY}/hotpair-fence`;
const SETTINGS = "/etc/hotpair/fencing.json";
const OPTIONS = "/etc/hotpair/fencing.options";
export const FENCE_UNIT = "hotpair-fence.service";

/** Agents whose package in Debian 13 is not called as they are (its Contents-all, 4.16.0-3). */
const PACKAGES: Readonly<Record<string, string>> = {
  fence_epsr2: "fence-agents-eps",
  fence_evacuate: "fence-agents-compute",
  fence_idrac: "fence-agents-ipmilan",
  fence_ilo: "fence-agents-ilo2",
  fence_ilo3: "fence-agents-ipmilan",
  fence_ilo3_ssh: "fence-agents-ilo-ssh",
  fence_ilo4: "fence-agents-ipmilan",
  fence_ilo4_ssh: "fence-agents-ilo-ssh",
  fence_ilo5: "fence-agents-ipmilan",
  fence_ilo5_ssh: "fence-agents-ilo-ssh",
  fence_imm: "fence-agents-ipmilan",
  fence_ipmilanplus: "fence-agents-ipmilan",
  fence_lindypdu: "fence-agents-lindy-pdu",
  fence_tripplite_snmp: "fence-agents-apc-snmp",
  fence_virt: "fence-virt",
  fence_xvm: "fence-virt",
  fence_zvmip: "fence-agents-zvm",
};

/** Agents that are part of hotpair-fence itself: for machines of the lab, and for servers in AWS (fence/instance.py). */
const OWN_AGENTS: readonly string[] = ["lab", "aws"];

/** Package of an agent in Debian 13, where each has one of its own, e.g. `fence-agents-apc-snmp`; none for our own. */
export const agentPackages = (agent: string): readonly string[] =>
  OWN_AGENTS.includes(agent) ? [] : [PACKAGES[agent] ?? agent.replace("fence_", "fence-agents-").replaceAll("_", "-")];

function plan(pair: Pair, id: NodeId): Contribution | undefined {
  const { fencing: settings, authority } = pair;
  if (settings === undefined || authority === undefined) return undefined;
  const agent = settings.agents[peerOf(id)];
  const root = { owner: "root", group: "root", mode: "0644", secret: false } as const;
  // Read at the next shot. A shot that is under way goes on with what it has.
  const nothing = { action: "none" } as const;
  const names = { pair: pair.name, node: hostName(pair, id), peer: hostName(pair, peerOf(id)) };
  const unit = (path: string, template: string): PlannedFile => ({
    ...root,
    path: `/etc/systemd/system/${path}`,
    content: render(template, { ...names, required: settings.required, stopMs: authority.lease.stopTimeout }),
    onChange: nothing,
  });
  return {
    packages: ["python3", ...agentPackages(agent.agent)],
    files: [
      { ...root, path: FENCE_PROGRAM, mode: "0755", content: nodeFile("hotpair-fence"), onChange: nothing },
      ...nodeModules("fence").map(
        (name): PlannedFile => ({
          ...root,
          path: `${LIBRARY}/fence/${name}`,
          content: nodeFile(`fence/${name}`),
          onChange: nothing,
        }),
      ),
      {
        ...root,
        path: SETTINGS,
        content: `${JSON.stringify(programSettings(pair, settings, agent, id), undefined, 2)}\n`,
        onChange: nothing,
      },
      // What shoots the peer, and nothing that shoots this node.
      { ...root, path: OPTIONS, mode: "0600", secret: true, content: optionLines(agent), onChange: nothing },
      unit(FENCE_UNIT, "fencing/hotpair-fence.service.hbs"),
      ...(settings.required
        ? promotions(pair).map((name) => unit(`${name}.d/60-fencing.conf`, "fencing/promotion.conf.hbs"))
        : []),
    ],
    units: [{ name: FENCE_UNIT, running: false, holdsRole: false }],
    validators: [
      {
        name: "hotpair-fence check",
        covers: [FENCE_PROGRAM, `${LIBRARY}/fence/`, "/etc/hotpair/fencing."],
        command: `${FENCE_PROGRAM} check`,
      },
    ],
    // A role that may not stop the peer is found now, and not when the peer is frozen.
    health:
      agent.agent === "aws"
        ? [
            {
              name: "this node may stop its peer",
              command: `${FENCE_PROGRAM} preflight --wait 45`,
              deadlineSeconds: 60,
            },
          ]
        : [],
    state: ["/var/lib/hotpair/fence.json"],
  };
}

/** Units that promote what the pair keeps its data in. */
const promotions = (pair: Pair): readonly string[] => [
  ...(pair.mariadb === undefined ? [] : [PRIMARY_UNIT]),
  ...(pair.drbd === undefined ? [] : [DEVICES_PRIMARY_UNIT]),
];

/** /etc/hotpair/fencing.json; every time in seconds, as Python counts them. */
const programSettings = (
  pair: Pair,
  settings: Fencing,
  { agent, options }: FencingAgent,
  id: NodeId,
): Readonly<Record<string, unknown>> => ({
  version: 1,
  pair: pair.name,
  node: { id, name: hostName(pair, id) },
  peer: { id: peerOf(id), name: hostName(pair, peerOf(id)) },
  agent,
  command: OWN_AGENTS.includes(agent) ? [FENCE_PROGRAM, agent] : [`/usr/sbin/${agent}`],
  options: OPTIONS,
  // Names of those whose values it shows nowhere.
  secrets: Object.keys(options).filter((name) => typeof options[name] !== "string"),
  timeout: settings.timeout / 1_000,
  required: settings.required,
});

/** As the agent reads them on standard input: one `name=value` per line. */
const optionLines = ({ options }: FencingAgent): readonly (string | SecretRef)[] =>
  Object.entries(options).flatMap(([name, value]) => [`${name}=`, value, "\n"]);

/** Classes after which the holder can neither give the lease back nor say that it stopped: it is shot. */
export const SHOT: readonly FailureClassId[] = [
  "node-power-cut",
  "arbiter-loss-then-power-cut",
  "whole-node-freeze",
  "kernel-panic",
  "site-loss",
];

/** What a confirmation hangs on. */
const answersOf = ({ agents }: Fencing): string =>
  NODE_IDS.some((id) => agents[id].agent === "aws")
    ? "stated, to be measured in your account: AWS does not promise how long a stop takes"
    : "if its power controller answers";

function timing(pair: Pair): readonly TimingTerm[] {
  const { fencing: settings } = pair;
  if (settings === undefined || !holdsState(pair)) return [];
  const nothing: Duration = ms(0);
  return SHOT.map((failure) => ({
    service: "fencing",
    beside: true,
    failure,
    step: "decide",
    name: settings.required
      ? "the peer is confirmed off before the promotion begins"
      : "the peer is shot while the promotion goes on, which waits for the lease alone",
    lower: nothing,
    upper: settings.required ? settings.timeout : nothing,
    formula: settings.required ? `≤ ${formatDuration(settings.timeout)}, ${answersOf(settings)}` : "0",
    source: "docs/fencing.md",
  }));
}
