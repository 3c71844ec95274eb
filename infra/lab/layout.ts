// Names and addresses of a lab, derived from its index alone: pure functions. What exists on the machine is not asked here.

import { join } from "node:path";
import { cacheDirectory } from "../machine/cache.ts";

export type Network = "public" | "heartbeat" | "storage";
/** The network whose switch carries jumbo frames in a lab with spare cards, and how large they may be. */
export const jumbo = { network: "storage", mtu: 9216 } as const;
/** The two servers of the pair: every lab has them. */
export type NodeName = "node-a" | "node-b";
/** Every host that a lab can have; the witness only where it was asked for. */
export type HostName = NodeName | "witness";

export const networks: readonly Network[] = ["public", "heartbeat", "storage"];
export const nodeNames: readonly NodeName[] = ["node-a", "node-b"];
export const hostNames: readonly HostName[] = [...nodeNames, "witness"];

/** A witness needs no cable but that to the network which clients use. */
export const witnessNetworks = ["public"] as const;

/** The networks that a host has a cable to. */
export function networksOf(host: HostName): readonly Network[] {
  return host === "witness" ? witnessNetworks : networks;
}

/** 198.18.0.0/15 is set aside for benchmarks (RFC 2544, RFC 6890); eight /24 per lab leave room for 30 labs and more. */
export const maximumLabs = 30;

/** Who sits on the public network beside the hosts: last octet of its address there. */
export const publicOctet = { machine: 1, client: 50, intruder: 66, router: 254 } as const;

const hostOctet: Record<HostName, number> = { "node-a": 11, "node-b": 12, witness: 13 };
const interfacePrefix: Record<HostName, string> = { "node-a": "a", "node-b": "b", witness: "w" };
const interfaceSuffix: Record<Network, string> = { public: "pub", heartbeat: "hb", storage: "st" };

/** The network behind the router, from which a remote client reaches the hosts. */
export type Segment = Network | "remote";

/** First three octets of a lab's network. */
export function prefixOf(index: number, segment: Segment): string {
  const offset = { public: 0, heartbeat: 1, storage: 2, remote: 3 }[segment];
  return `198.18.${8 * index + offset}`;
}

export function addressOf(index: number, host: HostName, network: Network): string {
  requireCable(host, network);
  return `${prefixOf(index, network)}.${hostOctet[host]}`;
}

/** The interface inside the host, and likewise the bridge port that it is plugged into: at most 15 characters. */
export function interfaceOf(host: HostName, network: Network): string {
  requireCable(host, network);
  return `${interfacePrefix[host]}-${interfaceSuffix[network]}`;
}

/** A second card on the same switch, in a lab of virtual machines that has them: what a bond is made of. */
export function spareInterfaceOf(host: HostName, network: Network): string {
  return `${interfaceOf(host, network)}2`;
}

/** Locally administered and the same after every boot, as a real network card's is: ARP caches stay truthful. */
export function macOf(index: number, host: HostName, network: Network): string {
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  return `02:68:70:${hex(index)}:${hex(hostOctet[host])}:${hex(networks.indexOf(network))}`;
}

export function spareMacOf(index: number, host: HostName, network: Network): string {
  return macOf(index, host, network).replace(/:0(.)$/, ":1$1");
}

function requireCable(host: HostName, network: Network): void {
  if (!networksOf(host).includes(network)) throw new Error(`${host} has no cable to the ${network} network`);
}

/** The cable of the lab's own to a virtual machine: what goes over it no fault touches. Both ends, and the card's address. */
export function consoleCableOf(
  index: number,
  host: HostName,
): Readonly<Record<"name" | "mac" | "here" | "there", string>> {
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  const octet = 4 * hostNames.indexOf(host);
  return {
    name: `${interfacePrefix[host]}-lab`,
    mac: `02:68:70:${hex(index)}:${hex(hostOctet[host])}:ff`,
    here: `169.254.77.${octet + 1}`,
    there: `169.254.77.${octet + 2}`,
  };
}

/** Network namespaces by the names that `ip netns` knows. `hosts` holds the three bridges and nothing that listens. */
export interface Namespaces {
  hosts: string;
  client: string;
  router: string;
  remote: string;
  intruder: string;
}

export function namespacesOf(index: number): Namespaces {
  const name = (role: string) => `hotpair${index}-${role}`;
  return {
    hosts: name("hosts"),
    client: name("client"),
    router: name("router"),
    remote: name("remote"),
    intruder: name("intruder"),
  };
}

/** This machine's own interface on the lab's public network. */
export function machineInterfaceOf(index: number): string {
  return `hotpair${index}`;
}

/** Where the hosts of a lab reach its power switch: on this machine's own port of the public network. */
export function powerSwitchOf(index: number): { address: string; port: number } {
  return { address: `${prefixOf(index, "public")}.${publicOctet.machine}`, port: 7790 };
}

/** Control group of one host, relative to the root of the version 2 hierarchy. */
export function cgroupOf(index: number, host?: HostName): string {
  return host ? `/hotpair-lab/${index}/${host}` : `/hotpair-lab/${index}`;
}

/** Name of the group in which version 1 counts a host's memory while that is limited. */
export const memoryGroupOf = (index: number, host: HostName | "*"): string => `hotpair-lab-${index}-${host}`;

export function labsDirectory(): string {
  return join(cacheDirectory(), "lab");
}

export function stateDirectoryOf(name: string): string {
  return join(labsDirectory(), name);
}

/** The word in the argument list of every process that a lab leaves running, by which `lab down` knows it as its own. */
export function processMarker(stateDir: string): string {
  return `hotpair-lab:${stateDir}`;
}
