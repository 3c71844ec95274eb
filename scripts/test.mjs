// `npm test`: makes the machine ready, checks the sources, runs all tests but the long ones of pairs with data, and takes
// down the hosts that an interrupted test left behind. Arguments go to the test runner.

import { spawnSync } from "node:child_process";
import { check } from "./check.mjs";
import { projectEnvironment, ROOT, run } from "./project.mjs";
import { EVERYTHING, setup } from "./setup.mjs";

const given = process.argv.slice(2);
// What each part of a pair with data does by itself is tested for half an hour, by name (`npm run test:stateful`); what the
// whole of it keeps is among the others (test/drill/data.lab.test.ts).
const projects = given.includes("--project")
  ? []
  : ["unit", "lab", "e2e", "machine"].flatMap((name) => ["--project", name]);

await setup(EVERYTHING);
const sourcesAreFine = await check();
const before = labNames();
// Ctrl-C reaches the test runner as well; this process stays to clean up behind it.
process.on("SIGINT", () => {});
const exitCode = await run("vitest", ["run", ...projects, ...given]);
for (const name of labNames()) {
  if (!before.includes(name)) await run("node", ["bin/hotpair.mjs", "lab", "down", "--name", name]);
}
process.exit(sourcesAreFine ? exitCode : 1);

function labNames() {
  const { stdout } = spawnSync("node", ["bin/hotpair.mjs", "lab", "status", "--json"], {
    cwd: ROOT,
    env: projectEnvironment(),
    encoding: "utf8",
  });
  return JSON.parse(stdout || "[]").map(({ name }) => name);
}
