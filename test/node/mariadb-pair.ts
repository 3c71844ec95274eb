// A real pair with a database in a lab of its own: everything as planned and applied by hotpair-apply, clients that write
// through the VIP and remember what they were told is stored, and the faults that only a database knows.

import { setTimeout as sleep } from "node:timers/promises";
import { createConnection } from "mysql2/promise";
import { newAuthority } from "../../infra/cli/certificates.ts";
import { type HostName, type Lab, labUp, type NodeName } from "../../infra/lab/lab.ts";
import type { NodeId, Pair } from "../../infra/model/pair.ts";
import { statefulPair } from "../model/pairs.ts";
import { LabAuthority } from "../services/authority-lab.ts";

export const NODES = ["a", "b"] as const;
export const otherNode = (id: NodeId): NodeId => (id === "a" ? "b" : "a");
const PROGRAM = "/usr/lib/hotpair/hotpair-mariadb";
const PORT = 3307;
export const CLIENT = { user: "app", password: "not-a-secret", database: "app" };

/** `hotpair-mariadb status --json`, as far as these tests look. */
export interface ServerStatus {
  readonly state: string;
  readonly role: string;
  readonly holdsLease: boolean;
  readonly incarnation: string | null;
  readonly server: { readonly pid: number; readonly readOnly: boolean; readonly position: string } | null;
  readonly insync: Readonly<Record<string, string>> | null;
  readonly lagMs: number | null;
  readonly problems: readonly string[];
}

export class DatabasePair {
  readonly hosts: LabAuthority;
  readonly lab: Lab;

  private constructor(hosts: LabAuthority) {
    this.hosts = hosts;
    this.lab = hosts.lab;
  }

  /** `settings` differ from the usual ones; `before` is done on hosts that know nothing of hotpair yet. */
  static async up(
    name: string,
    settings: Partial<NonNullable<Pair["mariadb"]>> = {},
    before: (hosts: LabAuthority) => Promise<void> = async () => undefined,
  ): Promise<DatabasePair> {
    const hosts = new LabAuthority(await labUp({ name, image: "ready", witness: true }));
    hosts.pair = inLab(hosts.pair, settings);
    await before(hosts);
    hosts.values.set("mariadb.replicationPassword", "sesame-one");
    await hosts.certify(await newAuthority(hosts.pair.name, Date.now()));
    const pair = new DatabasePair(hosts);
    await Promise.all([hosts.applied("witness"), hosts.applied("a"), hosts.applied("b")]);
    const primary = await pair.whole(90_000);
    await pair.sql(
      primary,
      `CREATE DATABASE app; CREATE USER app@'%' IDENTIFIED BY '${CLIENT.password}'; GRANT ALL ON app.* TO app@'%'; ` +
        "CREATE TABLE app.writes (writer INT NOT NULL, number INT NOT NULL, PRIMARY KEY (writer, number))",
    );
    return pair;
  }

  get vip(): string {
    return this.hosts.pair.vips[0]?.address.split("/")[0] ?? "";
  }

  async status(id: NodeId): Promise<ServerStatus> {
    const { stdout, text, code } = await this.hosts.sh(id, `${PROGRAM} status --json`);
    if (code !== 0) throw new Error(text);
    return JSON.parse(stdout) as ServerStatus;
  }

  run(id: NodeId, words: string) {
    return this.hosts.sh(id, `${PROGRAM} ${words}`);
  }

  sql(id: NodeId, statements: string): Promise<string> {
    return this.hosts.ok(id, `mariadb -N -B <<'END'\n${statements};\nEND`).then((text) => text.trim());
  }

  async rows(id: NodeId): Promise<ReadonlySet<string>> {
    const text = await this.sql(id, "SELECT CONCAT(writer, '/', number) FROM app.writes");
    return new Set(text === "" ? [] : text.split("\n"));
  }

  async checksum(id: NodeId): Promise<string> {
    return this.sql(id, "CHECKSUM TABLE app.writes");
  }

  host(id: NodeId): NodeName {
    return `node-${id}`;
  }

  /** The node whose server takes writes; undefined: none, or both. */
  async primary(): Promise<NodeId | undefined> {
    const found = await Promise.all(NODES.map(async (id) => ((await this.quiet(id))?.state === "primary" ? [id] : [])));
    const primaries = found.flat();
    return primaries.length === 1 ? primaries[0] : undefined;
  }

  private async quiet(id: NodeId): Promise<ServerStatus | undefined> {
    if (this.lab.hosts[this.host(id)].pid === undefined) return undefined;
    return this.status(id).catch(() => undefined);
  }

  /** Waits until one node is the primary, the other its replica and both are in sync. */
  async whole(timeoutMs = 60_000): Promise<NodeId> {
    let said: unknown;
    const until = Date.now() + timeoutMs;
    while (Date.now() < until) {
      const states = await Promise.all(NODES.map((id) => this.quiet(id)));
      const primary = NODES.find((_, index) => states[index]?.state === "primary");
      const other = primary === undefined ? undefined : states[primary === "a" ? 1 : 0];
      const insync = primary === undefined ? undefined : states[primary === "a" ? 0 : 1]?.insync;
      if (primary !== undefined && other?.state === "replica" && Object.keys(insync ?? {}).length === 2) return primary;
      said = states;
      await sleep(200);
    }
    throw new Error(`not whole after ${timeoutMs} ms: ${JSON.stringify(said, undefined, 1)}`);
  }

  async until<T>(what: string, ask: () => Promise<T | undefined | false>, timeoutMs = 60_000): Promise<T> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const found = await ask().catch(() => undefined);
      if (found) return found;
      if (Date.now() > until) throw new Error(`not within ${timeoutMs} ms: ${what}`);
      await sleep(100);
    }
  }

  async audit(id: NodeId): Promise<readonly { at: number; from: string; to: string; reason: string }[]> {
    const text = await this.hosts.ok(id, 'grep \'"vip":"mariadb"\' /var/log/hotpair/audit.log || :');
    return text
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
  }

  async insync(): Promise<Readonly<Record<string, string>>> {
    const key = `/hotpair/${this.hosts.pair.name}/insync`;
    const { stdout } = await this.hosts.etcd("witness", `ctl get --print-value-only ${key}`);
    return JSON.parse(stdout || "{}") as Record<string, string>;
  }

  hostName(id: NodeId): HostName {
    return this.host(id);
  }
}

/** Writers that number their rows and keep what they were told: stored, refused, or nothing. */
export class Writers {
  readonly acknowledged = new Set<string>();
  readonly unknown = new Set<string>();
  /** Longest time between two acknowledgements to anybody (ms), since the last `mark`. */
  gap = 0;
  #last = performance.now();
  #stopped = false;
  readonly #running: Promise<void>[];

  constructor(vip: string, count: number, first = 0) {
    this.#running = Array.from({ length: count }, (_, writer) => this.#write(vip, first + writer));
  }

  mark(): void {
    this.gap = 0;
    this.#last = performance.now();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  async #write(vip: string, writer: number): Promise<void> {
    let number = 0;
    while (!this.#stopped) {
      try {
        const session = await createConnection({ host: vip, port: PORT, ...CLIENT, connectTimeout: 500 });
        session.on("error", () => undefined);
        try {
          while (!this.#stopped) {
            number += 1;
            const row = `${writer}/${number}`;
            this.unknown.add(row);
            await withTimeout(session.query("INSERT INTO writes VALUES (?, ?)", [writer, number]), 3_000);
            this.unknown.delete(row);
            this.acknowledged.add(row);
            const now = performance.now();
            this.gap = Math.max(this.gap, now - this.#last);
            this.#last = now;
            await sleep(2);
          }
        } finally {
          session.destroy();
        }
      } catch {
        await sleep(20);
      }
    }
  }
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const timer = new AbortController();
  const late = sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error("no answer in time");
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}

function inLab(there: Pair, settings: Partial<NonNullable<Pair["mariadb"]>>): Pair {
  const { mariadb, haproxy } = statefulPair;
  if (mariadb === undefined || haproxy === undefined) throw new Error("the stateful pair has no database");
  return {
    ...there,
    mariadb: {
      ...mariadb,
      ...{ dataDirectory: "/var/lib/mysql", bufferPool: 64 * 1024 ** 2, redoLog: 32 * 1024 ** 2 },
      ...settings,
    },
    haproxy: {
      ...haproxy,
      backends: haproxy.backends.map((backend) => ({
        ...backend,
        servers: there.nodes.map((node) => ({
          name: node.name,
          address: node.networks.public.address.split("/")[0] ?? "",
          port: mariadb.port,
        })),
      })),
    },
  };
}
