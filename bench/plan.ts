// How long it takes, and how much memory, to read, check, estimate, plan and render many pairs. Each size runs in a
// process of its own, so that its peak memory is its own; the count is linear when time per pair stays level.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readStack } from "../infra/config/index.ts";
import { makeBundle } from "../infra/plan/bundle.ts";
import { planPair } from "../infra/plan/plan.ts";
import { collectFindings } from "../infra/services/findings.ts";

const SIZES = [1, 10, 100, 1_000];
const STACK = join(import.meta.dirname, "../stacks/Pulumi.lab.yaml");

interface Measured {
  readonly pairs: number;
  readonly milliseconds: number;
  readonly millisecondsPerPair: number;
  readonly peakMemoryBytes: number;
  readonly bundleBytes: number;
}

export async function run(): Promise<readonly Measured[]> {
  const measured = SIZES.map((pairs) => {
    const output = execFileSync(process.execPath, [import.meta.filename, String(pairs)], { encoding: "utf8" });
    return JSON.parse(output) as Measured;
  });
  for (const { pairs, milliseconds, millisecondsPerPair, peakMemoryBytes } of measured) {
    const memory = (peakMemoryBytes / 1024 / 1024).toFixed(0);
    console.log(
      `${pairs} pairs: ${milliseconds.toFixed(0)} ms (${millisecondsPerPair.toFixed(2)} ms each), peak ${memory} MiB`,
    );
  }
  return measured;
}

/** What `pulumi up` does before it touches a server, `pairs` times with different addresses and names. */
function plan(pairs: number): Measured {
  const text = readFileSync(STACK, "utf8");
  const started = performance.now();
  let bundleBytes = 0;
  for (let index = 0; index < pairs; index++) {
    const { pair } = readStack(textOfPair(text, index), "bench", "bench");
    collectFindings(pair);
    for (const node of planPair(pair)) bundleBytes += makeBundle(node, () => "0".repeat(64)).length;
  }
  const milliseconds = performance.now() - started;
  return {
    pairs,
    milliseconds,
    millisecondsPerPair: milliseconds / pairs,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    bundleBytes,
  };
}

const textOfPair = (text: string, index: number): string =>
  text
    .replaceAll("198.18.", `10.${Math.floor(index / 64)}.`)
    .replaceAll(
      /(10\.\d+)\.([012])\./g,
      (_match, start: string, network: string) => `${start}.${(index % 64) * 4 + Number(network)}.`,
    )
    .replace("routerId: 51", `routerId: ${(index % 255) + 1}`);

if (process.argv[1] === import.meta.filename) console.log(JSON.stringify(plan(Number(process.argv[2]))));
