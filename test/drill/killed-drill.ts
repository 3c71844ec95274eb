// A drill as a process of its own, for the test that kills it. One argument: the scenario.

import { drill } from "../../infra/drill/runner.ts";
import { scenarioNamed } from "../../infra/drill/scenarios.ts";
import { LAB, settingsOf } from "./lab-pair.ts";

const scenario = scenarioNamed(process.argv[2] ?? "");
if (scenario === undefined) throw new Error("which scenario?");
await drill(scenario, 1, await settingsOf(LAB));
