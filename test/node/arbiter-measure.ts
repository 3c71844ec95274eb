// Measures what docs/arbitration.md states: each fault many times on real hosts, as a table of who held the VIP and what
// a client saw. Not a test: nothing is judged here.
//
//   node test/node/arbiter-measure.ts [--runs N] [--advert MS] [FAULT…]

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { clearDrops, dropTraffic, powerCut, setLink } from "../../infra/lab/faults.ts";
import { labDown, labUp, type Network, type NodeName } from "../../infra/lab/lab.ts";
import { ms } from "../../infra/model/duration.ts";
import { masterDownInterval } from "../../infra/model/vrrp.ts";
import { HOSTS, TestPair, type Watch, Watcher } from "./arbiter-pair.ts";

const LAB = "arm";
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "10" }, advert: { type: "string", default: "100" } },
});
const runs = Number(values.runs);
const advert = Number(values.advert);

const lab = await labUp({ name: LAB, image: "ready" });
const pair = new TestPair(lab, (before) => ({
  ...before,
  vrrp: { ...before.vrrp, advertInterval: ms(advert) },
  arbiter: {
    ...before.arbiter,
    silence: ms(1.5 * advert),
    beaconInterval: ms(Math.min(20, advert / 5)),
    evidence: ms(Math.max(200, 2 * advert)),
  },
}));

const cut = async (networks: readonly Network[], one: NodeName, two: NodeName) => {
  for (const network of networks)
    await Promise.all([dropTraffic(lab, one, two, network), dropTraffic(lab, two, one, network)]);
};
const lose = async (host: NodeName, watcher: Watcher) => watcher.lost(host, (await powerCut(lab, host)).latest);
const VRRP = "$(cat /run/vrrp.pid)";
const KEEPALIVED = "$(cat /run/keepalived.pid)";
const ARBITER = "$(systemctl show -p MainPID --value hotpair-arbiter)";

type Fault = (active: NodeName, standby: NodeName, watcher: Watcher) => Promise<unknown>;
const faults: Readonly<Record<string, { readonly title: string; readonly fault: Fault; readonly forMs: number }>> = {
  power: { title: "power cut of the active node", fault: (a, _, watcher) => lose(a, watcher), forMs: 1_000 },
  "heartbeat-power": {
    title: "heartbeat cut, power cut 1 s later",
    fault: async (a, b, watcher) => {
      await cut(["heartbeat"], a, b);
      await sleep(1_000);
      await lose(a, watcher);
    },
    forMs: 1_200,
  },
  heartbeat: { title: "heartbeat cut for 1.5 s, and healed", fault: healed(["heartbeat"]), forMs: 500 },
  "heartbeat-storage": {
    title: "heartbeat and storage cut for 1.5 s, and healed",
    fault: healed(["heartbeat", "storage"]),
    forMs: 500,
  },
  "heartbeat-out": {
    title: "heartbeat lost from the active node only",
    fault: async (a, b) => {
      await dropTraffic(lab, a, b, "heartbeat");
      await sleep(1_500);
      await clearDrops(lab);
    },
    forMs: 500,
  },
  "heartbeat-link": {
    title: "heartbeat cable pulled and plugged",
    fault: async (a) => {
      await setLink(lab, a, "heartbeat", false);
      await sleep(1_000);
      await setLink(lab, a, "heartbeat", true);
    },
    forMs: 500,
  },
  "public-link": {
    title: "public link of the active node",
    fault: (a) => setLink(lab, a, "public", false),
    forMs: 700,
  },
  switch: { title: "planned switch", fault: (a) => pair.arbiter(a, "switch"), forMs: 400 },
  stop: { title: "keepalived stopped", fault: (a) => pair.sh(a, "systemctl stop keepalived"), forMs: 500 },
  kill: {
    title: "keepalived killed (all of it)",
    fault: (a) => pair.sh(a, `kill -9 ${KEEPALIVED} ${VRRP}`),
    forMs: 1_000,
  },
  hang: { title: "keepalived hung", fault: (a) => pair.sh(a, `kill -STOP ${KEEPALIVED} ${VRRP}`), forMs: 1_800 },
  "arbiter-kill": {
    title: "arbiter killed on the active node",
    fault: (a) => pair.sh(a, `kill -9 ${ARBITER}`),
    forMs: 700,
  },
  "arbiter-hang": {
    title: "arbiter hung on the standby",
    fault: (_, b) => pair.sh(b, `kill -STOP ${ARBITER}`),
    forMs: 1_200,
  },
};

function healed(networks: readonly Network[]): Fault {
  return async (a, b) => {
    await cut(networks, a, b);
    await sleep(1_500);
    await clearDrops(lab);
  };
}

const sorted = (numbers: readonly number[]) => numbers.toSorted((one, other) => one - other);
const median = (numbers: readonly number[]) => sorted(numbers)[Math.floor(numbers.length / 2)] ?? 0;
const both = (numbers: readonly number[]) => `${median(numbers).toFixed(1)} / ${Math.max(...numbers).toFixed(1)}`;

try {
  await clearDrops(lab);
  await pair.deploy();
  console.log(`advert ${advert} ms, ${runs} runs each\n`);
  console.log(
    "| fault | runs | moved | two owners, max ms | no owner, median / max ms | client gap, median / max ms |",
  );
  console.log("|---|---|---|---|---|---|");
  for (const name of positionals.length > 0 ? positionals : Object.keys(faults)) {
    const fault = faults[name];
    if (fault === undefined) throw new Error(`no fault ${name}; there are: ${Object.keys(faults).join(", ")}`);
    const results: (Watch & { moved: boolean })[] = [];
    for (let run = 0; run < runs; run++) {
      const { active, standby } = await pair.settled();
      // At any phase between two adverts.
      await sleep(Math.random() * advert);
      const watcher = await Watcher.start(pair);
      await fault.fault(active, standby, watcher);
      await sleep(fault.forMs);
      const owners = await pair.owners();
      results.push({ ...(await watcher.stop()), moved: owners.join() !== active });
      await pair.repair();
    }
    const moved = results.filter((result) => result.moved).length;
    const two = Math.max(...results.map(({ twoOwnersMs }) => twoOwnersMs));
    console.log(
      `| ${fault.title} | ${runs} | ${moved} | ${two.toFixed(1)} | ${both(results.map(({ noOwnerMs }) => noOwnerMs))} | ${both(results.map(({ gapMs }) => gapMs))} |`,
    );
  }
  const closed = await Promise.all(
    HOSTS.map((host) => pair.sh(host, "journalctl -u hotpair-arbiter -o cat --no-pager | grep 'VRRP is blind' || :")),
  );
  const ages = closed.flatMap((text) =>
    [...text.matchAll(/last advert of the peer (\d+) ms ago/g)].map(([, age]) => Number(age)),
  );
  // The first decision after a start of the arbiter has no advert to count from.
  const counted = ages.filter((age) => age < 4 * advert);
  if (counted.length > 0)
    console.log(
      `\ngate closed ${counted.length} times, after the last advert: median / max ${both(counted)} ms; VRRP's timer: ${masterDownInterval(ms(advert), pair.pair.vrrp.priority).toFixed(1)} ms`,
    );
  const used = async (host: NodeName) => {
    const [user = 0, system = 0] = (await pair.sh(host, `cut -d ' ' -f 14,15 /proc/${ARBITER}/stat`))
      .split(" ")
      .map(Number);
    return user + system;
  };
  for (const host of HOSTS) {
    const before = await used(host);
    await sleep(10_000);
    console.log(`${host}: the arbiter uses ${(((await used(host)) - before) / 10).toFixed(1)} % of a core`);
  }
} finally {
  await labDown(LAB);
}
