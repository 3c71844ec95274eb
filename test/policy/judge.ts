// Asks policies about a configuration as the engine would: plain JSON, one resource of the pair's type, in a stack whose
// evidence is that of test/evidence/trial.ts.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ResourceValidationArgs, ResourceValidationPolicy } from "@pulumi/policy";
import { afterAll, expect, test } from "vitest";
import type { Pair } from "../../infra/model/pair.ts";
import { PAIR_TYPE } from "../../infra/policy/policy.ts";
import { STACK, writeTrial } from "../evidence/trial.ts";
import { labPair } from "../model/pairs.ts";
import { MORE_VIOLATIONS, VIOLATIONS } from "../model/violations.ts";

const evidence = mkdtempSync(join(tmpdir(), "hotpair-trial-"));
process.env.HOTPAIR_EVIDENCE = evidence;
writeTrial(evidence, "broken");
afterAll(() => rmSync(evidence, { recursive: true, force: true }));

/** Reports of some policies about a resource with these inputs, as `policy: message`. */
export async function reports(
  policies: readonly ResourceValidationPolicy[],
  props: Readonly<Record<string, unknown>>,
  type: string = PAIR_TYPE,
): Promise<readonly string[]> {
  const said: string[] = [];
  const args = {
    type,
    props: JSON.parse(JSON.stringify(props)),
    urn: `urn:pulumi:${STACK}::hotpair::${type}::pair`,
    name: "pair",
  };
  for (const policy of policies) {
    const validations = [policy.validateResource ?? []].flat();
    for (const validate of validations)
      await validate(args as unknown as ResourceValidationArgs, (message) => said.push(`${policy.name}: ${message}`));
  }
  return said;
}

/** What every policy promises: it reports what breaks its rule at the rule's level, and nothing about a sound pair. */
export function keepsItsPromise(rule: string, policies: readonly ResourceValidationPolicy[]): void {
  const broken = [
    ...Object.entries(VIOLATIONS).map(([name, violation]) => ({ rule: name, name: "violated", ...violation })),
    ...MORE_VIOLATIONS,
  ].filter((violation) => violation.rule === rule);

  test.each(broken)("reports $level: $name", async ({ level, path, message, fix, broken: pair }) => {
    const said = (await reports(policies, { pair })).find((report) => report.includes(` ${path}: `));
    expect(said).toMatch(level === "mandatory" ? new RegExp(`^${rule}: `) : new RegExp(`^${rule}-advice: `));
    expect(said).toMatch(message);
    expect(said).toMatch(fix);
  });

  test("stops the engine for what is mandatory, and only for that", () => {
    expect(policies.map((policy) => [policy.name, policy.enforcementLevel])).toEqual([
      [rule, "mandatory"],
      [`${rule}-advice`, "advisory"],
    ]);
  });

  test("reports nothing mandatory about a sound pair", async () => {
    expect((await reports(policies, { pair: sound })).filter((report) => report.startsWith(`${rule}: `))).toEqual([]);
  });

  test("does not look at other resources", async () => {
    expect(await reports(policies, { pair: "anything" }, "command:remote:Command")).toEqual([]);
  });
}

const sound: Pair = labPair;
