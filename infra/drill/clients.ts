// Starts the drill's clients as processes of their own and gathers what they write. What a client does is probe.ts or
// ledger-client.ts; what its history means is history.ts and ledger-check.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runIn } from "../lab/lab.ts";
import { UserError } from "../model/errors.ts";
import type { Pair, Vip } from "../model/pair.ts";
import { type Attempt, type LedgerOptions, readLedgerLine } from "./ledger.ts";
import { type ProbeOptions, type Request, readProbeLine } from "./request.ts";

const PROBE = join(import.meta.dirname, "probe.ts");
const LEDGER = join(import.meta.dirname, "ledger-client.ts");

/** Where the requests go: the first frontend that answers on the VIP, or the service behind it when there is no HAProxy. */
export type Destination = Pick<ProbeOptions, "scheme" | "address" | "port" | "path">;

/**
 * `reached`: what clients use in the place of the VIP (address.ts). Throws UserError when nothing of the pair listens on
 * the VIP.
 */
export function destinationOf(pair: Pair, vip: Vip, reached: string | undefined): Destination {
  const address = reached ?? vip.address.split("/")[0] ?? "";
  const frontend = pair.haproxy?.frontends.find((one) => one.bind.vip === vip.name || one.bind.vip === "*");
  if (frontend !== undefined) {
    const scheme = frontend.mode === "tcp" ? "tcp" : frontend.certificate === undefined ? "http" : "https";
    return { scheme, address, port: frontend.bind.port, path: "/" };
  }
  if (pair.nginx !== undefined) return { scheme: "http", address, port: pair.nginx.port, path: pair.nginx.healthPath };
  if (pair.external !== undefined) return { scheme: "tcp", address, port: pair.external.port, path: "/" };
  throw new UserError(`nothing answers on VIP ${vip.name}: a drill has nothing to ask`, [
    "give hotpair:pair.haproxy a frontend on this VIP, or describe the service in hotpair:pair.external",
  ]);
}

/** Where the ledger's writes go: the frontend on a VIP that leads to the database; `reached` as above. Throws UserError when there is none. */
export function databaseDestination(pair: Pair, reached: string | undefined): Pick<LedgerOptions, "address" | "port"> {
  const primaries = (pair.haproxy?.backends ?? []).filter((one) => one.role === "primary").map((one) => one.name);
  for (const vip of pair.vips) {
    const frontend = pair.haproxy?.frontends.find(
      ({ bind, backend }) => (bind.vip === vip.name || bind.vip === "*") && primaries.includes(backend),
    );
    if (frontend !== undefined)
      return { address: reached ?? vip.address.split("/")[0] ?? "", port: frontend.bind.port };
  }
  throw new UserError("no frontend on a VIP leads to the database: a drill cannot write to it as a client", [
    "give hotpair:pair.haproxy a frontend in tcp mode whose backend is the service mariadb",
  ]);
}

export interface RunningClient {
  readonly direct: readonly Request[];
  readonly persistent: readonly Request[];
  readonly reconnects: () => number;
  /** Why it ended before it was told to; undefined while it runs. */
  readonly died: () => string | undefined;
  stop(): Promise<void>;
}

/** `namespace`: one of the lab's; undefined: this machine itself. */
export function startClient(options: ProbeOptions, namespace: string | undefined): RunningClient {
  const histories = { direct: [] as Request[], persistent: [] as Request[] };
  let reconnects = 0;
  const running = startProcess([PROBE, JSON.stringify(options)], "", namespace, (text) => {
    const read = readProbeLine(text);
    if (read.kind === "request") histories[read.client].push(read.request);
    else if (read.kind === "reconnect") reconnects++;
    return read.kind === "ended" ? read.reason : undefined;
  });
  return { ...running, direct: histories.direct, persistent: histories.persistent, reconnects: () => reconnects };
}

export interface RunningLedger extends RunningClient {
  /** Resolves when every writer has been connected once and the schedule has begun. */
  ready(timeoutMs: number): Promise<void>;
}

/** The ledger's writes as a client's requests: what is acknowledged within its deadline succeeded. */
export function startLedger(options: LedgerOptions, namespace: string | undefined): RunningLedger {
  const direct: Request[] = [];
  let connections = 0;
  let started = false;
  const running = startProcess([LEDGER], `${JSON.stringify(options)}\n`, namespace, (text) => {
    const read = readLedgerLine(text);
    if (read.kind === "done") direct.push(requestOf(read.attempt));
    else if (read.kind === "connected") connections++;
    else if (read.kind === "started") started = true;
    return read.kind === "ended" ? read.reason : undefined;
  });
  return {
    ...running,
    direct,
    persistent: [],
    reconnects: () => Math.max(0, connections - options.writers),
    async ready(timeoutMs) {
      const deadline = Date.now() + timeoutMs;
      while (!started) {
        const died = running.died();
        if (died !== undefined) throw new Error(`the ledger's client ${died}`);
        if (Date.now() > deadline)
          throw new Error(
            `the ledger's client could not connect to ${options.address}:${options.port} with each of its ${options.writers} writers`,
          );
        await sleep(20);
      }
    },
  };
}

const requestOf = ({ at, startedAt, doneAt, outcome, server, error }: Attempt): Request => ({
  at,
  late: startedAt - at,
  took: doneAt - startedAt,
  ok: outcome === "acknowledged",
  status: 0,
  servedBy: server,
  balancedBy: "",
  error,
});

/** Starts node with these words; `onLine` answers why the process says that it ends, undefined for any other line. */
function startProcess(
  words: readonly string[],
  input: string,
  namespace: string | undefined,
  onLine: (text: string) => string | undefined,
): { readonly died: () => string | undefined; stop(): Promise<void> } {
  const argv = [process.execPath, ...words];
  const stdio = ["pipe", "pipe", "pipe"] as const;
  const environment = { PATH: process.env.PATH ?? "", NODE_NO_WARNINGS: "1" };
  const child: ChildProcess =
    namespace === undefined
      ? spawn(argv[0] ?? "", argv.slice(1), { stdio: [...stdio], env: environment })
      : runIn(namespace, argv, { stdio: [...stdio], env: environment });
  let stopping = false;
  let died: string | undefined;
  let complaint = "";
  let rest = "";
  const line = (text: string) => {
    const reason = onLine(text);
    if (reason !== undefined && !stopping) died = reason;
  };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const one of lines) line(one);
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-500);
  });
  const ended = new Promise<void>((resolve) => {
    child.on("error", (error) => {
      died ??= error.message;
      resolve();
    });
    child.on("close", (code, signal) => {
      if (!stopping) died ??= `ended with ${signal ?? code}${complaint ? `: ${complaint.trim()}` : ""}`;
      resolve();
    });
  });
  child.stdin?.on("error", () => undefined);
  if (input !== "") child.stdin?.write(input);
  return {
    died: () => died,
    async stop() {
      stopping = true;
      child.stdin?.end();
      const killer = setTimeout(() => child.kill("SIGKILL"), 2_000);
      await ended;
      clearTimeout(killer);
    },
  };
}
