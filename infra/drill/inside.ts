// Faults that a server brings upon itself because nobody stands beside it to pull its plug: shell texts and their undo,
// pure. The lab has its own, better ways (executor.ts).

import type { NetworkName, Node } from "../model/pair.ts";
import { DRILL_DIRECTORY } from "./undo.ts";

export interface InsideFault {
  /** POSIX shell; must survive the loss of the connection that started it. */
  readonly command: string;
  /** POSIX shell, idempotent. Empty: the fault undoes itself. */
  readonly undo: string;
  /** Milliseconds after the start of the command at which the fault happens. */
  readonly delayMs: number;
  /** Programs that must be on the server. */
  readonly needs: readonly string[];
}

/** The answer to whoever started it must leave before the fault cuts the way. */
const DELAY_MS = 300;
const later = (command: string): string =>
  `setsid sh -c 'sleep ${DELAY_MS / 1000}; ${command}' >/dev/null 2>&1 < /dev/null &`;

/**
 * Immediate reset by the kernel, without sync and without a word to anybody (Documentation/admin-guide/sysrq.rst). A
 * container has no kernel of its own to reset.
 */
export const powerCutInside: InsideFault = {
  command: `if systemd-detect-virt --quiet --container; then echo "a container cannot be reset from inside" >&2; exit 1; fi
${later("echo 1 > /proc/sys/kernel/sysrq; echo b > /proc/sysrq-trigger")}`,
  undo: "",
  delayMs: DELAY_MS,
  needs: [],
};

/** The same, but the kernel stands still with a word on its console, and boots after the time that `panic=` says. */
export const panicInside: InsideFault = {
  command: `if systemd-detect-virt --quiet --container; then echo "a container has no kernel to panic" >&2; exit 1; fi
[ "$(cat /proc/sys/kernel/panic)" != 0 ] || { echo "kernel.panic is 0: it would stand still for good" >&2; exit 1; }
${later("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")}`,
  undo: "",
  delayMs: DELAY_MS,
  needs: [],
};

/** Taking a link down loses its routes; they are kept and given back. */
export function linkDownInside(node: Node, networks: readonly NetworkName[]): InsideFault {
  const interfaces = networks.flatMap((network) => node.networks[network]?.interface ?? []);
  const saved = (name: string) => `/var/lib/hotpair/drill-routes-${name}`;
  return {
    command: `mkdir -p ${DRILL_DIRECTORY}
${interfaces.map((name) => `ip -4 route show dev ${name} proto static > ${saved(name)} 2>/dev/null || :\nip -4 route show default dev ${name} >> ${saved(name)}`).join("\n")}
${later(interfaces.map((name) => `ip link set dev ${name} down`).join("; "))}`,
    undo: interfaces
      .map(
        (name) => `ip link set dev ${name} up
if [ -e ${saved(name)} ]; then
  while read -r route; do ip -4 route replace $route dev ${name} 2>/dev/null || :; done < ${saved(name)}
  rm -f ${saved(name)}
fi`,
      )
      .join("\n"),
    delayMs: DELAY_MS,
    needs: ["ip"],
  };
}

const TABLE = "inet hotpair_drill";

/** Loses what the node sends on these networks. A hand-made table: the server's own rules are not touched. */
export function dropFromInside(node: Node, networks: readonly NetworkName[]): InsideFault {
  const names = networks.flatMap((network) => node.networks[network]?.interface ?? []).map((name) => `"${name}"`);
  return {
    command: `nft 'add table ${TABLE}; add chain ${TABLE} out { type filter hook output priority -300; }; add rule ${TABLE} out oifname { ${names.join(", ")} } drop'`,
    undo: `nft delete table ${TABLE} 2>/dev/null || :`,
    delayMs: 0,
    needs: ["nft"],
  };
}
