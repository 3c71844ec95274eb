// Two nodes and a witness in network namespaces of this machine, each with a member of a real etcd behind TLS, the nodes
// with the real hotpair-lease under a stand-in for systemd (lease-host.py). No lab hosts: what is tested is the lease
// against etcd, not the units around it.

import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ensureImage } from "../../infra/lab/image.ts";

export type NodeName = "a" | "b";
export type MemberName = NodeName | "witness";
const MEMBERS: readonly MemberName[] = ["a", "b", "witness"];
const ADDRESS: Readonly<Record<MemberName, string>> = { a: "198.19.77.1", b: "198.19.77.2", witness: "198.19.77.3" };
const ROOT = join(import.meta.dirname, "../..");
/** On a machine that is busy with other work, everything may take this many times as long: HOTPAIR_TIME_SCALE=5. */
export const SCALE = Number(process.env.HOTPAIR_TIME_SCALE ?? 1);
/** Seconds; the defaults of a pair. */
export const TIMING = {
  renewal: 0.1 * SCALE,
  rpcTimeout: 0.2 * SCALE,
  deadline: 0.8 * SCALE,
  takeover: 1.5 * SCALE,
  watchdog: 0.8 * SCALE,
  stopTimeout: 0.2 * SCALE,
  drift: 0.001,
  margin: 0.05 * SCALE,
} as const;

export interface HostEvent {
  /** CLOCK_BOOTTIME in seconds; both nodes are on one machine, so that their events can be compared. */
  readonly at: number;
  readonly what: string;
  readonly pid?: number;
  readonly code?: number;
  readonly datagram?: { holder: string | null; insync: string[]; epoch: number; quorum_at: number | null };
}

interface Status {
  readonly verdict: string;
  readonly why: string;
  readonly todo: string;
  readonly holding: boolean;
  readonly quorum: boolean;
  readonly insync: Record<string, string> | null;
  readonly epoch: { here: number; etcd: number | null };
}

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** etcd of this machine, or that of the lab's image. */
async function etcdProgram(): Promise<string> {
  const own = spawnSync("sh", ["-c", "command -v etcd"], { encoding: "utf8" }).stdout.trim();
  if (own !== "") return own;
  const layers = (await ensureImage("ready", { stateful: true })).split(":");
  const found = layers.map((layer) => join(layer, "usr/bin/etcd")).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`no etcd in ${layers.join(", ")}`);
  return found;
}

export class Cluster {
  readonly directory = mkdtempSync(join(tmpdir(), "hotpair-lease-"));
  readonly events: Record<NodeName, HostEvent[]> = { a: [], b: [] };
  #etcd = "";
  readonly #members = new Map<MemberName, ChildProcess>();
  readonly #hosts = new Map<NodeName, ChildProcess>();

  async start(): Promise<void> {
    this.#etcd = await etcdProgram();
    this.#network();
    this.#certificates();
    for (const member of MEMBERS) this.startMember(member);
    for (const node of ["a", "b"] as const) {
      this.#settings(node);
      this.lease(node, "incarnation", `${node}-one`);
    }
    await this.until("quorum", 10, () => this.status("a").quorum);
    this.lease("a", "enroll");
    for (const node of ["a", "b"] as const) this.startHost(node);
    await this.until("a holds the lease", 10, () => this.status("a").holding);
  }

  stop(): void {
    for (const host of this.#hosts.values()) host.stdin?.write("quit\n");
    const until = Date.now() + 3_000 * SCALE;
    for (const host of this.#hosts.values()) {
      while (host.pid !== undefined && existsSync(`/proc/${host.pid}/exe`) && Date.now() < until)
        spawnSync("sleep", ["0.02"]);
    }
    for (const member of this.#members.values()) member.kill("SIGKILL");
    for (const name of [...MEMBERS, "switch"]) spawnSync("ip", ["netns", "delete", namespace(name)]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  #network(): void {
    const ip = (...words: string[]) => execFileSync("ip", words);
    for (const name of [...MEMBERS, "switch"]) {
      spawnSync("ip", ["netns", "delete", namespace(name)]);
      ip("netns", "add", namespace(name));
      ip("-n", namespace(name), "link", "set", "lo", "up");
    }
    const hub = namespace("switch");
    ip("-n", hub, "link", "add", "br0", "type", "bridge");
    ip("-n", hub, "link", "set", "br0", "up");
    for (const member of MEMBERS) {
      ip("-n", hub, "link", "add", `to-${member}`, "type", "veth", "peer", "name", "eth0", "netns", namespace(member));
      ip("-n", hub, "link", "set", `to-${member}`, "master", "br0", "up");
      ip("-n", namespace(member), "address", "add", `${ADDRESS[member]}/24`, "dev", "eth0");
      ip("-n", namespace(member), "link", "set", "eth0", "up");
    }
  }

  #certificates(): void {
    const run = (...words: string[]) => execFileSync("openssl", words, { cwd: this.directory, stdio: "pipe" });
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    run("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority");
    for (const member of MEMBERS) {
      run("req", ...key, "-keyout", `${member}.key`, "-out", `${member}.csr`, "-subj", `/CN=${member}`);
      writeFileSync(
        join(this.directory, "extensions"),
        `subjectAltName=IP:${ADDRESS[member]}\nextendedKeyUsage=serverAuth,clientAuth\n`,
      );
      const signed = ["-in", `${member}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
      run("x509", "-req", ...signed, "-extfile", "extensions", "-out", `${member}.pem`);
    }
  }

  #settings(node: NodeName): void {
    const peer = node === "a" ? "b" : "a";
    const at = (name: string) => join(this.directory, name);
    writeFileSync(
      at(`${node}.json`),
      JSON.stringify({
        version: 1,
        pair: "shop",
        node: { id: node, name: `node-${node}` },
        peer: { id: peer, name: `node-${peer}` },
        witness: { name: "witness" },
        endpoints: Object.fromEntries(MEMBERS.map((member) => [member, `https://${ADDRESS[member]}:2379`])),
        ca: at("ca.pem"),
        certificate: at(`${node}.pem`),
        key: at(`${node}.key`),
        lease: TIMING,
        writers: [writer(node)],
        paths: {
          run: at(`run-${node}`),
          incarnation: at(`incarnation-${node}`),
          epoch: at(`epoch-${node}`),
          etcd: at(`new-epoch-${node}`),
        },
      }),
    );
    // Stands in for hotpair-etcd, which needs systemd: asks this process to do it.
    writeFileSync(
      at(`new-epoch-${node}`),
      `#!/bin/sh\n: >${at(`wanted-${node}`)}\nwhile [ -e ${at(`wanted-${node}`)} ]; do sleep 0.05; done\n`,
      { mode: 0o755 },
    );
  }

  startMember(member: MemberName, epoch = 1): void {
    const url = (port: number) => `https://${ADDRESS[member]}:${port}`;
    const together = MEMBERS.filter((name) => epoch === 1 || name === member);
    const tls = (prefix: string) => [
      `--${prefix}trusted-ca-file=ca.pem`,
      `--${prefix}cert-file=${member}.pem`,
      `--${prefix}key-file=${member}.key`,
      `--${prefix}client-cert-auth`,
    ];
    const started = spawn(
      "nsenter",
      [
        `--net=/run/netns/${namespace(member)}`,
        // As first in line as the units are, and like them in sessions of their own: a test machine has other work.
        ...["nice", "-n", "-15", this.#etcd],
        `--name=${member}`,
        `--data-dir=data-${member}`,
        `--listen-peer-urls=${url(2380)}`,
        `--initial-advertise-peer-urls=${url(2380)}`,
        `--listen-client-urls=${url(2379)}`,
        `--advertise-client-urls=${url(2379)}`,
        `--initial-cluster=${together.map((name) => `${name}=https://${ADDRESS[name]}:2380`).join(",")}`,
        `--initial-cluster-token=hotpair-shop-${epoch}`,
        `--heartbeat-interval=${50 * SCALE}`,
        `--election-timeout=${300 * SCALE}`,
        "--pre-vote",
        "--unsafe-no-fsync",
        "--log-level=error",
        ...tls(""),
        ...tls("peer-"),
      ],
      { cwd: this.directory, stdio: ["ignore", "ignore", "ignore"], detached: true },
    );
    this.#members.set(member, started);
  }

  signalMember(member: MemberName, signal: NodeJS.Signals): void {
    this.#members.get(member)?.kill(signal);
  }

  startHost(node: NodeName): void {
    const words = [join(this.directory, `${node}.json`), namespace(node), writer(node), join(this.directory, "log")];
    rmSync(join(this.directory, `run-${node}`), { recursive: true, force: true });
    const log = join(this.directory, `stderr-${node}`);
    const host = spawn(
      "nice",
      [
        ...["-n", "-15", "sh", "-c", `exec python3 -B "$0" "$@" 2>>${log}`],
        ...[join(import.meta.dirname, "lease-host.py"), ...words],
      ],
      { stdio: ["pipe", "pipe", "inherit"], detached: true },
    );
    if (host.stdout === null) throw new Error("no output");
    createInterface({ input: host.stdout }).on("line", (line) => this.events[node].push(JSON.parse(line) as HostEvent));
    this.#hosts.set(node, host);
  }

  order(node: NodeName, order: string): void {
    this.#hosts.get(node)?.stdin?.write(`${order}\n`);
  }

  /** Process of the holder on a node. */
  async holder(node: NodeName): Promise<number> {
    const before = this.events[node].length;
    this.order(node, "pid");
    await this.until("a process id", 2, () => this.events[node].slice(before).some(({ what }) => what === "pid"));
    const pid = this.events[node].slice(before).find(({ what }) => what === "pid")?.pid;
    if (pid === undefined) throw new Error(`no holder on ${node}`);
    return pid;
  }

  /** A verb on a node; throws with its message when it fails. */
  lease(node: NodeName, ...words: string[]): string {
    const done = spawnSync(
      "nsenter",
      [`--net=/run/netns/${namespace(node)}`, "python3", "-B", join(ROOT, "infra/node/hotpair-lease"), ...words],
      { encoding: "utf8", env: { ...process.env, HOTPAIR_LEASE_SETTINGS: join(this.directory, `${node}.json`) } },
    );
    if (done.status !== 0) throw new Error(`${words.join(" ")}: ${done.status} ${done.stderr.trim()}`);
    return done.stdout.trim();
  }

  status(node: NodeName): Status {
    return JSON.parse(this.lease(node, "status", "--json")) as Status;
  }

  /** `force` on a node, with its member made anew as hotpair-etcd makes it. */
  async force(node: NodeName): Promise<string> {
    const wanted = join(this.directory, `wanted-${node}`);
    const running = spawn(
      "nsenter",
      [
        `--net=/run/netns/${namespace(node)}`,
        ...["python3", "-B", join(ROOT, "infra/node/hotpair-lease"), "force", "--i-know-the-peer-is-down"],
      ],
      { env: { ...process.env, HOTPAIR_LEASE_SETTINGS: join(this.directory, `${node}.json`) } },
    );
    let said = "";
    running.stdout.on("data", (data: Buffer) => (said += data));
    running.stderr.on("data", (data: Buffer) => (said += data));
    const ended = new Promise<number | null>((resolve) => running.on("close", resolve));
    await Promise.race([ended, this.until("the order for a new epoch", 30, () => existsSync(wanted))]);
    if (existsSync(wanted)) {
      const member = this.#members.get(node);
      const gone = new Promise((resolve) => member?.on("close", resolve));
      member?.kill("SIGKILL");
      await gone;
      renameSync(join(this.directory, `data-${node}`), join(this.directory, `data-${node}.old`));
      writeFileSync(join(this.directory, `epoch-${node}`), "2\n");
      this.startMember(node, 2);
      await sleep(1_500 * SCALE);
      rmSync(wanted);
    }
    await ended;
    return said.trim();
  }

  /** Drops what goes from one host to another, until `heal`. */
  cut(from: MemberName, to: MemberName): void {
    const nft = (text: string) => execFileSync("nsenter", [`--net=/run/netns/${namespace(to)}`, "nft", text]);
    nft("add table ip cut");
    nft("add chain ip cut in { type filter hook input priority 0; }");
    nft(`add rule ip cut in ip saddr ${ADDRESS[from]} drop`);
  }

  isolate(member: MemberName): void {
    for (const other of MEMBERS.filter((name) => name !== member)) {
      this.cut(member, other);
      this.cut(other, member);
    }
  }

  heal(): void {
    for (const member of MEMBERS) {
      spawnSync("nsenter", [`--net=/run/netns/${namespace(member)}`, "nft", "delete table ip cut"]);
    }
  }

  async until(what: string, seconds: number, fine: () => boolean): Promise<void> {
    const end = Date.now() + seconds * SCALE * 1_000;
    while (!fine()) {
      if (Date.now() > end) throw new Error(`not within ${seconds * SCALE} s: ${what}\n${this.#story()}`);
      await sleep(100);
    }
  }

  #story(): string {
    return (["a", "b"] as const)
      .map((node) => {
        const log = join(this.directory, `stderr-${node}`);
        const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").slice(-12) : [];
        return [`--- ${node}`, ...this.events[node].slice(-8).map((event) => JSON.stringify(event)), ...lines].join(
          "\n",
        );
      })
      .join("\n");
  }

  last(node: NodeName, what: string): number {
    return this.events[node].findLast((event) => event.what === what)?.at ?? 0;
  }

  /** Moments of every write of a node's writer. */
  writes(node: NodeName): readonly number[] {
    const log = join(this.directory, `log.${writer(node)}`);
    return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").map(Number) : [];
  }

  /** Smallest time between a write of one node and the next one of the other; Infinity without any change of writer. */
  smallestGap(): number {
    const all = (["a", "b"] as const).flatMap((node) => this.writes(node).map((at) => ({ at, node })));
    all.sort((one, other) => one.at - other.at);
    let gap = Number.POSITIVE_INFINITY;
    for (const [index, write] of all.entries()) {
      const before = all[index - 1];
      if (before !== undefined && before.node !== write.node) gap = Math.min(gap, write.at - before.at);
    }
    return gap;
  }
}

const namespace = (name: string): string => `hplease-${name}`;
const writer = (node: NodeName): string => `hplease-writer-${node}.service`;
