// Promise: an unreachable vendor site costs seconds, and a proxy set in the ordinary variables is used.

import { createServer as createHttpServer } from "node:http";
import { createServer, type Server } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import { probe } from "../../infra/toolchain/official.ts";

const servers: Server[] = [];
afterEach(() => {
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) server.close();
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return address.port;
}

function withoutProxy() {
  for (const name of ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY"]) {
    vi.stubEnv(name, undefined);
  }
}

test("a site that accepts and says nothing is given up after 3 s", async () => {
  withoutProxy();
  const port = await listening(createServer((socket) => socket.on("error", () => {})));
  const started = performance.now();
  expect(await probe(`https://127.0.0.1:${port}/`)).toBe("no answer within 3 s");
  expect(performance.now() - started).toBeLessThan(4_000);
});

test("a refused connection is an answer at once", async () => {
  withoutProxy();
  const port = await listening(createServer());
  servers.pop()?.close();
  const started = performance.now();
  expect(await probe(`https://127.0.0.1:${port}/`)).toMatch(/ECONNREFUSED/);
  expect(performance.now() - started).toBeLessThan(1_000);
});

test("the question goes through HTTPS_PROXY, but for what NO_PROXY names", async () => {
  withoutProxy();
  const asked: string[] = [];
  const proxy = createHttpServer();
  proxy.on("connect", (request, socket) => {
    asked.push(request.url ?? "");
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  const port = await listening(proxy);
  vi.stubEnv("HTTPS_PROXY", `http://127.0.0.1:${port}`);
  expect(await probe("https://get.pulumi.com/releases/x")).toBeDefined();
  expect(asked).toEqual(["get.pulumi.com:443"]);

  vi.stubEnv("NO_PROXY", "get.pulumi.com");
  await probe("https://get.pulumi.com/releases/x");
  expect(asked).toHaveLength(1);
});
