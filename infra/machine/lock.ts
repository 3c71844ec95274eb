// Mutual exclusion between hotpair commands on this machine. The lock is a bound abstract socket: the kernel gives it
// back when its holder ends, however it ends, so there is no stale lock to recognise. What the servers lock among
// themselves does not belong here.

import { createHash } from "node:crypto";
import { createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../model/errors.ts";

export interface LockOptions {
  /** Milliseconds to wait for another holder, then a UserError; without it, for as long as that one runs. */
  timeoutMs?: number;
  /** Called once, when somebody else holds it. */
  onWait?: () => void;
}

/** Runs `work` while no other process of this machine holds the lock of this name, which an error tells the user. */
export async function withLock<T>(name: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const { timeoutMs = Number.POSITIVE_INFINITY, onWait } = options;
  const deadline = Date.now() + timeoutMs;
  let held = await tryLock(name);
  if (!held) onWait?.();
  while (!held) {
    if (Date.now() > deadline) {
      throw new UserError(
        `another hotpair command has been working on ${name} for ${Math.round(timeoutMs / 1000)} s; let it finish or end it, then try again`,
      );
    }
    await sleep(100);
    held = await tryLock(name);
  }
  try {
    return await work();
  } finally {
    held.close();
  }
}

function tryLock(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(`\0hotpair/${createHash("sha256").update(name).digest("hex").slice(0, 32)}`, () => resolve(server));
    server.unref();
  });
}
