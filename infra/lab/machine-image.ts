// What virtual machines of a lab start from: the same root file systems as its other hosts, as disks, with a kernel of their
// own and what a kernel's owner needs (drbd-utils, udev). Built once and kept in the cache. How a machine is started is in
// machine.sh.

import { createHash } from "node:crypto";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { command } from "./command.ts";
import { contained, installScript, packagesIndex } from "./debian.ts";
import { fetchPackages } from "./layer.ts";

/** Installed on every machine: without them it is none. */
const machinePackages = ["busybox-static", "e2fsprogs", "ethtool", "udev"];
/** Installable, and installed and disabled in `ready`: what replicated disks and volumes on them are made of. */
const diskPackages = ["drbd-utils", "xfsprogs"];
const diskServices = ["drbd.service"];
/** Debian's kernel for virtual machines: it has drbd, softdog, bonding and 8021q, and ext4 built in. */
const kernelPackage = "linux-image-cloud-amd64";

/** Under emulation every unit costs tenths of a second at boot; nobody in the lab misses these. */
const masked = [
  "getty@tty1.service",
  "serial-getty@ttyS0.service",
  "ldconfig.service",
  "modprobe@drm.service",
  "modprobe@efi_pstore.service",
  "modprobe@fuse.service",
  "systemd-binfmt.service",
  "systemd-firstboot.service",
  "systemd-hwdb-update.service",
  "systemd-journal-catalog-update.service",
  // With it each login starts a service manager for its user, in two to five seconds: longer than an SSH client waits.
  "systemd-logind.service",
  "systemd-modules-load.service",
  "systemd-network-generator.service",
  "systemd-networkd-persistent-storage.service",
  "systemd-pcrphase.service",
  "systemd-tpm2-setup-early.service",
  "systemd-tpm2-setup.service",
  "systemd-udev-load-credentials.service",
  "systemd-udev-settle.service",
  "systemd-update-done.service",
  "systemd-update-utmp.service",
  "dev-hugepages.mount",
  "dev-mqueue.mount",
  "sys-fs-fuse-connections.mount",
  "sys-kernel-debug.mount",
  "sys-kernel-tracing.mount",
];

/** The same for what is not left out but made shorter, each in a file of its own. */
const shortened: Readonly<Record<string, string>> = {
  // Of all devices these are the ones that anybody names.
  "/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf":
    "[Service]\nExecStart=\nExecStart=-udevadm trigger --action=add --subsystem-match=block --subsystem-match=net\n",
  // The others take an emulated processor half a second.
  "/etc/ssh/sshd_config.d/10-lab-machine.conf": "KexAlgorithms curve25519-sha256\n",
};

/** The sparse file that the root file system of a machine is; each machine writes into a copy of its own. */
const diskSize = "4G";

/**
 * Loads the disk and the network cards, gives the cards the names that the host's own files know them by, puts those files
 * in place at the first boot, and hands over. lab.card=NAME,MAC on the kernel's command line, once per card.
 */
const init = `#!/bin/sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in virtio_blk failover net_failover virtio_net; do
  [ ! -e /modules/$module.ko ] || $b insmod /modules/$module.ko
done
tries=0
while [ ! -b /dev/vdb ] && [ $tries -lt 400 ]; do $b usleep 25000; tries=$((tries + 1)); done
for word in $($b cat /proc/cmdline); do
  case $word in
    lab.card=*)
      word=\${word#lab.card=}
      for card in /sys/class/net/*; do
        [ "$($b cat $card/address)" != "\${word#*,}" ] || $b ip link set \${card##*/} name \${word%%,*}
      done ;;
  esac
done
$b mount -t ext4 -o rw,noatime,discard /dev/vda /root
[ -e /root/var/lib/lab-seeded ] || { $b tar -x -f /dev/vdb -C /root && : > /root/var/lib/lab-seeded; }
$b mount -o move /dev /root/dev
$b umount /proc /sys
exec $b switch_root /root /sbin/init
`;

/** Raise when the steps below change what they make of the same constants. */
const formatVersion = 1;

/** Stands in the name of what is built. */
export function machineDigest(): string {
  const recipe = [
    machinePackages,
    diskPackages,
    diskServices,
    kernelPackage,
    masked,
    shortened,
    diskSize,
    init,
    formatVersion,
  ];
  return createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 12);
}

/** What the machines' image is made over. */
export interface MachineUnder {
  suite: string;
  /** Root file systems of both variants as overlayfs wants them for its lowerdir. */
  lower: Readonly<Record<"bare" | "ready", string>>;
  /** The hosts' own apt repository, inside a host. */
  repository: string;
}

/** Makes kernel, initrd.img, bare.img and ready.img in the empty directory `work`. Rejects with CommandError. */
export async function buildMachineImage(
  work: string,
  under: MachineUnder,
  onStep: (text: string) => void,
): Promise<void> {
  const { suite, lower, repository } = under;
  onStep("machine image: fetching a kernel and what belongs to it");
  const bare = lower.bare.split(":").at(-1) ?? "";
  const fetched = await fetchPackages(
    [...machinePackages, ...diskPackages, kernelPackage],
    join(work, "apt"),
    suite,
    bare,
  );
  // The kernel is unpacked by hand: its own installation would make an initrd for every machine that there is.
  const isKernel = (file: string) => /^(linux-(image|base)|initramfs|dracut|klibc|libklibc)/.test(basename(file));
  const kernel = fetched.find((file) => /^linux-image-\d/.test(basename(file)));
  if (kernel === undefined) throw new Error(`${kernelPackage} brought no kernel`);
  const unpacked = join(work, "kernel-files");
  await command(["dpkg-deb", "--extract", kernel, unpacked]);
  const [version = ""] = await readdir(join(unpacked, "usr/lib/modules"));
  const modules = join(unpacked, "usr/lib/modules", version);
  // Unpacking a module costs an emulated processor a second.
  await command(["find", modules, "-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+"]);
  await cp(join(unpacked, "boot", `vmlinuz-${version}`), join(work, "kernel"));

  for (const variant of ["bare", "ready"] as const) {
    onStep(`machine image: the disk of a ${variant} machine`);
    const layer = join(work, variant);
    const root = join(layer, "root");
    for (const name of ["upper", "work", "root"]) await mkdir(join(layer, name), { recursive: true });
    const pool = join(layer, "pool");
    await mkdir(pool);
    for (const file of fetched.filter((one) => !isKernel(one))) await cp(file, join(pool, basename(file)));
    const chosen = variant === "ready" ? [...machinePackages, ...diskPackages] : machinePackages;
    await writeFile(join(layer, "install"), installScript(chosen, variant === "ready" ? diskServices : []));
    await writeFile(join(layer, "added"), await packagesIndex(pool));
    const script = [
      `mount -t overlay -o lowerdir=${lower[variant]},upperdir=${layer}/upper,workdir=${layer}/work overlay ${root}`,
      `cp ${pool}/*.deb ${root}${repository}/`,
      `{ echo; cat ${layer}/added; } >> ${root}${repository}/Packages`,
      `mount -t proc proc ${root}/proc`,
      `chroot ${root} apt-get -q update`,
      `chroot ${root} sh -e < ${layer}/install`,
      `umount ${root}/proc`,
      `mkdir -p ${root}/usr/lib/modules`,
      `cp --archive ${modules} ${root}/usr/lib/modules/`,
      `chroot ${root} depmod ${version}`,
      `chroot ${root} systemctl mask ${masked.join(" ")}`,
      ...Object.entries(shortened).map(
        ([path, text]) => `mkdir -p ${root}${dirname(path)}; printf '${text.replaceAll("\n", "\\n")}' > ${root}${path}`,
      ),
      `ln -sf /usr/lib/systemd/system/multi-user.target ${root}/etc/systemd/system/default.target`,
      // Lazy work on the disk would go on in each machine while something is measured.
      `mke2fs -q -F -t ext4 -L root -E lazy_itable_init=0,lazy_journal_init=0 -d ${root} ${work}/${variant}.img ${diskSize}`,
      ...(variant === "bare" ? [`cp ${root}/usr/bin/busybox ${work}/busybox`] : []),
    ];
    await contained(["sh", "-e", "-c", script.join("\n")]);
    await rm(layer, { recursive: true });
  }
  await buildInitrd(work, modules);
  for (const name of ["apt", "kernel-files", "busybox"]) await rm(join(work, name), { recursive: true });
}

/** The smallest that finds the disk: a shell, four modules, and `init` above. */
async function buildInitrd(work: string, modules: string): Promise<void> {
  const tree = join(work, "initrd");
  for (const name of ["bin", "dev", "modules", "proc", "root", "sys"])
    await mkdir(join(tree, name), { recursive: true });
  await cp(join(work, "busybox"), join(tree, "bin/busybox"));
  await command(["ln", "-s", "busybox", join(tree, "bin/sh")]);
  const found = await command([
    "find",
    modules,
    ..."-name virtio_blk.ko -o -name failover.ko -o -name net_failover.ko -o -name virtio_net.ko".split(" "),
  ]);
  for (const file of found.trim().split("\n")) await cp(file, join(tree, "modules", basename(file)));
  await writeFile(join(tree, "init"), init, { mode: 0o755 });
  const pack = `cd ${tree} && find . | LC_ALL=C sort | cpio --create --format=newc --quiet --owner=0:0 > ${work}/initrd.img`;
  await command(["sh", "-e", "-c", pack]);
  await rm(tree, { recursive: true });
}
