// How what hotpair is to set up of a node's networks (`managed`) fits the node's other networks and the way by which it is
// reached. Rules that hold for every network are in rules.ts; what is unsafe rather than wrong is found by the service.

import { contains, formatCidr, networkOf, parseIpv4 } from "../model/ipv4.ts";
import type { Draft, DraftAttachment, DraftManaged, DraftNode } from "./draft.ts";
import { formatPath, type Path, type Problem } from "./problem.ts";
import type { Rule } from "./rules-aws.ts";

const problem = (path: Path, message: string): Problem => ({ path, message });

interface ManagedAttachment extends DraftAttachment {
  readonly managed: DraftManaged;
}

const managedOf = ({ attachments }: DraftNode): readonly ManagedAttachment[] =>
  attachments.filter((one): one is ManagedAttachment => one.managed !== undefined);

/** `bond0` for the VLAN 10 with the interface `bond0.10`; undefined where the name does not fit. */
function carrierOf({ interface: name, managed: { vlan } }: ManagedAttachment): string | undefined {
  if (name === undefined || vlan === undefined) return name;
  const end = `.${vlan}`;
  return name.endsWith(end) && name.length > end.length ? name.slice(0, -end.length) : undefined;
}

function* serversAreOurs({ target, nodes }: Draft): Generator<Problem> {
  if (target !== "aws") return;
  for (const { managed } of nodes.flatMap(managedOf))
    yield problem(
      managed.path,
      "stands beside target: aws, where the network sets its servers' interfaces up; remove it",
    );
}

function* vlansAreNamed({ nodes }: Draft): Generator<Problem> {
  for (const attachment of nodes.flatMap(managedOf)) {
    const { interface: name, path, managed } = attachment;
    if (name === undefined || managed.vlan === undefined || carrierOf(attachment) !== undefined) continue;
    const carrier = managed.bond === undefined ? (name.split(".")[0] ?? name) : "bond0";
    yield problem(
      [...path, "interface"],
      `"${name}" is VLAN ${managed.vlan} and not called after what it stands on; write ${carrier}.${managed.vlan}`,
    );
  }
}

/** What one interface carries, the owner's files and hotpair's cannot both say. */
function* carriersAreWhole({ nodes }: Draft): Generator<Problem> {
  for (const node of nodes)
    for (const [index, attachment] of managedOf(node).entries()) {
      const carrier = carrierOf(attachment);
      if (carrier === undefined) continue;
      const owners = node.attachments.find((one) => one.managed === undefined && one.interface === carrier);
      if (owners !== undefined)
        yield problem(
          attachment.managed.path,
          `stands on ${carrier}, the interface of ${formatPath(owners.path)}, which is the server's own; add managed there, too (managed: {}), or use another card`,
        );
      const same = managedOf(node)
        .slice(0, index)
        .find((one) => carrierOf(one) === carrier);
      if (same !== undefined && bondText(same.managed) !== bondText(attachment.managed))
        yield problem(
          [...attachment.managed.path, "bond"],
          `describes ${carrier} in another way than ${formatPath(same.managed.path)}; write the same bond at both`,
        );
    }
}

const bondText = ({ bond }: DraftManaged): string =>
  bond === undefined ? "" : JSON.stringify([bond.members, bond.primary, bond.miimon]);

function* membersAreFree({ nodes }: Draft): Generator<Problem> {
  for (const node of nodes) {
    const used = new Map<string, { readonly by: string; readonly path: Path }>();
    for (const { interface: name, path } of node.attachments)
      if (name !== undefined) used.set(name, { by: name, path: [...path, "interface"] });
    for (const attachment of managedOf(node)) {
      const carrier = carrierOf(attachment);
      const { bond, path } = attachment.managed;
      if (bond === undefined || carrier === undefined) continue;
      const at = [...path, "bond", "members"];
      for (const [index, member] of bond.members.entries()) {
        if (member === undefined) continue;
        const other = used.get(member);
        if (member === carrier)
          yield problem([...at, index], `"${member}" is the bond itself; write the name of a network card`);
        else if (bond.members.indexOf(member) !== index)
          yield problem([...at, index], `"${member}" stands in this list already; a second member is a second card`);
        else if (other !== undefined && other.by !== carrier)
          yield problem(
            [...at, index],
            `"${member}" is used at ${formatPath(other.path)}; each card is part of one thing`,
          );
        else used.set(member, { by: carrier, path: [...at, index] });
      }
      if (bond.primary !== undefined && !bond.members.includes(bond.primary))
        yield problem(
          [...path, "bond", "primary"],
          `"${bond.primary}" is none of the members (${bond.members.join(", ")}); write one of them as it stands there`,
        );
    }
  }
}

/** A host name may lead anywhere: the server itself looks for the session that it was told by (hotpair-network check). */
function* sshComesAnotherWay({ nodes }: Draft): Generator<Problem> {
  for (const node of nodes)
    for (const { network, address, managed } of managedOf(node)) {
      const host = node.sshHost === undefined ? undefined : parseIpv4(node.sshHost);
      if (host === undefined || address === undefined || managed.overSsh) continue;
      if (contains({ address: networkOf(address), bits: address.bits }, host))
        yield problem(
          managed.path,
          `is the ${network} network, ${formatCidr(address)}, over which this server is reached by SSH (${node.sshHost}): a mistake would leave nobody who can undo it by hand; reach it over another network, or say in managed.overSsh why this is accepted`,
        );
    }
}

export const NETWORK_RULES: readonly Rule[] = [
  serversAreOurs,
  vlansAreNamed,
  carriersAreWhole,
  membersAreFree,
  sshComesAnotherWay,
];
