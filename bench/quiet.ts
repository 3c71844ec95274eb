// False failovers: 30 minutes of CPU and disk load on both nodes at the default advertisement interval, no fault. Counts
// how often the VIP moved, from the nodes' audit files. Options: --minutes N (default 30).

import { parseArgs } from "node:util";
import type { NodeStatus } from "../infra/model/status.ts";
import { run as runOn } from "../infra/ssh/run.ts";
import { hotpair, withPair } from "./lab-pair.ts";

const LOAD = `for core in $(seq "$(nproc)"); do systemd-run --quiet --unit=bench-cpu-$core sh -c 'while :; do :; done'; done
systemd-run --quiet --unit=bench-disk sh -c 'while :; do dd if=/dev/zero of=/var/tmp/bench bs=1M count=256 conv=fsync 2>/dev/null; done'`;
const STOP = "systemctl stop 'bench-*'; rm -f /var/tmp/bench";

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({ args: [...args], options: { minutes: { type: "string", default: "30" } } });
  const minutes = Number(values.minutes);
  return withPair(async (lab) => {
    const hosts = [lab.hosts["node-a"], lab.hosts["node-b"]];
    const before = changes();
    const since = Date.now();
    await Promise.all(hosts.map((host) => runOn(host.ssh, LOAD, { timeoutMs: 30_000 })));
    for (let minute = 1; minute <= minutes; minute++) {
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      console.log(`minute ${minute} of ${minutes}: ${changes() - before} changes of state`);
    }
    const moved = changes() - before;
    await Promise.all(hosts.map((host) => runOn(host.ssh, STOP, { timeoutMs: 30_000 })));
    console.log(`${moved} changes of state in ${minutes} minutes of load`);
    return { minutes, stateChanges: moved, loadedForMs: Date.now() - since };
  });
}

/** State changes that both nodes have in their audit files so far. */
function changes(): number {
  const { nodes } = JSON.parse(hotpair("status", "-s", "lab", "--json").output) as { nodes: readonly NodeStatus[] };
  return nodes.reduce((sum, node) => sum + node.lastChanges.length, 0);
}
