// What replication costs a disk: one partition under DRBD with its peer connected and disconnected, and another one of the same
// disk without DRBD, in turns, on two virtual machines. Ratios alone: the processors are emulated, and no time of theirs is
// anybody else's. Options: --rounds N (default 12), --draw (measure nothing). Every round is kept at once in
// bench/results/drbd-rounds.jsonl; the same command goes on where an interrupted one ended. What is kept is drawn into
// docs/drbd.md.
//
// The configuration is what hotpair renders of a pair with DRBD's defaults. Nobody decides anything here, so in the place of
// hotpair-drbd stands a handler that says what the holder of the lease would be told: go on.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readStack } from "../infra/config/index.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName } from "../infra/lab/lab.ts";
import { nodeNames } from "../infra/lab/layout.ts";
import { ms, seconds } from "../infra/model/duration.ts";
import { UserError } from "../infra/model/errors.ts";
import type { Node, Pair } from "../infra/model/pair.ts";
import { drbd } from "../infra/services/drbd.ts";
import { type Figures, type Round, rounded, summarise, table } from "./drbd-page.ts";
import { keptRuns } from "./kept.ts";
import { ROOT } from "./lab-pair.ts";

const LAB = "bench-drbd";
const ROUNDS = join(import.meta.dirname, "results", "drbd-rounds.jsonl");
const PAGE = join(ROOT, "docs", "drbd.md");
const ACTIVE = "node-a";
const DISK = "/dev/disk/by-id/virtio-data";
/** Of the lab's disk of 512 MiB, in sectors of 512 bytes: both partitions are of one size, and begin at whole MiB. */
const PARTITIONS = [
  { start: 2_048, length: 520_192 },
  { start: 524_288, length: 520_192 },
] as const;
/** What is measured, and on which device. */
const DEVICES = { connected: "/dev/drbd0", disconnected: "/dev/drbd0", bare: `${DISK}-part2` } as const;
type Target = keyof typeof DEVICES;
/** Each comes first, second and third equally often, and after each of the others: what drifts is nobody's. */
const ORDERS: readonly (readonly Target[])[] = [
  ["connected", "disconnected", "bare"],
  ["disconnected", "bare", "connected"],
  ["bare", "connected", "disconnected"],
  ["disconnected", "connected", "bare"],
  ["connected", "bare", "disconnected"],
  ["bare", "disconnected", "connected"],
];

/** What disk-load.py says: bytes per second, and commits with their times in seconds. */
interface Load {
  readonly write: number;
  readonly read: number;
  readonly one: Commits;
  readonly four: Commits;
}
interface Commits {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

export async function run(args: readonly string[]): Promise<unknown> {
  const { values } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "12" }, draw: { type: "boolean", default: false } },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new UserError(`--rounds ${values.rounds}: expected a whole number`);
  const there = keptRuns<Round>(ROUNDS).length;
  if (!values.draw && there < rounds) await measure(there, rounds);

  const kept = keptRuns<Round>(ROUNDS).slice(0, rounds);
  if (kept.length === 0) throw new UserError("no round was kept yet: npm run bench -- drbd");
  const drawn = table(kept);
  const before = readFileSync(PAGE, "utf8");
  const generated = /(<!-- ratios: begin[^\n]*-->\n)[\s\S]*(<!-- ratios: end -->)/;
  if (!generated.test(before)) throw new Error(`${PAGE} has no place for the table`);
  writeFileSync(
    PAGE,
    before.replace(generated, (_, begin, end) => `${begin}${drawn}\n${end}`),
  );
  console.log(drawn);
  return { rounds: kept.length, ratios: summarise(kept) };
}

/** Rounds from `there` + 1 on. The lab is down afterwards, also when this is interrupted. */
async function measure(there: number, rounds: number): Promise<void> {
  const interrupted = Promise.withResolvers<never>();
  interrupted.promise.catch(() => undefined);
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => interrupted.reject(new UserError("broken off; the rounds that were measured stay")));
  const work = async () => {
    const lab = await labUp({ name: LAB, image: "ready", machines: true, onStep: console.log });
    await setUp(lab);
    // Once without counting: what nobody has written yet is not there on the machine's disk.
    for (const target of ["connected", "bare"] as const) await load(lab, target, "before");
    for (let number = there + 1; number <= rounds; number++) {
      const round = await measureRound(lab, number);
      appendFileSync(ROUNDS, `${JSON.stringify(round)}\n`);
      const { connected, disconnected } = round;
      console.log(
        `round ${number} of ${rounds}: a commit takes ${connected.oneP50.toFixed(2)} x with the peer, ${disconnected.oneP50.toFixed(2)} x without`,
      );
    }
  };
  try {
    await Promise.race([work(), interrupted.promise]);
  } finally {
    await labDown(LAB);
  }
}

async function measureRound(lab: Lab, number: number): Promise<Round> {
  const order = ORDERS[(number - 1) % ORDERS.length] ?? [];
  const at = new Date().toISOString();
  const loads: Partial<Record<Target, Load>> = {};
  for (const target of order) loads[target] = await load(lab, target, String(number));
  const { connected, disconnected, bare } = loads;
  if (connected === undefined || disconnected === undefined || bare === undefined) throw new Error("not all measured");
  return { at, order, connected: against(connected, bare), disconnected: against(disconnected, bare) };
}

function against(one: Load, bare: Load): Figures {
  const of = (figure: (load: Load) => number): number => rounded(figure(one) / figure(bare));
  return {
    oneP50: of((load) => load.one.p50),
    oneP99: of((load) => load.one.p99),
    fourP50: of((load) => load.four.p50),
    fourP99: of((load) => load.four.p99),
    fourRate: of((load) => load.four.perSecond),
    write: of((load) => load.write),
    read: of((load) => load.read),
  };
}

/** The seed is a round's: each target is written in the same places. */
async function load(lab: Lab, target: Target, seed: string): Promise<Load> {
  if (target !== "bare") await bring(lab, target);
  const said = await on(lab, ACTIVE, `python3 /root/disk-load.py ${DEVICES[target]} ${seed}`);
  return JSON.parse(said) as Load;
}

/** Connected is once both copies are equal again. */
async function bring(lab: Lab, target: "connected" | "disconnected"): Promise<void> {
  const { order, state } = {
    connected: { order: "connect", state: "cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate" },
    disconnected: { order: "disconnect", state: "cs:StandAlone ro:Primary" },
  }[target];
  await on(
    lab,
    ACTIVE,
    `grep -q '${state}' /proc/drbd || drbdadm ${order} data; ${until(`grep -q '${state}' /proc/drbd`)}`,
  );
}

/** In the shell of a server; fails after a minute. */
const until = (condition: string): string =>
  `tries=0; until ${condition}; do tries=$((tries + 1)); [ $tries -lt 300 ] || { cat /proc/drbd >&2; exit 1; }; sleep 0.2; done`;

const on = (lab: Lab, host: NodeName, script: string): Promise<string> =>
  consoleRun(lab, host, ["sh", "-e", "-c", script]);

async function setUp(lab: Lab): Promise<void> {
  const pair = pairIn(lab);
  await Promise.all(nodeNames.map((host) => prepare(lab, host, pair)));
  // Both hold nothing that anybody will read before it is written: no first copy.
  await on(
    lab,
    ACTIVE,
    `${until("grep -q 'cs:Connected ro:Secondary/Secondary' /proc/drbd")}
drbdadm new-current-uuid --clear-bitmap data/0
drbdadm primary data`,
  );
}

/** Partitions, the files that hotpair would install, metadata; the device is up afterwards. */
async function prepare(lab: Lab, host: NodeName, pair: Pair): Promise<void> {
  const planned = drbd.plan(pair, host === "node-a" ? "a" : "b")?.files ?? [];
  const files = [
    ...planned.filter(({ path }) => path === "/etc/drbd.conf" || path.startsWith("/etc/hotpair/drbd/8.4/")),
    { path: "/usr/lib/hotpair/hotpair-drbd", content: '#!/bin/sh\n[ "$1" != fence-peer ] || exit 4\n' },
    { path: "/root/disk-load.py", content: readFileSync(join(import.meta.dirname, "disk-load.py"), "utf8") },
  ];
  const script = [
    "set -e",
    ...files.flatMap(({ path, content }) => {
      if (typeof content !== "string") throw new Error(`${path} has a secret, and this pair has none`);
      return [
        `mkdir -p "$(dirname ${path})"`,
        `cat > ${path} <<'END OF FILE'`,
        content.replace(/\n$/, ""),
        "END OF FILE",
      ];
    }),
    "chmod 755 /usr/lib/hotpair/hotpair-drbd",
    `echo ${partitionTable().toString("base64")} | base64 -d | dd of=${DISK} bs=512 conv=fsync status=none`,
    // udev does the same beside it, and each can find the disk busy with the other.
    `blockdev --rereadpt ${DISK} || :`,
    until(`[ -b ${DISK}-part1 ] && [ -b ${DISK}-part2 ]`),
    "udevadm settle",
    "modprobe drbd",
    "mkdir -p /run/hotpair/drbd",
    "ln -sfn /etc/hotpair/drbd/8.4/drbd.conf /run/hotpair/drbd/drbd.conf",
    "drbdadm create-md --force data",
    "drbdadm up data",
    "",
  ];
  await consoleRun(lab, host, ["sh", "-s"], script.join("\n"));
}

/** A master boot record without a boot loader: every kernel reads it, and nothing has to be installed to write it. */
function partitionTable(): Buffer {
  const sector = Buffer.alloc(512);
  for (const [index, { start, length }] of PARTITIONS.entries()) {
    const entry = 446 + 16 * index;
    sector.writeUInt8(0x83, entry + 4);
    sector.writeUInt32LE(start, entry + 8);
    sector.writeUInt32LE(length, entry + 12);
  }
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** The lab's pair that keeps data, with one replicated disk instead of a database. */
function pairIn(lab: Lab): Pair {
  const file = join(ROOT, "stacks", "Pulumi.lab-stateful.yaml");
  const { pair } = readStack(readFileSync(file, "utf8"), file, "lab-stateful");
  const placed = (node: Node): Node => {
    const host = lab.hosts[node.id === "a" ? "node-a" : "node-b"];
    const storage = { interface: host.interface.storage, address: `${host.address.storage}/24`, mtu: 1500 };
    return { ...node, networks: { ...node.networks, storage } };
  };
  return {
    ...pair,
    mariadb: undefined,
    nodes: [placed(pair.nodes[0]), placed(pair.nodes[1])],
    drbd: {
      network: "storage",
      protocol: "C",
      resources: [
        {
          name: "data",
          minor: 0,
          port: 7789,
          disks: { a: `${DISK}-part1`, b: `${DISK}-part1` },
          metadata: undefined,
        },
      ],
      // Emulated processors answer late, and that is no fault of theirs.
      pingInterval: seconds(4),
      pingTimeout: ms(3_000),
      diskPerSecond: 200 * 1024 ** 2,
      networkPerSecond: 110 * 1024 ** 2,
      crashResync: seconds(30),
      sendBuffer: 1024 ** 2,
      onIoError: "detach",
      checksum: "crc32c",
      verify: "never",
      sharedSecret: undefined,
      accepted: { undrilled: "a benchmark" },
    },
    volumes: [],
  };
}
