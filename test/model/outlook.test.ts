// What the pair's state means: a change of one fact changes what is said to survive, and what to do next.

import { describe, expect, test } from "vitest";
import { type NodeAnswer, outlook } from "../../infra/model/outlook.ts";
import type { AddressStatus, AuthorityStatus, NodeStatus } from "../../infra/model/status.ts";
import { cloudPair, labPair, statefulPair } from "./pairs.ts";

const nodeStatus = (node: "node-a" | "node-b", active: boolean): NodeStatus => ({
  version: 1,
  node,
  at: 1_700_000_000_000,
  uptimeMs: 1_000_000,
  vips: [
    {
      name: "web",
      address: "198.18.0.100/24",
      held: active,
      state: active ? "master" : "backup",
      gate: { closed: false, reason: "" },
    },
  ],
  daemons: ["keepalived", "hotpair-arbiter", "haproxy", "nginx"].map((name) => ({
    name,
    state: "running",
    detail: "",
  })),
  arbiter: { running: true, sinceMs: 1_000, sharedDigest: "d" },
  peer: {
    heardMsAgo: { public: 10, heartbeat: 10, storage: 10 },
    advertMsAgo: { web: 50 },
    vips: [{ name: "web", held: !active, state: active ? "backup" : "master" }],
    healthy: true,
    maintenance: false,
  },
  maintenance: false,
  lastChanges: [],
  backends: ["node-a", "node-b"].map((server) => ({ backend: "nginx", server, up: true, detail: "UP" })),
  manifest: null,
});

const active = nodeStatus("node-a", true);
const standby = nodeStatus("node-b", false);
const look = (a: NodeStatus | string, b: NodeStatus | string) => {
  const answer = (said: NodeStatus | string): NodeAnswer =>
    typeof said === "string" ? { silent: said } : { status: said };
  return outlook(labPair, [answer(a), answer(b)]);
};
const lost = (view: ReturnType<typeof outlook>) =>
  view.survives.filter(({ survives }) => !survives).map(({ failure }) => failure);
const daemonDown = (status: NodeStatus, name: string): NodeStatus => ({
  ...status,
  daemons: status.daemons.map((one) => (one.name === name ? { ...one, state: "failed", detail: "signal" } : one)),
});
const deafTo = (status: NodeStatus, network: "heartbeat" | "public" | "storage"): NodeStatus => ({
  ...status,
  peer: status.peer && { ...status.peer, heardMsAgo: { ...status.peer.heardMsAgo, [network]: 5_000 } },
});

test("an active node to which AWS does not send clients is not well, and the standby is", () => {
  const here: AddressStatus = {
    state: "here",
    ...{ at: 1, vips: ["198.18.0.100"], attempts: 1, elapsedMs: 90, error: null, reached: null },
  };
  const see = (address: AddressStatus | null) =>
    outlook(cloudPair, [
      { status: { ...active, address } },
      { status: { ...standby, address: { ...here, state: "left", vips: [] } } },
    ]);
  expect(see(here)).toMatchObject({ verdict: "healthy", problems: [] });
  const [name] = cloudPair.nodes.map((node) => node.name);
  const late = see({ ...here, state: "moving", error: "RequestLimitExceeded: no" });
  expect(late.problems).toEqual([
    `${name}: AWS does not send the clients of VIP web here yet (RequestLimitExceeded: no)`,
  ]);
  expect(late.next).toEqual([`${name}: journalctl -u hotpair-address -n 50`]);
  expect(see({ ...here, vips: ["198.18.0.101"] }).problems).toHaveLength(1);
  expect(see(null).problems[0]).toContain("its hotpair-address does not answer");
});

test("a bond that has lost a member is a pair that is not what it should be", () => {
  const see = (managed: { readonly problems: readonly string[] } | null) =>
    outlook(labPair, [{ status: { ...active, managed: { problems: [] } } }, { status: { ...standby, managed } }]);
  expect(see({ problems: [] })).toMatchObject({ verdict: "healthy", problems: [] });
  const lost = see({ problems: ["bond0: its member eth3 has no link"] });
  expect(lost).toMatchObject({ verdict: "degraded", problems: ["node-b: bond0: its member eth3 has no link"] });
  expect(lost.next).toEqual(["node-b: /usr/lib/hotpair/hotpair-network status; journalctl -u systemd-networkd -n 50"]);
  expect(see(null).problems[0]).toContain("its hotpair-network does not answer");
});

test("a healthy pair survives everything but what needs a witness, and there is nothing to do", () => {
  const view = look(active, standby);
  expect(view.verdict).toBe("healthy");
  expect(view.owners).toEqual([{ vip: "web", address: "198.18.0.100/24", nodes: ["node-a"], covered: true }]);
  expect(lost(view)).toEqual(["full-partition"]);
  expect(view.next).toEqual([]);
  expect(view.problems).toEqual([]);
});

test("a silent standby leaves nobody to take over", () => {
  const view = look(active, "does not answer");
  expect(view.verdict).toBe("degraded");
  expect(lost(view)).toEqual([
    "node-power-cut",
    "public-link-loss",
    "heartbeat-link-loss",
    "haproxy-hang",
    "full-partition",
  ]);
  expect(view.next[0]).toContain("node-b: does not answer");
});

test("a silent active node: who holds the address is not known", () => {
  expect(look("does not answer", standby).verdict).toBe("unknown");
  const view = look("does not answer", "does not answer");
  expect(view.verdict).toBe("unknown");
  expect(view.survives.every(({ survives }) => !survives)).toBe(true);
});

test("two owners come first", () => {
  const view = look(active, nodeStatus("node-b", true));
  expect(view.verdict).toBe("two owners");
  expect(view.next[0]).toContain("VIP web has two owners");
});

test("nobody holds it although both answer", () => {
  const gate = { closed: true, reason: "hold until the peer is heard" };
  const waiting = (status: NodeStatus): NodeStatus => ({
    ...status,
    vips: status.vips.map((vip) => ({ ...vip, held: false, state: "fault", gate })),
  });
  const view = look(waiting(active), waiting(standby));
  expect(view.verdict).toBe("down");
  expect(view.next[0]).toContain("hold until the peer is heard");
});

test("without an arbiter a heartbeat cut would make two owners, and it says so", () => {
  const view = look(active, { ...standby, arbiter: null, peer: null });
  expect(lost(view)).toContain("heartbeat-link-loss");
  expect(view.problems[0]).toContain("a cut of the heartbeat network would now make two owners");
});

test("a heartbeat that is heard on no other network is not survived", () => {
  const both = (status: NodeStatus) => deafTo(deafTo(status, "public"), "storage");
  expect(lost(look(both(active), both(standby)))).toContain("heartbeat-link-loss");
  expect(lost(look(deafTo(active, "storage"), deafTo(standby, "storage")))).toEqual(["full-partition"]);
  expect(lost(look(deafTo(active, "heartbeat"), deafTo(standby, "heartbeat")))).toContain("storage-link-loss");
});

test("keepalived down on the standby, or its gate closed: it is not ready", () => {
  expect(lost(look(active, daemonDown(standby, "keepalived")))).toContain("node-power-cut");
  const closed = {
    ...standby,
    vips: standby.vips.map((vip) => ({ ...vip, gate: { closed: true, reason: "VRRP is blind" } })),
  };
  const view = look(active, closed);
  expect(view.survives.find(({ failure }) => failure === "node-power-cut")?.because).toContain("VRRP is blind");
});

test("one backend server left is not survived twice", () => {
  const thin = {
    ...active,
    backends: active.backends.map((server) => ({ ...server, up: server.server === "node-a", detail: "L4CON" })),
  };
  const view = look(thin, standby);
  expect(view.survives.find(({ failure }) => failure === "backend-kill")?.because).toBe(
    "backend nginx has one server left",
  );
});

test("a parked standby alarms nobody, but is no standby", () => {
  const parked: NodeStatus = {
    ...daemonDown(standby, "keepalived"),
    maintenance: true,
    vips: standby.vips.map((vip) => ({ ...vip, state: "stopped", gate: { closed: true, reason: "maintenance" } })),
  };
  const view = look(active, parked);
  expect(view.verdict).toBe("parked");
  expect(view.problems).toEqual([]);
  expect(lost(view)).toContain("node-power-cut");
  expect(view.next).toEqual(["node-b is parked; when the work is done: hotpair maintenance node-b off"]);
});

describe("a pair that keeps data", () => {
  const authority: AuthorityStatus = {
    holding: false,
    holder: "a",
    renewedMsAgo: 60,
    quorumMsAgo: 30,
    witnessMsAgo: 30,
    insync: ["a", "b"],
    epoch: 1,
  };
  const database = (state: string) => ({ state, lagMs: 0, problems: [] });
  const primary: NodeStatus = {
    ...active,
    authority: { ...authority, holding: true },
    database: database("primary"),
  };
  const replica: NodeStatus = { ...standby, authority, database: database("replica") };
  const see = (a: NodeStatus | string, b: NodeStatus | string) => {
    const answer = (said: NodeStatus | string): NodeAnswer =>
      typeof said === "string" ? { silent: said } : { status: said };
    return outlook(statefulPair, [answer(a), answer(b)]);
  };
  const both = (changes: Partial<AuthorityStatus>): readonly [NodeStatus, NodeStatus] => [
    { ...primary, authority: { ...authority, holding: true, ...changes } },
    { ...replica, authority: { ...authority, ...changes } },
  ];
  const because = (view: ReturnType<typeof outlook>, failure: string) =>
    view.survives.find((one) => one.failure === failure)?.because;

  test("survives every single loss when it is well, and a full cut, too", () => {
    const view = see(primary, replica);
    expect(view.verdict).toBe("healthy");
    expect(view.problems).toEqual([]);
    expect(view.next).toEqual([]);
    expect(lost(view)).toEqual(["witness-loss-then-power-cut", "quorum-loss"]);
  });

  test("says of fencing what keeps it from working, and of a shot that was not confirmed until the peer is back", () => {
    const fencing = { agent: "fence_ipmilan", last: null, test: null };
    expect(see({ ...primary, fencing }, { ...replica, fencing }).problems).toEqual([]);
    expect(see({ ...primary, fencing: null }, replica).problems).toEqual([
      "node-a: its hotpair-fence does not answer: it could not shoot",
    ]);
    const test = { ok: false, power: null, at: 0, elapsedMs: 1, detail: "cannot log in" };
    expect(see({ ...primary, fencing: { ...fencing, test } }, replica).problems[0]).toMatch(/cannot log in/);
    const last = {
      outcome: "unconfirmed",
      by: "takeover",
      why: "it said nothing",
      detail: "no answer",
      at: 0,
      elapsedMs: 20_000,
    } as const;
    const [alone] = both({ insync: ["a"] });
    const view = see({ ...alone, fencing: { ...fencing, last } }, "does not answer");
    expect(view.problems[0]).toMatch(/node-a: its peer is not confirmed off: no answer/);
    expect(view.next).toContain("node-a: look at its peer's power controller, then: hotpair fence test");
    expect(see({ ...primary, fencing: { ...fencing, last } }, replica).problems).toEqual([]);
  });

  test("whose replica is not in sync does not survive its primary, and says so", () => {
    const view = see(...both({ insync: ["a"] }));
    expect(because(view, "node-power-cut")).toBe(
      "node-b is not in sync: it may lack acknowledged writes, and is not promoted",
    );
    expect(lost(view)).not.toContain("quorum-loss");
    expect(view.next).toEqual([
      "node-b is not in sync (replica): it catches up by itself when replication runs; on it: /usr/lib/hotpair/hotpair-mariadb status",
    ]);
  });

  test("without its witness goes on, and a cut or a lost node would end it", () => {
    const view = see(...both({ witnessMsAgo: 30_000 }));
    expect(view.verdict).toBe("degraded");
    expect(view.problems[0]).toBe("node-a: it does not hear the witness witness");
    expect(because(view, "node-power-cut")).toBe("the witness witness does not answer");
    expect(because(view, "full-partition")).toBe("the witness witness does not answer");
    expect(view.next).toEqual(["witness: systemctl status hotpair-etcd-shop; journalctl -u hotpair-etcd-shop -n 50"]);
  });

  test("with an etcd member less, is one loss away from no quorum, whichever node it is of", () => {
    const [holder, standby] = both({ memberMsAgo: 20 });
    const { authority: known } = standby;
    if (known === null || known === undefined) throw new Error("the standby says nothing of the authority");
    expect(see(holder, standby).verdict).toBe("healthy");
    const view = see(holder, { ...standby, authority: { ...known, memberMsAgo: 5_000 } });
    expect(view.verdict).toBe("degraded");
    expect(view.problems).toEqual([
      "node-b: its own etcd member does not answer: one loss more, and nobody has a quorum",
    ]);
    for (const failure of ["node-power-cut", "witness-loss"])
      expect(because(view, failure)).toContain("the etcd member of node-b does not answer");
    expect(view.next).toEqual(["node-b: hotpair authority status; on it: journalctl -u hotpair-etcd-shop -n 50"]);
  });

  test("without a quorum says what can be done, and what only with certainty", () => {
    const [, alone] = both({ quorumMsAgo: 8_000, witnessMsAgo: null });
    const view = see("does not answer", alone);
    expect(view.problems).toContainEqual(expect.stringContaining("node-b: it reaches no quorum"));
    expect(view.next).toContainEqual(
      expect.stringMatching(
        /^no quorum: bring two of node-a, node-b, witness together again .* hotpair promote --node node-b --i-know-the-peer-is-down$/,
      ),
    );
  });

  test("whose observer is silent knows nothing, and that is a problem", () => {
    const view = see({ ...primary, authority: null }, { ...replica, authority: null });
    expect(view.problems).toContain("node-a: its observer of the authority is silent: it does not know who may write");
    expect(because(view, "node-power-cut")).toBe("it is not known which nodes hold every acknowledged write");
    expect(view.next[0]).toBe("node-a: systemctl status hotpair-quorum; journalctl -u hotpair-quorum -n 50");
  });

  test("repeats what its database says of itself", () => {
    const said = {
      state: "diverged",
      lagMs: null,
      problems: ["diverged: 3 transactions. See: hotpair-mariadb diverged"],
    };
    expect(see(primary, { ...replica, database: said }).problems).toEqual([`node-b: ${said.problems[0]}`]);
    expect(see(primary, { ...replica, database: null }).problems).toEqual([
      "node-b: its database does not say how it is",
    ]);
  });
});
