// A real pair with a witness in a lab of its own: the planned files on three hosts, with certificates made as
// `hotpair authority init` makes them, and one-line access to each host. HAProxy and nginx are left out: the authority
// needs neither.

import { type CertificateAuthority, newAuthority, newMember } from "../../infra/cli/certificates.ts";
import { type HostName, type Lab, labUp } from "../../infra/lab/lab.ts";
import type { Authority, HostId, Pair, SecretRef } from "../../infra/model/pair.ts";
import type { HostPlan } from "../../infra/model/plan.ts";
import { makeBundle } from "../../infra/plan/bundle.ts";
import { applyCommand, removeCommand } from "../../infra/plan/commands.ts";
import { planHosts } from "../../infra/plan/plan.ts";
import { memberAddress } from "../../infra/services/etcd.ts";
import { type RunResult, run } from "../../infra/ssh/run.ts";
import { witnessed } from "../model/pairs.ts";

export const MEMBERS: readonly [HostId, HostId, HostId] = ["witness", "a", "b"];
export const hostOf = (id: HostId): HostName => (id === "witness" ? id : `node-${id}`);

export interface Said extends RunResult {
  readonly text: string;
}

export class LabAuthority {
  readonly lab: Lab;
  pair: Pair;
  /** Values by the name of their reference. */
  readonly values = new Map<string, string>([["beaconKey", "0123456789abcdef".repeat(4)]]);

  constructor(lab: Lab, name = "shop", etcd: Partial<Authority["etcd"]> = {}) {
    this.lab = lab;
    this.pair = inLab(lab, name, etcd);
  }

  /** Hosts that are up and know nothing yet. */
  static async up(lab: string): Promise<LabAuthority> {
    const there = new LabAuthority(await labUp({ name: lab, image: "ready", witness: true }));
    await there.certify(await newAuthority(there.pair.name, Date.now()));
    return there;
  }

  /** Gives every member a certificate of `authority`, which all of them then trust, and that before it if it is given. */
  async certify(authority: CertificateAuthority, previous?: string): Promise<void> {
    await this.issue(authority);
    this.trust(authority.certificate, previous);
  }

  trust(certificate: string, previous?: string): void {
    const before = this.#authority();
    this.pair = {
      ...this.pair,
      authority: { ...before, caCertificate: certificate, previousCaCertificate: previous },
    };
  }

  async issue(authority: CertificateAuthority): Promise<void> {
    const members = { ...this.#authority().members };
    for (const id of MEMBERS) {
      const made = await newMember(authority, this.pair.name, id, memberAddress(this.pair, id), Date.now());
      this.values.set(`authority.members.${id}.key`, made.key);
      members[id] = { ...members[id], certificate: made.certificate };
    }
    this.pair = { ...this.pair, authority: { ...this.#authority(), members } };
  }

  #authority(): Authority {
    if (this.pair.authority === undefined) throw new Error("the pair has no authority");
    return this.pair.authority;
  }

  plan(id: HostId): HostPlan {
    const found = planHosts(this.pair).find(({ node }) => node === id);
    if (found === undefined) throw new Error(`no plan for ${id}`);
    return found;
  }

  readonly secrets = ({ secret }: SecretRef): string => {
    const value = this.values.get(secret);
    if (value === undefined) throw new Error(`no secret ${secret}`);
    return value;
  };

  async apply(id: HostId, plan = this.plan(id)): Promise<Said> {
    return this.sh(id, applyCommand(`owner-${id}`, plan.witnessOf), makeBundle(plan, this.secrets));
  }

  async applied(id: HostId): Promise<string> {
    const { code, text } = await this.apply(id);
    if (code !== 0) throw new Error(`${id}:\n${text}`);
    return text;
  }

  remove(id: HostId, owner = `owner-${id}`): Promise<Said> {
    return this.sh(id, removeCommand(owner, { last: true, witnessOf: this.plan(id).witnessOf }));
  }

  async sh(id: HostId, command: string, input = ""): Promise<Said> {
    const host = this.lab.hosts[hostOf(id)];
    if (host === undefined) throw new Error(`the lab has no ${id}`);
    const result = await run(host.ssh, command, { input, timeoutMs: 90_000 });
    return { ...result, text: result.stdout + result.stderr };
  }

  async ok(id: HostId, command: string): Promise<string> {
    const { code, text } = await this.sh(id, command);
    if (code !== 0) throw new Error(`${id}: ${command} ended with exit code ${code}:\n${text}`);
    return text;
  }

  /** hotpair-etcd on a host, for its pair. */
  etcd(id: HostId, words: string): Promise<Said> {
    const library = `/usr/lib/hotpair${id === "witness" ? `/pairs/${this.pair.name}` : ""}`;
    return this.sh(id, `${library}/hotpair-etcd ${this.pair.name} ${words}`);
  }

  /** Who is healthy, as one host sees it, e.g. `a b witness`. */
  async healthy(from: HostId): Promise<string> {
    const { stdout } = await this.etcd(from, "status");
    return [...stdout.matchAll(/^(\S+) healthy/gm)].map(([, name]) => name).join(" ");
  }

  get unit(): string {
    return `hotpair-etcd-${this.pair.name}.service`;
  }

  pid(id: HostId): Promise<string> {
    return this.ok(id, `systemctl show -p MainPID --value ${this.unit}`);
  }
}

function inLab(lab: Lab, name: string, etcd: Partial<Authority["etcd"]>): Pair {
  const { authority, witness } = witnessed;
  const there = lab.hosts.witness;
  if (authority === undefined || witness === undefined || there === undefined) throw new Error("no witness");
  const [a, b] = witnessed.nodes;
  const node = (one: typeof a): typeof a => {
    const host = lab.hosts[`node-${one.id}`];
    const at = (network: "public" | "heartbeat" | "storage") => ({
      interface: host.interface[network],
      address: `${host.address[network]}/24`,
      mtu: 1500,
    });
    return { ...one, networks: { public: at("public"), heartbeat: at("heartbeat"), storage: at("storage") } };
  };
  const prefix = (network: "public" | "heartbeat" | "storage") => ({
    prefix: `${lab.prefix(network)}.0/24`,
    gateway: undefined,
  });
  return {
    ...witnessed,
    name,
    haproxy: undefined,
    nginx: undefined,
    networks: { public: prefix("public"), heartbeat: prefix("heartbeat"), storage: prefix("storage") },
    nodes: [node(a), node(b)],
    vips: witnessed.vips.map((vip) => ({ ...vip, address: `${lab.prefix("public")}.100/24` })),
    witness: { ...witness, address: there.address.public },
    authority: { ...authority, etcd: { ...authority.etcd, ...etcd } },
  };
}
