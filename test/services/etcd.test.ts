// What a host gets to be a member of a pair's authority: which certificates, under which limits, interrupted when.

import { expect, test } from "vitest";
import type { HostId, Pair } from "../../infra/model/pair.ts";
import { planHosts, planWitness } from "../../infra/plan/plan.ts";
import { etcd } from "../../infra/services/etcd.ts";
import { labPair, witnessed } from "../model/pairs.ts";

const contribution = (pair: Pair, id: HostId) => {
  const found = id === "witness" ? etcd.witness?.(pair) : etcd.plan(pair, id);
  if (found === undefined) throw new Error(`nothing for ${id}`);
  return found;
};
const fileOf = (pair: Pair, id: HostId, name: string) => {
  const found = contribution(pair, id).files.find(({ path }) => path.endsWith(name));
  if (found === undefined) throw new Error(`no ${name} for ${id}`);
  return found;
};

test("a pair without an authority has no member anywhere", () => {
  expect(etcd.plan(labPair, "a")).toBeUndefined();
  expect(etcd.witness?.(labPair)).toBeUndefined();
  expect(planWitness(labPair)).toBeUndefined();
  const paths = planHosts(labPair).flatMap(({ files }) => files.map(({ path }) => path));
  expect(paths.filter((path) => /etcd|lease|hotpair-quorum|authority/.test(path))).toEqual([]);
});

test.each(["a", "b", "witness"] as const)("%s: only its own key, secret and readable to etcd alone", (id) => {
  const { files } = contribution(witnessed, id);
  const secrets = files.filter(({ secret }) => secret);
  expect(secrets).toHaveLength(1);
  expect(secrets[0]).toMatchObject({
    mode: "0600",
    owner: "etcd",
    content: [{ secret: `authority.members.${id}.key` }],
  });
  expect(JSON.stringify(files)).not.toContain("caKey");
});

test("while the authority is exchanged, members trust both; they start again for that, and not for their own certificate", () => {
  const authority = witnessed.authority && { ...witnessed.authority, previousCaCertificate: "before\n" };
  const trust = fileOf({ ...witnessed, authority }, "a", "/ca.pem");
  expect(trust.content).toBe(`${authority?.caCertificate}before\n`);
  expect(trust.onChange).toEqual({ action: "restart", unit: "hotpair-etcd-shop.service" });
  expect(fileOf(witnessed, "a", "/member.pem").onChange).toEqual({ action: "none" });
  expect(fileOf(witnessed, "a", "/member.key").onChange).toEqual({ action: "none" });
});

test("no member is interrupted unless its program agrees", () => {
  for (const plan of planHosts(witnessed)) {
    const unit = plan.units.find(({ name }) => name === "hotpair-etcd-shop.service");
    const program = `/usr/lib/hotpair/${plan.node === "witness" ? "pairs/shop/" : ""}hotpair-etcd`;
    expect(unit?.guard).toBe(`${program} shop may-stop`);
    expect(plan.files.some(({ path }) => path === program)).toBe(true);
  }
});

test("members listen on the network that clients use, and the witness where it is reached", () => {
  const listens = (id: HostId) =>
    /ETCD_LISTEN_CLIENT_URLS=(\S+)/.exec(String(fileOf(witnessed, id, "/etcd.env").content))?.[1];
  expect([listens("a"), listens("b"), listens("witness")]).toEqual([
    "https://198.18.0.11:2379",
    "https://198.18.0.12:2379",
    "https://198.18.0.13:2379",
  ]);
});

test("on a witness everything bears the pair's name: no other pair plans the same file or unit", () => {
  const one = planWitness(witnessed);
  const other = planWitness({ ...witnessed, name: "mail" });
  const names = (plan: typeof one) => [...(plan?.files ?? []).map(({ path }) => path), ...(plan?.state ?? [])];
  expect(names(one).filter((name) => names(other).includes(name))).toEqual([]);
  const units = (plan: typeof one) => (plan?.units ?? []).map(({ name }) => name);
  expect(units(one).filter((name) => units(other).includes(name))).toEqual([]);
});

test("a member's memory is bounded by its database and no more", () => {
  const unit = String(fileOf(witnessed, "witness", ".service").content);
  expect(unit).toContain("MemoryMax=256M");
  expect(unit).toContain("TasksMax=256");
});
