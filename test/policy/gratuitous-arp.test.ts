// Promises of the policy `gratuitous-arp`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { gratuitousArp } from "../../infra/policy/gratuitous-arp.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("gratuitous-arp", gratuitousArp);
