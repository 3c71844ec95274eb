// What a new server in AWS reads at its first boot: the SSH host key that the stack file pins, its name, and the fixed
// addresses of the interfaces that DHCP does not serve. Everything else comes over SSH, as on premises.

import { type Cidr, formatCidr, formatIpv4, networkOf } from "../model/ipv4.ts";
import type { Pair, SecretRef } from "../model/pair.ts";
import { type Joined, outputOf } from "../model/resource.ts";

/** An interface beside the public one, with the resource that knows its MAC address. */
export interface SideInterface {
  readonly network: string;
  readonly resource: string;
  /** The node's address and its subnet. */
  readonly address: number;
  readonly subnet: Cidr;
  /** The whole network, of which the subnet may be a half. */
  readonly whole: Cidr;
}

/** The interface that has its address, and the way out, by DHCP. */
export interface PublicInterface {
  readonly resource: string;
  /** Its second address with the subnet's prefix length, where the pair needs one. */
  readonly second: string | undefined;
}

/** A node or the witness. */
interface Host {
  readonly name: string;
  readonly ssh: { readonly hostKey: string };
}

/** cloud-init's configuration (its documentation, modules cc_ssh, cc_set_hostname, cc_write_files, cc_runcmd), as JSON, which is YAML. */
export function userData(
  pair: Pair,
  { name, ssh }: Host,
  hostKey: SecretRef,
  sides: readonly SideInterface[],
  open: PublicInterface,
): Joined {
  const files = [publicFile(open), ...sides.map(sideFile)];
  return {
    join: [
      "#cloud-config\n",
      `# First boot of ${name}, pair ${pair.name}. Written by hotpair.\n`,
      "{",
      `"hostname": ${JSON.stringify(name)},\n`,
      // With keys given, cloud-init makes none of its own: the server can be no other than the one that is pinned.
      '"ssh_deletekeys": true,\n',
      '"ssh_pwauth": false,\n',
      `"ssh_keys": {"ed25519_public": ${JSON.stringify(ssh.hostKey)}, "ed25519_private": `,
      { quoted: hostKey },
      "},\n",
      '"write_files": [\n',
      // At later boots cloud-init must not set up what it finds in the metadata: the address that moves would be among it.
      `${fileEntry("/etc/cloud/cloud.cfg.d/60-hotpair.cfg", NO_ADDRESSES_FROM_METADATA)}`,
      ...files.flatMap((parts) => [",\n", ...parts]),
      "],\n",
      // An interface may be attached before or after this runs; both ways it ends with its file.
      '"runcmd": [["networkctl", "reload"]]}\n',
    ],
  };
}

const NO_ADDRESSES_FROM_METADATA = "datasource: {Ec2: {apply_full_imds_network_config: false}}\n";

const fileEntry = (path: string, content: string): string =>
  `{"path": ${JSON.stringify(path)}, "content": ${JSON.stringify(content)}}`;

/** The VIP is keepalived's: without KeepConfiguration, systemd-networkd takes it off at its own restart (systemd.network(5)). */
const publicFile = ({ resource, second }: PublicInterface): Joined["join"] =>
  networkFile("public", resource, [
    "[Network]",
    "DHCP=ipv4",
    "KeepConfiguration=yes",
    ...(second === undefined ? [] : [`Address=${second}`]),
    "",
  ]);

function sideFile({ network, resource, address, subnet, whole }: SideInterface): Joined["join"] {
  const router = formatIpv4(networkOf(subnet) + 1);
  return networkFile(network, resource, [
    "[Link]",
    "RequiredForOnline=no",
    "",
    "[Network]",
    `Address=${formatIpv4(address)}/${subnet.bits}`,
    "LinkLocalAddressing=no",
    // The other zone's half lies behind the subnet's router, which is its first address (Amazon VPC user guide).
    ...(whole.bits === subnet.bits ? [] : ["", "[Route]", `Destination=${formatCidr(whole)}`, `Gateway=${router}`]),
    "",
  ]);
}

/** systemd.network(5). Sorted before every file of the image and of netplan. */
function networkFile(network: string, resource: string, lines: readonly string[]): Joined["join"] {
  const head = JSON.stringify(`# ${network} network. Written by hotpair.\n[Match]\nPermanentMACAddress=`);
  const tail = JSON.stringify(["", "", ...lines].join("\n"));
  return [
    `{"path": "/etc/systemd/network/05-hotpair-${network}.network", "content": ${head.slice(0, -1)}`,
    outputOf(resource, "macAddress"),
    `${tail.slice(1)}}`,
  ];
}
