// The servers of the input: how they are reached, the networks that they share, the witness, and what is set on each of them.
// What runs there has files of its own.

import type { z } from "zod";
import {
  address,
  duration,
  flag,
  host,
  hostKey,
  integer,
  keys,
  label,
  list,
  networkInterface,
  plainAddress,
  port,
  reason,
  text,
} from "./formats.ts";
import type { Secret } from "./schema-secrets.ts";

const jump = () =>
  keys({
    host: host("bastion.example.net").describe("Name or address of the jump host, as this machine resolves it."),
    port: port(22).default(22).describe("Port of its SSH server."),
    user: userName().default("root").describe("User on the jump host."),
    hostKey: hostKey().describe("The jump host's public host key, `type base64`."),
  });

const userName = () => text({ what: "a user name", example: "root", pattern: /^[a-z_][a-z0-9_-]{0,30}$/ });

const ssh = (secret: z.ZodType<unknown>, at: string) =>
  keys({
    host: host("198.51.100.12").describe(
      "Name or address of the server, as this machine (or the jump host) resolves it.",
    ),
    port: port(22).default(22).describe("Port of its SSH server."),
    user: userName().default("root").describe("root, or a user who may run sudo without a password prompt."),
    hostKey: hostKey().describe(
      "The server's public host key, `type base64`. Required: without it anybody could be the server. `hotpair scan` fetches it and shows its fingerprint for confirmation.",
    ),
    keyFile: text({
      what: "a path to a private key file",
      example: "~/.ssh/id_ed25519",
      pattern: /^[^\s][^\r\n]*$/,
      accepts: (value) => !value.includes("PRIVATE KEY"),
    })
      .optional()
      .describe(
        "Private key file on this machine; `~/` is the home directory; a relative path starts at the project. Without `keyFile` and `key`, the SSH agent.",
      ),
    key: secret
      .optional()
      .describe(
        `Private key as an encrypted value, for machines without an agent. Set it with \`pulumi config set --path --secret '${at}.key' < id_ed25519\`.`,
      ),
    jump: jump().optional().describe("A host on the way; it is reached with the same agent or key."),
  });

export const prefix = (example: string) =>
  address(example).describe("The network's IPv4 prefix, with all host bits zero.");

const attachment = (interfaceExample: string, addressExample: string) =>
  keys({
    interface: networkInterface(interfaceExample).describe("Network interface of this node on this network."),
    address: address(addressExample).describe("This node's own address there, with the network's prefix length."),
    mtu: integer(1280, 9216, 1500, "bytes")
      .default(1500)
      .describe("Bytes per packet; above 1500 only where every hop of the network carries jumbo frames."),
    managed: managed()
      .optional()
      .describe(
        "hotpair sets the interface up, for systemd-networkd: this address, this MTU, and what stands below. Default: the network is the server's own, and hotpair writes nothing of it (docs/network.md).",
      ),
  });

/** IEEE 802.1Q: 0 is no VLAN, 4095 is reserved. */
const VLANS = { first: 1, last: 4094 };

const managed = () =>
  keys({
    vlan: integer(VLANS.first, VLANS.last, 10, "a VLAN id")
      .optional()
      .describe(
        "The interface is this VLAN (IEEE 802.1Q), and is called after what it stands on: bond0.10, eth2.10. Default: untagged.",
      ),
    bond: keys({
      members: list(card("eth2"), "network cards", { min: 1, max: 8 }).describe(
        "Names of its network cards, or their permanent MAC addresses.",
      ),
      miimon: duration({
        min: "10ms",
        max: "10s",
        step: "10ms",
        because: "what the bonding driver's own timer keeps",
        example: "100ms",
      })
        .default("100ms")
        .describe(
          "How often the links of the members are looked at: a pulled cable costs up to this long (Linux, bonding.rst: miimon, 100 is a good starting point).",
        ),
      primary: card("eth2")
        .optional()
        .describe(
          "The member that carries first. After it was lost and came back, the other one goes on until it is lost itself. Default: whichever has a link.",
        ),
    })
      .optional()
      .describe(
        "The interface, or what its VLAN stands on, is a bond in mode active-backup: one member carries, another one when its link is lost. Default: a card.",
      ),
    overSsh: reason("The console was tried, and somebody sits at it.")
      .optional()
      .describe(
        "SSH comes to this server over this network, and it is changed nevertheless: why. Without it such a change is refused.",
      ),
  });

/** An interface by its name, or a card by its permanent MAC address. */
const card = (example: string) =>
  text({
    what: "a network interface name (at most 15 characters) or a MAC address in lower case",
    example,
    pattern: /^([A-Za-z0-9][A-Za-z0-9_.-]{0,14}|[0-9a-f]{2}(:[0-9a-f]{2}){5})$/,
    accepts: (value) => value !== "all" && value !== "default",
  });

const site = () => label("the name of a site", 63, "room-1").optional();

export const node = (secret: z.ZodType<unknown>) =>
  keys({
    name: label("a host name", 63, "node-a").describe(
      "Host name. It may change later: a node is known by its position in this list.",
    ),
    site: site().describe(
      "Where the server stands, as far as one fault can reach: a room, a rack, a zone. Default: its zone in AWS, or not stated.",
    ),
    ssh: ssh(secret, "hotpair:pair.nodes[0].ssh").describe("How the server is reached."),
    networks: keys({
      public: attachment("eth0", "198.51.100.12/24").describe("Where clients are."),
      heartbeat: attachment("eth1", "198.18.1.12/24").describe("Where VRRP speaks to the peer."),
      storage: attachment("eth2", "198.18.2.12/24")
        .optional()
        .describe("Where data is replicated; a second path for beacons."),
    }).describe("This node's interface and address on every network of the pair."),
  });

export const witness = (secret: Secret) =>
  keys({
    name: label("a host name", 63, "witness").default("witness").describe("Host name."),
    site: site().describe(
      "Where it stands. It must not be where a node stands: one fault would take two of three votes. Default: its zone, where AWS makes it, or not stated.",
    ),
    ssh: ssh(secret("sshKey"), "hotpair:witness.ssh").describe("How it is reached."),
    address: plainAddress("198.51.100.13").describe(
      "Address at which both nodes reach it, on or beyond the network that clients use, so that a cut heartbeat costs no vote.",
    ),
  });

export const base = () =>
  keys({
    persistentJournal: flag()
      .default(true)
      .describe("Keep the systemd journal on disk, so that the night can be read the morning after."),
    installPackages: flag()
      .default(true)
      .describe("Install missing packages. With false their absence is an error before anything is changed."),
    watchdog: duration({
      min: "2s",
      max: "10m",
      step: "1s",
      because: "what hardware watchdogs can count",
      example: "10s",
    })
      .optional()
      .describe(
        "The hardware watchdog (/dev/watchdog) resets a server whose systemd hangs for this long: its RuntimeWatchdogSec, from the next boot on. No effect where there is none. Default: left as the system has it.",
      ),
  });

export const networks = () =>
  keys({
    public: keys({
      prefix: prefix("198.51.100.0/24"),
      gateway: plainAddress("198.51.100.1")
        .optional()
        .describe("Router on this network. A node that cannot reach it gives its VIPs up."),
    }).describe("Where clients and VIPs are."),
    heartbeat: keys({ prefix: prefix("198.18.1.0/24") }).describe(
      "Between the nodes, for VRRP; best a cable or VLAN of its own.",
    ),
    storage: keys({ prefix: prefix("198.18.2.0/24") })
      .optional()
      .describe("Between the nodes, for data; a second path for beacons."),
  });
