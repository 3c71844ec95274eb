// The skew (RFC 9568 §6.1) breaks ties between many backups; a pair has one, and pays for it at every failover.

import { policyFor } from "./policy.ts";

export const vrrpSkew = policyFor("vrrp-skew", "The VRRP priority does not add a needless skew to every failover.");
