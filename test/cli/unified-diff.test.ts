// The diff that preview shows is the one that everybody's diff -u shows.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unifiedDiff } from "../../infra/cli/unified-diff.ts";

describe("unified diff", () => {
  it("shows one changed timeout with three lines around it", () => {
    const config = (timeout: string) =>
      [
        "global",
        "  maxconn 100",
        "",
        "defaults",
        "  mode http",
        `  timeout server ${timeout}`,
        "",
        "frontend web",
        "",
        "x",
      ]
        .map((line) => `${line}\n`)
        .join("");
    expect(unifiedDiff(config("30s"), config("20s"))).toEqual([
      "@@ -3,7 +3,7 @@",
      " ",
      " defaults",
      "   mode http",
      "-  timeout server 30s",
      "+  timeout server 20s",
      " ",
      " frontend web",
      " ",
    ]);
  });

  it("is empty for equal texts", () => expect(unifiedDiff("a\n", "a\n")).toEqual([]));

  it("says that a newline is missing at the end", () => {
    expect(unifiedDiff("a\n", "a")).toEqual(["@@ -1 +1 @@", "-a", "+a\n\\ No newline at end of file"]);
  });

  it("turns the one text into the other when it is applied", () => {
    const text = fc
      .array(fc.constantFrom("a", "b", "c", "", "}"), { maxLength: 30 })
      .map((lines) => lines.map((line) => `${line}\n`).join(""));
    fc.assert(fc.property(text, text, (before, after) => patched(before, unifiedDiff(before, after)) === after));
  });
});

/** What patch(1) would make of the text; undefined when a line of the diff does not fit. */
function patched(text: string, hunks: readonly string[]): string | undefined {
  const before = text.split("\n").slice(0, -1);
  const after: string[] = [];
  let read = 0;
  for (const line of hunks) {
    const start = /^@@ -(\d+)(?:,(\d+))? /.exec(line);
    if (start) {
      const first = Number(start[1]) - (start[2] === "0" ? 0 : 1);
      while (read < first) after.push(before[read++] ?? "");
      continue;
    }
    if (line[0] !== "+" && before[read++] !== line.slice(1)) return undefined;
    if (line[0] !== "-") after.push(line.slice(1));
  }
  return [...after, ...before.slice(read)].map((line) => `${line}\n`).join("");
}
