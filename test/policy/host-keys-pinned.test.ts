// Promises of the policy `host-keys-pinned`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { hostKeysPinned } from "../../infra/policy/host-keys-pinned.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("host-keys-pinned", hostKeysPinned);
