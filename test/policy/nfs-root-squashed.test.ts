// Promises of the policy `nfs-root-squashed`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { nfsRootSquashed } from "../../infra/policy/nfs-root-squashed.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("nfs-root-squashed", nfsRootSquashed);
