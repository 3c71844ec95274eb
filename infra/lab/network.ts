// The lab's wiring outside the hosts: three bridges in a namespace of their own, clients, a router, and this machine's
// own port on the public network. The hosts plug themselves in when they boot (host.sh).

import { existsSync } from "node:fs";
import { UserError } from "../model/errors.ts";
import { CommandError, command } from "./command.ts";
import { jumbo, machineInterfaceOf, namespacesOf, networks, prefixOf, publicOctet } from "./layout.ts";

/** Creates everything, or fails; what a failure leaves is removed by `removeNetwork`. */
export async function createNetwork(index: number, options: NetworkOptions = {}): Promise<void> {
  await refuseTakenRoutes(index);
  await shell(networkScript(index, options));
}

export interface NetworkOptions {
  /** One of the networks carries jumbo frames (layout.ts). */
  readonly jumboFrames?: boolean;
}

/** The commands that make the lab's wiring, in order. */
export function networkScript(index: number, { jumboFrames = false }: NetworkOptions = {}): string[] {
  const space = namespacesOf(index);
  const pub = prefixOf(index, "public");
  const far = prefixOf(index, "remote");
  const machine = machineInterfaceOf(index);
  const port = (namespace: string, name: string, octet: number) => [
    `ip link add ${name} netns ${namespace} type veth peer name ${name} netns ${space.hosts}`,
    `ip -n ${space.hosts} link set ${name} master public up`,
    `ip -n ${namespace} addr add ${pub}.${octet}/24 dev ${name}`,
    `ip -n ${namespace} link set ${name} up`,
  ];
  return [
    ...Object.values(space).flatMap((name) => [`ip netns add ${name}`, `ip -n ${name} link set lo up`]),
    ...networks.flatMap((network) => [
      // No spanning tree and no snooping: a port forwards as soon as it is up, and multicast reaches everybody.
      `ip -n ${space.hosts} link add ${network} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `ip -n ${space.hosts} link set ${network} up`,
    ]),
    ...(jumboFrames ? [`ip -n ${space.hosts} link set ${jumbo.network} mtu ${jumbo.mtu}`] : []),
    ...port(space.client, "client", publicOctet.client),
    ...port(space.intruder, "intruder", publicOctet.intruder),
    ...port(space.router, "router", publicOctet.router),
    `ip link add remote netns ${space.router} type veth peer name remote netns ${space.remote}`,
    `ip -n ${space.router} addr add ${far}.254/24 dev remote`,
    `ip -n ${space.router} link set remote up`,
    `ip -n ${space.remote} addr add ${far}.50/24 dev remote`,
    `ip -n ${space.remote} link set remote up`,
    `ip -n ${space.remote} route add default via ${far}.254`,
    `nsenter --net=/run/netns/${space.router} sysctl -q -w net.ipv4.ip_forward=1`,
    `ip link add ${machine} type veth peer name machine netns ${space.hosts}`,
    `ip -n ${space.hosts} link set machine master public up`,
    `ip addr add ${pub}.${publicOctet.machine}/24 dev ${machine}`,
    `ip link set ${machine} up`,
  ];
}

/** Removes whatever of the wiring is there. The processes in the namespaces must be gone already. */
export async function removeNetwork(index: number): Promise<void> {
  const commands: string[] = [];
  if (existsSync(`/sys/class/net/${machineInterfaceOf(index)}`)) {
    commands.push(`ip link delete ${machineInterfaceOf(index)}`);
  }
  for (const name of Object.values(namespacesOf(index))) {
    if (existsSync(`/run/netns/${name}`))
      commands.push(`ip netns delete ${name} 2> /dev/null || rm -f /run/netns/${name}`);
  }
  if (commands.length > 0) await shell(commands);
}

/** Whether anything of the lab's wiring exists on this machine. */
export function networkExists(index: number): boolean {
  const names = Object.values(namespacesOf(index));
  return (
    existsSync(`/sys/class/net/${machineInterfaceOf(index)}`) || names.some((name) => existsSync(`/run/netns/${name}`))
  );
}

async function refuseTakenRoutes(index: number): Promise<void> {
  const wanted = `${prefixOf(index, "public")}.0/24`;
  const routes = await command(["ip", "-4", "route", "show", "root", wanted]);
  const taken = routes.trim().split("\n")[0];
  if (taken) {
    throw new UserError(
      `the lab needs the network ${wanted} on this machine, and another route has it: "${taken.trim()}"; remove that route or use another lab name`,
    );
  }
}

async function shell(lines: string[]): Promise<void> {
  try {
    await command(["sh", "-e", "-x"], { input: `${lines.join("\n")}\n` });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const tail = error.output.trim().split("\n").slice(-3);
    throw new UserError("the lab's network could not be set up", tail);
  }
}
