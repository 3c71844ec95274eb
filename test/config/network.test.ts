// What a stack file may say of networks that hotpair sets up, and what is refused before any server is asked.

import { expect, test } from "vitest";
import { readPair } from "../../infra/config/index.ts";
import { UserError } from "../../infra/model/errors.ts";
import { cloudInput, type Input, labInput } from "./sample.ts";

/** The lab's input with the first node's storage network as given; what is said of it, without the file's own words. */
function problems(change: (input: Input) => void, input: Input = labInput()): readonly string[] {
  change(input);
  try {
    readPair(input, { stack: "lab", locate: () => undefined });
    return [];
  } catch (error) {
    if (error instanceof UserError) return error.details;
    throw error;
  }
}
const storage = (value: object) => (input: Input) => Object.assign(input.nodes[0].networks.storage, value);
const BOND = { members: ["a-st", "a-st2"] };

test("what is stated arrives, with defaults", () => {
  const input = labInput();
  storage({ interface: "bond0.10", managed: { vlan: 10, bond: { ...BOND, primary: "a-st" } } })(input);
  expect(readPair(input, { stack: "lab", locate: () => undefined }).nodes[0].networks.storage?.managed).toEqual({
    vlan: 10,
    bond: { members: ["a-st", "a-st2"], miimon: 100, primary: "a-st" },
    overSsh: undefined,
  });
});

test("without it there is nothing of it, and the pair is the same as ever", () => {
  expect(readPair(labInput(), { stack: "lab", locate: () => undefined }).nodes[0].networks.storage).not.toHaveProperty(
    "managed",
  );
});

test("members by MAC address", () => {
  const members = ["02:68:70:00:0b:02", "02:68:70:00:0b:12"];
  expect(problems(storage({ interface: "bond0", managed: { bond: { members } } }))).toEqual([]);
  expect(
    problems(storage({ interface: "bond0", managed: { bond: { members: ["02:68:70:00:0B:02", "b"] } } }))[0],
  ).toMatch(/02:68:70:00:0B:02" is not a network interface name .* or a MAC address in lower case/);
});

test.each([
  [
    "a VLAN that no switch knows",
    { interface: "eth2.4095", managed: { vlan: 4095 } },
    /4095 is not a VLAN id from 1 to 4094/,
  ],
  [
    "a VLAN with a name of its own",
    { interface: "data", managed: { vlan: 10 } },
    /"data" is VLAN 10 .*; write data\.10/,
  ],
  ["another VLAN's name", { interface: "bond0.20", managed: { vlan: 10, bond: BOND } }, /write bond0\.10/],
  [
    "a bond of nothing",
    { interface: "bond0", managed: { bond: { members: [] } } },
    /0 given; expected 1 to 8 network cards/,
  ],
  [
    "a card twice",
    { interface: "bond0", managed: { bond: { members: ["a-st", "a-st"] } } },
    /"a-st" stands in this list already/,
  ],
  [
    "the bond in itself",
    { interface: "bond0", managed: { bond: { members: ["bond0", "a-st"] } } },
    /"bond0" is the bond itself/,
  ],
  [
    "another network's card",
    { interface: "bond0", managed: { bond: { members: ["a-st", "a-hb"] } } },
    /"a-hb" is used at nodes\[0\]\.networks\.heartbeat\.interface/,
  ],
  [
    "a primary from elsewhere",
    { interface: "bond0", managed: { bond: { ...BOND, primary: "eth9" } } },
    /"eth9" is none of the members \(a-st, a-st2\)/,
  ],
  [
    "a VLAN on somebody else's card",
    { interface: "a-hb.10", managed: { vlan: 10 } },
    /stands on a-hb, the interface of nodes\[0\]\.networks\.heartbeat, which is the server's own/,
  ],
  [
    "an interval that no timer keeps",
    { interface: "bond0", managed: { bond: { ...BOND, miimon: "15ms" } } },
    /"15ms" is not a multiple of 10ms/,
  ],
  ["a word that is none", { managed: { bonds: BOND } }, /is not a known key; did you mean "bond"/],
])("%s", (_, value, message) => {
  expect(problems(storage(value)).join("\n")).toMatch(message);
});

test("a bond that two networks describe is one bond", () => {
  const shared = (members: readonly string[]) => (input: Input) => {
    storage({ interface: "bond0.10", managed: { vlan: 10, bond: BOND } })(input);
    Object.assign(input.nodes[0].networks.heartbeat, {
      interface: "bond0.20",
      managed: { vlan: 20, bond: { members } },
    });
  };
  expect(problems(shared(BOND.members))).toEqual([]);
  expect(problems(shared(["a-st", "a-st3"])).join("\n")).toMatch(
    /describes bond0 in another way than nodes\[0\]\.networks\.heartbeat\.managed; write the same bond at both/,
  );
});

test("the network over which SSH comes is left alone unless somebody says why not", () => {
  const set = (managed: object) => (input: Input) => Object.assign(input.nodes[0].networks.public, { managed });
  expect(problems(set({})).join("\n")).toMatch(
    /nodes\[0\]\.networks\.public\.managed.* is the public network, .*, over which this server is reached by SSH .*: a mistake would leave nobody/,
  );
  expect(problems(set({ overSsh: "Somebody sits at the console." }))).toEqual([]);
});

test("in AWS interfaces are the network's", () => {
  const set = (input: Input) => Object.assign(input.nodes[0].networks.heartbeat, { managed: {} });
  expect(problems(set, cloudInput()).join("\n")).toMatch(
    /stands beside target: aws, where the network sets its servers' interfaces up/,
  );
});
