// What the real systemd-networkd says of every rendered file, and how one interface is taken over from its owner, judged by its
// peer and given back. In namespaces of their own, over the lab's image: no whole host is needed for that, only a reload in place
// of systemd's. Bonds and VLANs want a kernel that has them, which
// is not every machine's: here their files are read, and network.stateful.test.ts is where they carry packets.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureImage } from "../../infra/lab/image.ts";
import type { Pair } from "../../infra/model/pair.ts";
import { network } from "../../infra/services/network.ts";
import { describeWithLab } from "../lab/skip.ts";
import { labPair, managedPair } from "../model/pairs.ts";

/** $1: lowerdir of the image, $2: a directory with `files` and room for `m`, $3: what is done once systemd-networkd runs. */
const SERVER = `set -e
mount -t tmpfs tmpfs "$2/m"
mkdir "$2/m/upper" "$2/m/work" "$2/m/root"
root=$2/m/root
mount -t overlay -o "lowerdir=$1,upperdir=$2/m/upper,workdir=$2/m/work" overlay "$root"
mount -t proc proc "$root/proc"; mount -t sysfs -o ro sysfs "$root/sys"; mount -t tmpfs tmpfs "$root/run"; mount --bind /dev "$root/dev"
for name in links leases lldp; do mkdir -p "$root/run/systemd/netif/$name"; done
chroot "$root" chown -R systemd-network:systemd-network /run/systemd/netif
cp -r "$2/files/." "$root/"
printf '#!/bin/sh\\n[ "$1" != reload ] || { kill -HUP $(cat /run/networkd.pid); sleep 0.3; }\\n' > "$root/usr/bin/systemctl"
ip link set lo up
networkd() {
  chroot "$root" sh -c 'echo $$ > /run/networkd.pid; SYSTEMD_LOG_TARGET=console exec /usr/lib/systemd/systemd-networkd' > "$root/run/log" 2>&1 &
  sleep 2
}
hotpair() { echo "# $1"; chroot "$root" /usr/lib/hotpair/hotpair-network "$1" || echo "exit code $?"; }
used() { for link; do grep -h ^NETWORK_FILE= "$root/run/systemd/netif/links/$(cat "$root/sys/class/net/$link/ifindex")" || echo none; done; }
eval "$3"
`;

describeWithLab("systemd-networkd itself", () => {
  let lower: string;
  const directory = mkdtempSync(join(tmpdir(), "hotpair-networkd-"));

  beforeAll(async () => {
    lower = await ensureImage("ready");
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** What the steps print, on a server with the first node's files of `pair` and with these. */
  async function server(pair: Pair, others: Readonly<Record<string, string>>, steps: string): Promise<string> {
    const at = mkdtempSync(join(directory, "server-"));
    mkdirSync(join(at, "m"));
    const planned = (network.plan(pair, "a")?.files ?? []).map(
      ({ path, content, mode }) => [path, String(content), Number.parseInt(mode, 8)] as const,
    );
    for (const [path, content, mode] of [
      ...planned,
      ...Object.entries(others).map(([path, content]) => [path, content, 0o644] as const),
    ]) {
      mkdirSync(dirname(join(at, "files", path)), { recursive: true });
      writeFileSync(join(at, "files", path), content, { mode });
    }
    const words = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", SERVER, "sh"];
    const child = spawn("unshare", [...words, lower, at, steps], { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += chunk));
    await new Promise((resolve) => child.on("close", resolve));
    return said;
  }

  test("has no complaint of any file, and names what it does not know in another one", async () => {
    const said = await server(
      managedPair,
      {
        "/etc/systemd/network/06-other.network": "[Match]\nName=x\n\n[Network]\nAdress=198.18.9.1/24\n",
        "/etc/systemd/network/06-other.netdev": "[NetDev]\nName=y\nKind=bond\n\n[Bond]\nMode=active\n",
      },
      `ip link add a-st type veth peer name one; ip link add a-hb type veth peer name two
      networkd; cat "$root/run/log"; used a-st a-hb`,
    );
    expect(said).toMatch(/06-other\.network:5: Unknown key '?Adress'?/);
    expect(said).toMatch(/06-other\.netdev:6: .*active/);
    expect(said).not.toMatch(/05-hotpair-[^ ]*:\d+:/);
    expect(said).toMatch(/^NETWORK_FILE=.*\/05-hotpair-bond0-member1\.network$/m);
    expect(said).toMatch(/^NETWORK_FILE=.*\/05-hotpair-a-hb\.network$/m);
  });

  test("an interface is taken over from its owner, judged by what answers, and given back without his file", async () => {
    const [a, b] = labPair.nodes;
    const storage = { mtu: 9000, managed: { vlan: undefined, bond: undefined, overSsh: undefined } };
    const at = (node: typeof a) => ({
      ...node,
      networks: {
        ...node.networks,
        storage: { interface: "eth2", address: node.networks.storage?.address ?? "", ...storage },
      },
    });
    const pair: Pair = { ...labPair, nodes: [at(a), at(b)] };
    const mine = "/etc/systemd/network/20-mine.network";
    const said = await server(
      pair,
      { [mine]: "[Match]\nName=eth2\n\n[Network]\nAddress=198.18.2.11/24\nLinkLocalAddressing=no\n" },
      `hotpairs=$root/etc/systemd/network/05-hotpair-eth2.network; mv "$hotpairs" "$2/later"
      ip link add eth2 type veth peer name near; ip link add peer type veth peer name far
      ip link add between type bridge; ip link set between up
      for port in near far; do ip link set "$port" master between up; done
      unshare --net sleep 100 & other=$!; sleep 0.5
      ip link set peer netns "$other"
      there() { nsenter --target "$other" --net "$@"; }
      there ip addr add 198.18.2.12/24 dev peer; there ip link set peer up
      there python3 -c 'import socket, time; listener = socket.create_server(("198.18.2.12", 22)); time.sleep(100)' &
      ip link set eth2 up
      networkd
      eth2() { echo "$(chroot "$root" ip -br -4 addr show eth2 | cut -d " " -f 2- | xargs), MTU $(cat "$root/sys/class/net/eth2/mtu")"; }
      # As hotpair-apply shows the new files to their judge, and as it arms the undo.
      cp "$2/later" "$hotpairs"; hotpair check
      rm "$root${mine}"; hotpair check
      mkdir -p "$root/var/lib/hotpair/undo" "$root/run/hotpair/work.one"; echo $$ > "$root/run/hotpair/work.one/pid"
      echo "new /etc/systemd/network/05-hotpair-eth2.network" > "$root/var/lib/hotpair/undo/list"; : > "$root/var/lib/hotpair/undo/armed"
      hotpair up; used eth2; eth2
      echo "the peer is still to come"; hotpair verify; hotpair status
      there ip link set peer mtu 9000
      echo "the switch carries less"; hotpair verify
      for port in near far between; do ip link set "$port" mtu 9000; done
      echo "all carry it"; hotpair verify; hotpair status
      there ip addr del 198.18.2.12/24 dev peer
      echo "the peer is gone"; hotpair verify
      hotpair back; eth2; [ -e "$hotpairs" ] || echo "its file is gone"`,
    );
    const address = "UP 198.18.2.11/24";
    expect(
      said
        .trim()
        .split("\n")
        .map((line) => line.replace("eth2@if2 ", "")),
    ).toEqual([
      "# check",
      expect.stringMatching(/^eth2: \/etc\/systemd\/network\/20-mine\.network sets it up\. Remove that file/),
      "exit code 1",
      "# check",
      "# up",
      "NETWORK_FILE=/etc/systemd/network/05-hotpair-eth2.network",
      `${address}, MTU 9000`,
      "the peer is still to come",
      "# verify",
      "# status",
      "eth2: card, MTU 9000, 198.18.2.11/24",
      expect.stringMatching(/^! storage: no packet of 9000 bytes is answered by 198\.18\.2\.12 yet/),
      "the switch carries less",
      "# verify",
      expect.stringMatching(/what lies between the two does not carry them$/),
      "exit code 1",
      "all carry it",
      "# verify",
      "# status",
      "eth2: card, MTU 9000, 198.18.2.11/24",
      "the peer is gone",
      "# verify",
      "198.18.2.12 answered 198.18.2.11 before this change, and does not now",
      "exit code 1",
      "# back",
      `${address}, MTU 1500`,
      "its file is gone",
    ]);
  });
});
