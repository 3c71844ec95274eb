// Promises of the policy `nfs-clients-named`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { nfsClientsNamed } from "../../infra/policy/nfs-clients-named.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("nfs-clients-named", nfsClientsNamed);
