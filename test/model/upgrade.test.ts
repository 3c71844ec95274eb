// A rolling upgrade takes the standby first, interrupts service once, and never begins a step that the pair could not afford.

import { describe, expect, test } from "vitest";
import type { HostId } from "../../infra/model/pair.ts";
import {
  authorityGaps,
  isDue,
  type LeaseAnswer,
  readNeeds,
  type UpgradeStep,
  upgradeSteps,
  withoutPreferences,
} from "../../infra/model/upgrade.ts";
import { labPair, statefulPair, twoVips, witnessed } from "./pairs.ts";

const ALL: readonly HostId[] = ["witness", "a", "b"];
const said = (steps: readonly UpgradeStep[]): string =>
  steps
    .map((step) => {
      if (step.kind === "upgrade") return step.host;
      return step.kind === "hand-over" ? `from ${step.from}` : `${step.vip} home from ${step.from}`;
    })
    .join(", ");
const vip = labPair.vips[0]?.name ?? "";

describe("the order", () => {
  test("standby, hand-over, the other node", () => {
    expect(said(upgradeSteps(labPair, ["a", "b"], { [vip]: "a" }))).toBe("b, from a, a");
    expect(said(upgradeSteps(labPair, ["a", "b"], { [vip]: "b" }))).toBe("a, from b, b");
  });

  test("the witness last, when both nodes are well again", () => {
    expect(said(upgradeSteps(statefulPair, ALL, { [statefulPair.vips[0]?.name ?? ""]: "a" }))).toBe(
      "b, from a, a, witness",
    );
  });

  test("no hand-over for a standby or a witness alone", () => {
    expect(said(upgradeSteps(labPair, ["b"], { [vip]: "a" }))).toBe("b");
    expect(said(upgradeSteps(witnessed, ["witness"], { [vip]: "a" }))).toBe("witness");
    expect(upgradeSteps(labPair, [], { [vip]: "a" })).toEqual([]);
  });

  test("a node that is active never takes its turn before it has handed over", () => {
    expect(said(upgradeSteps(labPair, ["a"], { [vip]: "a" }))).toBe("from a, a");
  });

  test("of two active nodes each hands over, and both VIPs go home", () => {
    const [one, two] = twoVips.vips;
    if (one === undefined || two === undefined) throw new Error("two VIPs");
    const home = { [one.name]: one.preferred ?? "a", [two.name]: two.preferred ?? "b" } as const;
    const steps = said(upgradeSteps(twoVips, ["a", "b"], home));
    const onB = one.preferred === "b" ? one.name : two.name;
    // After both turns everything is on the first one of them; what belongs to the other goes home.
    expect(steps).toBe(`from a, a, from b, b, ${onB} home from a`);
  });

  test("a VIP that was not at home is not sent there", () => {
    const [only] = labPair.vips;
    if (only === undefined) throw new Error("a VIP");
    const preferring = { ...labPair, vips: [{ ...only, preferred: "a" as const }] };
    expect(said(upgradeSteps(preferring, ["a", "b"], { [vip]: "b" }))).toBe("a, from b, b");
    expect(said(upgradeSteps(preferring, ["a", "b"], { [vip]: "a" }))).toBe(`b, from a, a, ${vip} home from b`);
    expect(withoutPreferences(preferring).vips[0]?.preferred).toBeUndefined();
  });
});

describe("what a host needs", () => {
  const needs = readNeeds(
    [
      "package libssl3t64 3.5.1-1 3.5.1-1+deb13u1",
      "package linux-image-6.12.50-amd64 - 6.12.50-1",
      "kept openssh-server",
      "absent nginx",
      "restart haproxy.service",
      "other cron.service",
      "reboot kernel 6.12.50-amd64 is installed, 6.12.48-amd64 runs",
      "",
    ].join("\n"),
  );

  test("is read line by line", () => {
    expect(needs).toEqual({
      packages: [
        { name: "libssl3t64", from: "3.5.1-1", to: "3.5.1-1+deb13u1" },
        { name: "linux-image-6.12.50-amd64", from: undefined, to: "6.12.50-1" },
      ],
      kept: ["openssh-server"],
      absent: ["nginx"],
      restarts: ["haproxy.service"],
      others: ["cron.service"],
      reboot: "kernel 6.12.50-amd64 is installed, 6.12.48-amd64 runs",
    });
    expect(() => readNeeds("E: something else")).toThrow("E: something else");
  });

  test("a package or a restart is something to do; a wanted reboot only where reboots are asked for", () => {
    expect(isDue(needs, false)).toBe(true);
    expect(isDue(readNeeds("restart nginx.service"), false)).toBe(true);
    expect(isDue(readNeeds(""), true)).toBe(false);
    expect(isDue(readNeeds("kept nginx\nother cron.service"), true)).toBe(false);
    expect(isDue(readNeeds("reboot yes"), false)).toBe(false);
    expect(isDue(readNeeds("reboot yes"), true)).toBe(true);
  });
});

describe("what the authority lacks", () => {
  const answer = (incarnation: string, changes: Partial<LeaseAnswer> = {}): LeaseAnswer => ({
    quorum: true,
    members: {
      a: { host: "node-a", error: "" },
      b: { host: "node-b", error: "" },
      witness: { host: "witness", error: "" },
    },
    insync: { a: "one", b: "two" },
    incarnation,
    ...changes,
  });

  test("nothing, when all three answer and both nodes are listed as what they are", () => {
    expect(authorityGaps(statefulPair, [answer("one"), answer("two")])).toEqual([]);
    expect(authorityGaps(labPair, [])).toEqual([]);
  });

  test("a replica that was just restarted is listed by an incarnation that is gone", () => {
    expect(authorityGaps(statefulPair, [answer("one"), answer("three")])).toEqual([
      `${statefulPair.nodes[1].name}: its data is not in sync: it may lack acknowledged writes`,
    ]);
    expect(authorityGaps(statefulPair, [answer("one"), answer("two", { incarnation: null })])).toHaveLength(1);
  });

  test("a witness that one node does not reach, told once", () => {
    const members = { ...answer("").members, witness: { host: "witness", error: "timeout" } };
    expect(authorityGaps(statefulPair, [answer("one", { members }), answer("two", { members })])).toEqual([
      "the etcd member on witness is not healthy (timeout)",
    ]);
  });

  test("a node that does not answer, or has no quorum", () => {
    expect(authorityGaps(statefulPair, [{ silent: "does not answer" }, answer("two", { quorum: false })])).toEqual([
      `${statefulPair.nodes[0].name}: does not answer`,
      `${statefulPair.nodes[1].name}: it reaches no quorum of the etcd members`,
    ]);
    expect(authorityGaps(statefulPair, [answer("one")])).toEqual([`${statefulPair.nodes[1].name}: was not asked`]);
  });

  test("of a pair without data nobody asks for an incarnation", () => {
    const without = answer("", { insync: null, incarnation: null });
    expect(authorityGaps(witnessed, [without, without])).toEqual([]);
  });
});
