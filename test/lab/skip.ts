// Tests with real hosts need a machine that can have them; elsewhere they are skipped, and say why.

import { describe } from "vitest";
import { labMachineProblem } from "../../infra/lab/requirements.ts";

const problem = await labMachineProblem();
if (problem) console.warn(`skipped: ${problem}`);

/** `describe`, or a skipped one on a machine where the lab cannot run. */
export const describeWithLab = problem ? describe.skip : describe;
