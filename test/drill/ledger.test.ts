// The ledger: what is written down comes back as it was, and from the history alone every lost, doubled, reordered or
// invented write is found, while writes with an unknown outcome may go either way.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Attempt,
  type LedgerLine,
  readHistory,
  readLedgerLine,
  writeLedgerLine,
} from "../../infra/drill/ledger.ts";
import { accountNetwork, makeLedger, readLedgerAnswer, removeLedger } from "../../infra/drill/ledger-account.ts";
import { checkLedger, ledgerReasons, type Row, readRows } from "../../infra/drill/ledger-check.ts";

const attempt = (client: number, number: number, change: Partial<Attempt> = {}): Attempt => ({
  client,
  number,
  at: 1_000 + number * 10,
  startedAt: 1_000 + number * 10,
  sentAt: 1_000 + number * 10,
  doneAt: 1_005 + number * 10,
  outcome: "acknowledged",
  server: "node-a",
  error: "",
  ...change,
});
const row = (id: number, client: number, number: number): Row => ({ id, client, number, server: "node-a" });
const rowsOf = (...pairs: readonly (readonly [number, number])[]): Row[] =>
  pairs.map(([client, number], index) => row(index + 1, client, number));

describe("the history", () => {
  test("each kind of line comes back as it was written", () => {
    const lines: readonly LedgerLine[] = [
      { kind: "started", at: 5.125 },
      { kind: "ended", reason: "lifetime over" },
      { kind: "connected", at: 6, client: 2, server: "node-b" },
      { kind: "done", attempt: attempt(1, 2) },
      {
        kind: "done",
        attempt: attempt(1, 3, { outcome: "failed", sentAt: undefined, server: "", error: "no connection" }),
      },
      { kind: "done", attempt: attempt(1, 4, { outcome: "unknown", error: "deadline" }) },
    ];
    for (const line of lines) expect(readLedgerLine(writeLedgerLine(line))).toEqual(line);
  });

  test("a write that was sent and never decided is unknown, also when its client died in the middle of a line", () => {
    const sent = (number: number): LedgerLine => ({
      kind: "sent",
      attempt: attempt(1, number, { outcome: "unknown", doneAt: Number.POSITIVE_INFINITY }),
    });
    const lines = [sent(1), { kind: "done", attempt: attempt(1, 1) } as const, sent(2)].map(writeLedgerLine);
    const torn = writeLedgerLine({ kind: "done", attempt: attempt(1, 2) }).slice(0, 12);
    const history = readHistory(`${lines.join("\n")}\n${torn}`);
    expect(history.map((one) => [one.number, one.outcome])).toEqual([
      [1, "acknowledged"],
      [2, "unknown"],
    ]);
    expect(history[1]?.doneAt).toBe(Number.POSITIVE_INFINITY);
  });

  test("a line that is none of its own is refused", () => {
    expect(() => readLedgerLine('["z",1,2,3]')).toThrow(/none of its own/);
    expect(() => readHistory('{"hello":1}\n')).toThrow(/none of its own/);
  });
});

describe("the proof", () => {
  test("everything acknowledged and there, in order: nothing to say", () => {
    const verdict = checkLedger([attempt(1, 1), attempt(2, 1), attempt(1, 2)], rowsOf([1, 1], [2, 1], [1, 2]));
    expect(verdict).toMatchObject({ attempts: 3, acknowledged: 3, failed: 0, unknown: 0, survived: 0 });
    expect(ledgerReasons(verdict, "node-b")).toEqual([]);
  });

  test("an acknowledged write that is not there is lost", () => {
    const verdict = checkLedger([attempt(1, 1), attempt(1, 2)], rowsOf([1, 2]));
    expect(verdict.missing).toEqual({ count: 1, first: ["1/1"] });
    expect(ledgerReasons(verdict, "node-b")).toEqual(["1 acknowledged writes are lost on node-b (client/number 1/1)"]);
  });

  test("a write that is there twice is found", () => {
    const verdict = checkLedger([attempt(1, 1)], [row(1, 1, 1), row(2, 1, 1)]);
    expect(verdict.duplicated).toEqual({ count: 1, first: ["1/1"] });
  });

  test("a write that stands before one that was acknowledged earlier is found", () => {
    const verdict = checkLedger([attempt(1, 1), attempt(1, 2)], rowsOf([1, 2], [1, 1]));
    expect(verdict.disordered).toEqual({ count: 1, first: ["1/2"] });
    expect(verdict.missing.count).toBe(0);
  });

  test("unknown ones may be there, may be missing and may come late, but not before what was acknowledged first", () => {
    const unknown = attempt(1, 2, { outcome: "unknown", error: "deadline" });
    const history = [attempt(1, 1), unknown, attempt(1, 3)];
    expect(checkLedger(history, rowsOf([1, 1], [1, 3])).survived).toBe(0);
    const late = checkLedger(history, rowsOf([1, 1], [1, 3], [1, 2]));
    expect(late).toMatchObject({ survived: 1, disordered: { count: 0 }, phantom: { count: 0 } });
    expect(checkLedger(history, rowsOf([1, 2], [1, 1], [1, 3])).disordered.first).toEqual(["1/2"]);
  });

  test("a row whose client knows that it failed, or that no client tried, is a phantom", () => {
    const failed = attempt(1, 2, { outcome: "failed", sentAt: undefined });
    const verdict = checkLedger([attempt(1, 1), failed], rowsOf([1, 1], [1, 2], [7, 7]));
    expect(verdict.phantom).toEqual({ count: 2, first: ["1/2", "7/7"] });
  });

  test("whatever is done to an honest table is found", () => {
    const writes = fc.array(fc.record({ client: fc.integer({ min: 1, max: 3 }), kept: fc.boolean() }), {
      minLength: 2,
      maxLength: 40,
    });
    const damage = fc.record({ kind: fc.constantFrom("none", "lose", "double", "swap"), at: fc.nat() });
    fc.assert(
      fc.property(writes, damage, (all, { kind, at }) => {
        const counts = new Map<number, number>();
        const history = all.map(({ client, kept }, index) => {
          const number = (counts.get(client) ?? 0) + 1;
          counts.set(client, number);
          const times = { at: index * 10, startedAt: index * 10, sentAt: index * 10, doneAt: index * 10 + 5 };
          return attempt(client, number, { ...times, outcome: kept ? "acknowledged" : "unknown" });
        });
        const acknowledged = history.filter((one) => one.outcome === "acknowledged");
        const rows = acknowledged.map((one, index) => row(index + 1, one.client, one.number));
        const victim = rows[at % Math.max(1, rows.length)];
        const next = victim && rows.find((one) => one.client === victim.client && one.id > victim.id);
        if (victim === undefined || kind === "none" || (kind === "swap" && next === undefined))
          return ledgerReasons(checkLedger(history, rows), "it").length === 0;
        const table =
          kind === "lose"
            ? rows.filter((one) => one !== victim)
            : kind === "double"
              ? [...rows, { ...victim, id: rows.length + 1 }]
              : rows.map((one) =>
                  one === victim ? { ...one, id: next?.id ?? 0 } : one === next ? { ...one, id: victim.id } : one,
                );
        return ledgerReasons(checkLedger(history, table), "it").length > 0;
      }),
      { numRuns: 500 },
    );
  });
});

describe("its place in the database", () => {
  test("rows are read as the client program prints them", () => {
    expect(readRows("1\t2\t3\tnode-a\n2\t2\t4\tnode-b\n")).toEqual([
      { id: 1, client: 2, number: 3, server: "node-a" },
      { id: 2, client: 2, number: 4, server: "node-b" },
    ]);
    expect(() => readRows("ERROR 2002\n")).toThrow(/not a row/);
  });

  test("half an answer proves nothing", () => {
    expect(readLedgerAnswer("OFF\n1\t1\t1\tnode-a\nend\n")).toEqual({ primary: true, rows: "1\t1\t1\tnode-a" });
    expect(readLedgerAnswer("ON\nend\n")).toEqual({ primary: false, rows: "" });
    expect(readLedgerAnswer("OFF\n1\t1\t1\tnode-a\n")).toBeUndefined();
    expect(readLedgerAnswer("")).toBeUndefined();
  });

  test("the account may insert into one table from one network, and nothing is made or removed on a replica", () => {
    const text = makeLedger("ab".repeat(16), accountNetwork("198.18.0.0/24"));
    expect(text).toContain("GRANT INSERT ON hotpair_drill.ledger TO 'hotpair_drill'@'198.18.0.0/255.255.255.0'");
    expect(text.match(/GRANT/g)).toHaveLength(1);
    expect(text).not.toContain("ab".repeat(16));
    for (const one of [text, removeLedger]) {
      expect(one).toContain("IF @@global.read_only = 0 THEN");
      // On standard input of the client, never in an argument.
      expect(one.slice(0, one.indexOf("<<'HOTPAIR_SQL'"))).not.toMatch(/hotpair_drill|abab/);
    }
  });

  test.each([
    ["a server that always runs is asked, whatever systemd says", "", "inactive", "asked --socket=/run/s.sock"],
    ["a server on a volume is asked where it runs", "one.service", "active", "asked --socket=/run/s.sock"],
    ["and where it starts, so that a failure shows", "one.service", "activating", "asked --socket=/run/s.sock"],
    ["where it rests there is nothing to do", "one.service", "inactive", ""],
    ["nor where it was killed", "one.service", "failed", ""],
  ])("%s", (_what, unit, state, expected) => {
    const work = mkdtempSync(join(tmpdir(), "hotpair-ledger-"));
    try {
      const settings = { ...(unit === "" ? {} : { unit }), socket: "/run/s.sock", port: 3306 };
      writeFileSync(join(work, "mariadb.json"), JSON.stringify(settings, undefined, 2));
      writeFileSync(join(work, "systemctl"), `#!/bin/sh\necho ${state}\n`, { mode: 0o755 });
      writeFileSync(join(work, "mariadb"), '#!/bin/sh\ncat >/dev/null; for last; do :; done; echo "asked $last"\n', {
        mode: 0o755,
      });
      const text = removeLedger.replaceAll("/etc/hotpair", work);
      const { status, stdout } = spawnSync("sh", ["-c", text], {
        encoding: "utf8",
        env: { PATH: `${work}:/usr/bin:/bin` },
      });
      expect({ status, said: stdout.trim() }).toEqual({ status: 0, said: expected });
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  });

  test("network and mask of an address", () => {
    expect(accountNetwork("198.18.0.0/24")).toBe("198.18.0.0/255.255.255.0");
    expect(accountNetwork("10.1.130.7/20")).toBe("10.1.128.0/255.255.240.0");
    expect(accountNetwork("127.0.0.1/8")).toBe("127.0.0.0/255.0.0.0");
  });
});
