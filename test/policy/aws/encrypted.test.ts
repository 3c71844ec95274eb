// Promises of the policy `aws-encrypted`.

import { expect, test } from "vitest";
import { encrypted } from "../../../infra/policy/aws/encrypted.ts";
import { judged } from "./judge.ts";

const INSTANCE = "aws:ec2/instance:Instance";
const BUCKET = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration";

test("encrypted volumes and buckets pass", async () => {
  expect(await judged(encrypted, INSTANCE, { rootBlockDevice: { encrypted: true } })).toEqual([]);
  const rules = [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" } }];
  expect(await judged(encrypted, BUCKET, { rules })).toEqual([]);
  expect(await judged(encrypted, "aws:ec2/vpc:Vpc", {})).toEqual([]);
});

test.each([
  [INSTANCE, {}],
  [INSTANCE, { rootBlockDevice: { encrypted: false } }],
  [INSTANCE, { rootBlockDevice: { encrypted: true }, ebsBlockDevices: [{ deviceName: "sdb" }] }],
  ["aws:ebs/volume:Volume", { size: 20 }],
  [BUCKET, { rules: [{}] }],
])("%s with %j does not", async (type, props) => {
  expect(await judged(encrypted, type, props)).toHaveLength(1);
});
