// Arithmetic of VRRP version 3 (RFC 9568 §6.1) and the names that follow from a virtual router id. Pure; what keepalived
// adds on top of it belongs to its service.

import { type Duration, formatDuration, ms } from "./duration.ts";
import type { Node, Vip } from "./pair.ts";

/** Skew_Time = ((256 − Priority) × Active_Adver_Interval) / 256 (RFC 9568 §6.1). */
export const skewTime = (advert: Duration, priority: number): Duration => ms(((256 - priority) * advert) / 256);

/** Active_Down_Interval = 3 × Active_Adver_Interval + Skew_Time (RFC 9568 §6.1): silence after which a backup takes over. */
export const masterDownInterval = (advert: Duration, priority: number): Duration =>
  ms(3 * advert + skewTime(advert, priority));

/** The sum as a person checks it, e.g. `3 × 100ms + (256 − 253) × 100ms / 256`. */
export const masterDownFormula = (advert: Duration, priority: number): string =>
  `3 × ${formatDuration(advert)} + (256 − ${priority}) × ${formatDuration(advert)} / 256`;

/** Smallest and largest interval that an advertisement can carry: 12 bits of centiseconds, not 0 (RFC 9568 §5.2.7). */
export const ADVERT_MIN = ms(10);
export const ADVERT_MAX = ms(40_950);

/**
 * Interface on which a VIP stands while this node holds it: the public one, or for `vmac` the macvlan on top of it, under
 * the name that keepalived gives it by default (keepalived.conf(5), `use_vmac`).
 */
export const vipInterface = (node: Node, vip: Vip): string =>
  vip.mode === "vmac" ? `vrrp.${vip.routerId}` : node.networks.public.interface;
