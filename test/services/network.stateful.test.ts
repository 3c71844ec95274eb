// What systemd-networkd and two kernels make of the networks that hotpair sets up: a bond of two cards with a VLAN on it and
// jumbo frames, brought there by hotpair-apply and taken back by it when the peer is not reached any more. systemd-networkd has
// no dry run, so this is also the only judge of its files. The tests build on one another.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { powerCut, powerOn, setLink } from "../../infra/lab/faults.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName, runIn } from "../../infra/lab/lab.ts";
import { ms } from "../../infra/model/duration.ts";
import { NODE_IDS, type Node, type NodeId, type Pair } from "../../infra/model/pair.ts";
import type { Contribution, NodePlan } from "../../infra/model/plan.ts";
import { makeBundle } from "../../infra/plan/bundle.ts";
import { applyCommand } from "../../infra/plan/commands.ts";
import { base } from "../../infra/services/base.ts";
import { keepalived } from "../../infra/services/keepalived.ts";
import { network } from "../../infra/services/network.ts";
import { run } from "../../infra/ssh/run.ts";
import { leftovers } from "../lab/leftovers.ts";
import { describeWith } from "../lab/skip.ts";
import { labPair, managedPair } from "../model/pairs.ts";

const NAME = "t-network";
/** Of an emulated machine; the program itself gives up by the stated deadlines. */
const PATIENCE_MS = 300_000;
/** In place of the 40 s that a real server gets: nobody here answers later than that. */
const REACHED_SECONDS = 20;
/** What a pulled cable may cost an emulated machine; a bond's own part of it is miimon. */
const GENEROUS_MS = 5_000;

const describeWithMachines = await describeWith({ machines: true });

/** The lab's pair with its storage network on a bond of two cards, as VLAN `vlan`, with jumbo frames. */
function pairIn(lab: Lab, vlan: number): Pair {
  const placed = (node: Node): Node => {
    const { interface: card, address } = lab.hosts[node.id === "a" ? "node-a" : "node-b"];
    const members = [card.storage, `${card.storage}2`];
    return {
      ...node,
      networks: {
        ...node.networks,
        storage: {
          interface: `bond0.${vlan}`,
          address: `${address.storage}/24`,
          mtu: 9000,
          managed: { vlan, bond: { members, miimon: ms(100), primary: undefined }, overSsh: undefined },
        },
      },
    };
  };
  return { ...labPair, nodes: [placed(labPair.nodes[0]), placed(labPair.nodes[1])] };
}

/** The plan of a node with nothing but its networks and what every node gets. */
function planOf(pair: Pair, id: NodeId): NodePlan {
  const parts = [base, network].flatMap((service): Contribution[] => {
    const part = service.plan(pair, id);
    return part === undefined ? [] : [part];
  });
  const all = <Key extends "packages" | "files" | "units" | "validators">(key: Key) =>
    parts.flatMap((part) => part[key] as Contribution[Key][number][]);
  return {
    node: id,
    name: `node-${id}`,
    installPackages: false,
    vips: pair.vips.map(({ name, address }) => ({ name, address, interface: "lo" })),
    packages: all("packages") as string[],
    files: all("files") as NodePlan["files"],
    units: all("units") as NodePlan["units"],
    validators: all("validators") as NodePlan["validators"],
    health: parts.flatMap(({ health }) => health.map((check) => ({ ...check, deadlineSeconds: REACHED_SECONDS }))),
  };
}

describeWithMachines("networks that hotpair sets up", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await labUp({ name: NAME, image: "ready", machines: true, spareCards: true });
  }, PATIENCE_MS);

  afterAll(async () => {
    const index = lab?.index ?? -1;
    await labDown(NAME);
    expect(leftovers(NAME, [index])).toEqual([]);
  });

  /** On a machine, over the lab's own cable: what becomes of the networks does not matter to it. */
  const sh = (host: NodeName, script: string) => consoleRun(lab, host, ["sh", "-c", script]);
  const says = async (host: NodeName, script: string) => (await sh(host, `${script} || :`)).trim();
  const address = (host: NodeName) => lab.hosts[host].address.storage;

  /** As `hotpair up` does it, over SSH on the public network. */
  async function apply(host: NodeName, vlan: number): Promise<{ code: number | null; text: string }> {
    const began = Date.now();
    const bundle = makeBundle(planOf(pairIn(lab, vlan), NODE_IDS[host === "node-a" ? 0 : 1]), () => "");
    const { code, stdout, stderr } = await run(lab.hosts[host].ssh, applyCommand("owner-1"), {
      input: bundle,
      timeoutMs: PATIENCE_MS,
    });
    console.log(`apply on ${host}: ${Date.now() - began} ms, exit code ${code}\n${stdout}${stderr}`);
    return { code, text: stdout + stderr };
  }

  /** Whether the other node answers a packet of this many bytes of payload that nobody may part. */
  const answers = (from: NodeName, to: NodeName, bytes: number) =>
    says(
      from,
      `ping -n -q -c 3 -i 0.3 -W 3 -M do -s ${bytes} -I ${address(from)} ${address(to)} > /dev/null && echo yes`,
    );

  async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!(await holds())) {
      if (Date.now() > deadline) throw new Error(`not within 60 s: ${what}`);
      await sleep(200);
    }
  }

  /** The ports of a machine on the storage network's switch, in place of a switch that carries less. */
  const switchCarries = (host: NodeName, bytes: number) =>
    new Promise<void>((resolve, reject) => {
      const card = lab.hosts[host].interface.storage;
      const script = `for port in ${card} ${card}2; do ip link set $port mtu ${bytes}; done`;
      runIn(lab.namespaces.hosts, ["sh", "-ec", script]).on("exit", (code) =>
        code === 0 ? resolve() : reject(new Error(`mtu ${bytes} of ${host}'s ports`)),
      );
    });

  test("keepalived's parser accepts interfaces that the change is still to make", async () => {
    const plan = keepalived.plan(managedPair, "a");
    const text = plan?.files.find(({ path }) => path.endsWith("/keepalived.conf"))?.content;
    const judge = plan?.validators.find(({ name }) => name === "keepalived -t")?.command ?? "";
    await consoleRun(lab, "node-a", ["sh", "-c", "cat > /etc/keepalived/keepalived.conf"], String(text));
    const judged = async () => says("node-a", `{ ${judge}; } 2>&1; echo "exit code $?"`);
    expect(await judged()).toMatch(/exit code 0$/);
    await sh("node-a", "sed -i 's/advert_int/advert_itn/' /etc/keepalived/keepalived.conf");
    expect(await judged()).not.toMatch(/exit code 0$/);
    await sh("node-a", "rm /etc/keepalived/keepalived.conf");
  });

  test("an interface that its owner has set up is refused, with his file; nothing is changed", async () => {
    const { code, text } = await apply("node-a", 10);
    expect(text).toContain("a-st: /etc/systemd/network/10-storage.network sets it up. Remove that file");
    expect(text).toContain("nothing was changed");
    expect(code).toBe(1);
    expect(await says("node-a", "ip -br link show type bond")).toBe("");
  });

  test("the first node gets bond, VLAN and MTU, though its peer does not have them yet", async () => {
    await sh("node-a", "rm /etc/systemd/network/10-storage.network");
    // A network gets a VLAN on one node after the other, and is silent in between: so it must be before.
    const silent = (value: 0 | 1) => sh("node-b", `sysctl -q -w net.ipv4.icmp_echo_ignore_all=${value}`);
    await silent(1);
    const { code, text } = await apply("node-a", 10);
    await silent(0);
    expect([code, text]).toEqual([0, expect.stringContaining("start hotpair-network.service")]);
    expect(
      await says("node-a", "cat /sys/class/net/bond0.10/mtu /sys/class/net/bond0/mtu /sys/class/net/a-st2/mtu"),
    ).toBe("9000\n9000\n9000");
    expect(await says("node-a", "cat /sys/class/net/bond0/bonding/mode /sys/class/net/bond0/bonding/miimon")).toBe(
      "active-backup 1\n100",
    );
    expect(await says("node-a", "tr ' ' '\\n' < /sys/class/net/bond0/bonding/slaves | sort | xargs")).toBe(
      "a-st a-st2",
    );
    expect(await says("node-a", "ip -br -4 addr show bond0.10")).toContain(`${address("node-a")}/24`);
    expect(await says("node-a", "sysctl -n net/ipv4/conf/bond0.10/arp_ignore")).toBe("1");
  });

  test("a second node whose switch does not carry such packets is put back, with the address that no file has any more", async () => {
    await sh("node-b", "rm /etc/systemd/network/10-storage.network");
    await switchCarries("node-b", 1_500);
    const { code, text } = await apply("node-b", 10);
    expect(text).toContain("what lies between the two does not carry them");
    expect(text).toContain("undone: the previous files are back and in use");
    expect(code).toBe(1);
    expect(
      await says(
        "node-b",
        "ip -br link show type bond; ip -br link show type vlan; ls /etc/systemd/network | grep hotpair",
      ),
    ).toBe("");
    expect(await says("node-b", "ip -br -4 addr show b-st; cat /sys/class/net/b-st/mtu")).toMatch(
      new RegExp(`${address("node-b").replaceAll(".", "\\.")}/24[^]*\\n1500$`),
    );
    await switchCarries("node-b", 9_216);
  });

  test("both nodes: 9000 bytes arrive in one piece, and not one more", async () => {
    expect((await apply("node-b", 10)).code).toBe(0);
    await eventually("node-b answers", async () => (await answers("node-a", "node-b", 8_972)) === "yes");
    expect(await answers("node-b", "node-a", 8_972)).toBe("yes");
    expect([await answers("node-a", "node-b", 8_973), await answers("node-b", "node-a", 8_973)]).toEqual(["", ""]);
  });

  test("one pulled cable is a gap; two are the loss of the network, and the address waits for it", async () => {
    const active = () => says("node-a", "cat /sys/class/net/bond0/bonding/active_slave");
    const gaps: number[] = [];
    for (let pull = 1; pull <= 2; pull++) {
      const before = await active();
      const spare = before.endsWith("2");
      await sh(
        "node-a",
        `timeout 8 ping -n -D -i 0.02 -I ${address("node-a")} ${address("node-b")} > /tmp/ping.log 2>&1 &`,
      );
      await sleep(2_000);
      await setLink(lab, "node-a", "storage", false, { spare });
      await sleep(6_500);
      expect(await active()).not.toBe(before);
      await setLink(lab, "node-a", "storage", true, { spare });
      const log = await says("node-a", "cat /tmp/ping.log");
      const times = [...log.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq/gm)].map(([, time]) => 1_000 * Number(time));
      gaps.push(Math.max(...times.slice(1).map((time, index) => time - (times[index] ?? time))));
      expect(times.length).toBeGreaterThan(20);
      await eventually(
        "both members have a link",
        async () => (await says("node-a", "grep -c 'MII Status: up' /proc/net/bonding/bond0")) === "3",
      );
    }
    console.log(
      `longest gap between two answers over a pulled cable: ${gaps.map((gap) => `${gap.toFixed(0)} ms`).join(", ")}`,
    );
    for (const gap of gaps) expect(gap).toBeLessThan(GENEROUS_MS);

    for (const spare of [false, true]) await setLink(lab, "node-a", "storage", false, { spare });
    await eventually("no carrier", async () => (await says("node-a", "cat /sys/class/net/bond0.10/carrier")) === "0");
    expect(await says("node-a", "ip -br -4 addr show bond0.10")).toContain(address("node-a"));
    for (const spare of [false, true]) await setLink(lab, "node-a", "storage", true, { spare });
    await eventually("node-a answers again", async () => (await answers("node-b", "node-a", 8_972)) === "yes");
  });

  test("the active node does not change its networks; a standby that would be cut off puts itself back", async () => {
    const [vip] = labPair.vips.map((one) => one.address.split("/")[0]);
    await sh("node-b", `ip addr add ${vip}/32 dev lo`);
    const refused = await apply("node-b", 11);
    expect(refused.text).toMatch(
      /hotpair-network.service must be restarted, this node is active and the peer cannot take over/,
    );
    expect(refused.code).toBe(1);
    await sh("node-b", `ip addr del ${vip}/32 dev lo`);

    const { code, text } = await apply("node-b", 11);
    expect(text).toContain(`${address("node-a")} answered ${address("node-b")} before this change, and does not now`);
    expect(text).toContain("undone: the previous files are back and in use");
    expect(code).toBe(1);
    expect(await answers("node-a", "node-b", 8_972)).toBe("yes");
    expect(
      await says("node-b", "ip -br link show type vlan | cut -d @ -f 1; ls /etc/systemd/network | grep -c 'bond0.11'"),
    ).toBe("bond0.10\n0");
  });

  test("a power cut in the midst of such a change: at boot, the networks are what they were", async () => {
    await sh("node-b", "mkdir -p /run/hotpair && echo 'pause after-reload' > /run/hotpair/test-hooks");
    const cut = apply("node-b", 11).catch(() => undefined);
    await eventually(
      "VLAN 11 is there",
      async () => (await says("node-b", "cat /run/hotpair/paused")) === "after-reload",
    );
    await powerCut(lab, "node-b");
    await powerOn(lab, "node-b");
    await cut;
    await eventually("node-b answers over VLAN 10", async () => (await answers("node-a", "node-b", 8_972)) === "yes");
    await eventually(
      "the change is undone",
      async () => (await says("node-b", "ls /var/lib/hotpair")) === "manifest\noriginals",
    );
    expect(
      await says(
        "node-b",
        "systemctl is-active hotpair-network.service; hotpair=/usr/lib/hotpair; $hotpair/hotpair-apply drift",
      ),
    ).toBe("active\nhotpair-apply: no drift");
  });
});
