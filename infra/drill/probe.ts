// A client of the pair, as its own process: requests through the VIP in an open loop, so that an outage cannot slow down
// the one who measures it. Run as `node probe.ts '{…ProbeOptions}'`; writes one line per finished request on standard
// output. It ends itself when its standard input closes (its parent is gone), when nobody reads its output, and after its
// lifetime. It judges nothing; only node's own modules, so that it starts fast.

import http from "node:http";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import { every, wallClock } from "./clock.ts";
import { type ClientKind, type ProbeOptions, type Request, writeRequest } from "./request.ts";

interface Outcome {
  readonly ok: boolean;
  readonly status: number;
  readonly servedBy: string;
  readonly balancedBy: string;
  readonly error: string;
}

const failure = (error: string): Outcome => ({ ok: false, status: 0, servedBy: "", balancedBy: "", error });
const errno = (error: Error & { code?: string }): string => error.code ?? error.message;
const first = (value: string | string[] | undefined): string =>
  Array.isArray(value) ? (value[0] ?? "") : (value ?? "");

/** One HTTP request over `agent` (a new connection when it is false); `done` is called exactly once. */
function httpRequest(options: ProbeOptions, agent: http.Agent | false, done: (outcome: Outcome) => void): void {
  let settled = false;
  const settle = (outcome: Outcome) => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    done(outcome);
  };
  const common = {
    host: options.address,
    port: options.port,
    path: options.path,
    agent,
    headers: { "User-Agent": "hotpair-probe", Host: options.address, Connection: agent ? "keep-alive" : "close" },
  };
  // The drill asks whether somebody answers, not who signed for him: certificates are the business of other checks.
  const request =
    options.scheme === "https"
      ? https.request({ ...common, agent: agent as https.Agent | false, rejectUnauthorized: false })
      : http.request(common);
  const timer = setTimeout(() => {
    settle(failure("deadline"));
    request.destroy();
  }, options.deadlineMs);
  request.on("error", (error) => settle(failure(errno(error))));
  request.on("response", (response) => {
    const status = response.statusCode ?? 0;
    response.on("error", (error) => settle(failure(errno(error))));
    response.on("close", () => settle(failure("closed before the end of the response")));
    response.on("end", () => {
      if (!response.complete) return settle(failure("closed before the end of the response"));
      const ok = status >= 200 && status < 400;
      const headers = response.headers;
      settle({
        ok,
        status,
        servedBy: first(headers["x-served-by"]),
        balancedBy: first(headers["x-balanced-by"]),
        error: ok ? "" : "status",
      });
    });
    response.resume();
  });
  request.end();
}

/** A service that does not speak HTTP: an accepted connection is an answer. */
function tcpRequest(options: ProbeOptions, done: (outcome: Outcome) => void): void {
  const socket = net.connect({ host: options.address, port: options.port });
  let settled = false;
  const settle = (outcome: Outcome) => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    socket.destroy();
    done(outcome);
  };
  const timer = setTimeout(() => settle(failure("deadline")), options.deadlineMs);
  socket.on("error", (error) => settle(failure(errno(error))));
  socket.on("connect", () => settle({ ok: true, status: 0, servedBy: "", balancedBy: "", error: "" }));
}

function run(options: ProbeOptions): void {
  try {
    // Ahead of the pair's own daemons where they share a machine: a late client measures itself.
    os.setPriority(-15);
  } catch {
    // Not root: its lateness is in the evidence.
  }
  const now = wallClock();
  const out = process.stdout;
  const end = (reason: string) => {
    out.write(`${JSON.stringify({ ended: reason })}\n`, () => process.exit(0));
    setTimeout(() => process.exit(0), 200).unref();
  };
  out.on("error", () => process.exit(0));
  process.stdin.on("end", () => end("standard input closed")).on("error", () => end("standard input closed"));
  process.stdin.resume();
  setTimeout(() => end("lifetime over"), options.lifetimeMs).unref();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => end(signal));

  const record = (kind: ClientKind, at: number, startedAt: number, outcome: Outcome) => {
    const request: Request = { at, late: startedAt - at, took: now() - startedAt, ...outcome };
    out.write(`${writeRequest(kind, request)}\n`);
  };
  const start = (agent: http.Agent | false, done: (outcome: Outcome) => void) =>
    options.scheme === "tcp" ? tcpRequest(options, done) : httpRequest(options, agent, done);

  const begin = now() + 5;
  out.write(`${JSON.stringify({ started: Math.round(begin * 1000) / 1000 })}\n`);

  // The open loop. Whatever is due is started, however late: a schedule that waits for answers would hide an outage.
  every(begin, options.intervalMs, now, (at) => {
    const startedAt = now();
    start(false, (outcome) => record("direct", at, startedAt, outcome));
  });

  if (options.persistentIntervalMs !== null && options.scheme !== "tcp") {
    persistent(options, now, begin, record, (at) => out.write(`${JSON.stringify({ reconnect: at })}\n`));
  }
}

/**
 * One kept connection: a request at each tick unless the last one is still out (so a closed loop: a client with one
 * connection can do no other). After a failure the connection is dropped and made anew, which is counted.
 */
function persistent(
  options: ProbeOptions,
  now: () => number,
  begin: number,
  record: (kind: ClientKind, at: number, startedAt: number, outcome: Outcome) => void,
  reconnected: (at: number) => void,
): void {
  const makeAgent = () =>
    options.scheme === "https"
      ? new https.Agent({ keepAlive: true, maxSockets: 1 })
      : new http.Agent({ keepAlive: true, maxSockets: 1 });
  let agent = makeAgent();
  let connections = 0;
  let opened = false;
  let busy = false;
  const watch = (made: http.Agent) => {
    const create = made.createConnection.bind(made);
    made.createConnection = ((...args: Parameters<typeof create>) => {
      opened = true;
      return create(...args);
    }) as typeof made.createConnection;
  };
  watch(agent);
  every(begin, options.persistentIntervalMs ?? 1_000, now, (at) => {
    if (busy) return;
    busy = true;
    const startedAt = now();
    httpRequest(options, agent, (outcome) => {
      busy = false;
      record("persistent", at, startedAt, outcome);
      // Attempts do not count, only a connection that carried an answer.
      if (outcome.ok && opened && ++connections > 1) reconnected(now());
      if (outcome.ok) opened = false;
      else {
        agent.destroy();
        agent = makeAgent();
        watch(agent);
      }
    });
  });
}

const argument = process.argv[2];
if (process.argv[1] === import.meta.filename && argument !== undefined) run(JSON.parse(argument) as ProbeOptions);
