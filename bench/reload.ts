// Requests lost while HAProxy reloads every second on the active node: a fixed number of requests, each on a new
// connection, none repeated by the client. Options: --requests N (default 1,000,000).

import { join } from "node:path";
import { parseArgs } from "node:util";
import { runIn } from "../infra/lab/lab.ts";
import { run as runOn } from "../infra/ssh/run.ts";
import { requireProgram, VIP, withPair } from "./lab-pair.ts";

interface Counted {
  readonly requests: number;
  readonly failed: number;
  readonly errors: Readonly<Record<string, number>>;
}

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({ args: [...args], options: { requests: { type: "string", default: "1000000" } } });
  requireProgram("nsenter", "util-linux");
  return withPair(async (lab) => {
    let reloads = 0;
    let ended = false;
    const reloading = (async () => {
      while (!ended) {
        const next = performance.now() + 1_000;
        const { code, stderr } = await runOn(lab.hosts["node-a"].ssh, "systemctl reload haproxy", {
          timeoutMs: 20_000,
        });
        if (code !== 0) throw new Error(`reload ${reloads + 1} failed: ${stderr}`);
        reloads += 1;
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
      }
    })();
    const counted = await client(lab.namespaces.client, Number(values.requests)).finally(() => {
      ended = true;
    });
    await reloading;
    console.log(`${counted.failed} of ${counted.requests} requests failed through ${reloads} reloads`);
    return { ...counted, reloads };
  });
}

function client(namespace: string, requests: number): Promise<Counted> {
  return new Promise((resolve, reject) => {
    const program = join(import.meta.dirname, "reload-client.ts");
    const child = runIn(namespace, [process.execPath, program, VIP, "80", String(requests)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    child.on("exit", (code) =>
      code === 0 ? resolve(JSON.parse(output) as Counted) : reject(new Error(`the client ended with ${code}`)),
    );
  });
}
