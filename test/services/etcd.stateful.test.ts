// A pair's authority on three real hosts, by the real plans: it comes up with TLS everywhere, is never interrupted unless
// all three members are healthy, gets a lost member back, leaves an old epoch behind, and shares a witness with another
// pair without either noticing the other.

import { afterAll, beforeAll, expect, test } from "vitest";
import { newAuthority } from "../../infra/cli/certificates.ts";
import { labDown } from "../../infra/lab/lab.ts";
import { describeWithLab } from "../lab/skip.ts";
import { LabAuthority, MEMBERS } from "./authority-lab.ts";

const LAB = "betcd";

describeWithLab("authority of a pair", () => {
  let shop: LabAuthority;

  beforeAll(async () => {
    shop = await LabAuthority.up(LAB);
  });
  afterAll(async () => {
    if (process.env.KEEP_LAB === undefined) await labDown(LAB);
  });

  test("the witness first, then the nodes: three members, and nobody without a certificate is heard", async () => {
    for (const id of MEMBERS) expect(await shop.applied(id)).toMatch(/hotpair-apply: applied \d+ files/);
    expect(await shop.healthy("a")).toBe("a b witness");
    for (const id of MEMBERS) expect((await shop.apply(id)).text).toMatch(/: unchanged\n$/);
    const there = `https://${shop.lab.hosts["node-a"].address.public}`;
    const trusted = "--cacert /etc/hotpair/authority/shop/ca.pem";
    const without = (port: number) => shop.sh("b", `curl -s ${trusted} -o /dev/null ${there}:${port}/health`);
    expect((await without(2379)).code).not.toBe(0);
    expect((await without(2380)).code).not.toBe(0);
    const own = "--cert /etc/hotpair/authority/shop/member.pem --key /etc/hotpair/authority/shop/member.key";
    expect((await shop.sh("b", `curl -s ${trusted} ${own} ${there}:2379/health`)).text).toContain('"health":"true"');
    expect(await shop.ok("a", "stat -c '%a %U' /etc/hotpair/authority/shop/member.key")).toBe("600 etcd\n");
  });

  test("a change that interrupts a member is refused while another is down, and nothing is changed", async () => {
    const before = await shop.pid("a");
    const plan = shop.plan("a");
    const files = plan.files.map((file) =>
      file.path.endsWith("/etcd.env") ? { ...file, content: `${file.content}# a change\n` } : file,
    );
    await shop.ok("b", `systemctl stop ${shop.unit}`);
    const refused = await shop.apply("a", { ...plan, files });
    expect(refused.code).not.toBe(0);
    expect(refused.text).toContain(`${shop.unit} must be restarted, which is not safe now`);
    expect(refused.text).toContain("may be interrupted only while all three are healthy; not healthy: b");
    expect(refused.text).toContain("nothing was changed");
    expect(await shop.pid("a")).toBe(before);
    await shop.ok("b", `systemctl start ${shop.unit}`);
    await until(async () => (await shop.healthy("a")) === "a b witness");
    expect((await shop.apply("a", { ...plan, files })).text).toContain(
      `restarted ${shop.unit.replace(".service", "")}`,
    );
    expect(await shop.pid("a")).not.toBe(before);
    expect(await shop.applied("a")).toContain("restarted");
  });

  test("a member that lost its data does not start as what it was, and comes back as a new one", async () => {
    await shop.etcd("a", "ctl put /hotpair/shop/test kept");
    await shop.ok(
      "b",
      `systemctl stop ${shop.unit} && rm -rf /var/lib/hotpair/etcd/shop && systemctl start ${shop.unit}`,
    );
    await until(async () =>
      (await shop.sh("b", `journalctl -u ${shop.unit} -n 5 -o cat`)).text.includes("lost its data"),
    );
    expect(await shop.healthy("a")).toBe("a witness");
    expect((await shop.sh("b", "ls /var/lib/hotpair/etcd/shop")).text).not.toContain("member");
    const members = (await shop.etcd("a", "ctl member list")).stdout;
    const lost = /^([0-9a-f]+), \w+, b,/m.exec(members)?.[1];
    const peer = `https://${shop.lab.hosts["node-b"].address.public}:2380`;
    expect((await shop.etcd("a", `ctl member remove ${lost}`)).text).toContain("removed");
    const added = await shop.etcd("a", `ctl member add b --learner --peer-urls=${peer}`);
    const id = /Member ([0-9a-f]+) added/.exec(added.text)?.[1];
    expect((await shop.etcd("b", "rejoin 1")).code).toBe(0);
    await until(async () => (await shop.etcd("a", `ctl member promote ${id}`)).code === 0);
    await until(async () => (await shop.healthy("b")) === "a b witness");
    expect((await shop.etcd("b", "ctl get /hotpair/shop/test --print-value-only")).stdout).toBe("kept\n");
  });

  test("a forced epoch leaves the others behind: they stay away until they are taken in again", async () => {
    await shop.ok("witness", `systemctl stop ${shop.unit}`);
    await shop.ok("b", `systemctl stop ${shop.unit}`);
    expect((await shop.etcd("a", "new-epoch")).text).toBe("2\n");
    await shop.etcd("a", "ctl --command-timeout=5s put /hotpair/shop/epoch 2");
    for (const id of ["witness", "b"] as const) await shop.ok(id, `systemctl start ${shop.unit}`);
    for (const id of ["witness", "b"] as const)
      await until(async () =>
        (await shop.sh(id, `journalctl -u ${shop.unit} -n 5 -o cat`)).text.includes("the pair is in epoch 2"),
      );
    expect(await shop.healthy("a")).toBe("a");
    const only = `HOTPAIR_ENDPOINTS=https://${shop.lab.hosts["node-a"].address.public}:2379`;
    const ctl = (words: string) => shop.sh("a", `${only} /usr/lib/hotpair/hotpair-etcd shop ctl ${words}`);
    for (const id of ["witness", "b"] as const) {
      const host = shop.lab.hosts[id === "witness" ? id : "node-b"]?.address.public;
      // etcd takes a new member once those it has were connected for 5 s.
      let added = await ctl("version");
      await until(async () => {
        added = await ctl(`member add ${id} --learner --peer-urls=https://${host}:2380`);
        return added.code === 0;
      });
      expect((await shop.etcd(id, "rejoin 2")).code).toBe(0);
      const number = /Member ([0-9a-f]+) added/.exec(added.text)?.[1];
      await until(async () => (await ctl(`member promote ${number}`)).code === 0);
    }
    await until(async () => (await shop.healthy("b")) === "a b witness");
    expect((await shop.etcd("witness", "ctl get /hotpair/shop/epoch --print-value-only")).stdout).toBe("2\n");
  });

  test("one witness serves two pairs: neither is touched by the other's coming and going", async () => {
    const mail = new LabAuthority(shop.lab, "mail", { clientPort: 2479, peerPort: 2480 });
    await mail.certify(await newAuthority("mail", Date.now()));
    const before = await shop.pid("witness");
    await mail.applied("witness");
    expect(await mail.ok("witness", "systemctl is-active hotpair-etcd-mail hotpair-etcd-shop")).toBe(
      "active\nactive\n",
    );
    expect((await shop.apply("witness")).text).toMatch(/: unchanged\n$/);
    expect((await mail.remove("witness", "somebody-else")).text).toContain("belongs to another resource");
    const removed = await mail.remove("witness");
    expect(removed.code, removed.text).toBe(0);
    expect(removed.text).toContain("no longer knows of the pair mail, and serves other pairs as before");
    expect(await shop.ok("witness", "find / -xdev -name '*mail*' -path '*hotpair*' 2>/dev/null; true")).toBe("");
    expect(await shop.pid("witness")).toBe(before);
    expect(await shop.healthy("a")).toBe("a b witness");
    const last = await shop.remove("witness");
    expect(last.code, last.text).toBe(0);
    expect(await shop.ok("witness", "ls -d /etc/hotpair /usr/lib/hotpair /var/lib/hotpair 2>/dev/null; true")).toBe("");
    expect(await shop.healthy("a")).toBe("a b");
  });
});

async function until(condition: () => Promise<boolean>, milliseconds = 20_000): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
