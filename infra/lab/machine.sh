#!/bin/sh
# Keeps one virtual machine of a lab running, as host.sh does a container: same arguments, same bridge ports, one control group
# per boot. The machine is off when it powers off or when the program that emulates it ends; a reboot happens inside it.
#
# usage: machine.sh hotpair-lab:STATE_DIR NODE [NETWORK_DELAY_SECONDS]
#
# STATE_DIR/NODE/host.conf sets: INDEX HOSTS_NETNS IMAGE (a directory with kernel and initrd.img) PORTS
# ("interface:bridge:mac ...") JUMBO ("bridge:bytes" whose ports carry such frames, or nothing) CABLE ("interface,mac,address/prefix": a cable of the lab's own, which no fault touches)
# MEMORY. STATE_DIR/NODE has root.qcow2, seed.tar and data.img.
set -eu

# shellcheck source=infra/lab/keeper.sh
. "$(dirname "$0")/keeper.sh"
boot_group=$group/boot-$$-1
mkdir "$boot_group"

hosts() { nsenter --net="/run/netns/$HOSTS_NETNS" "$@"; }
for fault in cut freeze; do hosts nft delete table bridge "$fault-$node" 2> /dev/null || :; done
cards=
devices=
# add INTERFACE MAC: a port outside, a card inside, and the word on the kernel's command line that names the card
add() {
  hosts ip link delete "$1" 2> /dev/null || :
  hosts ip tuntap add "$1" mode tap
  cards="$cards lab.card=$1,$2"
  devices="$devices -netdev tap,id=$1,ifname=$1,script=no,downscript=no,vhost=off"
  devices="$devices -device virtio-net-pci,id=card-$1,netdev=$1,mac=$2,romfile="
}
pulled=
for port in $PORTS; do
  interface=${port%%:*}
  rest=${port#*:}
  add "$interface" "${rest#*:}"
  hosts ip link set "$interface" master "${rest%%:*}"
  [ "${rest%%:*}" != "${JUMBO%%:*}" ] || hosts ip link set "$interface" mtu "${JUMBO#*:}"
  # A cable that was pulled stays pulled over a power cut, on both ends.
  [ ! -e "$state/pulled/$interface" ] || pulled="$pulled $interface"
done
console=${CABLE%%,*}
rest=${CABLE#*,}
add "$console" "${rest%%,*}"
hosts ip address add "${rest#*,}" dev "$console"
hosts ip link set "$console" up
plug() {
  for port in $PORTS; do
    [ -e "$state/pulled/${port%%:*}" ] || hosts ip link set "${port%%:*}" up
  done
}
if [ "$delay" = 0 ]; then plug; else (sleep "$delay"; plug) > /dev/null & fi

# Of a machine that was cut off: whoever uses them would wait for an answer.
rm -f "$dir/qmp" "$dir/console"
words="root=/dev/vda rw console=ttyS0 quiet loglevel=3 panic=1 net.ifnames=0"
# Emulated, the instruction ends this kernel with a double fault (qemu 7.2, Linux 6.12); HAProxy cannot do without it.
words="$words clearcpuid=cx16"
# Measured at a boot that had to wait for a processor, the speed of its counter is wrong, and the clock runs ten times too fast.
words="$words tsc=unstable clocksource=hpet"
# What an emulated processor would spend its time on and nobody here needs.
words="$words mitigations=off audit=0 apparmor=0 lsm=capability no_timer_check nokaslr cryptomgr.notests"
words="$words random.trust_cpu=on systemd.show_status=0"
# shellcheck disable=SC2016,SC2086 # what stands there is for the inner shell; devices are words
sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$boot_group" \
  nsenter --net="/run/netns/$HOSTS_NETNS" qemu-system-x86_64 -name "hotpair$INDEX-$node" \
  -M pc,usb=off -nodefaults -no-user-config -display none -accel tcg,thread=multi,tb-size=256 -cpu qemu64 -smp 1 \
  -m "$MEMORY" -kernel "$IMAGE/kernel" -initrd "$IMAGE/initrd.img" -append "$words$cards" \
  -drive "file=$dir/root.qcow2,if=none,id=root,cache=writeback,discard=unmap" -device virtio-blk-pci,drive=root \
  -drive "file=$dir/seed.tar,if=none,id=seed,format=raw,read-only=on" -device virtio-blk-pci,drive=seed \
  -drive "file=$dir/data.img,if=none,id=data,format=raw,cache=writeback,discard=unmap" \
  -device virtio-blk-pci,drive=data,serial=data \
  -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
  $devices -chardev "file,id=serial,path=$dir/console.log,append=on" -serial chardev:serial \
  -qmp "unix:$dir/qmp,server=on,wait=off" < /dev/null &
machine=$!
if [ -n "$pulled" ]; then
  while [ ! -S "$dir/qmp" ] && kill -0 "$machine" 2> /dev/null; do sleep 0.1; done
  for interface in $pulled; do
    order="{\"execute\":\"set_link\",\"arguments\":{\"name\":\"card-$interface\",\"up\":false}}"
    perl "$(dirname "$0")/qmp.pl" "$dir/qmp" "$order" > /dev/null || :
  done
fi
code=0
wait "$machine" || code=$?
rm -f "$dir/qmp" "$dir/console"
[ ! -e "$boot_group/cgroup.kill" ] || echo 1 > "$boot_group/cgroup.kill"
for port in $PORTS; do hosts ip link delete "${port%%:*}" 2> /dev/null || :; done
hosts ip link delete "$console" 2> /dev/null || :
find "$boot_group" -depth -type d -exec rmdir {} + 2> /dev/null || :
exit "$code"
