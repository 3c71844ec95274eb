// Mutual exclusion between hotpair commands on this machine. The lock is a bound abstract socket: the kernel gives it
// back when its holder ends, however it ends, so there is no stale lock to recognise.

import { createHash } from "node:crypto";
import { createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../model/errors.ts";

/** Runs `work` while no other process of this machine holds the lock `name`; waits for it up to `timeoutMs`. */
export async function withLock<T>(name: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let held = await tryLock(name);
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
