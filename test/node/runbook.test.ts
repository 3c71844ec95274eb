// Runbooks whose commands a test types say for every block where it is typed, and use no word that has no name.

import { describe, expect, test } from "vitest";
import { blocksOf, runbook } from "./runbook.ts";

const hosts = { NODE: "node-a", PEER: "node-b" } as const;

describe("a runbook's commands", () => {
  test("have names in the place of its words, and say where they are typed", () => {
    const page =
      "1. Look:\n\n   ```sh\n   # on NODE and PEER\n   look DISK\n   ```\n2. Then:\n\n   ```sh\n   npx hotpair up -s STACK\n   ```\n" +
      "## It is over when\n\n```sh\n# on PEER\nlook /root/DISK-NODE\n```\n";
    expect(blocksOf(page, { hosts, others: { DISK: "/dev/vdc", STACK: "lab" } })).toEqual([
      { on: ["node-a", "node-b"], lines: ["look /dev/vdc"], over: false },
      { on: [], lines: ["npx hotpair up -s lab"], over: false },
      { on: ["node-b"], lines: ["look /root//dev/vdc-node-a"], over: true },
    ]);
  });

  test.each([
    ["does not say where it is typed", "```sh\ndrbdadm down data\n```\n"],
    ["nobody says which server WITNESS is", "```sh\n# on WITNESS\ntrue\n```\n"],
    ["nobody says what DISK is", "```sh\n# on NODE\nmount DISK /mnt\n```\n"],
  ])("are refused where %s", (why, page) => {
    expect(() => blocksOf(page, { hosts })).toThrow(why);
  });

  test.each(["split-brain", "lost-disk", "lost-node"])("of %s can be typed, and end with a look", (name) => {
    const blocks = runbook(name, { hosts, others: { DISK: "/dev/vdc", RESOURCE: "data" } });
    expect(blocks.filter(({ on }) => on.length > 0).length).toBeGreaterThan(1);
    expect(blocks.filter(({ over }) => over)).toEqual([
      { on: ["node-a", "node-b"], lines: ["/usr/lib/hotpair/hotpair-drbd status"], over: true },
    ]);
  });
});
