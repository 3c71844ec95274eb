// Promises of the policy `aws-bucket-closed`.

import { expect, test } from "vitest";
import { bucketClosed } from "../../../infra/policy/aws/bucket-closed.ts";
import { judged } from "./judge.ts";

const BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock";
const closed = { blockPublicAcls: true, blockPublicPolicy: true, ignorePublicAcls: true, restrictPublicBuckets: true };

test("a bucket that is closed in all four ways passes", async () => {
  expect(await judged(bucketClosed, BLOCK, closed)).toEqual([]);
});

test("one that is open in one of them does not", async () => {
  expect(await judged(bucketClosed, BLOCK, { ...closed, blockPublicPolicy: false })).toEqual([
    "This resource leaves the bucket open: blockPublicPolicy must be true.",
  ]);
  expect(await judged(bucketClosed, "aws:s3/bucketAcl:BucketAcl", { acl: "public-read" })).toHaveLength(1);
});
