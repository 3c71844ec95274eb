// `npm test`: makes the machine ready, checks the sources, runs every test. Arguments go to the test runner.

import { check } from "./check.mjs";
import { run } from "./project.mjs";
import { setup } from "./setup.mjs";

await setup();
const sourcesAreFine = await check();
const exitCode = await run("vitest", ["run", ...process.argv.slice(2)]);
process.exit(sourcesAreFine ? exitCode : 1);
