// Promises of the policy `mariadb-check`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { mariadbCheck } from "../../infra/policy/mariadb-check.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("mariadb-check", mariadbCheck);
