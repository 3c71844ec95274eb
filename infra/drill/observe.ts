// Runs one of the drill's observer programs on a server for as long as the drill lasts: started anew whenever its
// connection breaks or the server boots. What a program says is the business of whoever asked for it.

import { setTimeout as sleep } from "node:timers/promises";
import type { NodeId } from "../model/pair.ts";
import { type Place, sharesClock, stream } from "./host.ts";

export interface ObserverEvents {
  /** One line and the Unix milliseconds at which it was read; answers whether it is one of the program's own. */
  line(text: string, now: number): boolean;
  connected?(): void;
  /** The program ended although nobody stopped it: the connection broke, or the server went down. */
  lost(): void;
}

export interface Observer {
  /** Gives the program a line; false when it does not run right now. */
  say(line: string): boolean;
  /** Seconds at most until everything that happened before the call has been read, on a network that works. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** `program` is Python text that says something at least every 200 ms and ends with its standard input. */
export function observe(
  place: Place,
  node: NodeId,
  program: string,
  words: readonly string[],
  on: ObserverEvents,
): Observer {
  let connected = false;
  let lastLine = 0;
  let stopped = false;
  let child: Awaited<ReturnType<typeof stream>>;
  let lastPid: number | undefined;
  const size = Buffer.byteLength(program);
  // Standard input carries the program first and lines for it after it, so it must not be read ahead.
  const starter = `import os\ns=b""\nwhile len(s)<${size}:\n c=os.read(0,${size}-len(s))\n if not c: raise SystemExit\n s+=c\nexec(s)`;
  const argv = ["/usr/bin/env", "python3", "-u", "-c", starter, ...words];

  const session = async () => {
    // A container that goes down would wait for a new visitor to leave: one observer per boot. A machine boots by itself, too.
    const labName = place.hosts[node].labName;
    const host = labName && place.lab?.hosts[labName];
    if (host !== undefined && (host.pid === undefined || (host.pid === lastPid && host.kind === "container"))) return;
    lastPid = host?.pid;
    child = await stream(place, node, argv).catch(() => undefined);
    if (child === undefined || stopped) return void child?.stdin?.end();
    let rest = "";
    child.stdin?.on("error", () => undefined);
    child.stdin?.write(program);
    child.stdout?.setEncoding("utf8").on("data", (data: string) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop() ?? "";
      const now = Date.now();
      for (const one of lines) if (on.line(one, now)) lastLine = now;
    });
    connected = true;
    on.connected?.();
    await new Promise<void>((resolve) => {
      child?.on("error", () => resolve());
      child?.on("close", () => resolve());
    });
    connected = false;
    if (!stopped) on.lost();
  };
  const loop = (async () => {
    while (!stopped) {
      await session();
      if (!stopped) await sleep(sharesClock(place) ? 100 : 500);
    }
  })();

  return {
    say(line) {
      if (!connected || child?.stdin === null || child?.stdin === undefined) return false;
      child.stdin.write(`${line}\n`);
      return true;
    },
    async settle() {
      const asked = Date.now();
      // Something is said every 200 ms: a line that came later than the question follows all that happened before it.
      while (connected && lastLine < asked + 250 && Date.now() < asked + 10_000) await sleep(20);
    },
    async stop() {
      stopped = true;
      child?.stdin?.end();
      const killer = setTimeout(() => child?.kill("SIGKILL"), 2_000);
      await loop;
      clearTimeout(killer);
    },
  };
}
