// False failovers: 30 minutes of CPU and disk load on both nodes at the default advertisement interval, no fault. Counts
// how often the VIP moved, from the nodes' audit files. Options: --minutes N (default 30).

import { parseArgs } from "node:util";
import { pairUp } from "../infra/cli/lab-pair.ts";
import { consoleRun, type Lab, labDown } from "../infra/lab/lab.ts";
import { nodeNames } from "../infra/lab/layout.ts";

const LAB = "bench-quiet";

const LOAD = `for core in $(seq "$(nproc)"); do systemd-run --quiet --unit=bench-cpu-$core sh -c 'while :; do :; done'; done
systemd-run --quiet --unit=bench-disk sh -c 'while :; do dd if=/dev/zero of=/var/tmp/bench bs=1M count=256 conv=fsync 2>/dev/null; done'`;
const STOP = "systemctl stop 'bench-*'; rm -f /var/tmp/bench";

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({ args: [...args], options: { minutes: { type: "string", default: "30" } } });
  const minutes = Number(values.minutes);
  try {
    const { lab } = (await pairUp(LAB)).place;
    if (lab === undefined) throw new Error(`the lab ${LAB} came up and is not there`);
    const before = await changes(lab);
    const since = Date.now();
    await Promise.all(nodeNames.map((host) => consoleRun(lab, host, ["sh", "-c", LOAD])));
    for (let minute = 1; minute <= minutes; minute++) {
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      console.log(`minute ${minute} of ${minutes}: ${(await changes(lab)) - before} changes of state`);
    }
    const moved = (await changes(lab)) - before;
    await Promise.all(nodeNames.map((host) => consoleRun(lab, host, ["sh", "-c", STOP])));
    console.log(`${moved} changes of state in ${minutes} minutes of load`);
    return { minutes, stateChanges: moved, loadedForMs: Date.now() - since };
  } finally {
    await labDown(LAB);
  }
}

/**
 * State changes that the nodes have written into their audit files so far. Read on their consoles: an SSH login that takes
 * long on a loaded machine is no failover.
 */
async function changes(lab: Lab): Promise<number> {
  const counts = nodeNames.map((host) => consoleRun(lab, host, ["sh", "-c", "wc -l </var/log/hotpair/audit.log"]));
  return (await Promise.all(counts)).reduce((sum, count) => sum + Number(count), 0);
}
