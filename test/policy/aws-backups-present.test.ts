// Promises of the policy `aws-backups-present`. The pairs that break it, and what it must say, stand in test/model/violations.ts.

import { awsBackupsPresent } from "../../infra/policy/aws-backups-present.ts";
import { keepsItsPromise } from "./judge.ts";

keepsItsPromise("aws-backups-present", awsBackupsPresent);
