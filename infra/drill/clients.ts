// Starts the drill's clients as processes of their own and gathers what they write. What a client does is probe.ts; what
// its history means is history.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { runIn } from "../lab/lab.ts";
import { UserError } from "../model/errors.ts";
import type { Pair, Vip } from "../model/pair.ts";
import { type ProbeOptions, type Request, readProbeLine } from "./request.ts";

const PROBE = join(import.meta.dirname, "probe.ts");

/** Where the requests go: the first frontend that answers on the VIP, or the service behind it when there is no HAProxy. */
export type Destination = Pick<ProbeOptions, "scheme" | "address" | "port" | "path">;

/** Throws UserError when nothing of the pair listens on the VIP. */
export function destinationOf(pair: Pair, vip: Vip): Destination {
  const address = vip.address.split("/")[0] ?? "";
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
  const argv = [process.execPath, PROBE, JSON.stringify(options)];
  const stdio = ["pipe", "pipe", "pipe"] as const;
  const environment = { PATH: process.env.PATH ?? "", NODE_NO_WARNINGS: "1" };
  const child: ChildProcess =
    namespace === undefined
      ? spawn(argv[0] ?? "", argv.slice(1), { stdio: [...stdio], env: environment })
      : runIn(namespace, argv, { stdio: [...stdio], env: environment });
  const histories = { direct: [] as Request[], persistent: [] as Request[] };
  let reconnects = 0;
  let stopping = false;
  let died: string | undefined;
  let complaint = "";
  let rest = "";
  const line = (text: string) => {
    const read = readProbeLine(text);
    if (read.kind === "request") histories[read.client].push(read.request);
    else if (read.kind === "reconnect") reconnects++;
    else if (read.kind === "ended" && !stopping) died = read.reason;
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
  return {
    direct: histories.direct,
    persistent: histories.persistent,
    reconnects: () => reconnects,
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
