# What host.sh and machine.sh begin with, whatever they keep running; sourced by them with their arguments. Sets state, node,
# delay, dir and group, and what STATE_DIR/NODE/host.conf sets; the keeper itself goes into a control group of its own.
# shellcheck shell=sh disable=SC2034 # both read them

state=${1#hotpair-lab:}
node=$2
delay=${3:-0}
dir=$state/$node
# shellcheck source=/dev/null
. "$dir/host.conf"

# A real Debian 13 has the unified control group hierarchy, so the host gets one even where this machine uses version 1.
if [ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
group=/sys/fs/cgroup/hotpair-lab/$INDEX/$node
mkdir -p "$group/keeper"
echo $$ > "$group/keeper/cgroup.procs"
