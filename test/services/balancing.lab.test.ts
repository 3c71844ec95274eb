// What HAProxy and nginx do on real hosts with the files of a real plan: a reload and a dead backend cost no request, and
// a request that may have been carried out is never carried out twice.

import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { setLink } from "../../infra/lab/faults.ts";
import { type Lab, labDown, labUp, type NodeName } from "../../infra/lab/lab.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { makeBundle } from "../../infra/plan/bundle.ts";
import { applyCommand } from "../../infra/plan/commands.ts";
import { planPair } from "../../infra/plan/plan.ts";
import { run } from "../../infra/ssh/run.ts";
import { describeWithLab } from "../lab/skip.ts";
import { labPair } from "../model/pairs.ts";

const NAME = "balance";
const BEACON_KEY = "0123456789abcdef".repeat(4);
/** Time between requests of the client, ms: each a connection of its own, started whether or not others came back. */
const INTERVAL = 5;

describeWithLab("HAProxy before nginx on two hosts", () => {
  let lab: Lab;
  let owner: NodeName;

  beforeAll(async () => {
    lab = await labUp({ name: NAME, image: "ready" });
    const pair = pairIn(lab);
    // One after the other, as the program does it: the first owns the VIP when the second is changed.
    for (const plan of planPair(pair)) {
      const applied = await run(lab.hosts[`node-${plan.node}`].ssh, applyCommand("balance"), {
        input: makeBundle(plan, () => BEACON_KEY),
        timeoutMs: 120_000,
      });
      expect(applied.code, applied.stdout + applied.stderr).toBe(0);
    }
    owner = await until(20_000, async () => (await ask(lab)).balancedBy as NodeName);
  });

  afterAll(async () => {
    if (process.env.KEEP_LAB === undefined) await labDown(NAME);
  });

  const on = async (host: NodeName, command: string): Promise<string> => {
    const { code, stdout, stderr } = await run(lab.hosts[host].ssh, command, { timeoutMs: 60_000 });
    if (code !== 0) throw new Error(`${host}: ${command}\n${stdout}${stderr}`);
    return stdout.trim();
  };

  test("a certificate that is not there is refused before anything is touched, in HAProxy's own words", async () => {
    const [plan] = planPair(withCertificate(pairIn(lab), "/etc/ssl/private/nowhere.pem"));
    const input = makeBundle(plan, () => BEACON_KEY);
    const { code, stdout, stderr } = await run(lab.hosts["node-a"].ssh, applyCommand("balance"), {
      input,
      timeoutMs: 60_000,
    });
    expect(code).toBe(1);
    expect(stdout + stderr).toContain("unable to stat SSL certificate from file '/etc/ssl/private/nowhere.pem'");
    expect(stdout + stderr).toContain("nothing was changed");
  });

  test("both nodes answer through the VIP", async () => {
    const seen = new Set<string>();
    await until(10_000, async () => seen.add((await ask(lab)).servedBy) && seen.size === 2);
    expect([...seen].sort()).toEqual(["node-a", "node-b"]);
  });

  test("reloads hand the open socket over: it stays the same one, and no request fails", async () => {
    const inode = `ss -Hltne 'sport = :80' | grep -o 'ino:[0-9]*'`;
    const before = await on(owner, inode);
    const seen = await during(lab, () =>
      on(owner, "for i in 1 2 3 4 5 6; do systemctl reload haproxy; sleep 0.3; done"),
    );
    expect(seen.failed).toEqual([]);
    expect(seen.requests).toBeGreaterThan(300);
    expect(await on(owner, inode)).toBe(before);
  });

  test("nginx killed on either node costs no request", async () => {
    for (const host of ["node-a", "node-b"] as const) {
      const seen = await during(lab, () => on(host, "systemctl kill --signal=KILL nginx; sleep 1"));
      expect(seen.failed).toEqual([]);
      await until(10_000, async () => (await on(host, "systemctl is-active nginx || :")) === "active");
    }
  });

  test("a server that falls silent costs the requests that it was answering, and no others", async () => {
    const other: NodeName = owner === "node-a" ? "node-b" : "node-a";
    // Many at once, so that connections to both servers would be left over if they were kept.
    for (const { status } of await Promise.all(Array.from({ length: 40 }, () => ask(lab)))) expect(status).toBe(200);
    const seen = await during(lab, async () => {
      await sleep(200);
      await setLink(lab, other, "public", false, { undoAfterMs: 10_000 });
      await sleep(1_000);
    });
    await setLink(lab, other, "public", true);
    expect(seen.requests).toBeGreaterThan(150);
    expect(seen.failed.length, seen.failed.join(", ")).toBeLessThanOrEqual(2);
    const both = new Set<string>();
    await until(10_000, async () => both.add((await ask(lab)).servedBy) && both.size === 2);
  });

  test("HAProxy killed is back by itself within its estimate", async () => {
    const seen = await during(lab, () => on(owner, "systemctl kill --signal=KILL haproxy; sleep 1.5"));
    expect(seen.failed.length).toBeGreaterThan(0);
    expect(seen.outage).toBeLessThan(910);
  });

  test("a GET that a server took and did not answer is repeated at the other, a POST is not", async () => {
    const other: NodeName = owner === "node-a" ? "node-b" : "node-a";
    const address = lab.hosts[other].address.public;
    await on(other, "systemctl stop nginx");
    await on(other, `systemd-run --quiet --collect --unit=deaf python3 -u -c '${DEAF_SERVER}' ${address}`);
    try {
      // Up again for HAProxy after `rise` good checks; a POST that found it was taken and got no answer.
      await until(10_000, async () => (await ask(lab, "POST")).status === 502);
      const taken = async (): Promise<readonly string[]> =>
        (await on(other, "journalctl -u deaf -o cat --no-pager"))
          .split("\n")
          .filter((line) => /^(GET|POST) /.test(line));
      const posts: number[] = [];
      for (let index = 0; index < 10; index += 1) posts.push((await ask(lab, "POST", `/post-${index}`)).status);
      expect(posts).toContain(502);
      const gets: number[] = [];
      for (let index = 0; index < 10; index += 1) gets.push((await ask(lab, "GET", `/index.html?get-${index}`)).status);
      expect(gets).toEqual(gets.map(() => 200));
      const lines = await taken();
      expect(lines.some((line) => line.startsWith("GET /index.html"))).toBe(true);
      for (let index = 0; index < 10; index += 1)
        expect(lines.filter((line) => line === `POST /post-${index}`).length).toBeLessThanOrEqual(1);
    } finally {
      await on(other, "systemctl stop deaf; systemctl start nginx");
    }
  });
});

/** Answers health checks; takes every other request, says so, and closes without a word. */
const DEAF_SERVER = [
  "import socketserver, sys",
  "class Deaf(socketserver.StreamRequestHandler):",
  "  def handle(self):",
  "    first = self.rfile.readline().decode().split()",
  "    while self.rfile.readline().strip(): pass",
  '    if first[1] == "/healthz": self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")',
  "    else: print(first[0], first[1])",
  "socketserver.ThreadingTCPServer.allow_reuse_address = True",
  "socketserver.ThreadingTCPServer((sys.argv[1], 8080), Deaf).serve_forever()",
].join("\n");

/** The lab's pair with the addresses that this lab has. */
function pairIn(lab: Lab): Pair {
  const text = JSON.stringify(labPair)
    .replaceAll("198.18.0.", `${lab.prefix("public")}.`)
    .replaceAll("198.18.1.", `${lab.prefix("heartbeat")}.`)
    .replaceAll("198.18.2.", `${lab.prefix("storage")}.`);
  return JSON.parse(text) as Pair;
}

function withCertificate(pair: Pair, certificate: string): Pair {
  const { haproxy } = pair;
  if (haproxy === undefined) throw new Error("the lab's pair has HAProxy");
  const frontends = haproxy.frontends.map((frontend) => ({ ...frontend, certificate }));
  return { ...pair, haproxy: { ...haproxy, frontends } };
}

interface Answer {
  /** HTTP status, or 0 when none came. */
  readonly status: number;
  readonly why: string;
  readonly servedBy: string;
  readonly balancedBy: string;
}

/** One request through the VIP on a connection of its own, with a deadline of 1 s. */
const ask = (lab: Lab, method: "GET" | "POST" = "GET", path = "/"): Promise<Answer> =>
  new Promise((settle) => {
    const failed = (error: Error): void => settle({ status: 0, why: error.message, servedBy: "", balancedBy: "" });
    const asked = request(
      { host: `${lab.prefix("public")}.100`, port: 80, path, method, agent: false, signal: AbortSignal.timeout(1_000) },
      (response) => {
        const { "x-served-by": servedBy, "x-balanced-by": balancedBy } = response.headers;
        response.on("error", failed);
        response.on("end", () =>
          settle({
            status: response.statusCode ?? 0,
            why: `status ${response.statusCode}`,
            servedBy: String(servedBy),
            balancedBy: String(balancedBy),
          }),
        );
        response.resume();
      },
    );
    asked.on("error", failed);
    asked.end();
  });

interface Seen {
  readonly requests: number;
  readonly failed: readonly string[];
  /** From the start of the first failed request to the start of the first good one after the last failed one, ms. */
  readonly outage: number;
}

/** What a client sees while something is done, open loop. */
async function during(lab: Lab, act: () => Promise<unknown>): Promise<Seen> {
  const answers: Promise<{ at: number; answer: Answer }>[] = [];
  const begin = performance.now();
  const timer = setInterval(() => {
    const at = performance.now() - begin;
    answers.push(ask(lab).then((answer) => ({ at, answer })));
  }, INTERVAL);
  try {
    await act();
  } finally {
    clearInterval(timer);
  }
  const all = await Promise.all(answers);
  const bad = all.filter(({ answer }) => answer.status !== 200);
  const first = bad[0]?.at ?? 0;
  const last = bad.at(-1)?.at ?? 0;
  const back = all.find(({ at, answer }) => at > last && answer.status === 200)?.at ?? Number.POSITIVE_INFINITY;
  return {
    requests: all.length,
    failed: bad.map(({ at, answer }) => `${at.toFixed(0)} ms: ${answer.why}`),
    outage: bad.length === 0 ? 0 : back - first,
  };
}

/** Asks until the answer is truthy; throws when it is not within the deadline (ms). */
async function until<T>(deadline: number, question: () => Promise<T>): Promise<T> {
  for (const begin = performance.now(); performance.now() - begin < deadline; ) {
    const answer = await question();
    if (answer) return answer;
    await new Promise((wait) => setTimeout(wait, 100));
  }
  throw new Error(`not within ${deadline} ms`);
}
