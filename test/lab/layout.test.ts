// Promises about the names and addresses of labs.

import { expect, test } from "vitest";
import {
  addressOf,
  hostNames,
  interfaceOf,
  machineInterfaceOf,
  macOf,
  maximumLabs,
  namespacesOf,
  networks,
  networksOf,
  prefixOf,
  spareInterfaceOf,
  spareMacOf,
} from "../../infra/lab/layout.ts";
import { networkScript } from "../../infra/lab/network.ts";

const indexes = Array.from({ length: maximumLabs }, (_, index) => index);

test("the default lab has the addresses of the committed stack file", () => {
  expect(addressOf(0, "node-a", "public")).toBe("198.18.0.11");
  expect(addressOf(0, "node-b", "heartbeat")).toBe("198.18.1.12");
  expect(addressOf(0, "node-b", "storage")).toBe("198.18.2.12");
  expect(prefixOf(0, "remote")).toBe("198.18.3");
  expect(interfaceOf("node-a", "public")).toBe("a-pub");
  expect(interfaceOf("node-b", "storage")).toBe("b-st");
  expect(addressOf(0, "witness", "public")).toBe("198.18.0.13");
  expect(interfaceOf("witness", "public")).toBe("w-pub");
});

test("a witness is on the public network only", () => {
  expect(networksOf("witness")).toEqual(["public"]);
  expect(() => addressOf(0, "witness", "heartbeat")).toThrow("witness has no cable to the heartbeat network");
  expect(() => interfaceOf("witness", "storage")).toThrow("witness has no cable to the storage network");
});

test("no two labs share a network, a namespace, an interface or a MAC address", () => {
  const segments = [...networks, "remote"] as const;
  const all = [
    indexes.flatMap((index) => segments.map((segment) => prefixOf(index, segment))),
    indexes.flatMap((index) => Object.values(namespacesOf(index))),
    indexes.map(machineInterfaceOf),
    indexes.flatMap((index) =>
      hostNames.flatMap((host) =>
        networksOf(host).flatMap((network) => [macOf(index, host, network), spareMacOf(index, host, network)]),
      ),
    ),
  ];
  for (const names of all) expect(new Set(names).size).toBe(names.length);
});

test("a spare card is called after the one that it stands in for", () => {
  expect(spareInterfaceOf("node-a", "storage")).toBe("a-st2");
  expect(() => spareInterfaceOf("witness", "storage")).toThrow("witness has no cable to the storage network");
});

test("the storage network carries jumbo frames where it is asked to, and no other one", () => {
  const sizes = (options: object) => networkScript(2, options).filter((line) => line.includes(" mtu "));
  expect(sizes({})).toEqual([]);
  expect(sizes({ jumboFrames: true })).toEqual(["ip -n hotpair2-hosts link set storage mtu 9216"]);
});

test("every address lies in 198.18.0.0/16 and every interface name fits the kernel's 15 characters", () => {
  const octets = indexes.map((index) => Number(prefixOf(index, "remote").split(".")[2]));
  expect(Math.max(...octets)).toBeLessThan(256);
  for (const index of indexes) expect(machineInterfaceOf(index).length).toBeLessThanOrEqual(15);
});

test("this machine gets one address of the public network, and no route to the others", () => {
  const machine = networkScript(2).filter((line) => line.startsWith("ip addr") || line.startsWith("ip route"));
  expect(machine).toEqual(["ip addr add 198.18.16.1/24 dev hotpair2"]);
});
