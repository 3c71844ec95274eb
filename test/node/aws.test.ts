// What runs on a server in AWS, against moto: an account that this project has not written. The rights of each role are
// those that the stack declares; moto has them judged action by action.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { NODE_IDS, type NodeId } from "../../infra/model/pair.ts";
import type { Value } from "../../infra/model/resource.ts";
import { motoPython } from "../moto.ts";
import { BY_METHOD, type CloudPair, declare, fencedPair } from "../targets/cloud-pairs.ts";
import { runSuites } from "./python-suites.ts";

const directory = mkdtempSync(join(tmpdir(), "hotpair-rights-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Statements of a node's role, with `<name>` for the ARN of a resource of the stack. */
function rightsOf(pair: CloudPair, id: NodeId): readonly unknown[] {
  const right = declare(pair).find(({ name }) => name === `right-${id}`);
  if (right === undefined) throw new Error(`node ${id} has no right`);
  const { json } = right.inputs.policy as { readonly json: { readonly Statement: Value } };
  const text = JSON.stringify(json.Statement)
    .replaceAll(/\{"of":"([\w-]+)","output":"arn"\}/g, '"<$1>"')
    .replaceAll(/arn:aws:route53:::hostedzone\/\w+/g, "<zone>");
  return JSON.parse(text);
}

const rightsFor = (pair: CloudPair) => Object.fromEntries(NODE_IDS.map((id) => [id, rightsOf(pair, id)]));
const fences = Object.entries(rightsFor(fencedPair)).map(([id, statements]) => [id, statements.slice(1)]);

const file = join(directory, "rights.json");
writeFileSync(
  file,
  JSON.stringify({
    ...Object.fromEntries(Object.entries(BY_METHOD).map(([method, pair]) => [method, rightsFor(pair)])),
    // Beside the right to move the address.
    fencing: Object.fromEntries(fences),
  }),
);

runSuites("hotpair-address and hotpair-fence in an account of moto", "moto_tests", 120_000, {
  python: motoPython(),
  environment: { HOTPAIR_TEST_RIGHTS: file },
});
