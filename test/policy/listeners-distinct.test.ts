// Promises of the policy `listeners-distinct`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { listenersDistinct } from "../../infra/policy/listeners-distinct.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("listeners-distinct", listenersDistinct);
