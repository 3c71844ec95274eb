// The probe as a process against real HTTP servers: it keeps its schedule through an outage, notices every kind of bad
// answer, and does not outlive its parent.

import { spawn } from "node:child_process";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { type RunningClient, startClient } from "../../infra/drill/clients.ts";
import { type ProbeOptions, type Request, readProbeLine, writeRequest } from "../../infra/drill/request.ts";

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(handler: http.RequestListener): Promise<{ server: http.Server; port: number }> {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

const options = (port: number, changes: Partial<ProbeOptions> = {}): ProbeOptions => ({
  scheme: "http",
  address: "127.0.0.1",
  port,
  path: "/",
  intervalMs: 10,
  deadlineMs: 300,
  persistentIntervalMs: null,
  lifetimeMs: 20_000,
  ...changes,
});

function probe(what: ProbeOptions): RunningClient {
  const client = startClient(what, undefined);
  cleanups.push(() => client.stop());
  return client;
}

const seen = async (client: RunningClient, count: number): Promise<readonly Request[]> => {
  while (client.direct.length < count) {
    const died = client.died();
    if (died !== undefined) throw new Error(died);
    await sleep(20);
  }
  return client.direct;
};

describe("the probe", () => {
  test("asks on schedule, each time on a new connection, and says who answered", async () => {
    let connections = 0;
    const { server, port } = await serve((_, response) => {
      response.setHeader("X-Served-By", "node-a");
      response.setHeader("X-Balanced-By", "node-b");
      response.end("well");
    });
    server.on("connection", () => connections++);
    const requests = await seen(probe(options(port, { deadlineMs: 5_000 })), 60);
    expect(requests.every((one) => one.ok && one.servedBy === "node-a" && one.balancedBy === "node-b")).toBe(true);
    expect(connections).toBeGreaterThanOrEqual(60);
    const starts = requests.map((one) => one.at).sort((a, b) => a - b);
    const steps = starts.slice(1).map((at, index) => at - (starts[index] ?? 0));
    expect(steps.every((step) => Math.abs(step - 10) < 0.01)).toBe(true);
    expect(Math.abs((starts[0] ?? 0) - Date.now())).toBeLessThan(30_000);
  });

  test("goes on asking while nobody answers, and fails each request at its deadline", async () => {
    const { port } = await serve(() => undefined);
    const requests = await seen(probe(options(port)), 30);
    for (const one of requests) {
      expect(one).toMatchObject({ ok: false, error: "deadline", status: 0 });
      expect(one.took).toBeGreaterThan(295);
    }
    const span = Math.max(...requests.map((one) => one.at)) - Math.min(...requests.map((one) => one.at));
    expect(span).toBeGreaterThan(250);
  });

  test("takes a refused connection, an error status and a cut response for what they are", async () => {
    let mode: "refuse" | "error" | "cut" = "error";
    const { port } = await serve((_, response) => {
      if (mode === "error") response.writeHead(503).end("no");
      else {
        response.writeHead(200, { "Content-Length": "100" });
        response.write("half");
        setTimeout(() => response.destroy(), 5);
      }
    });
    const client = probe(options(port));
    const errors = await seen(client, 10);
    expect(errors[5]).toMatchObject({ ok: false, status: 503, error: "status" });
    mode = "cut";
    const before = client.direct.length;
    await seen(client, before + 60);
    expect(client.direct.at(-1)).toMatchObject({ ok: false, status: 0 });
    const closed = await probe(options(1));
    const refused = await seen(closed, 5);
    expect(refused[0]).toMatchObject({ ok: false, error: "ECONNREFUSED" });
  });

  test("keeps one connection beside that, and counts when it had to make it anew", async () => {
    const { server, port } = await serve((_, response) => response.end("well"));
    const client = probe(options(port, { persistentIntervalMs: 20, deadlineMs: 5_000 }));
    await seen(client, 30);
    const before = client.persistent.length;
    expect(before).toBeGreaterThan(2);
    expect(client.reconnects()).toBe(0);
    server.closeAllConnections();
    await seen(client, client.direct.length + 60);
    expect(client.reconnects()).toBe(1);
    expect(client.persistent.at(-1)?.ok).toBe(true);
  });

  test("in TCP mode an accepted connection is an answer", async () => {
    const server = net.createServer((socket) => socket.on("error", () => undefined));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => server.close());
    const requests = await seen(probe(options((server.address() as AddressInfo).port, { scheme: "tcp" })), 10);
    expect(requests.every((one) => one.ok)).toBe(true);
  });

  test("ends within a second when its parent is gone, and by itself after its lifetime", async () => {
    const { port } = await serve((_, response) => response.end("well"));
    const file = join(import.meta.dirname, "../../infra/drill/probe.ts");
    const ended = (lifetimeMs: number, closeInput: boolean): Promise<number> =>
      new Promise((resolve) => {
        let since = 0;
        const child = spawn(process.execPath, [file, JSON.stringify(options(port, { lifetimeMs }))], {
          stdio: ["pipe", "pipe", "inherit"],
        });
        child.stdout.resume();
        child.stdout.once("data", () => {
          since = Date.now();
          if (closeInput) child.stdin.end();
        });
        child.on("close", () => resolve(Date.now() - since));
      });
    expect(await ended(60_000, true)).toBeLessThan(2_000);
    expect(await ended(700, false)).toBeLessThan(3_000);
  });

  test("writes what can be read back, and nothing else is taken for it", () => {
    const request: Request = {
      at: 1_795_183_023_816.191,
      late: 0.5,
      took: 12.25,
      ok: true,
      status: 200,
      servedBy: "node-a",
      balancedBy: "",
      error: "",
    };
    expect(readProbeLine(writeRequest("persistent", request))).toEqual({
      kind: "request",
      client: "persistent",
      request,
    });
    expect(() => readProbeLine('["x",1]')).toThrow(/none of its own/);
  });
});
