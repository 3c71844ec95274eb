// The services that a pair can consist of, in the order in which a node gets them. A new service is one file, its
// templates, and one line here.

import type { Service } from "../model/plan.ts";
import { arbiter } from "./arbiter.ts";
import { aws } from "./aws.ts";
import { base } from "./base.ts";
import { drbd } from "./drbd.ts";
import { etcd } from "./etcd.ts";
import { external } from "./external.ts";
import { fencing } from "./fencing.ts";
import { haproxy } from "./haproxy.ts";
import { keepalived } from "./keepalived.ts";
import { lease } from "./lease.ts";
import { mariadb } from "./mariadb.ts";
import { mariadbVolume } from "./mariadb-volume.ts";
import { network } from "./network.ts";
import { nfs } from "./nfs.ts";
import { nginx } from "./nginx.ts";
import { witness } from "./witness.ts";

export const services: readonly Service[] = [
  base,
  network,
  witness,
  etcd,
  lease,
  fencing,
  keepalived,
  arbiter,
  mariadb,
  drbd,
  mariadbVolume,
  nfs,
  haproxy,
  nginx,
  external,
  aws,
];
