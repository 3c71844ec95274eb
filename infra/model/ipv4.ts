// IPv4 addresses and prefixes as numbers, as far as a pair needs them: read, write, compare, halve. No lookups.

/** An address with its prefix length, e.g. `198.18.1.11/24`. Both numbers unsigned. */
export interface Cidr {
  readonly address: number;
  readonly bits: number;
}

/** Reads dotted decimal; undefined for anything else, leading zeros included (some parsers take them for octal). */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

export function parseCidr(text: string): Cidr | undefined {
  const [host, length, ...rest] = text.split("/");
  if (host === undefined || length === undefined || rest.length > 0 || !/^(0|[1-9]\d?)$/.test(length)) return undefined;
  const address = parseIpv4(host);
  const bits = Number(length);
  return address === undefined || bits > 32 ? undefined : { address, bits };
}

export const formatIpv4 = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");

export const formatCidr = ({ address, bits }: Cidr): string => `${formatIpv4(address)}/${bits}`;

const size = (bits: number): number => 2 ** (32 - bits);

/** First address of the network that `cidr` lies in. */
export const networkOf = ({ address, bits }: Cidr): number => address - (address % size(bits));

/** Last address of the network that `cidr` lies in. */
export const broadcastOf = (cidr: Cidr): number => networkOf(cidr) + size(cidr.bits) - 1;

export const contains = (network: Cidr, address: number): boolean =>
  address >= networkOf(network) && address <= broadcastOf(network);

export const overlap = (one: Cidr, other: Cidr): boolean =>
  networkOf(one) <= broadcastOf(other) && networkOf(other) <= broadcastOf(one);

/** The `index`th address after the network's own, for examples in messages. */
export const hostIn = (network: Cidr, index: number): number =>
  Math.min(networkOf(network) + index, broadcastOf(network) - 1);

/** The two halves of a network of at most 31 bits, the lower one first. */
export function halvesOf(network: Cidr): readonly [Cidr, Cidr] {
  const bits = network.bits + 1;
  const lower = { address: networkOf(network), bits };
  return [lower, { address: networkOf(network) + size(bits), bits }];
}
