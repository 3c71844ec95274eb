// What every node gets, whatever it runs.

import { expect, test } from "vitest";
import type { Pair } from "../../infra/model/pair.ts";
import { base } from "../../infra/services/base.ts";
import { externalService, labPair } from "../model/pairs.ts";

const text = (pair: Pair, path: string): string =>
  String(base.plan(pair, "a")?.files.find((file) => file.path === path)?.content);

test("kernel settings name each interface once, also one that carries two networks", () => {
  const [a, b] = labPair.nodes;
  const shared: Pair = {
    ...labPair,
    nodes: [
      {
        ...a,
        networks: { ...a.networks, storage: { ...a.networks.heartbeat, address: "198.18.2.11/24" } },
      },
      b,
    ],
  };
  expect(text(shared, "/etc/sysctl.d/60-hotpair.conf").match(/a-hb\/arp_ignore = 1/g)).toHaveLength(1);
  expect(text(shared, "/etc/sysctl.d/60-hotpair.conf")).toContain("# a-hb (heartbeat, storage): ");
});

test("an interface with a dot in its name is written so that sysctl does not split it", () => {
  const [a, b] = labPair.nodes;
  const vlan: Pair = {
    ...labPair,
    nodes: [{ ...a, networks: { ...a.networks, heartbeat: { ...a.networks.heartbeat, interface: "bond0.7" } } }, b],
  };
  expect(text(vlan, "/etc/sysctl.d/60-hotpair.conf")).toContain("net/ipv4/conf/bond0.7/arp_announce = 2\n");
});

test("jumbo frames are verified by a ping of full size that may not be fragmented, if the peer is there at all", () => {
  const checks = base.plan(externalService, "a")?.health.filter(({ name }) => name.includes("9000-byte"));
  expect(checks).toEqual([
    {
      name: "heartbeat network carries 9000-byte frames to node-b",
      command:
        "ping -q -c 1 -W 1 -I 198.18.1.11 198.18.1.12 >/dev/null || exit 0; " +
        "ping -q -c 2 -i 0.2 -W 1 -M do -s 8972 -I 198.18.1.11 198.18.1.12",
      deadlineSeconds: 10,
    },
  ]);
  expect(base.plan(externalService, "a")?.packages).toContain("iputils-ping");
  expect(base.plan(labPair, "a")?.packages).toEqual([]);
});

test("the journal is left as it is when the pair does not want it kept", () => {
  const without = { ...labPair, base: { ...labPair.base, persistentJournal: false } };
  const paths = base.plan(without, "a")?.files.map(({ path }) => path);
  expect(paths?.filter((path) => path.includes("journald"))).toEqual([]);
});
