// Promises of the policy `nfs-acknowledged-kept`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { nfsAcknowledgedKept } from "../../infra/policy/nfs-acknowledged-kept.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("nfs-acknowledged-kept", nfsAcknowledgedKept);
