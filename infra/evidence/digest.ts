// The digest of a configuration as far as it decides recovery times and safety: evidence measured under one digest says
// nothing about another. Names, logins, targets and secrets are left out, for they change neither. Pure.

import { createHash } from "node:crypto";
import { NODE_IDS, type Pair } from "../model/pair.ts";

/** `sha256:` and 64 hexadecimal digits. */
export function configDigest(pair: Pair): string {
  return `sha256:${createHash("sha256")
    .update(canonical(relevant(pair)))
    .digest("hex")}`;
}

/** The parts that matter, in the words of the Pair. */
function relevant(pair: Pair): unknown {
  const { networks, nodes, vips, vrrp, arbiter, haproxy, nginx, external } = pair;
  return {
    networks,
    nodes: NODE_IDS.map((id, index) => ({ id, networks: nodes[index]?.networks })),
    vips,
    vrrp: { advertInterval: vrrp.advertInterval, priority: vrrp.priority, garp: vrrp.garp },
    arbiter,
    // Server names are labels.
    haproxy: haproxy && {
      ...haproxy,
      backends: haproxy.backends.map((backend) => ({
        ...backend,
        servers: backend.servers.map(({ address, port }) => ({ address, port })),
      })),
    },
    nginx: nginx && { port: nginx.port, healthPath: nginx.healthPath },
    external: external && { port: external.port },
  };
}

/** JSON with sorted keys and without what is undefined: the same value gives the same text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .toSorted(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`)
      .join(",")}}`;
  return JSON.stringify(value) ?? "null";
}
