// A real pair in a lab of its own for the arbiter's tests: the planned files on two hosts, one-line access to both, and
// an observer of the kernel's own notifications that says to the microsecond who held the VIP when.

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { loadStack } from "../../infra/cli/stack.ts";
import { clearDrops, powerOn, setLink } from "../../infra/lab/faults.ts";
import { consolePrefix, consoleRun, type Lab, labUp, type Network, type NodeName, runIn } from "../../infra/lab/lab.ts";
import type { Pair } from "../../infra/model/pair.ts";
import type { NodePlan } from "../../infra/model/plan.ts";
import { type NodeStatus, standsBy } from "../../infra/model/status.ts";
import { text } from "../../infra/plan/bundle.ts";
import { planPair } from "../../infra/plan/plan.ts";

export const HOSTS = ["node-a", "node-b"] as const;
export const other = (host: NodeName): NodeName => (host === "node-a" ? "node-b" : "node-a");
export const KEY_ONE = "11".repeat(32);
export const KEY_TWO = "22".repeat(32);

const ARBITER = "/usr/lib/hotpair/hotpair-arbiter";

export type Change = (pair: Pair) => Pair;

export class TestPair {
  readonly lab: Lab;
  pair: Pair;
  #keys: Readonly<Record<string, string>> = { beaconKey: KEY_ONE, previousBeaconKey: KEY_TWO };

  constructor(lab: Lab, change: Change = (pair) => pair) {
    this.lab = lab;
    this.pair = change(pairOf(lab));
  }

  static async up(name: string, change?: Change): Promise<TestPair> {
    const pair = new TestPair(await labUp({ name, image: "ready" }), change);
    await pair.deploy();
    return pair;
  }

  get vip(): string {
    return this.pair.vips[0]?.address.split("/")[0] ?? "";
  }

  plan(host: NodeName): NodePlan {
    return planPair(this.pair)[host === "node-a" ? 0 : 1];
  }

  /** Writes the planned files and starts the planned units, standby or not: a fresh pair. */
  async deploy(): Promise<void> {
    await Promise.all(HOSTS.map((host) => this.install(host)));
    await Promise.all(
      HOSTS.map((host) =>
        this.sh(host, `systemctl enable -q ${this.#units(host)}; sync; systemctl restart ${this.#units(host)}`),
      ),
    );
    await this.settled();
  }

  #units(host: NodeName): string {
    return this.plan(host)
      .units.map((unit) => unit.name)
      .toReversed()
      .join(" ");
  }

  /** The files alone. */
  async install(host: NodeName, keys = this.#keys): Promise<void> {
    this.#keys = keys;
    const script = this.plan(host).files.map((file) => {
      const content = text(file.content, (ref) => keys[ref.secret] ?? "");
      const encoded = Buffer.from(content).toString("base64");
      const directory = file.path.slice(0, file.path.lastIndexOf("/"));
      return `mkdir -p ${directory}; echo ${encoded} | base64 -d >${file.path}; chmod ${file.mode} ${file.path}`;
    });
    await consoleRun(
      this.lab,
      host,
      ["sh", "-eu"],
      `${script.join("\n")}\nsystemd-tmpfiles --create /etc/tmpfiles.d/60-hotpair.conf\nsystemctl daemon-reload\nsystemctl restart systemd-sysctl\n# A power cut loses what is not on the disk.\nsync\n`,
    );
  }

  async sh(host: NodeName, command: string): Promise<string> {
    return (await consoleRun(this.lab, host, ["sh", "-c", command])).trim();
  }

  /** As `sh`, for commands that may fail: exit code and both streams. */
  async try(host: NodeName, command: string): Promise<{ code: number; text: string }> {
    const said = await this.sh(host, `{ ${command}; } 2>&1; echo "exit $?"`);
    const [, out = "", code = "1"] = /^([\s\S]*?)exit (\d+)$/.exec(said) ?? [];
    return { code: Number(code), text: out.trim() };
  }

  arbiter(host: NodeName, verb: string): Promise<{ code: number; text: string }> {
    return this.try(host, `${ARBITER} ${verb}`);
  }

  async status(host: NodeName): Promise<NodeStatus> {
    return JSON.parse(await this.sh(host, `${ARBITER} status --json`)) as NodeStatus;
  }

  async owners(): Promise<NodeName[]> {
    const held = await Promise.all(
      HOSTS.map(async (host) =>
        this.lab.hosts[host].pid === undefined
          ? false
          : (await this.sh(host, "ip -4 -o addr show")).includes(` ${this.vip}/`),
      ),
    );
    return HOSTS.filter((_, index) => held[index]);
  }

  async owner(): Promise<NodeName> {
    const owners = await this.owners();
    const [only] = owners;
    if (owners.length !== 1 || only === undefined) throw new Error(`owners of the VIP: ${owners.join(", ") || "none"}`);
    return only;
  }

  /** Until both nodes are healthy, one owns the VIP, and the other stands by with an open gate. */
  async settled(timeoutMs = 60_000): Promise<{ active: NodeName; standby: NodeName }> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const problem = await this.#problem();
      if (problem === undefined) {
        const active = await this.owner();
        return { active, standby: other(active) };
      }
      if (Date.now() > deadline) throw new Error(`the pair did not settle within ${timeoutMs} ms: ${problem}`);
      await sleep(200);
    }
  }

  async #problem(): Promise<string | undefined> {
    try {
      const owners = await this.owners();
      if (owners.length !== 1) return `owners: ${owners.join(", ") || "none"}`;
      for (const host of HOSTS) {
        const status = await this.status(host);
        const vip = status.vips[0];
        if (vip === undefined || status.arbiter === null || status.peer === null)
          return `${host}: no arbiter or no peer`;
        const ready = vip.held ? vip.state === "master" && !vip.gate.closed : standsBy(vip);
        if (!ready) return `${host}: ${vip.state}${vip.gate.closed ? `, gate closed: ${vip.gate.reason}` : ""}`;
        if (!status.peer.healthy) return `${host}: its peer is not healthy`;
      }
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message.slice(0, 300) : String(error);
    }
  }

  /** Ends every fault of these tests, whatever state it is in. */
  async repair(): Promise<void> {
    await clearDrops(this.lab);
    for (const host of HOSTS) {
      if (this.lab.hosts[host].pid === undefined) await powerOn(this.lab, host);
      for (const network of ["public", "heartbeat", "storage"] satisfies Network[])
        await setLink(this.lab, host, network, true);
      await this.sh(
        host,
        "rm -f /var/lib/hotpair/maintenance; systemctl start hotpair-arbiter keepalived haproxy nginx",
      );
    }
    await this.settled();
  }

  async moveTo(host: NodeName): Promise<void> {
    await this.settled();
    const active = await this.owner();
    if (active === host) return;
    const { code, text: said } = await this.arbiter(active, "switch");
    if (code !== 0) throw new Error(`switch to ${host}: ${said}`);
    await this.settled();
  }
}

/** The lab's committed configuration, at this lab's addresses. */
function pairOf(lab: Lab): Pair {
  const of: readonly Network[] = ["public", "heartbeat", "storage"];
  const moved = JSON.stringify(loadStack("lab").pair).replaceAll(
    /198\.18\.([012])\./g,
    (_, octet: string) => `${lab.prefix(of[Number(octet)] ?? "public")}.`,
  );
  return JSON.parse(moved) as Pair;
}

// ---- watching

export interface Watch {
  /** Milliseconds (wall clock, one for all hosts of the lab) with two owners and with none, from `start` on. */
  twoOwnersMs: number;
  noOwnerMs: number;
  /** Client gap: longest time between two answers. */
  gapMs: number;
  /** VIP movements: [when, host, came]. */
  events: readonly (readonly [number, NodeName, boolean])[];
}

/** Watches address changes on both hosts, and the VIP as a client sees it, until `stop`. */
export class Watcher {
  readonly #children: ChildProcess[] = [];
  readonly #events: [number, NodeName, boolean][] = [];
  readonly #held: Record<NodeName, boolean>;
  readonly #answers: number[] = [];
  #from = 0;

  private constructor(held: Record<NodeName, boolean>) {
    this.#held = held;
  }

  static async start(pair: TestPair): Promise<Watcher> {
    const owners = await pair.owners();
    const watcher = new Watcher({ "node-a": owners.includes("node-a"), "node-b": owners.includes("node-b") });
    await Promise.all(HOSTS.map((host) => watcher.watch(pair, host)));
    await watcher.#client(pair);
    watcher.#from = Date.now();
    return watcher;
  }

  async watch(pair: TestPair, host: NodeName): Promise<void> {
    const [command = "", ...args] = [...consolePrefix(pair.lab, host), "python3", "-u", "-c", OBSERVER, pair.vip];
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    await lines(child, (line) => {
      const [at = "0", what] = line.split(" ");
      if (what === "ready") return true;
      this.#events.push([Number(at), host, what === "came"]);
      return false;
    });
  }

  async #client(pair: TestPair): Promise<void> {
    const script = join(import.meta.dirname, "arbiter-client.py");
    const child = runIn(pair.lab.namespaces.client, ["python3", "-u", script, pair.vip], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#children.push(child);
    await lines(child, (line) => {
      this.#answers.push(Number(line));
      return this.#answers.length > 5;
    });
  }

  async stop(): Promise<Watch> {
    await sleep(50);
    const until = Date.now();
    for (const child of this.#children) child.kill("SIGKILL");
    const held = { ...this.#held };
    let [two, none] = [0, 0];
    let last = this.#from;
    for (const [at, host, came] of [...this.#events, [until, "node-a", held["node-a"]] as const].toSorted(
      (one, next) => one[0] - next[0],
    )) {
      const span = Math.max(0, at - last);
      if (held["node-a"] && held["node-b"]) two += span;
      if (!held["node-a"] && !held["node-b"]) none += span;
      last = Math.max(last, at);
      if (at !== until) held[host] = came;
    }
    const times = [this.#from, ...this.#answers.filter((at) => at >= this.#from && at <= until), until];
    const gap = Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)));
    return { twoOwnersMs: two, noOwnerMs: none, gapMs: gap, events: this.#events };
  }

  /** Says that a host lost power: it holds nothing any more, and cannot say so. */
  lost(host: NodeName, at: number): void {
    this.#events.push([at, host, false]);
  }
}

function lines(child: ChildProcess, each: (line: string) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let rest = "";
    child.on("error", reject);
    child.on("exit", () => reject(new Error("the observer ended")));
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      const all = (rest + chunk).split("\n");
      rest = all.pop() ?? "";
      for (const line of all) if (each(line)) resolve();
    });
  });
}

/** The kernel's own notifications of one address, with the time at which this process read them. */
const OBSERVER = `
import socket, struct, sys, time, os
try: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(50))
except OSError: pass
want = socket.inet_aton(sys.argv[1])
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.bind((0, 0x10))
print("%.3f ready" % (time.time() * 1000))
while True:
    d = s.recv(65536); at = time.time() * 1000; o = 0
    while o + 16 <= len(d):
        n, kind = struct.unpack_from("=IH", d, o)
        if kind in (20, 21) and want in d[o + 24:o + n]: print("%.3f %s" % (at, "came" if kind == 20 else "gone"))
        o += (n + 3) & ~3
`;
