// Entry for scripts/setup.mjs, which runs under the machine's own Node and cannot import TypeScript. One line per step
// on standard output. Exit codes: 0 ready, 1 a defect, 2 the user must do something, 3 that something is to install Go.
//
//   setup.ts            finds the toolchain, or downloads or builds it
//   setup.ts --look     only looks whether it is there
//   setup.ts --report   prints what is there and what is missing

import { UserError } from "../model/errors.ts";
import { findToolchain, presentToolchain } from "./find.ts";
import { inspectToolchain } from "./inspect.ts";
import { goCommand } from "./places.ts";

const flag = process.argv[2];
if (flag === "--look") {
  process.exitCode = presentToolchain() ? 0 : 2;
} else if (flag === "--report") {
  const report = await inspectToolchain();
  console.log(report.toText());
  process.exitCode = report.missing.length > 0 ? 2 : 0;
} else {
  try {
    const toolchain = await findToolchain({ onStep: (step) => console.log(step) });
    console.log(`Pulumi ${toolchain.version} (${toolchain.kind}): ${toolchain.pulumi}`);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error([error.message, ...error.details].join("\n  "));
    process.exitCode = goCommand() === undefined ? 3 : 2;
  }
}
