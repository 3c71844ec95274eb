// A standby copies mistakes as fast as it copies data.

import { policyFor } from "./policy.ts";

export const awsBackupsPresent = policyFor("aws-backups-present", "Backups have a bucket of their own.");
