// For every rule a pair that breaks it and, in the finding's own words, where and what to change; and the same pair after
// following the advice. Read by the findings' tests, by each policy's test and by the one that runs the real engine.

import { type Duration, ms, seconds } from "../../infra/model/duration.ts";
import type { FailureClassId } from "../../infra/model/failure.ts";
import type { Finding } from "../../infra/model/finding.ts";
import type { Authority, Backend, Drbd, Frontend, Haproxy, Nfs, Pair, Witness } from "../../infra/model/pair.ts";
import { perYear } from "../../infra/model/rate.ts";
import {
  cloudDataPair,
  cloudPair,
  diskPair,
  exportPair,
  externalService,
  labPair,
  statefulPair,
  twoVips,
} from "./pairs.ts";

export interface Violation {
  readonly level: Finding["level"];
  readonly path: string;
  readonly message: RegExp;
  readonly fix: RegExp;
  readonly broken: Pair;
  /** `broken` with the fix applied as it is worded. */
  readonly fixed: Pair;
}

const [a, b] = labPair.nodes;
const web = required(labPair.haproxy);
const [first, second] = statefulPair.nodes;
const authority = given(statefulPair.authority);
const witness = given(statefulPair.witness);

export const VIOLATIONS: Readonly<Record<string, Violation>> = {
  "evidence-present": {
    level: "mandatory",
    path: "hotpair:pair.objectives",
    message: /1 failure class with a target has no evidence: clean-reboot/,
    fix: /beforeDrill\.digest to sha256:[0-9a-f]{12} and \.until .*; then run: hotpair drill -s trial --scenario clean-reboot/,
    broken: toBeProven("clean-reboot"),
    fixed: toBeProven("clean-reboot"),
  },
  "evidence-passed": {
    level: "mandatory",
    path: "hotpair:pair.objectives",
    message: /the newest drill of keepalived-kill \(keepalived-kill, \d{4}-\d\d-\d\d\) failed: 1 of 2 runs failed/,
    fix: /run: hotpair drill -s trial --scenario keepalived-kill/,
    broken: toBeProven("keepalived-kill"),
    fixed: toBeProven("keepalived-kill"),
  },
  "evidence-matches": {
    level: "mandatory",
    path: "hotpair:pair.objectives",
    message:
      /of another configuration: planned-switch \(measured on sha256:000000000000, this is sha256:[0-9a-f]{12}\)/,
    fix: /run: hotpair drill -s trial --scenario planned-switch/,
    broken: toBeProven("planned-switch"),
    fixed: toBeProven("planned-switch"),
  },
  "evidence-fresh": {
    level: "mandatory",
    path: "hotpair:pair.evidence.maxAge",
    message: /older than 90d: haproxy-kill \(100 days\)/,
    fix: /run: hotpair drill -s trial --scenario haproxy-kill/,
    broken: toBeProven("haproxy-kill"),
    fixed: toBeProven("haproxy-kill"),
  },
  "evidence-trusted": {
    level: "mandatory",
    path: "hotpair:pair.evidence",
    message: /a recorded drill does not count: .*-nginx-kill\.json was changed after it was recorded/,
    fix: /run: hotpair evidence verify -s trial/,
    broken: toBeProven("backend-kill"),
    fixed: toBeProven("backend-kill"),
  },
  "aws-two-zones": {
    level: "mandatory",
    path: "hotpair:aws.zones",
    message: /both servers are in eu-central-1a: the loss of that zone takes the pair/,
    fix: /name two zones in hotpair:aws\.zones, or say why not as hotpair:aws\.accepted\.oneZone/,
    broken: inCloud({ zones: { a: "eu-central-1a", b: "eu-central-1a" } }),
    fixed: cloudPair,
  },
  "aws-steady-instances": {
    level: "mandatory",
    path: "hotpair:aws.instance.type",
    message: /t4g\.medium runs at a fraction of its speed when its credits are used up/,
    fix: /set hotpair:aws\.instance\.type to .* m7i\.large, or say why not as hotpair:aws\.accepted\.burstable/,
    broken: inCloud({ instance: { ...cloudPair.aws.instance, type: "t4g.medium" } }),
    fixed: cloudPair,
  },
  "aws-no-default-vpc": {
    level: "mandatory",
    path: "hotpair:aws.vpc.id",
    message: /vpc-0a1b2c3d4e5f60718 with 172\.31\.0\.0\/16 is the account's default VPC/,
    fix: /remove hotpair:aws\.vpc\.id and hotpair:aws\.vpc\.routeTable/,
    broken: inCloud({
      vpc: {
        prefix: "172.31.0.0/16",
        existing: { id: "vpc-0a1b2c3d4e5f60718", routeTable: "rtb-0a1b2c3d4e5f60718" },
      },
    }),
    fixed: cloudPair,
  },
  "aws-backups-present": {
    level: "advisory",
    path: "hotpair:aws.bucket",
    message: /the pair has neither a bucket for backups nor images of its servers/,
    fix: /describe a bucket as hotpair:aws\.bucket, with an object lock, or hotpair:aws\.backup/,
    broken: inCloud({ bucket: undefined, backup: undefined }),
    fixed: cloudPair,
  },
  "rto-within-target": {
    level: "mandatory",
    path: "hotpair:pair.objectives.rto.haproxy-kill",
    message: /haproxy-kill.* within 910ms at worst, the target is 500ms: .*RestartSec 100ms/,
    fix: /set hotpair:pair\.objectives\.rto\.haproxy-kill to 1s: no set of timers is faster than 910ms/,
    broken: { ...labPair, objectives: { tier: "custom", rto: { "haproxy-kill": ms(500) }, rpo: {} } },
    fixed: { ...labPair, objectives: { tier: "custom", rto: { "haproxy-kill": ms(1_000) }, rpo: {} } },
  },
  "redundancy-budget": {
    level: "mandatory",
    path: "hotpair:pair.objectives.redundancyLost",
    message:
      /a year is expected to have \d+(\.\d)? h without a usable standby, its budget is 8 h: standby-power-cut 1\/year × 8 h = 8 h/,
    fix: /repair standby-power-cut within \d+h?m? in place of 8h, .* in hotpair:pair\.failures/,
    broken: { ...budgeted({ redundancyLost: seconds(8 * 3_600) }), failures: [history("standby-power-cut", 8)] },
    fixed: { ...budgeted({ redundancyLost: seconds(8 * 3_600) }), failures: [history("standby-power-cut", 1)] },
  },
  "downtime-budget": {
    level: "mandatory",
    path: "hotpair:pair.objectives.downtime",
    message:
      /a year is expected to have \d+\.\d h without service at worst, its budget is 3 h: both-power-cut 1\/year × 4 h = 4 h/,
    fix: /repair both-power-cut within \d+m in place of 4h/,
    broken: { ...budgeted({ downtime: seconds(3 * 3_600) }), failures: [history("both-power-cut", 4)] },
    fixed: { ...budgeted({ downtime: seconds(3 * 3_600) }), failures: [history("both-power-cut", 1)] },
  },
  "advert-interval": {
    level: "mandatory",
    path: "hotpair:pair.vrrp.advertInterval",
    message: /adverts every 50ms .* 100ms is the shortest interval measured safe/,
    fix: /set hotpair:pair\.vrrp\.advertInterval to 100ms/,
    broken: {
      ...labPair,
      vrrp: { ...labPair.vrrp, advertInterval: ms(50) },
      arbiter: { ...labPair.arbiter, beaconInterval: ms(10), silence: ms(75) },
    },
    fixed: labPair,
  },
  "vrrp-skew": {
    level: "advisory",
    path: "hotpair:pair.vrrp.priority",
    message: /priority 100 .* \(256 − 100\) × 100ms \/ 256 = 60\.938ms/,
    fix: /set hotpair:pair\.vrrp\.priority to 253/,
    broken: { ...labPair, vrrp: { ...labPair.vrrp, priority: 100 } },
    fixed: labPair,
  },
  "gratuitous-arp": {
    level: "mandatory",
    path: "hotpair:pair.vrrp.garp.repeat",
    message: /no gratuitous ARP/,
    fix: /set hotpair:pair\.vrrp\.garp\.repeat to 5/,
    broken: { ...labPair, vrrp: { ...labPair.vrrp, garp: { ...labPair.vrrp.garp, repeat: 0 } } },
    fixed: labPair,
  },
  "arbiter-silence": {
    level: "mandatory",
    path: "hotpair:pair.arbiter.silence",
    message: /gate closes 280ms \+ 20ms \+ \S+ = \S+ after the last advert, but VRRP takes over after .* = 301\.172ms/,
    fix: /set hotpair:pair\.arbiter\.silence to 150ms/,
    broken: { ...labPair, arbiter: { ...labPair.arbiter, silence: ms(280) } },
    fixed: labPair,
  },
  "haproxy-check-timers": {
    level: "mandatory",
    path: "hotpair:pair.haproxy.backends[0].check.fall",
    message: /one lost check takes a server of backend "nginx" out/,
    fix: /set hotpair:pair\.haproxy\.backends\[0\]\.check\.fall to 2/,
    broken: withBackend((backend) => ({ ...backend, check: { ...backend.check, fall: 1 } })),
    fixed: labPair,
  },
  "timers-agree": {
    level: "advisory",
    path: "hotpair:pair.arbiter.serviceDead",
    message:
      /the VIP moves when HAProxy has not answered for 500ms, but systemd has a HAProxy that died back after 100ms \+ 750ms/,
    fix: /set hotpair:pair\.arbiter\.serviceDead to 1050ms or more/,
    broken: { ...labPair, arbiter: { ...labPair.arbiter, serviceDead: ms(500) } },
    fixed: { ...labPair, arbiter: { ...labPair.arbiter, serviceDead: ms(1_050) } },
  },
  "heartbeat-own-network": {
    level: "mandatory",
    path: "hotpair:pair.nodes[0].networks.heartbeat.interface",
    message: /node-a: a-pub\.100 runs over the cable of a-pub/,
    fix: /set hotpair:pair\.nodes\[0\]\.networks\.heartbeat\.interface to an interface with a cable of its own/,
    broken: withInterface("heartbeat", "a-pub.100"),
    fixed: labPair,
  },
  "heartbeat-second-path": {
    level: "mandatory",
    path: "hotpair:pair.nodes[0].networks.storage.interface",
    message: /node-a: a-hb\.7 runs over the cable of the heartbeat network/,
    fix: /set hotpair:pair\.nodes\[0\]\.networks\.storage\.interface/,
    broken: withInterface("storage", "a-hb.7"),
    fixed: labPair,
  },
  "host-keys-pinned": {
    level: "mandatory",
    path: "hotpair:pair.nodes[0].ssh.hostKey",
    message: /the host key of 198\.18\.0\.11 is not pinned/,
    fix: /hotpair scan.*set hotpair:pair\.nodes\[0\]\.ssh\.hostKey/,
    broken: { ...labPair, nodes: [{ ...a, ssh: { ...a.ssh, hostKey: "" } }, b] },
    fixed: labPair,
  },
  "no-plain-secrets": {
    level: "mandatory",
    path: "hotpair:pair.beaconKey",
    message: /a secret stands here in plain text/,
    fix: /pulumi config set --secret --path 'hotpair:pair\.beaconKey'/,
    broken: { ...labPair, secrets: { ...labPair.secrets, beaconKey: "5eed".repeat(16) as never } },
    fixed: labPair,
  },
  "vip-ownership-safe": {
    level: "mandatory",
    path: "hotpair:pair.vips[1].routerId",
    message: /both VIPs have virtual router id 51/,
    fix: /set hotpair:pair\.vips\[1\]\.routerId to 52/,
    broken: { ...twoVips, vips: twoVips.vips.map((vip) => ({ ...vip, routerId: 51 })) },
    fixed: twoVips,
  },
  "statistics-not-public": {
    level: "mandatory",
    path: "hotpair:pair.haproxy.backends[0].servers[0]",
    message: /server "node-a" is HAProxy's own statistics page \(127\.0\.0\.1:8404\)/,
    fix: /remove hotpair:pair\.haproxy\.backends\[0\]\.servers\[0\].*ssh -L 8404/,
    broken: withBackend((backend) => ({
      ...backend,
      servers: backend.servers.map((server, index) =>
        index === 0 ? { ...server, address: "127.0.0.1", port: 8404 } : server,
      ),
    })),
    fixed: withBackend((backend) => ({ ...backend, servers: backend.servers.slice(1) })),
  },
  "listeners-distinct": {
    level: "mandatory",
    path: "hotpair:pair.haproxy.frontends[0].bind.port",
    message: /frontend "web" would listen on port 8080 of every address, where nginx listens already/,
    fix: /set hotpair:pair\.haproxy\.frontends\[0\]\.bind\.vip to a VIP's name/,
    broken: withFrontend((frontend) => ({ ...frontend, bind: { vip: "*", port: 8080 } })),
    fixed: withFrontend((frontend) => ({ ...frontend, bind: { vip: "web", port: 8080 } })),
  },
  "external-reached": {
    level: "advisory",
    path: "hotpair:pair.external.port",
    message: /no backend of HAProxy sends traffic to shop on port 9000/,
    fix: /add a backend with servers at port 9000, or remove hotpair:pair\.external/,
    broken: { ...externalService, external: { name: "shop", port: 9000, units: [] } },
    fixed: externalService,
  },
  "state-has-witness": {
    level: "mandatory",
    path: "hotpair:witness",
    message: /keeps data \(hotpair:pair\.mariadb\) and has no witness/,
    fix: /describe a third, small host as hotpair:witness.*or remove hotpair:pair\.mariadb/,
    broken: { ...statefulPair, witness: undefined, authority: undefined, fencing: undefined },
    fixed: statefulPair,
  },
  "state-one-vip": {
    level: "mandatory",
    path: "hotpair:pair.vips[1]",
    message: /has two VIPs: "more" could stand on the node that must not write/,
    fix: /remove hotpair:pair\.vips\[1\]/,
    broken: {
      ...statefulPair,
      vips: [
        ...statefulPair.vips,
        { name: "more", address: "198.18.0.101/24", preferred: undefined, mode: "ip", routerId: 52 },
      ],
    },
    fixed: statefulPair,
  },
  "witness-own-site": {
    level: "mandatory",
    path: "hotpair:witness.site",
    message: /the witness stands in room-2, where node-b stands: one fault there takes two of three votes/,
    fix: /move the witness to a third site/,
    broken: withWitness({ site: "room-2" }),
    fixed: statefulPair,
  },
  "three-members": {
    level: "mandatory",
    path: "hotpair:witness.address",
    message: /198\.18\.1\.12 is an address of node-b: the witness is a member of its own only on a third host/,
    fix: /set hotpair:witness\.address to the address of a third host/,
    broken: withWitness({ address: "198.18.1.12" }),
    fixed: statefulPair,
  },
  "fencing-agents-distinct": {
    level: "mandatory",
    path: "hotpair:fencing.agents",
    message: /the agents of node-a and node-b have the same options, so both switch the same machine off/,
    fix: /give each its own, e\.g\. another ip or plug/,
    broken: withAgentAt("198.18.3.12"),
    fixed: statefulPair,
  },
  "lease-timing": {
    level: "mandatory",
    path: "hotpair:pair.authority.lease.takeover",
    message:
      /may write 1450ms × \(1 − 0\.001\) = 1\.44855s after .* max\(800ms, 200ms \+ 800ms\) \+ 200ms \+ 200ms \+ 50ms = 1450ms \(S: hotpair-lease\.service, hotpair-mariadb\.service\): two writers/,
    fix: /set hotpair:pair\.authority\.lease\.takeover to 1452ms or more/,
    broken: withLease({ takeover: ms(1_450) }),
    fixed: withLease({ takeover: ms(1_452) }),
  },
  "drbd-drilled": {
    level: "mandatory",
    path: "hotpair:drbd.accepted.undrilled",
    message: /DRBD has been drilled on emulated machines with driver 8\.4 alone, and not under random faults/,
    fix: /use hotpair:pair\.mariadb, which has been through a campaign; or, on servers that hold nothing anybody needs, say why as hotpair:drbd\.accepted\.undrilled/,
    broken: withDrbd({ accepted: { undrilled: undefined } }),
    fixed: statefulPair,
  },
  "drbd-stable-devices": {
    level: "advisory",
    path: "hotpair:drbd.resources[0].disks.a",
    message: /\/dev\/sdb is what the kernel found in this order at one boot/,
    fix: /write a name that stays, e\.g\. the link to it in \/dev\/disk\/by-id\//,
    broken: withDisk("/dev/sdb"),
    fixed: withDisk("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"),
  },
  "drbd-stops-in-time": {
    level: "advisory",
    path: "hotpair:volumes",
    message: /may take 6s to stop, and unmounting 1220ms more; a hand-over that is not over after 5s is called off/,
    fix: /set stopTimeout of each of the 2 to 1890ms or less/,
    broken: stoppingWithin(seconds(3)),
    fixed: stoppingWithin(ms(1_890)),
  },
  "drbd-fenced": {
    level: "advisory",
    path: "hotpair:fencing",
    message: /has no fencing: a node whose file system cannot be unmounted keeps its devices/,
    fix: /describe what switches each node off as hotpair:fencing/,
    broken: { ...diskPair, fencing: undefined },
    fixed: diskPair,
  },
  "nfs-clients-named": {
    level: "advisory",
    path: "hotpair:volumes[1].nfs.clients[0]",
    message: /0\.0\.0\.0\/0 may mount the volume: whoever reaches port 2049 of the VIP says by itself which user it is/,
    fix: /name the networks that the clients are in/,
    broken: exporting({ clients: ["0.0.0.0/0"] }),
    fixed: exportPair,
  },
  "nfs-root-squashed": {
    level: "advisory",
    path: "hotpair:volumes[1].nfs.squash",
    message: /root on any client is root on the volume/,
    fix: /set hotpair:volumes\[1\]\.nfs\.squash to root/,
    broken: exporting({ squash: "none" }),
    fixed: exportPair,
  },
  "nfs-acknowledged-kept": {
    level: "advisory",
    path: "hotpair:drbd.protocol",
    message: /before it is on the other node: the loss of the active one takes send buffer .* = 21ms with it/,
    fix: /set hotpair:drbd\.protocol to C/,
    broken: { ...exportPair, drbd: { ...exportPair.drbd, protocol: "A" } },
    fixed: exportPair,
  },
  "managed-networks": {
    level: "advisory",
    path: "hotpair:pair.nodes[0].networks.storage.managed.bond.members",
    message: /node-a: the bond has one member, a-st: its cable is as alone as without a bond/,
    fix: /add a second card to hotpair:pair\.nodes\[0\]\.networks\.storage\.managed\.bond\.members/,
    broken: bonded(["a-st"]),
    fixed: bonded(["a-st", "a-st2"]),
  },
  "mariadb-check": {
    level: "mandatory",
    path: "hotpair:pair.haproxy.backends[0]",
    message:
      /backend "mariadb" leads to MariaDB's port 3306 and would take the replica, which is up and read-only, for a primary/,
    fix: /in hotpair:pair\.haproxy\.backends\[0\] write service: mariadb in place of servers/,
    broken: withDataBackend(withoutRole),
    fixed: statefulPair,
  },
  "rpo-within-target": {
    level: "mandatory",
    path: "hotpair:pair.objectives.rpo.forced-promotion",
    message: /forced-promotion.* unbounded of acknowledged data can be lost, the target is 5s/,
    fix: /remove hotpair:pair\.objectives\.rpo\.forced-promotion/,
    broken: { ...statefulPair, objectives: { tier: "standard", rto: {}, rpo: { "forced-promotion": seconds(5) } } },
    fixed: statefulPair,
  },
  "journal-kept": {
    level: "advisory",
    path: "hotpair:pair.base.persistentJournal",
    message: /the journal is not kept on disk/,
    fix: /set hotpair:pair\.base\.persistentJournal to true/,
    broken: { ...labPair, base: { ...labPair.base, persistentJournal: false } },
    fixed: labPair,
  },
};

function inCloud(change: Partial<typeof cloudPair.aws>): Pair {
  return { ...cloudPair, aws: { ...cloudPair.aws, ...change } };
}

function withCloudWitness(change: Partial<NonNullable<typeof cloudDataPair.aws.witness>>): Pair {
  const { witness } = cloudDataPair.aws;
  return { ...cloudDataPair, aws: { ...cloudDataPair.aws, witness: witness && { ...witness, ...change } } };
}

/** More ways to break a rule, by a name that says which. */
export const MORE_VIOLATIONS: readonly (Violation & { readonly rule: string; readonly name: string })[] = [
  {
    rule: "timers-agree",
    name: "VRRP takes an ordinary pause for a crash",
    level: "mandatory",
    path: "hotpair:pair.vrrp.advertInterval",
    message:
      /2 × 100ms = 200ms after the next was due, but an active node that is well may be silent for .*pause 300ms = 311ms/,
    fix: /set hotpair:pair\.vrrp\.advertInterval to 160ms or more/,
    broken: pausing(labPair),
    fixed: pausing({ ...labPair, vrrp: { ...labPair.vrrp, advertInterval: ms(160) } }),
  },
  {
    rule: "timers-agree",
    name: "a veto ends in an ordinary pause",
    level: "mandatory",
    path: "hotpair:pair.arbiter.evidence",
    message: /a veto ends 200ms after the last beacon, but .* 351ms in all/,
    fix: /set hotpair:pair\.arbiter\.evidence to 351ms or more/,
    broken: pausing(labPair),
    fixed: pausing({ ...labPair, arbiter: { ...labPair.arbiter, evidence: ms(351) } }),
  },
  {
    rule: "timers-agree",
    name: "checks take an ordinary pause for a dead server",
    level: "advisory",
    path: "hotpair:pair.haproxy.backends[0].check.fall",
    message:
      /out that does not answer for 1 × \(50ms \+ 50ms\) = 100ms, but one that is well may be silent for .*311ms/,
    fix: /set hotpair:pair\.haproxy\.backends\[0\]\.check\.fall to 5 or more/,
    broken: pausing(labPair),
    fixed: pausing(withBackend((backend) => ({ ...backend, check: { ...backend.check, fall: 5 } }))),
  },
  {
    rule: "timers-agree",
    name: "a check that is more patient than a request",
    level: "advisory",
    path: "hotpair:pair.haproxy.timeouts.server",
    message: /a request is given up after 100ms without an answer, but a check waits 250ms/,
    fix: /set hotpair:pair\.haproxy\.timeouts\.server to 250ms or more/,
    broken: { ...labPair, haproxy: { ...web, timeouts: { ...web.timeouts, server: ms(100) } } },
    fixed: { ...labPair, haproxy: { ...web, timeouts: { ...web.timeouts, server: ms(250) } } },
  },
  {
    rule: "timers-agree",
    name: "a connection is given up before a server on this network can accept it",
    level: "advisory",
    path: "hotpair:pair.haproxy.timeouts.connect",
    message: /gives a connection up after 5ms, but a server that is well may take round trip 1ms \+ jitter 10ms = 11ms/,
    fix: /set hotpair:pair\.haproxy\.timeouts\.connect to 11ms or more/,
    broken: { ...labPair, haproxy: { ...web, timeouts: { ...web.timeouts, connect: ms(5) } } },
    fixed: { ...labPair, haproxy: { ...web, timeouts: { ...web.timeouts, connect: ms(11) } } },
  },
  {
    rule: "timers-agree",
    name: "one lost answer of etcd ends the holder",
    level: "advisory",
    path: "hotpair:pair.authority.lease.deadline",
    message: /stops writing 800ms after its last acknowledged renewal, but waits rpcTimeout 750ms \+ renewal 100ms/,
    fix: /set hotpair:pair\.authority\.lease\.deadline to 851ms or more/,
    broken: leased({ rpcTimeout: ms(750), takeover: ms(2_100) }),
    fixed: leased({ rpcTimeout: ms(750), takeover: ms(2_100), deadline: ms(851) }),
  },
  {
    rule: "timers-agree",
    name: "etcd elects another leader in an ordinary pause",
    level: "advisory",
    path: "hotpair:pair.authority.etcd.election",
    message:
      /elects another leader after 300ms of silence, but one that is well may be silent for heartbeat 50ms \+ .*311ms/,
    fix: /set hotpair:pair\.authority\.etcd\.election to 361ms or more/,
    broken: pausing(statefulPair),
    fixed: pausing({ ...statefulPair, authority: { ...authority, etcd: { ...authority.etcd, election: ms(361) } } }),
  },
  {
    rule: "aws-two-zones",
    name: "one zone, with a reason",
    level: "advisory",
    path: "hotpair:aws.zones",
    message: /the loss of that zone takes the pair\. Accepted: a reason that is long enough/,
    fix: /name two zones in hotpair:aws\.zones/,
    broken: inCloud({
      zones: { a: "eu-central-1a", b: "eu-central-1a" },
      accepted: { oneZone: "a reason that is long enough" },
    }),
    fixed: cloudPair,
  },
  {
    rule: "aws-steady-instances",
    name: "a witness that may run out of credits",
    level: "mandatory",
    path: "hotpair:aws.witness.type",
    message: /a witness of type t4g\.nano votes late when its credits are used up/,
    fix: /set hotpair:aws\.witness\.type to .* m7g\.medium, or say why not as hotpair:aws\.accepted\.burstable/,
    broken: withCloudWitness({ type: "t4g.nano" }),
    fixed: cloudDataPair,
  },
  {
    rule: "no-plain-secrets",
    name: "the host key of a witness that is made",
    level: "mandatory",
    path: "hotpair:aws.witness.hostKey",
    message: /a secret stands here in plain text/,
    fix: /hotpair:aws\.witness\.hostKey/,
    broken: withCloudWitness({ hostKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb" as never }),
    fixed: cloudDataPair,
  },
  {
    rule: "aws-steady-instances",
    name: "servers of the spot market",
    level: "mandatory",
    path: "hotpair:aws.instance.spot",
    message: /AWS may take both servers away at the same time/,
    fix: /set hotpair:aws\.instance\.spot to false, or say why not as hotpair:aws\.accepted\.spot/,
    broken: inCloud({ instance: { ...cloudPair.aws.instance, spot: true } }),
    fixed: cloudPair,
  },
  {
    rule: "fencing-agents-distinct",
    name: "a server in the place of its power controller",
    level: "mandatory",
    path: "hotpair:fencing.agents",
    message: /the agent of node-a asks 198\.18\.0\.11, which is node-a's own address/,
    fix: /set the option ip of node-a's agent to its power controller/,
    broken: withAgentAt("198.18.0.11"),
    fixed: statefulPair,
  },
  {
    rule: "rto-within-target",
    name: "a target for a class that two nodes cannot bound",
    level: "mandatory",
    path: "hotpair:pair.objectives.rto.full-partition",
    message: /full-partition.*unbounded at worst/,
    fix: /remove hotpair:pair\.objectives\.rto\.full-partition: undecidable without a witness/,
    broken: { ...labPair, objectives: { tier: "standard", rto: { "full-partition": seconds(30) }, rpo: {} } },
    fixed: labPair,
  },
  {
    rule: "rto-within-target",
    name: "no target at all",
    level: "advisory",
    path: "hotpair:pair.objectives",
    message: /no recovery target is stated/,
    fix: /set hotpair:pair\.objectives\.tier to standard/,
    broken: { ...labPair, objectives: { tier: "custom", rto: {}, rpo: {} } },
    fixed: labPair,
  },
  {
    rule: "gratuitous-arp",
    name: "never refreshed",
    level: "advisory",
    path: "hotpair:pair.vrrp.garp.refresh",
    message: /never repeats its gratuitous ARP/,
    fix: /set hotpair:pair\.vrrp\.garp\.refresh to 10s/,
    broken: { ...labPair, vrrp: { ...labPair.vrrp, garp: { ...labPair.vrrp.garp, refresh: ms(0) } } },
    fixed: labPair,
  },
  {
    rule: "arbiter-silence",
    name: "shorter than one advert",
    level: "mandatory",
    path: "hotpair:pair.arbiter.silence",
    message: /counts as silent after 90ms, within one advert interval of 100ms/,
    fix: /set hotpair:pair\.arbiter\.silence to 150ms/,
    broken: { ...labPair, arbiter: { ...labPair.arbiter, silence: ms(90) } },
    fixed: labPair,
  },
  {
    rule: "haproxy-check-timers",
    name: "fast checks slower than ordinary ones",
    level: "mandatory",
    path: "hotpair:pair.haproxy.backends[0].check.fastInterval",
    message: /come every 400ms, slower than the ordinary 100ms/,
    fix: /fastInterval to 100ms or less/,
    broken: withBackend((backend) => ({ ...backend, check: { ...backend.check, fastInterval: ms(400) } })),
    fixed: withBackend((backend) => ({ ...backend, check: { ...backend.check, fastInterval: ms(100) } })),
  },
  {
    rule: "haproxy-check-timers",
    name: "a retry that comes after the client has given up",
    level: "advisory",
    path: "hotpair:pair.haproxy.timeouts.connect",
    message: /waits 2s before the other one gets it; a client that gives up after 1s/,
    fix: /set hotpair:pair\.haproxy\.timeouts\.connect to 50ms/,
    broken: { ...labPair, haproxy: { ...web, timeouts: { ...web.timeouts, connect: seconds(2) } } },
    fixed: labPair,
  },
  {
    rule: "haproxy-check-timers",
    name: "checks slower than a takeover",
    level: "advisory",
    path: "hotpair:pair.haproxy.backends[0].check.interval",
    message: /after 250ms \+ 2 × 50ms \+ 1 × 50ms = 400ms, but the VIP moves after 301\.172ms/,
    fix: /check\.interval to 100ms, .*check\.fastInterval to 50ms, .*check\.fall to 2 and .*timeouts\.connect to 50ms/,
    broken: withBackend((backend) => ({ ...backend, check: { ...backend.check, interval: ms(250) } })),
    fixed: labPair,
  },
  {
    rule: "heartbeat-own-network",
    name: "the same prefix as the clients'",
    level: "mandatory",
    path: "hotpair:pair.networks.heartbeat.prefix",
    message: /heartbeat and public network are both 198\.18\.0\.0\/24/,
    fix: /give hotpair:pair\.networks\.heartbeat a prefix of its own/,
    broken: { ...labPair, networks: { ...labPair.networks, heartbeat: labPair.networks.public } },
    fixed: labPair,
  },
  {
    rule: "heartbeat-second-path",
    name: "no third network",
    level: "advisory",
    path: "hotpair:pair.networks.storage",
    message: /beacons have only the public network beside the heartbeat/,
    fix: /add a third network as hotpair:pair\.networks\.storage/,
    broken: externalService,
    fixed: labPair,
  },
  {
    rule: "host-keys-pinned",
    name: "cloned machines",
    level: "mandatory",
    path: "hotpair:pair.nodes[1].ssh.hostKey",
    message: /node-a and node-b have the same host key/,
    fix: /on node-b: rm \/etc\/ssh\/ssh_host_\*; ssh-keygen -A/,
    broken: { ...labPair, nodes: [a, { ...b, ssh: { ...b.ssh, hostKey: a.ssh.hostKey } }] },
    fixed: labPair,
  },
  {
    rule: "host-keys-pinned",
    name: "an unpinned jump host",
    level: "mandatory",
    path: "hotpair:pair.nodes[1].ssh.jump.hostKey",
    message: /the host key of bastion is not pinned/,
    fix: /set hotpair:pair\.nodes\[1\]\.ssh\.jump\.hostKey/,
    broken: {
      ...labPair,
      nodes: [a, { ...b, ssh: { ...b.ssh, jump: { host: "bastion", port: 22, user: "root", hostKey: "no" } } }],
    },
    fixed: labPair,
  },
  {
    rule: "no-plain-secrets",
    name: "a private key where a path belongs",
    level: "mandatory",
    path: "hotpair:pair.nodes[0].ssh.auth.file",
    message: /a secret stands here in plain text/,
    fix: /replace the secret itself/,
    broken: {
      ...labPair,
      nodes: [
        { ...a, ssh: { ...a.ssh, auth: { kind: "keyFile", file: "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb" } } },
        b,
      ],
    },
    fixed: labPair,
  },
  {
    rule: "witness-own-site",
    name: "not stated where the hosts stand",
    level: "advisory",
    path: "hotpair:pair.nodes[1].site",
    message: /whether one fault can take a node and the witness together is not known/,
    fix: /set hotpair:pair\.nodes\[1\]\.site to the room, rack or zone/,
    broken: { ...statefulPair, nodes: [first, { ...second, site: undefined }] },
    fixed: statefulPair,
  },
  {
    rule: "three-members",
    name: "a witness that is reached as a node",
    level: "mandatory",
    path: "hotpair:witness.ssh.host",
    message: /198\.18\.0\.11 is node-a, by its address or its host key/,
    fix: /set hotpair:witness\.ssh\.host to a third host/,
    broken: withWitness({ ssh: { ...witness.ssh, host: "198.18.0.11" } }),
    fixed: statefulPair,
  },
  {
    rule: "three-members",
    name: "a witness that is a node by another name",
    level: "mandatory",
    path: "hotpair:witness.ssh.host",
    message: /node-b\.example\.net is node-b, by its address or its host key/,
    fix: /hotpair scan/,
    broken: withWitness({ ssh: { ...witness.ssh, host: "node-b.example.net", hostKey: second.ssh.hostKey } }),
    fixed: statefulPair,
  },
  {
    rule: "three-members",
    name: "a witness at the VIP",
    level: "mandatory",
    path: "hotpair:witness.address",
    message: /198\.18\.0\.100 is VIP "web", so the witness would be whichever node holds it/,
    fix: /set hotpair:witness\.address to the address of a third host/,
    broken: withWitness({ address: "198.18.0.100" }),
    fixed: statefulPair,
  },
  {
    rule: "lease-timing",
    name: "a holder that an election stops",
    level: "mandatory",
    path: "hotpair:pair.authority.lease.deadline",
    message: /the holder stops writing after 700ms .* 2 × 300ms \+ 100ms = 700ms: the loss of its leader/,
    fix: /set hotpair:pair\.authority\.lease\.deadline to 701ms or more/,
    broken: withLease({ deadline: ms(700) }),
    fixed: withLease({ deadline: ms(701) }),
  },
  {
    rule: "lease-timing",
    name: "a watchdog that an election ends, and that cannot be longer by itself",
    level: "mandatory",
    path: "hotpair:pair.authority.lease.watchdog",
    message: /systemd kills the holder after 800ms .* 2 × 400ms \+ 100ms = 900ms/,
    fix: /set hotpair:pair\.authority\.lease\.watchdog to 901ms or more, and with it .*\.takeover to 1553ms or more/,
    broken: withLease({ deadline: ms(901) }, { election: ms(400) }),
    fixed: withLease({ deadline: ms(901), watchdog: ms(901), takeover: ms(1_553) }, { election: ms(400) }),
  },
  {
    rule: "mariadb-check",
    name: "a promotion that is noticed late",
    level: "advisory",
    path: "hotpair:pair.haproxy.backends[0].check",
    message: /interval 2s \+ 2 × fastInterval 1s = 4s: every failover and every switch is longer by that/,
    fix: /check\.interval to 100ms, \.fastInterval to 50ms/,
    broken: withDataBackend((backend) => ({
      ...backend,
      check: { ...backend.check, interval: seconds(2), fastInterval: seconds(1) },
    })),
    fixed: statefulPair,
  },
  {
    rule: "mariadb-check",
    name: "a database that nobody reaches",
    level: "advisory",
    path: "hotpair:pair.haproxy.backends",
    message: /no backend is for the service mariadb/,
    fix: /add a backend with service: mariadb and mode: tcp/,
    broken: { ...statefulPair, haproxy: undefined },
    fixed: statefulPair,
  },
  {
    rule: "host-keys-pinned",
    name: "an unpinned witness",
    level: "mandatory",
    path: "hotpair:witness.ssh.hostKey",
    message: /the host key of 198\.18\.0\.13 is not pinned/,
    fix: /set hotpair:witness\.ssh\.hostKey/,
    broken: withWitness({ ssh: { ...witness.ssh, hostKey: "" } }),
    fixed: statefulPair,
  },
  {
    rule: "no-plain-secrets",
    name: "the authority's key",
    level: "mandatory",
    path: "hotpair:pair.authority.caKey",
    message: /a secret stands here in plain text/,
    fix: /hotpair:pair\.authority\.caKey/,
    broken: { ...statefulPair, authority: { ...authority, caKey: "-----BEGIN PRIVATE KEY-----\nMAA=\n" as never } },
    fixed: statefulPair,
  },
  {
    rule: "no-plain-secrets",
    name: "a witness's SSH key",
    level: "mandatory",
    path: "hotpair:witness.ssh.auth.key",
    message: /a secret stands here in plain text/,
    fix: /hotpair:witness\.ssh\.auth\.key/,
    broken: withWitness({ ssh: { ...witness.ssh, auth: { kind: "key", key: "plain" as never } } }),
    fixed: statefulPair,
  },
  {
    rule: "vip-ownership-safe",
    name: "a veto that one lost beacon ends",
    level: "mandatory",
    path: "hotpair:pair.arbiter.evidence",
    message: /a veto ends 30ms after the last beacon, with beacons every 20ms/,
    fix: /set hotpair:pair\.arbiter\.evidence to 200ms/,
    broken: { ...labPair, arbiter: { ...labPair.arbiter, evidence: ms(30) } },
    fixed: labPair,
  },
];

/** What two nodes cannot decide is declared for every pair without state. */
export const DECLARED = { rule: "vip-ownership-safe", path: "hotpair:pair.networks" } as const;

/** One class has a target and must be proven; what was drilled says test/evidence/trial.ts. */
function toBeProven(failure: FailureClassId): Pair {
  return {
    ...labPair,
    objectives: { tier: "custom", rto: { [failure]: seconds(30) }, rpo: {} },
    evidence: { ...labPair.evidence, enforcement: "mandatory" },
  };
}

function required(haproxy: Pair["haproxy"]): Haproxy {
  if (haproxy === undefined) throw new Error("the lab's pair has HAProxy");
  return haproxy;
}

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the pair that keeps data has all of it");
  return value;
}

function withLease(lease: Partial<Authority["lease"]>, etcd: Partial<Authority["etcd"]> = {}): Pair {
  const changed = { ...authority, etcd: { ...authority.etcd, ...etcd }, lease: { ...authority.lease, ...lease } };
  return { ...statefulPair, authority: changed };
}

function withAgentAt(ip: string): Pair {
  const fencing = given(statefulPair.fencing);
  const { a: agent } = fencing.agents;
  const agents = { ...fencing.agents, a: { ...agent, options: { ...agent.options, ip } } };
  return { ...statefulPair, fencing: { ...fencing, agents } };
}

function withWitness(changes: Partial<Witness>): Pair {
  return { ...statefulPair, witness: { ...witness, ...changes } };
}

function withDataBackend(change: (backend: Backend) => Backend): Pair {
  const haproxy = required(statefulPair.haproxy);
  return { ...statefulPair, haproxy: { ...haproxy, backends: haproxy.backends.map(change) } };
}

function withoutRole({ role: _, ...backend }: Backend): Backend {
  return backend;
}

function withBackend(change: (backend: Backend) => Backend): Pair {
  return { ...labPair, haproxy: { ...web, backends: web.backends.map(change) } };
}

function withFrontend(change: (frontend: Frontend) => Frontend): Pair {
  return { ...labPair, haproxy: { ...web, frontends: web.frontends.map(change) } };
}

function withInterface(network: "heartbeat" | "storage", name: string): Pair {
  const before = a.networks[network] ?? a.networks.heartbeat;
  return {
    ...labPair,
    nodes: [{ ...a, networks: { ...a.networks, [network]: { ...before, interface: name } } }, b],
  };
}

/** Servers that ordinarily stand still for 300 ms, as crowded virtual machines do. */
function pausing(pair: Pair): Pair {
  return { ...pair, limits: { ...pair.limits, pause: ms(300) } };
}

function leased(changes: Partial<Authority["lease"]>): Pair {
  return { ...statefulPair, authority: { ...authority, lease: { ...authority.lease, ...changes } } };
}

function budgeted(budgets: Partial<Pair["objectives"]>): Pair {
  return { ...labPair, objectives: { ...labPair.objectives, ...budgets } };
}

/** Once a year, repaired within these hours. */
function history(failure: FailureClassId, hours: number): Pair["failures"][number] {
  return { failure, rate: perYear(1), repair: seconds(hours * 3_600) };
}

/** The pair with replicated disks, described otherwise. */
function withDrbd(changes: Partial<Drbd>): Pair {
  return { ...diskPair, drbd: { ...diskPair.drbd, ...changes } };
}

/** The pair with an export, exported otherwise. */
function exporting(changes: Partial<Nfs>): Pair {
  return {
    ...exportPair,
    volumes: exportPair.volumes.map((volume) =>
      volume.nfs === undefined ? volume : { ...volume, nfs: { ...volume.nfs, ...changes } },
    ),
  };
}

/** The lab's pair with a bond under the first node's storage network. */
function bonded(members: readonly string[]): Pair {
  const storage = {
    interface: "bond0",
    address: "198.18.2.11/24",
    mtu: 1500,
    managed: { vlan: undefined, bond: { members, miimon: ms(100), primary: undefined }, overSsh: undefined },
  };
  return { ...labPair, nodes: [{ ...a, networks: { ...a.networks, storage } }, b] };
}

function withDisk(device: string): Pair {
  const [first, ...others] = diskPair.drbd.resources;
  if (first === undefined) throw new Error("the pair with replicated disks has a disk");
  return withDrbd({ resources: [{ ...first, disks: { ...first.disks, a: device } }, ...others] });
}

function stoppingWithin(stopTimeout: Duration): Pair {
  return { ...diskPair, volumes: diskPair.volumes.map((volume) => ({ ...volume, stopTimeout })) };
}
