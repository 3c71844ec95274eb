// Promises of the policy `aws-metadata-tokens`.

import { expect, test } from "vitest";
import { metadataTokens } from "../../../infra/policy/aws/metadata-tokens.ts";
import { judged } from "./judge.ts";

const ask = (metadataOptions: unknown) => judged(metadataTokens, "aws:ec2/instance:Instance", { metadataOptions });

test("a server whose metadata needs a token, and does not leave it, passes", async () => {
  expect(await ask({ httpTokens: "required", httpPutResponseHopLimit: 1 })).toEqual([]);
});

test.each([
  [undefined, /IMDSv2 is not required/],
  [{ httpTokens: "optional", httpPutResponseHopLimit: 1 }, /IMDSv2 is not required/],
  [{ httpTokens: "required", httpPutResponseHopLimit: 2 }, /credentials 2 hops away/],
  [{ httpTokens: "required" }, /credentials some hops away/],
])("%j does not", async (options, said) => {
  expect((await ask(options)).join()).toMatch(said);
});
