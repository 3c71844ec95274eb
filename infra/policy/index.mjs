// Entry of the policy pack. Plain JavaScript: the engine's runner starts it without a compiler, and an old Node answers
// with one line instead of a stack trace. No `await`: the runner requires this file, which must be synchronous.
const [major] = process.versions.node.split(".").map(Number);
if (major < 24) {
  console.error(
    `hotpair's policy pack needs Node 24 or newer and was started with ${process.version}; put the project's own Node (node_modules/.bin) first on PATH`,
  );
  process.exit(1);
}
import("./pack.ts");
