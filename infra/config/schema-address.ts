// The VIPs of the input, and how their owner is decided: VRRP's timers and the arbiter's. What is reached through them is
// schema-services.ts.

import { absolutePath, address, duration, host, integer, keys, label, list, mailbox, oneOf, port } from "./formats.ts";

/** VRRPv3 carries the interval as 12 bits of centiseconds (RFC 9568 §5.2.7). */
const advertInterval = duration({
  min: "10ms",
  max: "40.95s",
  step: "10ms",
  because: "VRRPv3 carries centiseconds in 12 bits, RFC 9568 §5.2.7",
  example: "100ms",
});

/** keepalived's gratuitous ARP timers are whole seconds (keepalived.conf(5)). */
const wholeSeconds = (max: string, example: string) =>
  duration({
    min: "1s",
    max,
    step: "1s",
    because: "keepalived counts gratuitous ARP in whole seconds, keepalived.conf(5)",
    example,
  });

const arbiterTime = (max: string, example: string) =>
  duration({ min: "1ms", max, step: "1ms", because: "the arbiter counts milliseconds", example });

export const vip = () =>
  keys({
    name: label("a name", 16, "web").describe("Names the VRRP instance, the gate and the report's rows."),
    address: address("198.51.100.100/24").describe(
      "The virtual address, inside the public network, with that network's prefix length or /32.",
    ),
    preferred: label("the name of a node", 63, "node-a")
      .optional()
      .describe("The node that gets this VIP back when both are well. Default: none, the VIP stays where it is."),
    mode: oneOf("ip", "vmac")
      .default("ip")
      .describe(
        "`ip`: the address moves and neighbours learn it by gratuitous ARP. `vmac`: VRRP's virtual MAC moves with it, on a macvlan interface.",
      ),
    routerId: integer(1, 255, 51, "a virtual router id").describe(
      "VRRP virtual router id (RFC 9568 §5.2.3), used by no other router on the pair's networks.",
    ),
  });

export const vrrp = () =>
  keys({
    advertInterval: advertInterval
      .default("100ms")
      .describe(
        "Time between VRRP advertisements. A dead node is noticed after 3 × this + skew. The default is the smallest measured safe with the fast gate.",
      ),
    priority: integer(1, 254, 253, "a priority")
      .default(253)
      .describe("Base priority of both nodes; near 254 keeps the skew small (RFC 9568 §6.1)."),
    garp: keys({
      repeat: integer(1, 100, 5, "a number of packets")
        .default(5)
        .describe(
          "Gratuitous ARP packets sent at once by a new owner, and again after `delay` (keepalived's default).",
        ),
      delay: wholeSeconds("1m", "1s")
        .default("1s")
        .describe("Time until the second burst, for switches that were slow to learn."),
      refresh: wholeSeconds("1h", "10s")
        .default("10s")
        .describe("Time between repeats while the node owns the VIP; it corrects neighbours that missed the bursts."),
    })
      .prefault({})
      .describe("Gratuitous ARP: how neighbours learn of a new owner."),
    notify: absolutePath("a program on the servers", "/usr/local/sbin/vip-changed")
      .optional()
      .describe("Run at each state change as `PROGRAM INSTANCE NAME STATE PRIORITY` (keepalived.conf(5), notify)."),
    email: keys({
      to: list(mailbox("ops@example.net"), "mail addresses", { min: 1, max: 16 }).describe(
        "Who is told of state changes.",
      ),
      from: mailbox("hotpair@example.net").describe("Sender."),
      smtpServer: host("mail.example.net").describe("SMTP server, reachable from both nodes."),
    })
      .optional()
      .describe("Mail at state changes."),
  });

export const arbiter = () =>
  keys({
    beaconInterval: arbiterTime("1s", "20ms")
      .optional()
      .describe(
        "Time between beacons on every network. Default: 20ms, or a fifth of the advert interval where that is less.",
      ),
    silence: arbiterTime("1m", "150ms")
      .optional()
      .describe("VRRP counts as blind after this long without an advertisement. Default: 1.5 × the advert interval."),
    evidence: arbiterTime("1m", "200ms")
      .optional()
      .describe(
        "A veto lasts no longer than this after the last evidence. Default: 200ms, or twice the advert interval where that is more.",
      ),
    hold: arbiterTime("10m", "45s")
      .default("45s")
      .describe(
        "At boot and after a link comes up the gate stays closed this long, or until the peer is heard (spanning tree, slow bonds).",
      ),
    port: port(7788).default(7788).describe("UDP port of the beacons on every network."),
    serviceDead: arbiterTime("1m", "2s")
      .default("2s")
      .describe(
        "HAProxy counts as lastingly dead after this long without an answer; then the VIP moves if the peer's answers.",
      ),
  });
