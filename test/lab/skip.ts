// Tests with real hosts need a machine that can have them; elsewhere they are skipped, and say why.

import { describe } from "vitest";
import { labMachineProblem, type Wanted } from "../../infra/lab/requirements.ts";

/** `describe`, or a skipped one on a machine where such a lab cannot run. */
export async function describeWith(wanted: Wanted): Promise<typeof describe | typeof describe.skip> {
  const problem = await labMachineProblem(wanted);
  if (problem === undefined) return describe;
  console.warn(`skipped: ${problem}`);
  return describe.skip;
}

export const describeWithLab = await describeWith({});
