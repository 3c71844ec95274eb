// Promises of the policy `managed-networks`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { managedNetworks } from "../../infra/policy/managed-networks.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("managed-networks", managedNetworks);
