// Every port that a pair's services open, as a firewall around its nodes must know them.

import type { Pair } from "../model/pair.ts";
import type { Listener } from "../model/plan.ts";
import { services } from "./index.ts";

export const collectListeners = (pair: Pair): readonly Listener[] =>
  services.flatMap((service) => service.listeners?.(pair) ?? []);

/** Ports that services declare for clients: the only ones that may be open to everybody. */
export const clientPorts = (pair: Pair): readonly number[] =>
  collectListeners(pair).flatMap(({ from, port }) => (from === "clients" && port !== undefined ? [port] : []));
