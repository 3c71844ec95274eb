// The target `aws`: a bucket for backups, and daily images of the nodes.

import { NODE_IDS } from "../model/pair.ts";
import { type Declared, outputOf } from "../model/resource.ts";
import type { CloudPair } from "./aws-network.ts";

export function bucket({ aws }: CloudPair): readonly Declared[] {
  const settings = aws.bucket;
  if (settings === undefined) return [];
  const of = { bucket: outputOf("bucket", "bucket") };
  const ages = [
    ["STANDARD_IA", settings.infrequentAccessDays],
    ["GLACIER", settings.glacierDays],
    ["DEEP_ARCHIVE", settings.deepArchiveDays],
  ] as const;
  const transitions = ages.flatMap(([storageClass, days]) => (days === undefined ? [] : [{ storageClass, days }]));
  return [
    {
      name: "bucket",
      type: "aws:s3/bucket:Bucket",
      inputs: { bucket: settings.name, objectLockEnabled: settings.objectLockDays !== undefined },
      deleteBeforeReplace: true,
    },
    {
      name: "bucket-versions",
      type: "aws:s3/bucketVersioning:BucketVersioning",
      inputs: { ...of, versioningConfiguration: { status: "Enabled" } },
    },
    {
      name: "bucket-encryption",
      type: "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
      inputs: { ...of, rules: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }] },
    },
    {
      name: "bucket-closed",
      type: "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
      inputs: {
        ...of,
        blockPublicAcls: true,
        blockPublicPolicy: true,
        ignorePublicAcls: true,
        restrictPublicBuckets: true,
      },
    },
    ...(settings.objectLockDays === undefined
      ? []
      : [
          {
            name: "bucket-lock",
            type: "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
            inputs: { ...of, rule: { defaultRetention: { mode: "COMPLIANCE", days: settings.objectLockDays } } },
            after: ["bucket-versions"],
          },
        ]),
    ...(transitions.length === 0
      ? []
      : [
          {
            name: "bucket-ages",
            type: "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            inputs: { ...of, rules: [{ id: "by-age", status: "Enabled", filter: { prefix: "" }, transitions }] },
            after: ["bucket-versions"],
          },
        ]),
  ];
}

/** Minutes; AWS's own are eight hours and a week (AWS Backup developer guide, backup plan options). */
const BEGINS_WITHIN = 60;
const ENDS_WITHIN = 360;

/** Its role is its owner's: AWS Backup's needs rights on everything of its kind, which nothing here gives. */
export function backup({ aws }: CloudPair): readonly Declared[] {
  if (aws.backup === undefined) return [];
  const { role, at, keepDays } = aws.backup;
  const [hour, minute] = at.split(":").map(Number);
  return [
    { name: "backups", type: "aws:backup/vault:Vault", inputs: {} },
    {
      name: "backup-plan",
      type: "aws:backup/plan:Plan",
      inputs: {
        rules: [
          {
            ruleName: "daily",
            targetVaultName: outputOf("backups", "name"),
            schedule: `cron(${minute} ${hour} * * ? *)`,
            startWindow: BEGINS_WITHIN,
            completionWindow: ENDS_WITHIN,
            lifecycle: { deleteAfter: keepDays },
          },
        ],
      },
    },
    {
      name: "backup-servers",
      type: "aws:backup/selection:Selection",
      inputs: {
        planId: outputOf("backup-plan"),
        iamRoleArn: role,
        resources: NODE_IDS.map((id) => outputOf(`instance-${id}`, "arn")),
      },
    },
  ];
}
