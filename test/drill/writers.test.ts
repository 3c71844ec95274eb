// Who could acknowledge a write, from what the observers say: a database that does not run, does not listen, is read-only
// or stopped cannot; a frozen node does nothing until it thaws; overlap is counted to the millisecond.

import { describe, expect, test } from "vitest";
import type { Sighting } from "../../infra/drill/ownership.ts";
import {
  type Change,
  readWritersLine,
  sightingsOf,
  summariseWriters,
  writersDuring,
} from "../../infra/drill/writers.ts";
import type { NodeId } from "../../infra/model/pair.ts";

const FAULT = 10_000;
const LOOKS = { lateMs: 2, lookMs: 10 };
const WINDOW = { from: 8_000, until: 20_000 };
const seen = (node: NodeId, right: "write" | "lease", at: number, held: boolean): Sighting => ({
  node,
  vip: right,
  held,
  at,
});

describe("what an observer says", () => {
  const state = (change: Record<string, unknown>) =>
    readWritersLine(
      JSON.stringify({
        state: "1795193466944247765",
        lease: true,
        run: true,
        listen: true,
        ro: false,
        stopped: false,
        ...change,
      }),
    );

  test("a running, listening, writable database can write", () => {
    expect(state({})).toEqual({
      ...{ kind: "state", at: 1795193466944.247, writes: true, lease: true },
      ...{ joined: false, answers: false },
    });
  });

  test.each([{ run: false }, { listen: false }, { ro: true }, { ro: null }, { stopped: true }])(
    "%j cannot",
    (change) => {
      expect(state(change)).toMatchObject({ writes: false });
    },
  );

  test("without the lease it cannot while its commits wait for a server that no longer listens to it", () => {
    expect(state({ lease: false, semi: true })).toMatchObject({ writes: false });
    expect(state({ lease: false, semi: false })).toMatchObject({ writes: true });
    expect(state({ lease: false, semi: null })).toMatchObject({ writes: true });
    expect(state({ lease: true, semi: true })).toMatchObject({ writes: true });
  });

  test("who is in sync, and nothing out of anything else", () => {
    expect(readWritersLine('{"insync":"1795193466944247765","revision":7,"nodes":["a","b"]}')).toMatchObject({
      kind: "insync",
      revision: 7,
      nodes: ["a", "b"],
    });
    expect(readWritersLine("Last login: today")).toBeUndefined();
    expect(readWritersLine('{"state":"17951')).toBeUndefined();
    expect(readWritersLine("[]")).toBeUndefined();
  });
});

describe("a replicated disk", () => {
  const disk = (node: NodeId, at: number, what: "alone" | "joined" | "secondary" | "apart"): Change => ({
    ...{ node, at, boot: node, lease: what === "alone" || what === "joined" },
    writes: what === "alone" || what === "joined",
    joined: what !== "alone",
    answers: what === "joined" || what === "secondary",
  });
  const writers = (changes: readonly Change[], cuts: Parameters<typeof summariseWriters>[2] = []) =>
    summariseWriters(sightingsOf(changes, true), [], cuts, WINDOW, FAULT, LOOKS);

  test("is read from what the driver says", () => {
    const said = (primary: boolean, joined: boolean, heard: boolean) =>
      readWritersLine(JSON.stringify({ state: "1000000", lease: true, primary, joined, heard }));
    expect(said(true, false, false)).toMatchObject({ writes: true, joined: false, answers: false });
    expect(said(false, true, true)).toMatchObject({ writes: false, joined: true, answers: true });
  });

  test("is written by its primary, with its peer and without it", () => {
    const changes = [disk("a", 8_000, "joined"), disk("b", 8_000, "secondary"), disk("b", 11_000, "apart")];
    expect(writers([...changes, disk("a", 11_500, "alone")]).spans).toEqual([
      { node: "a", fromMs: -2_000, untilMs: 1_000 },
      { node: "a", fromMs: 1_500, untilMs: null },
    ]);
  });

  test("two that are primary are one writer while the old one waits for a peer that does not answer it", () => {
    const changes = [
      ...[disk("a", 8_000, "joined"), disk("b", 8_000, "secondary")],
      ...[disk("b", 12_000, "apart"), disk("b", 12_500, "alone")],
    ];
    // It stood still, and went on without having heard of anything.
    const frozen = [{ node: "a", at: FAULT, until: 15_000 }] as const;
    expect(writers(changes, frozen).twoWritersMs).toBe(0);
    // Had it heard that it is alone and gone on writing:
    expect(writers([...changes, disk("a", 16_000, "alone")], frozen).twoWritersMs).toBe(4_000);
  });

  test("whose primary acknowledges before its peer has the write counts by its own word alone", () => {
    const changes = [disk("a", 8_000, "joined"), disk("b", 8_000, "secondary"), disk("b", 12_000, "alone")];
    const counted = (together: boolean) =>
      summariseWriters(sightingsOf(changes, together), [], [], WINDOW, FAULT, LOOKS).twoWritersMs;
    expect([counted(true), counted(false)]).toEqual([0, 8_000]);
  });
});

describe("what it comes to", () => {
  test("a failover with a gap: no overlap", () => {
    const sightings = [
      seen("a", "write", 8_000, true),
      seen("b", "write", 8_000, false),
      seen("b", "write", 11_500, true),
    ];
    const cuts = [{ node: "a", at: FAULT }] as const;
    const writers = summariseWriters(sightings, [], cuts, WINDOW, FAULT, LOOKS);
    expect(writers.twoWritersMs).toBe(0);
    expect(writers.spans).toEqual([
      { node: "a", fromMs: -2_000, untilMs: 0 },
      { node: "b", fromMs: 1_500, untilMs: null },
    ]);
    expect(writersDuring(sightings, cuts, { from: FAULT + 100, until: FAULT + 1_000 })).toEqual([]);
  });

  test("what a node still says in the moment between its power cut and its end counts no more; its next boot does", () => {
    const said = (at: number, held: boolean, boot: string) => ({ ...seen("a", "lease", at, held), boot });
    const sightings = [
      said(8_000, true, "one"),
      said(10_200, false, "one"),
      said(10_500, true, "one"),
      seen("b", "lease", 11_500, true),
      said(14_000, false, "two"),
    ];
    const writers = summariseWriters(sightings, [], [{ node: "a", at: FAULT }], WINDOW, FAULT, LOOKS);
    expect(writers.twoLeasesMs).toBe(0);
    expect(writers.leases.map(({ node }) => node)).toEqual(["a", "b"]);
  });

  test("a frozen node that wakes up writable beside the new primary: the overlap after the thaw, and only that", () => {
    const sightings = [
      seen("a", "write", 8_000, true),
      seen("b", "write", 11_500, true),
      // It was frozen until 13 000 and killed 18 ms later.
      seen("a", "write", 13_018, false),
    ];
    const writers = summariseWriters(sightings, [], [{ node: "a", at: FAULT, until: 13_000 }], WINDOW, FAULT, LOOKS);
    expect(writers.twoWritersMs).toBe(18);
  });

  test("what is seen of a frozen node from outside is nothing that it does", () => {
    const sightings = [
      seen("a", "write", 8_000, true),
      // Its lease ran out, which is seen from outside; its server still looks writable.
      seen("a", "write", 10_700, true),
      seen("b", "write", 11_500, true),
      seen("a", "write", 13_018, false),
    ];
    const writers = summariseWriters(sightings, [], [{ node: "a", at: FAULT, until: 13_000 }], WINDOW, FAULT, LOOKS);
    expect(writers.twoWritersMs).toBe(18);
  });

  test("redundant again when the last change says so, each change counted once although both nodes saw it", () => {
    const changes = [
      { revision: 3, at: 8_000, nodes: ["a", "b"] as const },
      { revision: 9, at: 11_020, nodes: ["b"] as const },
      { revision: 9, at: 11_000, nodes: ["b"] as const },
      { revision: 15, at: 16_500, nodes: ["a", "b"] as const },
    ];
    const writers = summariseWriters([], changes, [], WINDOW, FAULT, LOOKS);
    expect(writers.insync.map(({ atMs }) => atMs)).toEqual([-2_000, 1_000, 6_500]);
    expect(writers.redundantAfterMs).toBe(6_500);
    expect(summariseWriters([], changes.slice(0, 3), [], WINDOW, FAULT, LOOKS).redundantAfterMs).toBeNull();
    expect(summariseWriters([], changes.slice(0, 1), [], WINDOW, FAULT, LOOKS).redundantAfterMs).toBe(0);
  });
});
