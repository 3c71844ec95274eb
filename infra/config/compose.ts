// The text of a new stack file from a few answers: the shortest one that is complete, with every default left to the
// schema. It is checked like any other file before it is written; asking the questions is the command's business.

import { broadcastOf, contains, formatIpv4, networkOf, parseCidr } from "../model/ipv4.ts";
import { NETWORK_NAMES } from "./draft.ts";
import { CONFIG_KEY } from "./problem.ts";

export interface NewNode {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Private key file; undefined: the SSH agent. */
  readonly keyFile: string | undefined;
  /** Interface and address with prefix per network; `storage` may be left out on both nodes. */
  readonly networks: Readonly<
    Partial<Record<(typeof NETWORK_NAMES)[number], { readonly interface: string; readonly address: string }>>
  >;
}

export interface NewStack {
  readonly stack: string;
  readonly nodes: readonly NewNode[];
  readonly vips: readonly { readonly name: string; readonly address: string; readonly preferred: string | undefined }[];
  /** Of the first VIP; a second one takes the next. */
  readonly routerId: number;
  readonly service: "nginx" | "none" | { readonly name: string; readonly port: number };
  /** Where HAProxy listens on every VIP; undefined: no HAProxy. */
  readonly port: number | undefined;
  readonly tier: string;
  /** Ciphertext. */
  readonly beaconKey: string;
  readonly encryptionSalt: string;
}

export function composeStack(answers: NewStack): string {
  const { nodes, vips, service } = answers;
  const networks = NETWORK_NAMES.flatMap((name) => {
    const prefix = prefixOf(nodes.map((node) => node.networks[name]?.address));
    return prefix === undefined ? [] : [`${name}:`, `  prefix: ${text(prefix)}`];
  });
  const serviceName = service === "nginx" ? "nginx" : service === "none" ? undefined : service.name;
  const balanced = serviceName !== undefined && answers.port !== undefined;
  const pair = [
    "networks:",
    ...indent(networks),
    "nodes:",
    ...indent(nodes.flatMap((node) => item(nodeLines(node)))),
    "vips:",
    ...indent(
      vips.flatMap((vip, index) =>
        item([
          `name: ${text(vip.name)}`,
          `address: ${text(vip.address)}`,
          `routerId: ${answers.routerId + index}`,
          ...(vip.preferred === undefined ? [] : [`preferred: ${text(vip.preferred)}`]),
        ]),
      ),
    ),
    ...(balanced
      ? [
          "haproxy:",
          "  frontends:",
          ...indent(
            vips.flatMap(({ name }) =>
              item([
                `name: ${text(name)}`,
                `bind: ${text(`${name}:${answers.port}`)}`,
                `backend: ${text(serviceName)}`,
              ]),
            ),
            4,
          ),
          "  backends:",
          ...indent(item([`name: ${text(serviceName)}`, `service: ${text(serviceName)}`]), 4),
        ]
      : []),
    ...(service === "nginx" ? ["nginx: {}"] : []),
    ...(typeof service === "object" ? ["external:", `  name: ${text(service.name)}`, `  port: ${service.port}`] : []),
    "objectives:",
    `  tier: ${text(answers.tier)}`,
    "beaconKey:",
    `  secure: ${answers.beaconKey}`,
  ];
  return [
    "# yaml-language-server: $schema=schema.json",
    "# Every key and its default: docs/configuration.md. What is wrong with this file, and what the pair will keep:",
    `# hotpair check -s ${answers.stack}`,
    "config:",
    `  ${CONFIG_KEY}:`,
    ...indent(pair, 4),
    `encryptionsalt: ${answers.encryptionSalt}`,
    "",
  ].join("\n");
}

function nodeLines({ name, host, port, user, keyFile, networks }: NewNode): readonly string[] {
  return [
    `name: ${text(name)}`,
    "ssh:",
    `  host: ${text(host)}`,
    ...(port === 22 ? [] : [`  port: ${port}`]),
    ...(user === "root" ? [] : [`  user: ${text(user)}`]),
    ...(keyFile === undefined ? [] : [`  keyFile: ${text(keyFile)}`]),
    "networks:",
    ...indent(
      NETWORK_NAMES.flatMap((network) => {
        const attachment = networks[network];
        if (attachment === undefined) return [];
        return [`${network}:`, `  interface: ${text(attachment.interface)}`, `  address: ${text(attachment.address)}`];
      }),
    ),
  ];
}

/** The network that all these addresses with prefix lie in, as the first one says it. */
function prefixOf(addresses: readonly (string | undefined)[]): string | undefined {
  const cidrs = addresses.flatMap((address) => (address === undefined ? [] : (parseCidr(address) ?? [])));
  const [first] = cidrs;
  return first === undefined ? undefined : `${formatIpv4(networkOf(first))}/${first.bits}`;
}

/** Whether a VIP without prefix length lies in the network of this address; then that length is meant. */
export function withPrefixOf(vip: string, address: string): string {
  const network = parseCidr(address);
  const alone = parseCidr(`${vip}/32`);
  if (vip.includes("/") || network === undefined || alone === undefined) return vip;
  return contains(network, alone.address) && alone.address !== broadcastOf(network)
    ? `${vip}/${network.bits}`
    : `${vip}/32`;
}

const indent = (lines: readonly string[], by = 2): readonly string[] => lines.map((line) => `${" ".repeat(by)}${line}`);

const item = (lines: readonly string[]): readonly string[] =>
  lines.map((line, index) => `${index === 0 ? "- " : "  "}${line}`);

/** Plain where every YAML reader takes it for the same text, else quoted. */
const text = (value: string): string =>
  /^[A-Za-z][A-Za-z0-9._/:-]*[A-Za-z0-9]$/.test(value) && !/^(y|n|yes|no|on|off|true|false|null)$/i.test(value)
    ? value
    : /^\d+\.\d+\.\d+\.\d+(\/\d+)?$/.test(value)
      ? value
      : JSON.stringify(value);
