// Every way in which a configuration can be wrong, and the exact words that its author reads.

import { expect, test } from "vitest";
import { type Input, mistakesAfter } from "./sample.ts";

test("the lab's own configuration is right", () => {
  expect(mistakesAfter(() => {})).toEqual([]);
});

const KEY_A = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILxuUvf5nXJFJl1qc9IByaKEZH1onEnlmeBao0WeGckd";
const jump = {
  host: "bastion",
  hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8a9JG8fH5HKGmSTKtrwAIUmhcXj5v4ewZWoCfH2wJN",
};
const secondVip = { name: "api", address: "198.18.0.101/24", routerId: 52 };

const CASES: Record<string, [change: (pair: Input) => void, expected: string[]]> = {
  "a bad address": [
    (pair) => {
      pair.nodes[1].networks.heartbeat.address = "10.0.1.300/24";
    },
    [
      'hotpair:pair.nodes[1].networks.heartbeat.address: "10.0.1.300/24" is not an IPv4 address with prefix; expected e.g. 198.18.1.12/24',
    ],
  ],
  "an address with leading zeros": [
    (pair) => {
      pair.nodes[0].networks.public.address = "198.18.0.011/24";
    },
    [
      'hotpair:pair.nodes[0].networks.public.address: "198.18.0.011/24" is not an IPv4 address with prefix; expected e.g. 198.51.100.12/24',
    ],
  ],
  "one node": [
    (pair) => {
      pair.nodes.pop();
    },
    ["hotpair:pair.nodes: 1 given; expected exactly 2 nodes"],
  ],
  "nodes with one name": [
    (pair) => {
      pair.nodes[1].name = "node-a";
    },
    ['hotpair:pair.nodes[1].name: "node-a" is the name of nodes[0] too; give each node its own'],
  ],
  "nodes that are one server": [
    (pair) => {
      pair.nodes[1].ssh.host = "198.18.0.11";
    },
    [
      'hotpair:pair.nodes[1].ssh.host: "198.18.0.11" port 22 is nodes[0] too: a pair is two servers; write the second one\'s address',
    ],
  ],
  "a cloned host key": [
    (pair) => {
      pair.nodes[1].ssh.hostKey = KEY_A;
    },
    [
      "hotpair:pair.nodes[1].ssh.hostKey: is nodes[0]'s host key too: it is the same server, or a clone that could pass for it; on a clone run `rm /etc/ssh/ssh_host_* && ssh-keygen -A`, then `hotpair scan`",
    ],
  ],
  "no host key": [
    (pair) => {
      delete pair.nodes[0].ssh.hostKey;
    },
    ["hotpair:pair.nodes[0].ssh.hostKey: is missing; fetch it with `hotpair scan`"],
  ],
  "half a host key": [
    (pair) => {
      pair.nodes[0].ssh.hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILxuUvf5";
    },
    [
      'hotpair:pair.nodes[0].ssh.hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILxuUvf5" is not a whole SSH host key; expected "type base64" (ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521, ssh-rsa); fetch it with `hotpair scan`',
    ],
  ],
  "a jump host without host key": [
    (pair) => {
      pair.nodes[0].ssh.jump = { host: "bastion" };
    },
    ["hotpair:pair.nodes[0].ssh.jump.hostKey: is missing; fetch it with `hotpair scan`"],
  ],
  "a key file and a key": [
    (pair) => {
      pair.nodes[0].ssh.key = { secure: "v1:a:b" };
    },
    ["hotpair:pair.nodes[0].ssh.key: stands beside keyFile; keep one of the two, or none for the SSH agent"],
  ],
  "an unknown key": [
    (pair) => {
      pair.vrrp = { advertIntervall: "100ms" };
    },
    ['hotpair:pair.vrrp.advertIntervall: is not a known key; did you mean "advertInterval"?'],
  ],
  "an unknown key like no other": [
    (pair) => {
      pair.nginx.workers = 4;
    },
    ["hotpair:pair.nginx.workers: is not a known key; expected one of port, healthPath, root"],
  ],
  "a swapped pair of letters": [
    (pair) => {
      pair.vips[0].mdoe = "ip";
    },
    ['hotpair:pair.vips[0].mdoe: is not a known key; did you mean "mode"?'],
  ],
  "a secret in plain text": [
    (pair) => {
      pair.beaconKey = "2b7e151628aed2a6abf7158809cf4f3c2b7e151628aed2a6abf7158809cf4f3c";
    },
    [
      "hotpair:pair.beaconKey: holds a secret in plain text (not shown); treat it as published, and make one with `hotpair secrets rotate`",
    ],
  ],
  "a missing secret": [
    (pair) => {
      delete pair.beaconKey;
    },
    ["hotpair:pair.beaconKey: is missing; expected a beacon key, encrypted: make one with `hotpair secrets rotate`"],
  ],
  "a private key in plain text": [
    (pair) => {
      pair.nodes[0].ssh = {
        ...pair.nodes[0].ssh,
        keyFile: undefined,
        key: "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n",
      };
    },
    [
      "hotpair:pair.nodes[0].ssh.key: holds a secret in plain text (not shown); treat it as published, and set it with `pulumi config set --path --secret`",
    ],
  ],
  "a private key where its file belongs": [
    (pair) => {
      pair.nodes[0].ssh.keyFile = "-----BEGIN OPENSSH PRIVATE KEY-----";
    },
    [
      "hotpair:pair.nodes[0].ssh.keyFile: a private key (not shown) is not a path to a private key file; expected e.g. ~/.ssh/id_ed25519",
    ],
  ],
  "ciphertext where plain text belongs": [
    (pair) => {
      pair.name = { secure: "v1:a:b" };
    },
    [
      "hotpair:pair.name: an encrypted value is not a name of at most 32 lower-case letters, digits and inner hyphens; expected e.g. shop",
    ],
  ],
  "host bits in a network": [
    (pair) => {
      pair.networks.public.prefix = "198.18.0.7/24";
    },
    [
      'hotpair:pair.networks.public.prefix: "198.18.0.7/24" is an address inside a network; write the network, 198.18.0.0/24',
    ],
  ],
  "a network of one address": [
    (pair) => {
      pair.networks.storage.prefix = "198.18.2.11/32";
    },
    [
      'hotpair:pair.networks.storage.prefix: "198.18.2.11/32" is a prefix of 32 bits; expected 8 to 30, e.g. 198.18.2.0/24',
      'hotpair:pair.nodes[0].networks.storage.address: "198.18.2.11/24" is the network address of networks.storage (198.18.2.11/32); no server can have it, expected e.g. 198.18.2.10/32',
      'hotpair:pair.nodes[1].networks.storage.address: "198.18.2.12/24" is outside networks.storage (198.18.2.11/32); expected e.g. 198.18.2.10/32',
    ],
  ],
  "a loopback network": [
    (pair) => {
      delete pair.networks.storage;
      for (const node of pair.nodes) delete node.networks.storage;
      pair.networks.heartbeat.prefix = "127.0.0.0/8";
      pair.nodes[0].networks.heartbeat.address = "127.0.0.11/8";
      pair.nodes[1].networks.heartbeat.address = "127.0.0.12/8";
    },
    [
      'hotpair:pair.networks.heartbeat.prefix: "127.0.0.0/8" overlaps 127.0.0.0/8, which no server can have addresses of (RFC 6890); write the network\'s real prefix',
    ],
  ],
  "a gateway outside its network": [
    (pair) => {
      pair.networks.public.gateway = "198.18.9.1";
    },
    [
      'hotpair:pair.networks.public.gateway: "198.18.9.1" is outside networks.public (198.18.0.0/24); expected e.g. 198.18.0.1',
    ],
  ],
  "overlapping networks": [
    (pair) => {
      pair.networks.storage.prefix = "198.18.0.0/22";
      for (const node of pair.nodes)
        node.networks.storage.address = node.networks.storage.address.replace("/24", "/22");
    },
    [
      'hotpair:pair.networks.storage.prefix: "198.18.0.0/22" overlaps networks.public (198.18.0.0/24): replies would leave on the wrong interface; give each network its own prefix',
      'hotpair:pair.networks.storage.prefix: "198.18.0.0/22" overlaps networks.heartbeat (198.18.1.0/24): replies would leave on the wrong interface; give each network its own prefix',
    ],
  ],
  "a network that one node is not on": [
    (pair) => {
      delete pair.nodes[1].networks.storage;
    },
    [
      "hotpair:pair.nodes[1].networks.storage: is missing: networks.storage is described; attach this node, or remove that network",
    ],
  ],
  "a network that is not described": [
    (pair) => {
      delete pair.networks.storage;
      delete pair.nodes[1].networks.storage;
    },
    [
      "hotpair:pair.nodes[0].networks.storage: attaches to a network that is not described; add networks.storage.prefix, or remove this",
    ],
  ],
  "an address outside its network": [
    (pair) => {
      pair.nodes[0].networks.heartbeat.address = "198.18.9.11/24";
    },
    [
      'hotpair:pair.nodes[0].networks.heartbeat.address: "198.18.9.11/24" is outside networks.heartbeat (198.18.1.0/24); expected e.g. 198.18.1.11/24',
    ],
  ],
  "a broadcast address": [
    (pair) => {
      pair.nodes[0].networks.heartbeat.address = "198.18.1.255/24";
    },
    [
      'hotpair:pair.nodes[0].networks.heartbeat.address: "198.18.1.255/24" is the broadcast address of networks.heartbeat (198.18.1.0/24); no server can have it, expected e.g. 198.18.1.11/24',
    ],
  ],
  "another prefix length than the network's": [
    (pair) => {
      pair.nodes[0].networks.heartbeat.address = "198.18.1.11/16";
    },
    [
      'hotpair:pair.nodes[0].networks.heartbeat.address: "198.18.1.11/16" has another prefix length than networks.heartbeat (198.18.1.0/24); write 198.18.1.11/24',
    ],
  ],
  "a node with the gateway's address": [
    (pair) => {
      pair.networks.public.gateway = "198.18.0.12";
    },
    [
      'hotpair:pair.nodes[1].networks.public.address: "198.18.0.12/24" is the gateway of networks.public; write the node\'s own address',
    ],
  ],
  "two nodes with one address": [
    (pair) => {
      pair.nodes[1].networks.heartbeat.address = "198.18.1.11/24";
    },
    [
      'hotpair:pair.nodes[1].networks.heartbeat.address: "198.18.1.11/24" is nodes[0].networks.heartbeat.address too; every address belongs to one interface',
    ],
  ],
  "one interface for two networks": [
    (pair) => {
      pair.nodes[0].networks.storage.interface = "a-hb";
    },
    [
      'hotpair:pair.nodes[0].networks.storage.interface: "a-hb" is this node\'s heartbeat interface too: one cable would be both networks; write the storage one',
    ],
  ],
  "jumbo frames on one side": [
    (pair) => {
      pair.nodes[1].networks.storage.mtu = 9000;
    },
    [
      "hotpair:pair.nodes[1].networks.storage.mtu: 9000 differs from nodes[0].networks.storage.mtu (1500): large packets would vanish; write the same on both nodes",
    ],
  ],
  "a VIP outside the public network": [
    (pair) => {
      pair.vips[0].address = "198.18.1.100/24";
    },
    [
      'hotpair:pair.vips[0].address: "198.18.1.100/24" is outside networks.public (198.18.0.0/24); expected e.g. 198.18.0.11/24',
    ],
  ],
  "a VIP that is a node": [
    (pair) => {
      pair.vips[0].address = "198.18.0.12/24";
    },
    [
      'hotpair:pair.vips[0].address: "198.18.0.12/24" is nodes[1].networks.public.address too; a VIP is an address that no node has of its own',
    ],
  ],
  "a VIP that is the gateway": [
    (pair) => {
      pair.networks.public.gateway = "198.18.0.100";
    },
    ['hotpair:pair.vips[0].address: "198.18.0.100/24" is the gateway of networks.public; choose a free address'],
  ],
  "a VIP with a strange prefix length": [
    (pair) => {
      pair.vips[0].address = "198.18.0.100/25";
    },
    [
      'hotpair:pair.vips[0].address: "198.18.0.100/25" has another prefix length than networks.public (198.18.0.0/24); write 198.18.0.100/24',
    ],
  ],
  "three VIPs": [
    (pair) => {
      pair.vips.push(secondVip, { ...secondVip, name: "more", address: "198.18.0.102/24", routerId: 53 });
    },
    ["hotpair:pair.vips: 3 given; expected 1 to 2 VIPs"],
  ],
  "two VIPs that are one": [
    (pair) => {
      pair.vips.push({ ...pair.vips[0] });
    },
    [
      'hotpair:pair.vips[1].name: "web" is the name of vips[0] too; give each VIP its own',
      'hotpair:pair.vips[1].address: "198.18.0.100/24" is vips[0] too; give each VIP its own address',
      "hotpair:pair.vips[1].routerId: 51 is the virtual router id of vips[0] too: each would take the other's advertisements for its own; write e.g. 52",
    ],
  ],
  "a router id that VRRP cannot carry": [
    (pair) => {
      pair.vips[0].routerId = 256;
    },
    ["hotpair:pair.vips[0].routerId: 256 is not a virtual router id from 1 to 255; expected e.g. 51"],
  ],
  "a preferred node that does not exist": [
    (pair) => {
      pair.vips[0].preferred = "node-c";
    },
    ['hotpair:pair.vips[0].preferred: "node-c" is not a node; did you mean "node-a"?'],
  ],
  "a mode that does not exist": [
    (pair) => {
      pair.vips[0].mode = "VMAC";
    },
    ['hotpair:pair.vips[0].mode: "VMAC" is not one of ip, vmac; did you mean "vmac"?'],
  ],
  "adverts faster than VRRP": [
    (pair) => {
      pair.vrrp = { advertInterval: "5ms" };
    },
    [
      'hotpair:pair.vrrp.advertInterval: "5ms" is outside 10ms to 40.95s (VRRPv3 carries centiseconds in 12 bits, RFC 9568 §5.2.7); expected e.g. 100ms',
    ],
  ],
  "adverts slower than VRRP": [
    (pair) => {
      pair.vrrp = { advertInterval: "41s" };
    },
    [
      'hotpair:pair.vrrp.advertInterval: "41s" is outside 10ms to 40.95s (VRRPv3 carries centiseconds in 12 bits, RFC 9568 §5.2.7); expected e.g. 100ms',
    ],
  ],
  "adverts between two centiseconds": [
    (pair) => {
      pair.vrrp = { advertInterval: "105ms" };
    },
    [
      'hotpair:pair.vrrp.advertInterval: "105ms" is not a multiple of 10ms (VRRPv3 carries centiseconds in 12 bits, RFC 9568 §5.2.7); expected e.g. 100ms',
    ],
  ],
  "a number whose unit must be guessed": [
    (pair) => {
      pair.vrrp = { advertInterval: 100 };
    },
    ["hotpair:pair.vrrp.advertInterval: 100 is not a duration with its unit (us, ms, s, m, h, d); expected e.g. 100ms"],
  ],
  "gratuitous ARP in fractions of seconds": [
    (pair) => {
      pair.vrrp = { garp: { delay: "1500ms" } };
    },
    [
      'hotpair:pair.vrrp.garp.delay: "1500ms" is not a multiple of 1s (keepalived counts gratuitous ARP in whole seconds, keepalived.conf(5)); expected e.g. 1s',
    ],
  ],
  "a relative notify command": [
    (pair) => {
      pair.vrrp = { notify: "notify.sh" };
    },
    [
      'hotpair:pair.vrrp.notify: "notify.sh" is not a program on the servers: an absolute path of letters, digits and . _ - + @ /; expected e.g. /usr/local/sbin/vip-changed',
    ],
  ],
  "a notify command that keepalived would read as more": [
    (pair) => {
      pair.vrrp = { notify: "/bin/sh -c 'x' }" };
    },
    [
      "hotpair:pair.vrrp.notify: \"/bin/sh -c 'x' }\" is not a program on the servers: an absolute path of letters, digits and . _ - + @ /; expected e.g. /usr/local/sbin/vip-changed",
    ],
  ],
  "a frontend on an unknown VIP": [
    (pair) => {
      pair.haproxy.frontends[0].bind = "wbe:80";
    },
    ['hotpair:pair.haproxy.frontends[0].bind: "wbe" is not the name of a VIP; did you mean "web"?'],
  ],
  "a frontend without a port": [
    (pair) => {
      pair.haproxy.frontends[0].bind = "web";
    },
    [
      'hotpair:pair.haproxy.frontends[0].bind: "web" is not "VIP:PORT" with the name of a VIP, or "*:PORT"; expected e.g. web:80',
    ],
  ],
  "a frontend that leads nowhere": [
    (pair) => {
      pair.haproxy.frontends[0].backend = "apache";
    },
    ['hotpair:pair.haproxy.frontends[0].backend: "apache" is not a backend; expected one of nginx'],
  ],
  "a frontend in another mode than its backend": [
    (pair) => {
      pair.haproxy.frontends[0].mode = "tcp";
    },
    [
      'hotpair:pair.haproxy.frontends[0].mode: "tcp" differs from haproxy.backends[0].mode ("http"); HAProxy needs the same mode on both sides',
    ],
  ],
  "two backends with one name": [
    (pair) => {
      pair.haproxy.backends.push(structuredClone(pair.haproxy.backends[0]));
    },
    ['hotpair:pair.haproxy.backends[1].name: "nginx" is the name of haproxy.backends[0] too; give each its own'],
  ],
  "a backend without servers": [
    (pair) => {
      delete pair.nginx;
      delete pair.haproxy.backends[0].service;
    },
    [
      "hotpair:pair.haproxy.backends[0]: has no servers: neither nginx nor external is configured; add one of them, or name the servers",
    ],
  ],
  "a backend for a service that is not there": [
    (pair) => {
      pair.haproxy.backends[0].service = "ngnix";
    },
    ['hotpair:pair.haproxy.backends[0].service: "ngnix" is not a service of this pair; did you mean "nginx"?'],
  ],
  "servers beside a service": [
    (pair) => {
      pair.haproxy.backends[0].servers = [{ name: "one", address: "198.18.0.21", port: 80 }];
    },
    ["hotpair:pair.haproxy.backends[0].servers: stands beside service; keep one of the two"],
  ],
  "a server by name": [
    (pair) => {
      delete pair.haproxy.backends[0].service;
      pair.haproxy.backends[0].servers = [{ name: "one", address: "app.example.net", port: 80 }];
    },
    [
      'hotpair:pair.haproxy.backends[0].servers[0].address: "app.example.net" is not an IPv4 address; expected e.g. 198.51.100.21',
    ],
  ],
  "a server that is the VIP": [
    (pair) => {
      delete pair.haproxy.backends[0].service;
      pair.haproxy.backends[0].servers = [{ name: "one", address: "198.18.0.100", port: 8080 }];
    },
    [
      'hotpair:pair.haproxy.backends[0].servers[0].address: "198.18.0.100" is vips[0]: HAProxy would send requests to itself; write the server\'s own address',
    ],
  ],
  "an HTTP check in mode tcp": [
    (pair) => {
      pair.haproxy.frontends[0].mode = "tcp";
      pair.haproxy.backends[0].mode = "tcp";
    },
    [
      "hotpair:pair.haproxy.backends[0].check.path: needs mode http; in mode tcp a TCP connect is the check: remove it, or write mode: http",
    ],
  ],
  "a frontend on nginx's port": [
    (pair) => {
      pair.haproxy.frontends[0].bind = "*:8080";
    },
    [
      "hotpair:pair.haproxy.frontends[0].bind: port 8080 is taken by nginx (nginx.port); only one of them could start, choose another port",
    ],
  ],
  "two frontends on one port": [
    (pair) => {
      pair.haproxy.frontends.push({ name: "again", bind: "web:80", backend: "nginx" });
    },
    [
      "hotpair:pair.haproxy.frontends[1].bind: port 80 is taken by haproxy.frontends[0] (haproxy.frontends[0].bind); only one of them could start, choose another port",
    ],
  ],
  "a frontend on sshd's port": [
    (pair) => {
      pair.haproxy.frontends[0].bind = "web:22";
    },
    [
      "hotpair:pair.haproxy.frontends[0].bind: port 22 is taken by sshd (nodes[0].ssh.port); only one of them could start, choose another port",
    ],
  ],
  "a service named like the managed one": [
    (pair) => {
      pair.external = { name: "nginx", port: 9000 };
    },
    ['hotpair:pair.external.name: "nginx" is the name of the service that hotpair manages; choose another name'],
  ],
  "custom targets that are not stated": [
    (pair) => {
      pair.objectives = { tier: "custom", rto: { default: "10s" } };
    },
    ["hotpair:pair.objectives.rpo.default: is missing: tier custom has no target of its own; write e.g. 5s"],
  ],
  "a tier that nobody describes": [
    (pair) => {
      pair.objectives = { tier: "gald", tiers: [{ name: "gold", rto: "5s", rpo: "0s" }] };
    },
    ['hotpair:pair.objectives.tier: "gald" is not a tier; did you mean "gold"?'],
  ],
  "tiers under names that are taken": [
    (pair) => {
      pair.objectives = {
        tiers: [
          { name: "critical", rto: "5s", rpo: "0s" },
          { name: "gold", rto: "5s", rpo: "0s" },
          { name: "gold", rto: "6s", rpo: "0s" },
        ],
      };
    },
    [
      'hotpair:pair.objectives.tiers[0].name: "critical" has a meaning of its own, docs/estimate.md; choose another name',
      'hotpair:pair.objectives.tiers[2].name: "gold" is the name of a tier before it; each is described once',
    ],
  ],
  "failures that are described twice, or cannot happen here": [
    (pair) => {
      pair.failures = [
        { class: "node-power-cut", rate: "1/year" },
        { class: "node-power-cut", repair: "1h" },
        { class: "lease-loss", rate: "1/year" },
      ];
    },
    [
      "hotpair:pair.failures[1].class: node-power-cut stands there already; each class is described once",
      "hotpair:pair.failures[2].class: only a pair that keeps data can have lease-loss; this pair keeps none, remove it",
    ],
  ],
  "a rate without its unit": [
    (pair) => {
      pair.failures = [{ class: "node-power-cut", rate: "2" }];
    },
    [
      'hotpair:pair.failures[0].rate: "2" is not how often it happens: a number per day, week, month or year; expected e.g. 0.5/year',
    ],
  ],
  "a target for a failure that is not in the catalogue": [
    (pair) => {
      pair.objectives = { rto: { "node-powercut": "1s" } };
    },
    ['hotpair:pair.objectives.rto.node-powercut: is not a known key; did you mean "node-power-cut"?'],
  ],
  "nothing where keys belong": [
    (pair) => {
      pair.nginx = null;
    },
    ["hotpair:pair.nginx: nothing stands here; expected the keys port, healthPath, root"],
  ],
  "several mistakes at once": [
    (pair) => {
      pair.nodes[1].networks.heartbeat.address = "10.0.1.300/24";
      pair.vips[0].address = "198.18.0.11/24";
      pair.nginx.prot = 80;
      pair.beaconKey = "plain";
    },
    [
      'hotpair:pair.nodes[1].networks.heartbeat.address: "10.0.1.300/24" is not an IPv4 address with prefix; expected e.g. 198.18.1.12/24',
      'hotpair:pair.nginx.prot: is not a known key; did you mean "port"?',
      "hotpair:pair.beaconKey: holds a secret in plain text (not shown); treat it as published, and make one with `hotpair secrets rotate`",
      'hotpair:pair.vips[0].address: "198.18.0.11/24" is nodes[0].networks.public.address too; a VIP is an address that no node has of its own',
    ],
  ],
};

test.each(Object.entries(CASES))("%s", (_, [change, expected]) => {
  expect(mistakesAfter(change)).toEqual(expected);
});

test("a stack whose name cannot name the pair needs a name in the configuration", () => {
  expect(mistakesAfter((pair) => delete pair.name)).toEqual([]);
});

test("what is allowed besides the ordinary", () => {
  expect(
    mistakesAfter((pair) => {
      pair.vips.push({ ...secondVip, preferred: "node-b", mode: "vmac" });
      pair.vips[0].preferred = "node-a";
      pair.vips[0].address = "198.18.0.100/32";
      pair.nodes[0].ssh.jump = jump;
      pair.haproxy.frontends.push({ name: "api", bind: "api:80", backend: "nginx" });
      pair.networks.public.gateway = "198.18.0.1";
      pair.objectives = { tier: "critical", rto: { "both-power-cut": "10m" } };
    }),
  ).toEqual([]);
});
