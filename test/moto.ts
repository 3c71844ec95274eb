// moto, a stand-in for AWS that this project has not written, in a Python environment of its own (scripts/setup.mjs).

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cacheDirectory } from "../infra/machine/cache.ts";

/** The interpreter that has moto, by the same rule as in scripts/setup.mjs. */
export function motoPython(): string {
  const requirements = readFileSync(join(import.meta.dirname, "node/moto-requirements.txt"));
  const digest = createHash("sha256").update(requirements).digest("hex").slice(0, 12);
  const found = join(cacheDirectory(), `python-${digest}`);
  if (!existsSync(join(found, "complete"))) throw new Error("moto is not in hotpair's cache: node scripts/setup.mjs");
  return join(found, "bin", "python");
}

/** Ends with its standard input, and so with whoever started it. */
const SERVER = `
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
`;

export interface Moto {
  readonly url: string;
  stop(): void;
}

export async function startMoto(): Promise<Moto> {
  const child: ChildProcess = spawn(motoPython(), ["-c", SERVER], { stdio: ["pipe", "pipe", "inherit"] });
  const { stdout } = child;
  if (stdout === null) throw new Error("moto has no standard output");
  const port = await new Promise<string>((resolve, reject) => {
    createInterface(stdout).once("line", resolve);
    child.once("close", (code) => reject(new Error(`moto ended with ${code}`)));
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => child.stdin?.end() };
}
