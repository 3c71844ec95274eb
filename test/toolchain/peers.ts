// What else the recorded calls talk to besides a healthy sshd: servers that are silent, rude or gone, and an SSH agent.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Sshd } from "./sshd.ts";

export interface Peers {
  /** Port of the recording to port here. */
  ports: ReadonlyMap<number, number>;
  agentSocket: string;
  stop(): Promise<void>;
}

export async function startPeers(sshd: Sshd): Promise<Peers> {
  const directory = mkdtempSync(join(tmpdir(), "hotpair-peers-"));
  const silent = await listen(() => {});
  const notSsh = await listen((socket) => socket.end("HTTP/1.0 400 Bad Request\r\n\r\n"));
  const closes = await listen((socket) => {
    // Not before the client knows that it is connected: this is no refused connection.
    setTimeout(() => socket.resetAndDestroy(), 30);
  });
  const full = await listenFull();

  const agentSocket = join(directory, "agent.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", agentSocket], { stdio: "ignore" });
  const environment = { ...process.env, SSH_AUTH_SOCK: agentSocket };
  for (let tries = 0; ; tries++) {
    try {
      execFileSync("ssh-add", ["-q", "-"], { input: sshd.keys.authorized, env: environment, stdio: "pipe" });
      break;
    } catch (error) {
      if (tries > 50) throw error;
      await sleep(50);
    }
  }

  return {
    ports: new Map([
      [2201, sshd.port],
      [2202, sshd.strictPort],
      [2290, silent.port],
      [2291, notSsh.port],
      [2292, closes.port],
      [2293, full.port],
    ]),
    agentSocket,
    stop: async () => {
      for (const peer of [silent, notSsh, closes]) peer.stop();
      full.stop();
      await end(agent);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function listen(serve: (socket: Socket) => void): Promise<{ port: number; stop: () => void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: portOf(server),
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/**
 * A port where the kernel drops every SYN: its queue is full, and the stopped process behind it accepts nothing. The
 * same as a filtered port, without touching this machine's packet filter.
 */
async function listenFull(): Promise<{ port: number; stop: () => void }> {
  const script =
    'const s = require("net").createServer(); s.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, ' +
    "() => console.log(s.address().port));";
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "ignore"] });
  const port = await new Promise<number>((resolve) =>
    child.stdout.once("data", (data: Buffer) => resolve(Number(data.toString()))),
  );
  child.kill("SIGSTOP");
  const fillers = [0, 1, 2, 3].map(() => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    return socket;
  });
  await sleep(200);
  return {
    port,
    stop: () => {
      for (const socket of fillers) socket.destroy();
      child.kill("SIGKILL");
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP address");
  return address.port;
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  if (child.exitCode === null && child.kill("SIGTERM")) await ended;
}
