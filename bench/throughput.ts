// HAProxy through the pair's VIP against the same HAProxy, configuration and backend without the pair's address: requests
// per second and p99, alternating rounds in one run on the same hosts. Also one node's backend against both.
// Options: --rounds N (default 5), --seconds N per round (default 10).

import { parseArgs } from "node:util";
import type { Lab } from "../infra/lab/lab.ts";
import { run as runOn } from "../infra/ssh/run.ts";
import { median, requireProgram, timed, VIP, withPair } from "./lab-pair.ts";

interface Load {
  readonly requestsPerSecond: number;
  readonly p99Ms: number;
}

const BARE_PORT = 8088;

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "10" } },
  });
  requireProgram("wrk", "wrk");
  return withPair(async (lab) => {
    const active = lab.hosts["node-a"];
    await startBare(lab);
    const targets = {
      pair: `http://${VIP}/`,
      bare: `http://${active.address.public}:${BARE_PORT}/`,
      oneBackend: `http://${active.address.public}:${BARE_PORT + 1}/`,
    };
    const rounds: Record<keyof typeof targets, Load[]> = { pair: [], bare: [], oneBackend: [] };
    for (let round = 1; round <= Number(values.rounds); round++) {
      for (const [name, url] of Object.entries(targets) as [keyof typeof targets, string][]) {
        const load = measure(lab, url, Number(values.seconds));
        rounds[name].push(load);
        console.log(
          `round ${round}, ${name}: ${load.requestsPerSecond.toFixed(0)} requests/s, p99 ${load.p99Ms.toFixed(2)} ms`,
        );
      }
    }
    const middle = (loads: readonly Load[]): Load => ({
      requestsPerSecond: median(loads.map((load) => load.requestsPerSecond)),
      p99Ms: median(loads.map((load) => load.p99Ms)),
    });
    const [pair, bare, oneBackend] = [middle(rounds.pair), middle(rounds.bare), middle(rounds.oneBackend)];
    const ratio = {
      requests: pair.requestsPerSecond / bare.requestsPerSecond,
      p99: pair.p99Ms / bare.p99Ms,
      twoBackendsAgainstOne: bare.requestsPerSecond / oneBackend.requestsPerSecond,
    };
    console.log(`pair against bare: ${ratio.requests.toFixed(3)} × the requests, ${ratio.p99.toFixed(3)} × the p99`);
    return { pair, bare, oneBackend, ratio, rounds };
  });
}

/** The pair's own configuration on a port of the node's address: same backend section, no VIP involved. */
async function startBare(lab: Lab): Promise<void> {
  const script = `set -e
sed -e 's/^\\( *bind \\).*:80.*/\\1:${BARE_PORT}/' -e '/stats/d' -e '/expose-fd/d' /etc/haproxy/haproxy.cfg > /run/bare.cfg
sed -e 's/:${BARE_PORT}/:${BARE_PORT + 1}/' -e '/^ *server node-b /d' /run/bare.cfg > /run/one.cfg
for name in bare one; do systemd-run --quiet --unit=bench-$name haproxy -f /run/$name.cfg; done
sleep 3`;
  const { code, stderr } = await runOn(lab.hosts["node-a"].ssh, script, { timeoutMs: 30_000 });
  if (code !== 0) throw new Error(`the bare HAProxy did not start: ${stderr}`);
}

function measure(lab: Lab, url: string, seconds: number): Load {
  const { output } = timed("nsenter", [
    `--net=/run/netns/${lab.namespaces.client}`,
    "--",
    "wrk",
    "--latency",
    "-t1",
    "-c32",
    `-d${seconds}s`,
    url,
  ]);
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(output)?.[1];
  const p99 = /99%\s+([\d.]+)(us|ms|s)/.exec(output);
  if (rate === undefined || p99 === null || /Non-2xx/.test(output)) throw new Error(`wrk answered:\n${output}`);
  const scale = { us: 0.001, ms: 1, s: 1_000 }[p99[2] as "us" | "ms" | "s"];
  return { requestsPerSecond: Number(rate), p99Ms: Number(p99[1]) * scale };
}
