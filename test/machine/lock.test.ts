// Promises about the lock between commands: one at a time, and never a stale one.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { withLock } from "../../infra/machine/lock.ts";

const name = `a test of process ${process.pid}`;

test("who comes second waits, is told so once, and then has its turn", async () => {
  const order: string[] = [];
  let release = () => undefined as unknown;
  const first = withLock(name, {}, async () => {
    order.push("first");
    await new Promise((resolve) => {
      release = () => resolve(undefined);
    });
    order.push("first is done");
  });
  while (order.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const onWait = () => {
    order.push("second waits");
    release();
  };
  await withLock(name, { onWait }, async () => order.push("second"));
  await first;
  expect(order).toEqual(["first", "second waits", "first is done", "second"]);
});

test("waiting ends at the time-out, with a word about who works on what", async () => {
  const waited = withLock(name, {}, () => withLock(name, { timeoutMs: 50 }, async () => "never"));
  await expect(waited).rejects.toThrow(`another hotpair command has been working on ${name}`);
});

test("a failure gives the lock back, and so does a killed holder", async () => {
  const failing = withLock(name, {}, () => Promise.reject(new Error("no")));
  await expect(failing).rejects.toThrow("no");
  const file = join(import.meta.dirname, "../../infra/machine/lock.ts");
  const hold = `const { withLock } = await import(${JSON.stringify(file)});
    await withLock(${JSON.stringify(name)}, {}, () => { console.log("held"); return new Promise((r) => setTimeout(r, 60_000)); });`;
  const holder = spawn(process.execPath, ["--input-type=module", "-e", hold], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  await expect(withLock(name, { timeoutMs: 0 }, async () => "no")).rejects.toThrow("another hotpair command");
  holder.kill("SIGKILL");
  expect(await withLock(name, { timeoutMs: 30_000 }, async () => "mine")).toBe("mine");
});
