// Promises of the policy `drbd-stable-devices`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { drbdStableDevices } from "../../infra/policy/drbd-stable-devices.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("drbd-stable-devices", drbdStableDevices);
