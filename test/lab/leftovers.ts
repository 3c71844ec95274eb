// What of a lab is left on this machine, asked of the kernel and not of the lab's own records.

import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { cgroupOf, machineInterfaceOf, memoryGroupOf, namespacesOf, stateDirectoryOf } from "../../infra/lab/layout.ts";

/** One line per thing; empty when nothing is left. */
export function leftovers(name: string, indexes: readonly number[]): string[] {
  const stateDir = stateDirectoryOf(name);
  const found: string[] = [];
  const note = (what: string, items: string[]) => found.push(...items.map((item) => `${what} ${item}`));

  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    // A zombie holds nothing: it is dead and waits for its parent to take note.
    if (Number(pid) === process.pid || /^State:\s+Z/m.test(text(`/proc/${pid}/status`))) continue;
    const argv = text(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
    const groups = text(`/proc/${pid}/cgroup`);
    const inGroup = indexes.some((index) => groups.includes(`${cgroupOf(index)}/`));
    // Also what holds one of the lab's mounts in a mount namespace of its own.
    if (argv.includes(stateDir) || inGroup || text(`/proc/${pid}/mountinfo`).includes(`${stateDir}/`)) {
      note("process", [`${pid} ${argv}`]);
    }
  }
  const mounts = text("/proc/self/mountinfo").split("\n");
  note(
    "mount",
    mounts.filter((line) => line.includes(stateDir)),
  );
  const loops = list("/sys/block").filter((device) =>
    text(`/sys/block/${device}/loop/backing_file`).includes(stateDir),
  );
  note("loop device", loops);
  for (const index of indexes) {
    const names: string[] = Object.values(namespacesOf(index));
    note(
      "namespace",
      list("/run/netns").filter((entry) => names.includes(entry)),
    );
    note(
      "interface",
      list("/sys/class/net").filter((entry) => entry === machineInterfaceOf(index)),
    );
    note(
      "claim",
      list("/run/hotpair-lab").filter((entry) => entry === String(index)),
    );
    const hierarchies = mounts.filter((line) => line.includes(" - cgroup2 ")).map((line) => line.split(" ")[4] ?? "");
    note(
      "control group",
      hierarchies.flatMap((root) => list(`${root}${cgroupOf(index)}`)),
    );
    note("memory group", memoryGroups(index));
  }
  note("state directory with", list(stateDir));
  return found;
}

/** Of a machine that counts memory by version 1 of control groups. */
function memoryGroups(index: number): string[] {
  try {
    const all = readdirSync("/sys/fs/cgroup/memory", { recursive: true, encoding: "utf8" });
    return all.filter((path) => basename(path).startsWith(memoryGroupOf(index, "*").replace("*", "")));
  } catch {
    return [];
  }
}

/** The indexes that a lab of this name has claimed, also one that was only half set up. */
export function claimedIndexes(name: string): number[] {
  return list("/run/hotpair-lab")
    .filter((entry) => text(`/run/hotpair-lab/${entry}`) === stateDirectoryOf(name))
    .map(Number);
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
