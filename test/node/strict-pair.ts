// A real pair with a witness in a lab of its own, for the strict gate: three etcd members and the lease as planned, and in
// place of a database a unit that stands for what writes, so that the order of a hand-over can be seen. Faults that only
// such a pair knows are here, too.

import { newAuthority, newMember } from "../../infra/cli/certificates.ts";
import { command } from "../../infra/lab/command.ts";
import { powerOn } from "../../infra/lab/faults.ts";
import { consoleRun, type HostName, type Lab, labUp, type Network, type NodeName } from "../../infra/lab/lab.ts";
import { interfaceOf as port } from "../../infra/lab/layout.ts";
import type { Authority, HostId, Pair } from "../../infra/model/pair.ts";
import type { HostPlan } from "../../infra/model/plan.ts";
import { text } from "../../infra/plan/bundle.ts";
import { planHosts } from "../../infra/plan/plan.ts";
import { memberAddress } from "../../infra/services/etcd.ts";
import { witnessed } from "../model/pairs.ts";
import { HOSTS, KEY_ONE, other, TestPair } from "./arbiter-pair.ts";

const LEASE = "/usr/lib/hotpair/hotpair-lease";
const MEMBERS: readonly HostId[] = ["witness", "a", "b"];
const hostNamed = (id: HostId): HostName => (id === "witness" ? id : `node-${id}`);
const NETWORKS: readonly Network[] = ["heartbeat", "public", "storage"];

/** Stands for a database's promotion: its stop takes 100 ms, and both are in the journal. */
const WRITER = `[Unit]
Description=Stands for what writes
BindsTo=hotpair-lease.service
After=hotpair-lease.service
PartOf=hotpair-active.target
StartLimitIntervalSec=0
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'date +%%s.%%N >/run/writer-started'
ExecStop=/bin/sh -c 'sleep 0.1; date +%%s.%%N >/run/writer-stopped'
`;
const CHAIN = "[Unit]\nBindsTo=hotpair-writer.service\nAfter=hotpair-writer.service\n";

export class StrictPair extends TestPair {
  readonly #values: ReadonlyMap<string, string>;

  private constructor(lab: Lab, pair: Pair, values: ReadonlyMap<string, string>) {
    super(lab, () => pair);
    this.#values = values;
  }

  static override async up(name: string): Promise<StrictPair> {
    const lab = await labUp({ name, image: "ready", witness: true });
    const [pair, values] = await certified(lab, new TestPair(lab).pair);
    const strict = new StrictPair(lab, pair, values);
    await strict.deployAll();
    return strict;
  }

  /** The witness first; then both nodes, with the pair enrolled and both in sync. */
  async deployAll(): Promise<void> {
    const plans = planHosts(this.pair);
    const etcd = `hotpair-etcd-${this.pair.name}`;
    // A lab that was left up has members of another authority.
    const before = `systemctl stop keepalived hotpair-arbiter hotpair-active.target hotpair-quorum hotpair-lease ${etcd} 2>/dev/null || :`;
    await Promise.all(
      plans.map(async (plan) => {
        const host = hostNamed(plan.node);
        await this.on(host, `${before}; rm -rf /var/lib/hotpair/etcd`);
        await this.#place(plan);
      }),
    );
    // The witness first: without it the first node's member has no majority.
    for (const host of ["witness", ...HOSTS] as const) await this.on(host, `systemctl enable -q --now ${etcd}`);
    for (const host of HOSTS) await this.sh(host, `${LEASE} incarnation ${host.slice(-1)}-1`);
    await this.until("node-a", `${LEASE} enroll`);
    await Promise.all(
      HOSTS.map((host) => {
        const units = this.plan(host).units.map(({ name }) => name);
        return this.sh(host, `systemctl enable -q ${units.join(" ")}; systemctl start ${units.toReversed().join(" ")}`);
      }),
    );
    await this.until("node-a", `${LEASE} together b-1`);
    await this.settledWithLease();
  }

  async #place(plan: HostPlan): Promise<void> {
    const secrets = ({ secret }: { secret: string }): string => this.#values.get(secret) ?? KEY_ONE;
    const script = plan.files.map((file) => {
      // What stands for a database keeps data.
      const content = text(file.content, secrets).replace('"keepsData": false', '"keepsData": true');
      const encoded = Buffer.from(content).toString("base64");
      const directory = file.path.slice(0, file.path.lastIndexOf("/"));
      return [
        `mkdir -p ${directory}; echo ${encoded} | base64 -d >${file.path}`,
        `chown ${file.owner}:${file.group} ${file.path}; chmod ${file.mode} ${file.path}`,
      ].join("; ");
    });
    const writer = [
      `cat >/etc/systemd/system/hotpair-writer.service <<'END'\n${WRITER}END`,
      "mkdir -p /etc/systemd/system/hotpair-active.target.d",
      `cat >/etc/systemd/system/hotpair-active.target.d/70-writer.conf <<'END'\n${CHAIN}END`,
      "systemd-tmpfiles --create /etc/tmpfiles.d/60-hotpair.conf; systemctl restart systemd-sysctl",
    ];
    const lines = [...script, ...(plan.node === "witness" ? [] : writer), "systemctl daemon-reload", "sync"];
    await consoleRun(this.lab, hostNamed(plan.node), ["sh", "-eu"], `${lines.join("\n")}\n`);
  }

  async on(host: HostName, command: string): Promise<string> {
    return (await consoleRun(this.lab, host, ["sh", "-c", command])).trim();
  }

  /** Again until it succeeds; 30 s at most. */
  async until(host: HostName, command: string): Promise<void> {
    await this.on(host, `for _ in $(seq 300); do ${command} && exit 0; sleep 0.1; done; exit 1`);
  }

  /** As `settled`, and the owner of the VIP holds the lease, with what writes running there alone, and both in sync. */
  async settledWithLease(timeoutMs = 60_000): Promise<{ active: NodeName; standby: NodeName }> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const { active, standby } = await this.settled(Math.max(1, deadline - Date.now()));
      const [here, there] = await Promise.all([this.status(active), this.status(standby)]);
      const id = active === "node-a" ? "a" : "b";
      const writing = await Promise.all(HOSTS.map((host) => this.writes(host)));
      const well =
        here.authority?.holding === true &&
        there.authority?.holder === id &&
        here.authority.insync?.length === 2 &&
        writing.filter(Boolean).length === 1 &&
        (await this.writes(active));
      if (well) return { active, standby };
      if (Date.now() > deadline)
        throw new Error(`no lease on ${active}: ${JSON.stringify([here.authority, there.authority, writing])}`);
    }
  }

  async writes(host: NodeName): Promise<boolean> {
    return (await this.sh(host, "systemctl is-active hotpair-writer || :")) === "active";
  }

  /** Powers a node on that is alone in sync, and takes the other back into `insync` once it holds the lease. */
  async recover(host: NodeName, peer: NodeName): Promise<void> {
    await powerOn(this.lab, host);
    const id = peer.slice(-1);
    await this.until(host, `${LEASE} together ${id}-1`);
  }

  async reason(host: NodeName): Promise<string> {
    return (await this.status(host)).vips[0]?.gate.reason ?? "";
  }

  // ---- faults

  /** All three networks between the nodes, at one instant; the witness hears both. `clearDrops` ends it. */
  cutBetween(): Promise<void> {
    return this.#cut(
      "drop-between",
      NETWORKS.map((network) => [port("node-a", network), port("node-b", network)] as const),
    );
  }

  /** From its peer and from the witness, at one instant; its clients still reach it. `clearDrops` ends it. */
  isolate(host: NodeName): Promise<void> {
    return this.#cut("drop-isolated", [
      ...NETWORKS.map((network) => [port(host, network), port(other(host), network)] as const),
      [port(host, "public"), port("witness", "public")],
    ]);
  }

  async #cut(table: string, between: readonly (readonly [string, string])[]): Promise<void> {
    const rules = between.flatMap(([one, two]) => [
      `iifname "${one}" oifname "${two}" drop`,
      `iifname "${two}" oifname "${one}" drop`,
    ]);
    const chain = `chain forward { type filter hook forward priority 0; ${rules.join("; ")}; }`;
    await command(this.#atSwitch("nft", "-f", "-"), { input: `table bridge ${table} {\n${chain}\n}\n` });
  }

  /** etcd's ports to and from a host, and nothing else. `clearEtcd` ends it. */
  async cutEtcd(host: NodeName): Promise<void> {
    const port = this.lab.hosts[host].interface.public;
    const rules = ["iifname", "oifname"].flatMap((side) => [
      `${side} "${port}" tcp dport { 2379, 2380 } drop`,
      `${side} "${port}" tcp sport { 2379, 2380 } drop`,
    ]);
    const chain = `chain forward { type filter hook forward priority 0; ${rules.join("; ")}; }`;
    await command(this.#atSwitch("nft", "-f", "-"), { input: `table bridge etcd {\n${chain}\n}\n` });
  }

  async clearEtcd(): Promise<void> {
    await command(this.#atSwitch("sh", "-c", "nft delete table bridge etcd 2>/dev/null || :"));
  }

  #atSwitch(...argv: string[]): string[] {
    return ["nsenter", `--net=/run/netns/${this.lab.namespaces.hosts}`, "--", ...argv];
  }

  override async repair(): Promise<void> {
    await this.clearEtcd();
    for (const host of HOSTS)
      if (this.lab.hosts[host].pid !== undefined)
        await this.sh(host, "systemctl start hotpair-quorum; systemctl unmask -q --runtime hotpair-arbiter");
    await super.repair();
    await this.settledWithLease();
  }
}

/** The lab's own pair with a witness, an authority and certificates of its own. */
async function certified(lab: Lab, plain: Pair): Promise<readonly [Pair, ReadonlyMap<string, string>]> {
  const { authority, witness } = witnessed;
  const there = lab.hosts.witness;
  if (authority === undefined || witness === undefined || there === undefined) throw new Error("no witness");
  const pair: Pair = { ...plain, witness: { ...witness, address: there.address.public }, authority };
  const values = new Map<string, string>();
  const issuer = await newAuthority(pair.name, Date.now());
  const members: Record<HostId, Authority["members"][HostId]> = { ...authority.members };
  for (const id of MEMBERS) {
    const made = await newMember(issuer, pair.name, id, memberAddress(pair, id), Date.now());
    values.set(members[id].key.secret, made.key);
    members[id] = { ...members[id], certificate: made.certificate };
  }
  return [{ ...pair, authority: { ...authority, caCertificate: issuer.certificate, members } }, values];
}
