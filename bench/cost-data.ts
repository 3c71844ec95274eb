// What it costs to lose nothing: commits of one writer and of sixteen to a single server, to the same server beside a pair
// at rest (three etcd members, lease, arbiters, watches), and to the pair itself, semi-synchronous, directly and through
// the VIP. Also what each of hotpair's own processes takes of a core while nobody writes. All hosts share this machine's
// cores, so the pair pays here for both servers; on two machines each pays for itself.
// Options: --rounds N (default 3), --seconds N per round (default 10).

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { dataPairUp } from "../infra/cli/lab-pair.ts";
import { databaseDestination } from "../infra/drill/clients.ts";
import { consoleRun, type HostName, type Lab, labDown, labUp } from "../infra/lab/lab.ts";
import { median } from "./lab-pair.ts";
import type { WriteOptions, Writes } from "./write-client.ts";

const LAB = "bench-cost";
const DATABASE = "bench";
const SINGLE_PORT = 3316;
const LOADS = { idle: 1, loaded: 16 } as const;
type Load = keyof typeof LOADS;
const REST_SECONDS = 30;

interface Target {
  readonly address: string;
  readonly port: number;
}

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "3" }, seconds: { type: "string", default: "10" } },
  });
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  const password = randomBytes(12).toString("hex");
  const writing = (lab: Lab, name: string, target: Target) =>
    measured(lab, name, { ...target, user: DATABASE, password, database: DATABASE, seconds }, rounds);
  try {
    const { place } = await dataPairUp(LAB);
    const { lab, pair } = place;
    if (lab === undefined) throw new Error(`the lab ${LAB} came up and is not there`);
    const node = lab.hosts["node-a"].address.public;
    const settings = await consoleRun(lab, "node-a", ["cat", "/etc/hotpair/mariadb/my.cnf"]);
    const atRest = await coreShares(lab);
    await startSingle(lab, settings, password);
    const beside = await writing(lab, "single server beside a pair at rest", { address: node, port: SINGLE_PORT });
    await consoleRun(lab, "node-a", ["systemctl", "stop", "bench-single"]);
    await account(lab, "/run/mysqld/mysqld.sock", password);
    const port = pair.mariadb?.port ?? 3306;
    const direct = await writing(lab, "pair, directly", { address: node, port });
    const throughVip = await writing(lab, "pair, through the VIP", databaseDestination(pair, undefined));
    // The last one alone: nothing of hotpair runs on the hosts.
    await labDown(LAB);
    const bare = await labUp({ name: LAB, image: "ready", witness: true });
    await startSingle(bare, settings, password);
    const single = await writing(bare, "single server", {
      address: bare.hosts["node-a"].address.public,
      port: SINGLE_PORT,
    });
    const ratios = {
      authority: ratio(beside, single),
      semiSync: ratio(direct, beside),
      pair: ratio(throughVip, single),
    };
    for (const [name, of] of Object.entries(ratios))
      console.log(
        `${name}: one writer ${of.idle.p50.toFixed(2)} × the time of a commit; sixteen ${of.loaded.commits.toFixed(2)} × the commits, ${of.loaded.p99.toFixed(2)} × the p99`,
      );
    return { ratios, single, beside, direct, throughVip, atRest };
  } finally {
    await labDown(LAB);
  }
}

type Measured = Readonly<Record<Load, Writes>>;

function ratio(one: Measured, other: Measured): Record<Load, { commits: number; p50: number; p99: number }> {
  const of = (load: Load) => ({
    commits: one[load].perSecond / other[load].perSecond,
    p50: one[load].p50Ms / other[load].p50Ms,
    p99: one[load].p99Ms / other[load].p99Ms,
  });
  return { idle: of("idle"), loaded: of("loaded") };
}

async function measured(
  lab: Lab,
  name: string,
  options: Omit<WriteOptions, "writers">,
  rounds: number,
): Promise<Measured> {
  const all: Record<Load, Writes[]> = { idle: [], loaded: [] };
  for (let round = 1; round <= rounds; round++)
    for (const load of Object.keys(LOADS) as Load[]) {
      const writes = await write(lab, { ...options, writers: LOADS[load] });
      all[load].push(writes);
      console.log(
        `${name}, round ${round}, ${LOADS[load]} writers: ${writes.perSecond.toFixed(0)} commits/s, p50 ${writes.p50Ms.toFixed(2)}, p99 ${writes.p99Ms.toFixed(2)} ms`,
      );
    }
  const middle = (writes: readonly Writes[]): Writes => ({
    perSecond: median(writes.map((one) => one.perSecond)),
    p50Ms: median(writes.map((one) => one.p50Ms)),
    p99Ms: median(writes.map((one) => one.p99Ms)),
  });
  return { idle: middle(all.idle), loaded: middle(all.loaded) };
}

async function write(lab: Lab, options: WriteOptions): Promise<Writes> {
  const client = join(import.meta.dirname, "write-client.ts");
  const words = [`--net=/run/netns/${lab.namespaces.client}`, "--", process.execPath, client];
  const child = spawn("nsenter", words, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify(options));
  const said = await text(child.stdout);
  if (said === "") throw new Error("the writers ended without a result");
  return JSON.parse(said) as Writes;
}

/** A server of its own on node-a with the pair's settings for durability and memory: no replica, no TLS, it takes writes. */
async function startSingle(lab: Lab, settings: string, password: string): Promise<void> {
  const own = settings
    .replaceAll(/^(bind_address|ssl_\w+|rpl_\w+|read_only|skip_slave_start|!includedir).*$/gm, "")
    .replace(/^datadir = .*$/m, "datadir = /var/lib/bench")
    .replace(/^socket = .*$/m, "socket = /run/bench/mysqld.sock")
    .replace(/^pid_file = .*$/m, "pid_file = /run/bench/mysqld.pid")
    .replace(/^port = .*$/m, `port = ${SINGLE_PORT}`);
  const script = `set -e
install -d -o mysql -g mysql /var/lib/bench /run/bench
cat > /run/bench/my.cnf
mariadb-install-db --defaults-file=/run/bench/my.cnf --user=mysql --skip-test-db >/dev/null
systemd-run --quiet --unit=bench-single mariadbd --defaults-file=/run/bench/my.cnf --user=mysql
tries=0
until mariadb --socket=/run/bench/mysqld.sock -e 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 100 ]; sleep 0.2
done`;
  await consoleRun(lab, "node-a", ["sh", "-c", script], own);
  await account(lab, "/run/bench/mysqld.sock", password);
}

async function account(lab: Lab, socket: string, password: string): Promise<void> {
  const statements = `CREATE DATABASE IF NOT EXISTS ${DATABASE};
CREATE OR REPLACE USER ${DATABASE}@'%' IDENTIFIED BY '${password}';
GRANT INSERT ON ${DATABASE}.* TO ${DATABASE}@'%';
CREATE TABLE IF NOT EXISTS ${DATABASE}.writes (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT, number INT);`;
  await consoleRun(lab, "node-a", ["mariadb", `--socket=${socket}`], statements);
}

/** What the units of hotpair take of a core while nobody writes, per host, from systemd's own account of CPU time. */
async function coreShares(lab: Lab): Promise<Record<string, Record<string, number>>> {
  const hosts = ["node-a", "node-b", "witness"] as const;
  const before = await Promise.all(hosts.map((host) => cpuTimes(lab, host)));
  await sleep(REST_SECONDS * 1_000);
  const after = await Promise.all(hosts.map((host) => cpuTimes(lab, host)));
  const shares = hosts.map((host, index) => {
    const used = Object.entries(after[index] ?? {}).map(([unit, time]) => {
      const share = (time - (before[index]?.[unit] ?? time)) / 1e9 / REST_SECONDS;
      return [unit, Math.round(share * 1e4) / 1e4] as const;
    });
    return [host, Object.fromEntries(used)] as const;
  });
  for (const [host, units] of shares)
    console.log(
      `${host} at rest: ${Object.entries(units)
        .map(([unit, share]) => `${unit} ${(share * 100).toFixed(1)} %`)
        .join(", ")} of a core`,
    );
  return Object.fromEntries(shares);
}

/** Nanoseconds by unit. */
async function cpuTimes(lab: Lab, host: HostName): Promise<Record<string, number>> {
  const script = `systemctl show -p Id -p CPUUsageNSec 'hotpair-*.service' keepalived.service haproxy.service`;
  const said = await consoleRun(lab, host, ["sh", "-c", script]);
  const units = said.split("\n\n").flatMap((part) => {
    const unit = /^Id=(.*)\.service$/m.exec(part)?.[1];
    const time = /^CPUUsageNSec=(\d+)$/m.exec(part)?.[1];
    return unit === undefined || time === undefined ? [] : [[unit, Number(time)] as const];
  });
  return Object.fromEntries(units);
}
