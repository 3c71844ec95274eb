#!/bin/sh
# Keeps one lab host running: mounts its disk, gives it a fresh network stack per boot, boots it with systemd-nspawn and
# boots it again when it asks for a reboot. Started by the lab in a mount namespace of its own, so that every mount goes
# away with the last process in it, whatever killed that process.
#
# usage: host.sh hotpair-lab:STATE_DIR NODE [NETWORK_DELAY_SECONDS]
#
# STATE_DIR/NODE/host.conf sets: INDEX HOSTS_NETNS IMAGE PORTS ("interface:bridge:mac ..."). The network delay keeps the
# switch ports down for that long at the first boot, as a slow switch does.
set -eu

# shellcheck source=infra/lab/keeper.sh
. "$(dirname "$0")/keeper.sh"

# nspawn leaves directories and lock files there; a tmpfs takes them along.
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn

# After a power cut the kernel may take a moment to let go of the disk; one file must never be mounted twice.
tries=0
while [ -n "$(losetup --associated "$dir/disk.img")" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo "host.sh: $dir/disk.img is still attached to a loop device" >&2; exit 1; }
  sleep 0.1
done
mkdir -p "$dir/disk" "$dir/root"
# noinit_itable: no background writes while something is measured.
mount -t ext4 -o loop,discard,noinit_itable "$dir/disk.img" "$dir/disk"
mkdir -p "$dir/disk/upper" "$dir/disk/work"
chmod 755 "$dir/disk/upper"
mount -t overlay -o "lowerdir=$dir/seed:$IMAGE,upperdir=$dir/disk/upper,workdir=$dir/disk/work" overlay "$dir/root"

# Runs in the new network namespace of this boot.
# shellcheck disable=SC2016
boot='
set -eu
echo $$ > "$boot_group/cgroup.procs"
hosts() { nsenter --net="/run/netns/$HOSTS_NETNS" "$@"; }
for fault in cut freeze; do hosts nft delete table bridge "$fault-$node" 2> /dev/null || :; done
for port in $PORTS; do
  interface=${port%%:*}; rest=${port#*:}; bridge=${rest%%:*}; mac=${rest#*:}
  # The previous boot may still be in its last moments and hold the name.
  hosts ip link delete "$interface" 2> /dev/null || :
  ip link add "$interface" address "$mac" type veth peer name "$interface" netns "$HOSTS_NETNS"
  hosts ip link set "$interface" master "$bridge"
done
plug() {
  for port in $PORTS; do
    # A cable that was pulled stays pulled over a reboot.
    [ -e "$state/pulled/${port%%:*}" ] || hosts ip link set "${port%%:*}" up
  done
}
if [ "$delay" = 0 ]; then plug; else (sleep "$delay"; plug) > /dev/null & fi
# With a namespace by path nspawn would leave /proc/sys/net read-only; a server sets its own network sysctls.
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
exec systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$dir/root" \
  --machine="hotpair$INDEX-$node" --hostname="$node" --network-namespace-path=/proc/self/ns/net \
  --capability=CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_SYS_NICE --drop-capability=CAP_SYS_TIME \
  --resolv-conf=off --timezone=off --link-journal=no --kill-signal=SIGRTMIN+3
'
number=0
while :; do
  # Each boot gets a control group of its own: in one that was killed, Linux 6.18 also kills what systemd starts later.
  number=$((number + 1))
  boot_group=$group/boot-$$-$number
  mkdir "$boot_group"
  export state node dir boot_group delay INDEX HOSTS_NETNS PORTS
  code=0
  unshare --net sh -c "$boot" || code=$?
  # What is left of this boot must not meddle with the next one, or hold the disk. (Before Linux 5.14 there is no such file.)
  [ ! -e "$boot_group/cgroup.kill" ] || echo 1 > "$boot_group/cgroup.kill"
  find "$boot_group" -depth -type d -exec rmdir {} + 2> /dev/null || :
  delay=0
  # systemd-nspawn(1): 133 says that the host wants to boot again.
  [ "$code" = 133 ] || break
done
exit "$code"
