// What hotpair-drbd, its units and its fence-peer handler do with the real driver of two kernels: first set-up, promotion, power
// cut, a network of replication that is cut, a primary that stood still while the other node went on, hand-over, copies that
// differ, split brain, a failed disk, another server. What a client was told is kept, is kept; a primary that was overtaken
// acknowledges nothing. What a runbook tells to type, is typed as it stands there. The lease is the test's own
// (drbd-authority.ts): etcd and the arbiter want faster machines than emulated ones. The tests build on one another.

import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { freeze, pause, powerCut, powerOn, resume, setLink, thaw } from "../../infra/lab/faults.ts";
import { consoleRun, type Lab, labDown, labUp, type NodeName, replaceHardware } from "../../infra/lab/lab.ts";
import { ms, seconds } from "../../infra/model/duration.ts";
import type { Node, Pair } from "../../infra/model/pair.ts";
import { base } from "../../infra/services/base.ts";
import { drbd } from "../../infra/services/drbd.ts";
import { describeWith } from "../lab/skip.ts";
import { diskPair } from "../model/pairs.ts";
import { type DrbdAuthority, startAuthority } from "./drbd-authority.ts";
import { runbook } from "./runbook.ts";

const NAME = "t-drbd";
const DISK = "/dev/disk/by-id/virtio-data";
const SECRET = "aB3".repeat(9);
/** D and T of the lease; an emulated machine takes a second to start a program. */
const DEADLINE_S = 8;
const TAKEOVER_MS = 16_000;
/** Far beyond what anything takes here: only what never happens fails by it. */
const PATIENCE_MS = 300_000;

const describeWithMachines = await describeWith({ machines: true });

const lease = `[Unit]
Description=Stands in for hotpair-lease
PartOf=hotpair-active.target
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/lib/hotpair/hotpair-lease hold
ExecStopPost=/bin/rm -f /run/hotpair/holder
RuntimeDirectory=hotpair
RuntimeDirectoryPreserve=yes
TimeoutStartSec=infinity
TimeoutStopSec=2s
`;
const target = `[Unit]
Description=Stands in for the target of hotpair-arbiter
Wants=hotpair-lease.service
StopWhenUnneeded=no
`;
const notes = `[Unit]
Description=Somebody's own service
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/notes.py
Restart=always
RestartSec=1s
`;

/** The pair of one resource that a lab of virtual machines can have. */
function pairIn(lab: Lab): Pair {
  const placed = (node: Node): Node => ({
    ...node,
    networks: {
      ...node.networks,
      storage: {
        interface: lab.hosts[node.id === "a" ? "node-a" : "node-b"].interface.storage,
        address: `${lab.hosts[node.id === "a" ? "node-a" : "node-b"].address.storage}/24`,
        mtu: 1500,
      },
    },
  });
  const [volume] = diskPair.volumes;
  if (volume === undefined) throw new Error("the pair has no volume");
  return {
    ...diskPair,
    nodes: [placed(diskPair.nodes[0]), placed(diskPair.nodes[1])],
    drbd: {
      ...diskPair.drbd,
      resources: [{ name: "data", minor: 0, port: 7789, disks: { a: DISK, b: DISK }, metadata: undefined }],
      // Emulated processors answer late, and that is no fault of theirs.
      pingInterval: seconds(4),
      pingTimeout: ms(3_000),
      verify: "never",
    },
    volumes: [{ ...volume, units: ["notes.service"] }],
  };
}

/** What `hotpair-drbd status --json` says, of this resource and of the whole. */
interface DrbdStatus {
  readonly devices: readonly {
    readonly role: string;
    readonly connection: string;
    readonly disk: string;
    readonly peerDisk: string;
    readonly suspended: boolean;
  }[];
  readonly problems: readonly string[];
}

describeWithMachines("DRBD of two kernels", () => {
  let lab: Lab;
  let authority: DrbdAuthority;
  /** Every line of which a client was told that it is kept. */
  const kept: string[] = [];

  beforeAll(async () => {
    lab = await labUp({ name: NAME, image: "ready", machines: true });
    authority = await startAuthority(`${lab.prefix("public")}.1`, TAKEOVER_MS);
    await Promise.all((["a", "b"] as const).map(install));
  });
  afterAll(async () => {
    authority?.stop();
    if (process.env.KEEP_LAB === undefined) await labDown(NAME);
  });

  const on = (host: NodeName, command: string): Promise<string> => consoleRun(lab, host, ["sh", "-c", command]);
  const hotpairDrbd = (host: NodeName, words: string) => on(host, `/usr/lib/hotpair/hotpair-drbd ${words}`);

  /** What `hotpair up` would install of DRBD and under it, and what stands in for the rest. */
  async function install(id: "a" | "b"): Promise<void> {
    const source = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");
    const access = { node: id, address: `${lab.prefix("public")}.1`, port: authority.port, deadline: DEADLINE_S };
    const planned = [base, drbd].flatMap((service) => service.plan(pairIn(lab), id)?.files ?? []);
    const files = [
      ...planned.map(({ path, mode, content }) => ({
        path,
        mode,
        text:
          typeof content === "string"
            ? content
            : content.map((part) => (typeof part === "string" ? part : SECRET)).join(""),
      })),
      { path: "/usr/lib/hotpair/hotpair-lease", mode: "0755", text: source("drbd-lease.py") },
      { path: "/etc/hotpair/test-lease.json", mode: "0644", text: `${JSON.stringify(access)}\n` },
      { path: "/etc/systemd/system/hotpair-lease.service", mode: "0644", text: lease },
      { path: "/etc/systemd/system/hotpair-active.target", mode: "0644", text: target },
      { path: "/etc/systemd/system/notes.service", mode: "0644", text: notes },
      { path: "/usr/local/lib/notes.py", mode: "0644", text: source("drbd-notes.py") },
    ];
    const script = [
      "set -e",
      "mkdir -p /var/log/hotpair /var/lib/hotpair /run/hotpair",
      ...files.flatMap(({ path, mode, text }) => [
        `mkdir -p "$(dirname ${path})"`,
        `cat > ${path} <<'END OF FILE'`,
        text.replace(/\n$/, ""),
        "END OF FILE",
        `chmod ${mode} ${path}`,
      ]),
      "systemctl daemon-reload",
      "systemctl restart systemd-sysctl",
      "systemctl enable --quiet hotpair-drbd hotpair-drbd-watch hotpair-drbd-primary",
      "/usr/lib/hotpair/hotpair-drbd check < /dev/null",
      "systemctl start hotpair-drbd hotpair-drbd-watch",
      "",
    ];
    await consoleRun(lab, id === "a" ? "node-a" : "node-b", ["sh", "-s"], script.join("\n"));
  }

  async function eventually<Value>(what: string, look: () => Promise<Value | undefined | false>): Promise<Value> {
    const started = performance.now();
    for (let last: unknown = "nothing"; ; await sleep(250)) {
      const found = await look().catch((error: unknown) => {
        last = error;
        return undefined;
      });
      if (found !== undefined && found !== false) {
        console.log(`${what} after ${((performance.now() - started) / 1_000).toFixed(1)} s`);
        return found;
      }
      if (performance.now() - started > PATIENCE_MS) {
        const states = await Promise.all(
          (["node-a", "node-b"] as const).map((host) =>
            on(
              host,
              "cat /proc/drbd; tail -5 /var/log/hotpair/audit.log; systemctl --failed --no-legend; systemctl list-jobs --no-legend",
            ).catch(String),
          ),
        );
        throw new Error(`not within ${PATIENCE_MS / 1_000} s: ${what}: ${last}\n${states.join("\n")}`);
      }
    }
  }

  /** What the service on a node answers; rejects when it does not within the time. */
  function ask(host: NodeName, request: string, ends: RegExp, withinMs = 10_000): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: lab.hosts[host].address.public, port: 7000 });
      const timer = setTimeout(() => socket.destroy(new Error(`no answer to ${request}`)), withinMs);
      let text = "";
      socket.on("connect", () => socket.write(`${request}\n`));
      socket.setEncoding("utf8").on("data", (data: string) => {
        text += data;
        if (!ends.test(text)) return;
        resolve(text);
        socket.destroy();
      });
      socket.on("error", reject);
      socket.on("close", () => {
        clearTimeout(timer);
        reject(new Error(`closed before it answered ${request}`));
      });
    });
  }

  async function put(host: NodeName, word: string): Promise<true> {
    expect(await ask(host, `put ${word}`, /\n$/)).toBe(`kept ${word}\n`);
    kept.push(word);
    return true;
  }
  /** Lines that were acknowledged and are not there. */
  async function lost(host: NodeName): Promise<string[]> {
    const there = new Set((await ask(host, "all", /^\.$/m, 30_000)).split("\n"));
    return kept.filter((word) => !there.has(word));
  }

  /** A client that writes one line after the other until it is stopped; what fails, it tries again as another line. */
  function writeTo(host: NodeName, name: string): () => Promise<number> {
    let going = true;
    let done = 0;
    const loop = (async () => {
      for (let i = 0; going; i++)
        await put(host, `${name}-${i}`).then(
          () => {
            done += 1;
          },
          () => sleep(50),
        );
    })();
    return async () => {
      going = false;
      await loop;
      return done;
    };
  }

  const activate = (host: NodeName) => on(host, "systemctl start --no-block hotpair-active.target");
  async function handOver(from: NodeName, to: NodeName): Promise<void> {
    await on(from, "systemctl stop hotpair-active.target");
    await eventually(`${from} has let go`, async () =>
      /"role": "Secondary"/.test(await hotpairDrbd(from, "status --json")),
    );
    await activate(to);
  }
  const serves = (host: NodeName, word: string) => eventually(`${host} serves`, () => put(host, word));
  const bothListed = () => eventually("both are listed", async () => authority.insync().length === 2);
  const heard = (host: NodeName, words: string) =>
    eventually(`"${words}" of ${host}`, () => on(host, `grep -c '${words}' /var/log/hotpair/audit.log`));
  /** Both copies are the same, as a node sees it, and nothing is wrong. */
  const whole = (host: NodeName, role: "Primary" | "Secondary") =>
    eventually(`${host} is ${role} and whole`, async () => {
      const { devices, problems } = JSON.parse(await hotpairDrbd(host, "status --json")) as DrbdStatus;
      const [device] = devices;
      const equal = device?.connection === "Connected" && device.disk === "UpToDate" && device.peerDisk === "UpToDate";
      if (equal && device.role === role && !device.suspended && problems.length === 0) return true;
      throw new Error(JSON.stringify({ devices, problems }));
    });

  /**
   * Types what a runbook says on its servers, block after block, the last one until it says that the matter is over; answers
   * all that was said. `hands`: what is done before the block that begins with this line, by hands or from the project's
   * directory.
   */
  async function follow(
    name: string,
    hosts: Readonly<Record<"NODE" | "PEER", NodeName>>,
    hands: Readonly<Record<string, () => Promise<unknown>>> = {},
  ): Promise<string> {
    const others = { DISK, RESOURCE: "data" };
    const blocks = runbook(name, { hosts, others }).filter(({ on: places }) => places.length > 0);
    const begins = blocks.map(({ lines }) => lines[0]);
    for (const line of Object.keys(hands)) expect(begins).toContain(line);
    let said = "";
    for (const { on: places, lines, over } of blocks) {
      await hands[lines[0] ?? ""]?.();
      for (const host of places) {
        const type = () => on(host, ["set -e", ...lines].join("\n"));
        const isOver = async () => {
          const answer = await type();
          if (/^ *!/m.test(answer)) throw new Error(answer);
          return answer;
        };
        const answer = over ? await eventually(`${name}: it is over on ${host}`, isOver) : await type();
        console.log(`${name}, ${host}: ${lines.join("; ")}\n${answer}`);
        said += answer;
      }
    }
    return said;
  }

  it("looks at disks and changes none before it is told to", async () => {
    for (const host of ["node-a", "node-b"] as const) {
      expect(await hotpairDrbd(host, "probe")).toMatch(/^data: \S+: empty: /);
      expect(JSON.parse(await hotpairDrbd(host, "status --json"))).toMatchObject({
        state: "new",
        driver: expect.stringMatching(/^8\.4\./),
      });
      await expect(hotpairDrbd(host, "begin")).rejects.toThrow("not prepared on this node");
    }
  });

  it("is set up for the first time; disks that hold nothing are not copied", async () => {
    const prepared = await Promise.all(
      (["node-a", "node-b"] as const).map((host) => hotpairDrbd(host, "prepare --read-all")),
    );
    for (const said of prepared) expect(said).toContain("every disk is all zeros");
    const begun = await hotpairDrbd("node-a", "begin");
    expect(begun).toContain("both disks are all zeros, nothing is copied");
    expect(begun).toContain("ext4 made on /dev/drbd0");
    expect(authority.insync()).toEqual(["a"]);
    await expect(hotpairDrbd("node-b", "begin")).rejects.toThrow("the pair has begun already");
  });

  it("serves on the node that holds the lease, and lists its peer", async () => {
    await activate("node-a");
    await serves("node-a", "first");
    expect(await on("node-a", "findmnt -no SOURCE,FSTYPE /srv/data")).toMatch(/^\/dev\/drbd0\s+ext4\n$/);
    await bothListed();
    await whole("node-a", "Primary");
    expect(
      await on("node-b", "systemctl is-active notes.service || true; mountpoint -q /srv/data || echo not mounted"),
    ).toBe("inactive\nnot mounted\n");
    // By hand, on the wrong node: the driver itself says no, and nothing starts without the lease.
    await expect(on("node-b", "drbdadm primary data")).rejects.toThrow("Multiple primaries not allowed");
    await expect(hotpairDrbd("node-b", "may-start")).rejects.toThrow("does not hold the lease");
  });

  it("loses nothing when the active node loses power; the other one asks, is promoted and serves", async () => {
    const stop = writeTo("node-a", "before-cut");
    await sleep(5_000);
    await powerCut(lab, "node-a");
    await activate("node-b");
    expect(await stop()).toBeGreaterThan(0);
    await serves("node-b", "after-cut");
    expect(await lost("node-b")).toEqual([]);
    expect(authority.insync()).toEqual(["b"]);
    await heard("node-b", "fence-peer 4");

    await powerOn(lab, "node-a");
    await bothListed();
    await whole("node-a", "Secondary");
  });

  it("goes on alone while the network of replication is cut, and copies afterwards what the peer lacks", async () => {
    // At either end: whoever loses the carrier loses the address of that network, too.
    for (const host of ["node-a", "node-b"] as const) {
      await setLink(lab, host, "storage", false);
      await eventually("the peer is off the list", async () => authority.insync().join() === "b");
      await serves("node-b", `while-${host}-is-cut`);
      await setLink(lab, host, "storage", true);
      await bothListed();
      await whole("node-b", "Primary");
      await whole("node-a", "Secondary");
    }
    expect(await lost("node-b")).toEqual([]);
  });

  /** Who stood still went on as a primary of the past: it is asked for longer than its lease may have had left. */
  async function acknowledgesNothing(host: NodeName, other: NodeName): Promise<void> {
    const late: string[] = [];
    const until = performance.now() + 1_000 * (DEADLINE_S + 5);
    for (let i = 0; performance.now() < until; i++)
      await ask(host, `put late-${i}`, /\n$/, 2_000).then(
        (said) => late.push(said),
        () => sleep(50),
      );
    expect(late).toEqual([]);
    await put(other, `after-${host}-went-on`);
    // What waits in the kernel, nothing ends; as the page says, the node has to be switched off.
    await powerCut(lab, host);
    await powerOn(lab, host);
    await bothListed();
    await whole(host, "Secondary");
    expect(await lost(other)).toEqual([]);
  }

  it("acknowledges nothing on a primary that stood still with its clocks while the other node took over", async () => {
    const stop = writeTo("node-b", "before-pause");
    await sleep(3_000);
    await pause(lab, "node-b");
    await stop();
    await activate("node-a");
    await serves("node-a", "after-pause");
    expect(await lost("node-a")).toEqual([]);
    await resume(lab, "node-b");
    await acknowledgesNothing("node-b", "node-a");
  });

  it("acknowledges nothing on a primary that stood still while its clocks went on", async () => {
    const stop = writeTo("node-a", "before-freeze");
    await sleep(3_000);
    await freeze(lab, "node-a");
    await stop();
    await activate("node-b");
    await serves("node-b", "after-freeze");
    expect(await lost("node-b")).toEqual([]);
    await thaw(lab, "node-a");
    await acknowledgesNothing("node-a", "node-b");
  });

  it("hands over: one lets go of everything in its order, then the other one serves", async () => {
    await handOver("node-b", "node-a");
    await serves("node-a", "after-hand-over");
    expect(await lost("node-a")).toEqual([]);
    expect(await on("node-b", "mountpoint -q /srv/data || echo not mounted")).toBe("not mounted\n");
    expect(authority.insync()).toEqual(["a", "b"]);
  });

  it("finds what differs between the copies, and nothing else", async () => {
    // Behind the driver's back, and where the file system has nothing.
    await on(
      "node-b",
      `for at in 100 300; do dd if=/dev/urandom of=${DISK} bs=4k count=1 seek=\${at}M oflag=direct,seek_bytes; done`,
    );
    await expect(hotpairDrbd("node-a", "verify")).rejects.toThrow("both copies differ: data");
    expect(await hotpairDrbd("node-a", "status --json")).toContain('"outOfSyncKiB": 8');
    await on("node-a", "drbdadm disconnect data; drbdadm connect data");
    // What was found is a problem until it was copied; of the list, nobody need have been taken off yet.
    await whole("node-a", "Primary");
    await whole("node-b", "Secondary");
    await bothListed();
    expect(await hotpairDrbd("node-a", "verify")).toContain("both copies are equal: data");
  });

  it("resolves no split brain by itself; one copy is given up by the name of its node", async () => {
    await setLink(lab, "node-a", "storage", false);
    await eventually("the peer is off the list", async () => authority.insync().join() === "a");
    await serves("node-a", "while-split");
    // Somebody who knows better: a handler that lets the other node write as well.
    const configuration = "/etc/hotpair/drbd/8.4/global_common.conf";
    await on(
      "node-b",
      `set -e
      printf '#!/bin/sh\nexit 7\n' > /root/seven; chmod 755 /root/seven; cp ${configuration} /root/kept.conf
      sed -i 's|fence-peer ".*"|fence-peer "/root/seven"|' ${configuration}
      # A driver that takes its peer for connected asks no handler, and one that loses it at that moment asks too late.
      while grep -q cs:Connected /proc/drbd; do sleep 0.2; done
      drbdadm primary data
      mount /dev/drbd0 /mnt; echo astray > /mnt/astray; umount /mnt
      until drbdadm secondary data; do sleep 1; done; cat /root/kept.conf > ${configuration}`,
    );
    await setLink(lab, "node-a", "storage", true);
    for (const host of ["node-a", "node-b"] as const)
      await eventually(`${host} says so`, async () => /split brain since/.test(await hotpairDrbd(host, "status")));
    await put("node-a", "after-split");
    expect(authority.insync()).toEqual(["a"]);
    await expect(hotpairDrbd("node-b", "recover --discard node-a")).rejects.toThrow("Nothing was changed");
    await expect(hotpairDrbd("node-a", "recover --discard node-a")).rejects.toThrow("this node holds the lease");

    const said = await follow("split-brain", { NODE: "node-b", PEER: "node-a" });
    expect(said).toContain("this node does not hold the lease");
    expect(said).toContain("given up: data");
    expect(await on("node-b", "tar -xOf /root/data-given-up.tar ./astray")).toBe("astray\n");
    await bothListed();
    await whole("node-b", "Secondary");
    await whole("node-a", "Primary");
    expect(await lost("node-a")).toEqual([]);
    expect(await on("node-a", "ls /srv/data")).not.toContain("astray");
  });

  it("serves from the peer's disk when its own fails; the disk that replaces it gets a copy", async () => {
    // What the driver does at an I/O error (on-io-error detach).
    await on("node-a", "drbdadm detach --force data");
    await serves("node-a", "without-a-disk");
    await heard("node-a", "the disk failed or was detached");
    await on("node-a", "systemctl stop hotpair-active.target");
    await activate("node-b");
    await serves("node-b", "from-the-other-disk");
    expect(await lost("node-b")).toEqual([]);
    await eventually("the failed copy is off the list", async () => authority.insync().join() === "b");

    const said = await follow(
      "lost-disk",
      { NODE: "node-a", PEER: "node-b" },
      {
        "/usr/lib/hotpair/hotpair-drbd probe": async () => {
          await powerCut(lab, "node-a");
          await replaceHardware(lab, "node-a", "data disk");
          await powerOn(lab, "node-a");
          // Nothing is done to a disk unasked, even to an empty one.
          await eventually("node-a finds no copy", () => on("node-a", "systemctl is-failed hotpair-drbd"));
        },
      },
    );
    expect(said).toMatch(/^data: \S+: empty: /m);
    expect(said).toContain("node-b's copy comes now");
    await bothListed();
    await whole("node-a", "Secondary");
    expect(await lost("node-b")).toEqual([]);
  });

  it("goes on alone until another server has come in a node's place, which gets a copy and serves from it", async () => {
    await powerCut(lab, "node-a");
    await eventually("the node is off the list", async () => authority.insync().join() === "b");
    await serves("node-b", "without-a-peer");
    const said = await follow(
      "lost-node",
      { NODE: "node-a", PEER: "node-b" },
      {
        "/usr/lib/hotpair/hotpair-drbd probe": async () => {
          await replaceHardware(lab, "node-a", "server");
          await powerOn(lab, "node-a");
          // In the place of `hotpair replace`.
          await install("a");
        },
      },
    );
    expect(said).toMatch(/^data: \S+: empty: /m);
    expect(said).toContain("node-b's copy comes now");
    await bothListed();
    await handOver("node-b", "node-a");
    await serves("node-a", "on-another-server");
    expect(await lost("node-a")).toEqual([]);
    expect(authority.insync()).toEqual(["a", "b"]);
  });
});
