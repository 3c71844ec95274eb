// Promises of the policy `no-plain-secrets`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { noPlainSecrets } from "../../infra/policy/no-plain-secrets.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("no-plain-secrets", noPlainSecrets);
