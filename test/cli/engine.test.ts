// What commands read out of the engine's words.

import { spawnSync } from "node:child_process";
import { hostname } from "node:os";
import { describe, expect, it } from "vitest";
import { deadLocks, hostOf, openedState, tokenIn, urnsOf } from "../../infra/cli/engine.ts";
import { removeCommand } from "../../infra/plan/commands.ts";

/** As the file backend says it (pkg/backend/diy/lock.go). */
const locked = (...holders: readonly [pid: number, host: string][]): string =>
  [
    `the stack is currently locked by ${holders.length} lock(s). Either wait for the other process(es) to end or delete the lock file with \`pulumi cancel\`.`,
    ...holders.map(
      ([pid, host]) =>
        `  file:///state/.pulumi/locks/organization/hotpair/lab/x.json: created by root@${host} (pid ${pid}) at 2026-11-20T13:00:00Z`,
    ),
  ].join("\n");

const gone = (): number => spawnSync("true").pid ?? 0;

describe("a lock", () => {
  it("of a process of this machine that is gone is dead", () => {
    const pid = gone();
    expect(deadLocks(locked([pid, hostname()]))).toEqual([{ pid, since: "2026-11-20T13:00:00Z" }]);
  });

  it.each([
    ["a living process", [[process.pid, hostname()]]],
    ["another machine", [[1_999_999, "elsewhere"]]],
    [
      "one dead and one elsewhere",
      [
        [1_999_999, hostname()],
        [1_999_999, "elsewhere"],
      ],
    ],
  ] as [string, [number, string][]][])("of %s is not", (_, holders) => {
    expect(deadLocks(locked(...holders))).toEqual([]);
  });

  it("is not read into other failures", () => expect(deadLocks("error: no stack named 'lab' found")).toEqual([]));
});

describe("resources", () => {
  it("are recognised by their place", () => {
    const [component, command] = urnsOf("lab", "b");
    expect(component).toBe("urn:pulumi:lab::hotpair::hotpair:index:Pair$hotpair:index:Node::node-b");
    expect(command).toBe(
      "urn:pulumi:lab::hotpair::hotpair:index:Pair$hotpair:index:Node$command:remote:Command::node-b",
    );
    expect(hostOf(command ?? "")).toBe("b");
    expect(hostOf("urn:pulumi:lab::hotpair::hotpair:index:Pair::pair")).toBeUndefined();
  });

  it("have their secrets opened, one inside another too", () => {
    const secret = (value: unknown) => ({
      "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
      plaintext: JSON.stringify(value),
    });
    expect(openedState({ connection: secret({ host: "h", privateKey: secret("k") }) })).toEqual({
      connection: { host: "h", privateKey: "k" },
    });
  });

  it("carry their owner token in the delete command", () => {
    expect(tokenIn({ delete: removeCommand("0123abcd") })).toBe("0123abcd");
    expect(tokenIn({})).toBeUndefined();
  });
});
