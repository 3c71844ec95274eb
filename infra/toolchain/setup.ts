// Entry for scripts/setup.mjs, which runs under the machine's own Node and cannot import TypeScript: makes the
// toolchain ready (default), or says what is there (`--check`). One line per step on standard output.

import { UserError } from "../model/errors.ts";
import { findToolchain } from "./find.ts";
import { forgetFailure } from "./official.ts";

try {
  if (process.argv.includes("--retry-vendor")) forgetFailure();
  const toolchain = await findToolchain({ onStep: (step) => console.log(step) });
  console.log(`Pulumi ${toolchain.version} (${toolchain.kind}): ${toolchain.pulumi}`);
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error([error.message, ...error.details].join("\n  "));
  process.exitCode = 2;
}
